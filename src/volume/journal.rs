//! The journal: what changed since the last seal, so that a crash loses nothing that was acknowledged.
//!
//! An entry is a batch of whole node states (and pieces of files that are not settled yet), taken at one
//! moment under the namespace's lock: after replaying any number of entries the volume is as it was at some
//! moment. A node's data may be older than its neighbours' unless it was synced; names never are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Volume;
use super::author::Standing;
use super::content::{File, Piece, Segment, Source};
use super::heads::Heads;
use super::inode::{Inner, Inode};
use crate::base::port::Time;
use crate::base::{Error, Kind, NodeId, Result};
use crate::causal::{Displaced, Dot, NodeState, Vector};
use crate::kv::arena::Lsn;
use crate::seal::{BlockType, Ref};

/// What binds sealed journal entries to their use.
const PURPOSE: &[u8] = b"lovage journal 3";
/// Pieces larger than this are stored as several blocks.
const MAX_SPILL: usize = 512 << 10;

/// One journal entry.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub vector: Vector,
    pub clock: Time,
    pub changes: Vec<Change>,
    /// After a merge: what shows otherwise, heads seen, and that others write here.
    pub beside: Option<Beside>,
}

/// What changed beside nodes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Beside {
    pub shown: Displaced,
    pub heads: Heads,
    pub shared: bool,
    pub standing: Standing,
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
    pub list: Vec<Placed>,
    /// What the pieces lie over, where it is not the node's shown version.
    pub over: Option<Over>,
}

/// A settled content: encoded, its size, and the versions that a new one replaces.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Over {
    pub data: Vec<u8>,
    pub size: u64,
    pub dots: Vec<Dot>,
}

/// Offset, length, and where it is: a block from some byte on (and whether the chunker cut it), or zeros.
pub(super) type Placed = (u64, u64, Option<(Ref, u32, bool)>);

/// A node taken into an entry, and the version of it that the journal had until then.
struct Taken {
    inode: Arc<Inode>,
    journaled: u64,
    /// It replaced another file: what it holds that is not settled is part of the entry.
    ordered: bool,
}

impl Volume {
    /// Make every change of metadata, and the content of `synced`, part of the journal. What was changed
    /// before this call is durable once the log is synced to the returned position.
    pub(super) fn commit(&self, synced: Option<&Arc<Inode>>) -> Result<Lsn> {
        let _turn = self.journal.lock();
        self.settle_ordered();
        self.enter(synced)
    }

    /// One entry with everything that changed. The caller holds the journal's turn.
    pub(super) fn enter(&self, synced: Option<&Arc<Inode>>) -> Result<Lsn> {
        let _storing = self.storing.read();
        let mut taken = Vec::new();
        let result = self.gather(&mut taken, synced).and_then(|batch| self.append(&batch));
        if result.is_err() {
            self.take_back(taken, synced);
        }
        result
    }

    fn append(&self, batch: &Batch) -> Result<Lsn> {
        if batch.changes.is_empty() && batch.beside.is_none() {
            return Ok(self.blocks.log().end());
        }
        let sealed = self.local.seal(PURPOSE, &encode(batch)?)?;
        self.blocks.log().append_journal(&sealed)
    }

    /// Settle files that replaced others before the replacement is journaled: old or new, never empty. What cannot
    /// be settled (it is written to all the time, its blocks are moved about) is spilled; either way the entry says
    /// the rest of it.
    fn settle_ordered(&self) {
        let waiting: Vec<_> = {
            let ns = self.ns.lock();
            ns.unjournaled.values().filter(|inode| inode.inner.lock().ordered).cloned().collect()
        };
        for inode in waiting {
            let settled = self.settle(&inode).and_then(|all| if all { Ok(()) } else { self.spill(&inode) });
            if let Err(error) = settled {
                tracing::warn!("cannot settle a replacing file: {}", error.chain());
            }
        }
    }

    /// The states of all changed nodes at one moment; `taken` says which, also when this fails half-way.
    fn gather(&self, taken: &mut Vec<Taken>, synced: Option<&Arc<Inode>>) -> Result<Batch> {
        let mut ns = self.ns.lock();
        taken.extend(ns.unjournaled.drain().map(|(_, inode)| {
            let mut inner = inode.inner.lock();
            let (journaled, ordered) = (inner.journaled, std::mem::take(&mut inner.ordered));
            drop(inner);
            Taken { inode, journaled, ordered }
        }));
        let mut changes = Vec::with_capacity(taken.len() + 1);
        for Taken { inode, ordered, .. } in taken.iter() {
            let mut inner = inode.inner.lock();
            let gone = inner.gone;
            if inode.id == NodeId::LOST {
                continue;
            }
            if !(gone && inner.journaled == 0 && inner.rows.is_empty()) {
                let keep_pieces = inner.file.as_ref().is_some_and(|f| f.journaled && !f.restate);
                let state = if gone { None } else { Some(inner.state.clone()) };
                changes.push(Change::Node { id: inode.id, state, keep_pieces });
                if !gone && !keep_pieces {
                    // Pieces journaled over the old content hold over the new state as well.
                    if let Some(file) = inner.file.as_mut().filter(|f| f.journaled) {
                        changes.push(Change::Pieces(self.pieces_of(inode.id, file)?));
                    }
                }
            }
            let unsaid = *ordered && !gone && !inner.hidden;
            if let Some(file) = inner.file.as_mut().filter(|f| unsaid && f.is_changed()) {
                changes.push(Change::Pieces(self.pieces_of(inode.id, file)?));
                file.journaled = true;
            }
            inner.journaled = inner.version;
        }
        if let Some(inode) = synced {
            let mut inner = inode.inner.lock();
            if let Some(file) = inner.file.as_mut().filter(|f| f.is_changed()) {
                changes.push(Change::Pieces(self.pieces_of(inode.id, file)?));
                file.journaled = true;
            }
        }
        let beside = std::mem::take(&mut ns.restless).then(|| Beside {
            shown: (**ns.view.table()).clone(),
            heads: ns.heads.clone(),
            shared: ns.shared,
            standing: ns.author.standing(ns.writer, &ns.lived),
        });
        Ok(Batch { vector: ns.vector.clone(), clock: ns.clock.last(), changes, beside })
    }

    /// The entry could not be written: all of it still has to be. What the journal said before it stands: a
    /// node that is gone must be said to be gone if it was ever said to be there.
    fn take_back(&self, taken: Vec<Taken>, synced: Option<&Arc<Inode>>) {
        let mut ns = self.ns.lock();
        ns.restless = true;
        for Taken { inode, journaled, ordered } in taken {
            let mut inner = inode.inner.lock();
            inner.journaled = journaled;
            inner.ordered |= ordered;
            if let Some(file) = inner.file.as_mut() {
                file.restate_all();
            }
            ns.unjournaled.insert(inode.ino, inode.clone());
        }
        if let Some(inode) = synced
            && let Some(file) = inode.inner.lock().file.as_mut()
        {
            file.restate_all();
        }
    }

    /// Everything journaled of files that are not settled, for a checkpoint that ends the journal before it, and what
    /// is in files that replaced others. What
    /// the journal itself still has to say stays as it is: the checkpoint may never come to be.
    pub(super) fn carried(&self) -> Result<Vec<Pieces>> {
        let files: Vec<_> = self.unsettled.lock().values().cloned().collect();
        let mut carried = Vec::new();
        for inode in files {
            let inner = inode.inner.lock();
            let unsaid = inner.ordered && !inner.gone && !inner.hidden;
            if let Some(file) = inner.file.as_ref().filter(|f| f.journaled || (unsaid && f.is_changed())) {
                carried.push(self.describe(inode.id, file, true)?);
            }
        }
        Ok(carried)
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

impl Volume {
    /// What the next journal entry must say about the unsettled content of a file; afterwards nothing of it is fresh.
    fn pieces_of(&self, id: NodeId, file: &mut File) -> Result<Pieces> {
        let pieces = self.describe(id, file, file.restate || !file.journaled)?;
        file.fresh.clear();
        file.restate = false;
        Ok(pieces)
    }

    /// The unsettled content of a file: all of it (`restate`), or what is fresh. Bytes that were written since they
    /// were last spilled are stored here and now: leaving them out could uncover older bytes below ones that were
    /// already acknowledged.
    fn describe(&self, id: NodeId, file: &File, restate: bool) -> Result<Pieces> {
        let whole = 0..file.size;
        let ranges = if restate { std::slice::from_ref(&whole) } else { file.fresh.as_slice() };
        let mut list = Vec::new();
        for range in ranges {
            // What changed behind the end, a hole punched there, is nothing to say.
            let end = range.end.min(file.size);
            for (at, len, segment) in file.pieces.segments(range.start.min(end)..end) {
                if let Segment::Piece { piece, skip } = segment {
                    self.place(piece, (at, len, skip), &mut list)?;
                }
            }
        }
        let mtime = file.touched.map_or(Time(0), |(mtime, _)| mtime);
        let over = if file.detached { Some(file.base_of()?) } else { None };
        Ok(Pieces { id, restate, base_end: file.pieces.base_end(), size: file.size, mtime, list, over })
    }

    fn place(&self, piece: &Piece, (at, len, skip): (u64, u64, u64), list: &mut Vec<Placed>) -> Result<()> {
        let bytes: &[u8] = match &piece.source {
            Source::Dirty(data) => data,
            Source::Sealing { data, .. } => data,
            Source::Hole => {
                list.push((at, len, None));
                return Ok(());
            }
            Source::Block { block, skip: inside, cut } => {
                let skip = inside.saturating_add(u32::try_from(skip).unwrap_or(u32::MAX));
                let whole = skip == 0 && len == u64::from(block.len);
                list.push((at, len, Some((*block, skip, *cut && whole))));
                return Ok(());
            }
        };
        let from = usize::try_from(skip).unwrap_or(usize::MAX);
        let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
        let mut at = at;
        for part in bytes.get(from..to).unwrap_or_default().chunks(MAX_SPILL) {
            let block = self.blocks.put(BlockType::Data, 0, part)?;
            list.push((at, part.len() as u64, Some((block, 0, false))));
            at += part.len() as u64;
        }
        Ok(())
    }
}

/// Apply journaled pieces to a file's live content.
pub(super) fn apply_pieces(inner: &mut Inner, pieces: &Pieces) -> Result<()> {
    match (&mut inner.file, &pieces.over) {
        (file @ None, None) => *file = Some(File::of(&inner.state)?),
        (file, Some(over)) if file.as_ref().is_none_or(|f| f.over != over.dots) => {
            *file = Some(File::over(&inner.state, over)?);
        }
        _ => {}
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
    Ok(())
}
