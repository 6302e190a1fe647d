//! The journal: what changed since the last seal, so that a crash loses nothing that was acknowledged.
//!
//! An entry is a batch of whole node states (and pieces of files that are not settled yet), taken at one
//! moment under the namespace's lock: after replaying any number of entries the volume is as it was at some
//! moment. A node's data may be older than its neighbours' unless it was synced; names never are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Volume;
use super::content::{File, Piece, Segment, Source};
use super::inode::{Inner, Inode};
use super::namespace::Namespace;
use crate::base::port::Time;
use crate::base::{Error, Kind, NodeId, Result};
use crate::causal::{NodeState, Vector};
use crate::kv::arena::Lsn;
use crate::seal::Ref;

/// What binds sealed journal entries to their use.
const PURPOSE: &[u8] = b"lovage journal 1";

/// One journal entry.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub vector: Vector,
    pub clock: Time,
    pub changes: Vec<Change>,
}

/// One change of a batch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Change {
    /// A node's state; `None`: it is gone. Earlier pieces of it stay if `keep_pieces`.
    Node { id: NodeId, state: Option<NodeState>, keep_pieces: bool },
    /// Unsettled content: pieces over the node's settled content.
    Pieces(Pieces),
}

/// The unsettled content of a file, or what changed of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pieces {
    pub id: NodeId,
    /// Forget earlier pieces first.
    pub restate: bool,
    pub base_end: u64,
    pub size: u64,
    pub mtime: Time,
    /// Offset, length, and where it is: a block from some byte on, or nowhere (zeros).
    pub list: Vec<(u64, u64, Option<(Ref, u32, bool)>)>,
}

impl Volume {
    /// Make every change of metadata, and the content of `synced`, part of the journal. What was changed
    /// before this call is durable once the log is synced to the returned position.
    pub(super) fn commit(&self, synced: Option<&Arc<Inode>>) -> Result<Lsn> {
        let _turn = self.journal.lock();
        self.settle_ordered();
        let (batch, taken) = self.collect(synced)?;
        if batch.changes.is_empty() {
            return Ok(self.blocks.log().end());
        }
        let result = encode(&batch)
            .and_then(|plain| self.local.seal(PURPOSE, &plain))
            .and_then(|sealed| self.blocks.log().append_journal(&sealed));
        if result.is_err() {
            self.take_back(taken, synced);
        }
        result
    }

    /// Settle files that replaced others before the replacement is journaled: old or new, never empty.
    fn settle_ordered(&self) {
        let waiting: Vec<_> = {
            let ns = self.ns.lock();
            ns.unjournaled.values().filter(|inode| inode.inner.lock().ordered).cloned().collect()
        };
        for inode in waiting {
            for _ in 0..3 {
                match self.settle(&inode) {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!("cannot settle a replacing file: {}", error.chain());
                        break;
                    }
                }
            }
        }
    }

    fn collect(&self, synced: Option<&Arc<Inode>>) -> Result<(Batch, Vec<Arc<Inode>>)> {
        let mut ns = self.ns.lock();
        let taken: Vec<_> = ns.unjournaled.drain().map(|(_, inode)| inode).collect();
        let mut changes = Vec::with_capacity(taken.len() + 1);
        for inode in &taken {
            let mut inner = inode.inner.lock();
            let gone = inner.is_unlinked() && inode.id != NodeId::ROOT;
            if !(gone && inner.journaled == 0 && inner.rows.is_empty()) {
                let keep_pieces = inner.file.as_ref().is_some_and(|f| f.journaled && !f.restate);
                let state = if gone { None } else { Some(inner.state.clone()) };
                changes.push(Change::Node { id: inode.id, state, keep_pieces });
                if !gone && !keep_pieces {
                    // Pieces journaled over the old content hold over the new state as well.
                    if let Some(pieces) = inner.file.as_mut().filter(|f| f.journaled).map(|f| state_pieces(inode.id, f)) {
                        changes.push(Change::Pieces(pieces));
                    }
                }
            }
            inner.journaled = inner.version;
        }
        if let Some(inode) = synced {
            let mut inner = inode.inner.lock();
            if let Some(file) = inner.file.as_mut().filter(|f| f.is_changed()) {
                changes.push(Change::Pieces(state_pieces(inode.id, file)));
                file.journaled = true;
            }
        }
        Ok((Batch { vector: ns.vector.clone(), clock: ns.clock.last(), changes }, taken))
    }

    /// The entry could not be written: all of it still has to be.
    fn take_back(&self, taken: Vec<Arc<Inode>>, synced: Option<&Arc<Inode>>) {
        let mut ns = self.ns.lock();
        for inode in taken {
            let mut inner = inode.inner.lock();
            inner.journaled = 0;
            if let Some(file) = inner.file.as_mut() {
                file.restate_all();
            }
            ns.unjournaled.insert(inode.ino, inode.clone());
        }
        if let Some(file) = synced.and_then(|i| i.inner.lock().file.take()) {
            if let Some(inode) = synced {
                let mut inner = inode.inner.lock();
                inner.file = Some(file);
                if let Some(file) = inner.file.as_mut() {
                    file.restate_all();
                }
            }
        }
    }

    /// Everything journaled of files that are not settled, for a checkpoint that ends the journal before it.
    pub(super) fn carried(&self, ns: &Namespace) -> Vec<Pieces> {
        let _ = ns;
        let files: Vec<_> = self.unsettled.lock().values().cloned().collect();
        files
            .iter()
            .filter_map(|inode| {
                let mut inner = inode.inner.lock();
                let file = inner.file.as_mut().filter(|f| f.journaled)?;
                file.restate_all();
                Some(state_pieces(inode.id, file))
            })
            .collect()
    }

    /// Decode a sealed journal entry.
    pub(super) fn open_batch(&self, sealed: &[u8]) -> Result<Batch> {
        let plain = self.local.open(PURPOSE, sealed)?;
        postcard::from_bytes(&plain).map_err(|e| Error::new(Kind::Corrupt, "decode journal entry", "").with_source(e))
    }
}

fn encode(batch: &Batch) -> Result<Vec<u8>> {
    postcard::to_stdvec(batch).map_err(|e| Error::new(Kind::Other, "encode journal entry", "").with_source(e))
}

/// What must be said about the unsettled content of a file; afterwards nothing of it is fresh. Bytes that
/// are only in memory are left out: they were written after the sync began.
fn state_pieces(id: NodeId, file: &mut File) -> Pieces {
    let restate = file.restate || !file.journaled;
    let ranges = if restate { vec![0..file.size] } else { std::mem::take(&mut file.fresh) };
    let mut list = Vec::new();
    for range in ranges {
        for (at, len, segment) in file.pieces.segments(range.start..range.end.min(file.size)) {
            match segment {
                Segment::Base | Segment::Hole => {}
                Segment::Piece { piece, skip } => list.extend(place(piece, skip).map(|p| (at, len, p))),
            }
        }
    }
    file.fresh.clear();
    file.restate = false;
    let mtime = file.touched.map_or(Time(0), |(mtime, _)| mtime);
    Pieces { id, restate, base_end: file.pieces.base_end(), size: file.size, mtime, list }
}

#[allow(clippy::option_option)] // outer: can it be named at all; inner: is it more than zeros
fn place(piece: &Piece, skip: u64) -> Option<Option<(Ref, u32, bool)>> {
    match &piece.source {
        Source::Dirty(_) | Source::Sealing { .. } => None,
        Source::Block { block, skip: inside, cut } => {
            Some(Some((*block, inside.saturating_add(u32::try_from(skip).unwrap_or(u32::MAX)), *cut && skip == 0)))
        }
        Source::Hole => Some(None),
    }
}

/// Apply journaled pieces to a file's live content.
pub(super) fn apply_pieces(inner: &mut Inner, pieces: &Pieces) -> Result<()> {
    if inner.file.is_none() {
        inner.file = Some(File::of(&inner.state)?);
    }
    let Some(file) = inner.file.as_mut() else { return Ok(()) };
    if pieces.restate {
        file.pieces.truncate(0);
    }
    file.pieces.set_base_end(pieces.base_end.min(file.base_size));
    file.pieces.truncate(pieces.size.max(pieces.base_end));
    for (at, len, place) in &pieces.list {
        let source = match place {
            Some((block, skip, cut)) => Source::Block { block: *block, skip: *skip, cut: *cut },
            None => Source::Hole,
        };
        file.pieces.put(*at, Piece { len: *len, source });
    }
    file.size = pieces.size;
    file.touched = Some((pieces.mtime, pieces.mtime));
    file.restate_all();
    file.journaled = true;
    file.generation += 1;
    Ok(())
}
