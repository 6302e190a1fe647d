//! What a volume tells of itself: counts for `status`, the blocks of a file, content ids.

use std::io::Read;

use super::Volume;
use super::api::Ino;
use super::content::File;
use super::namespace::Namespace;
use super::room::is_full;
use super::row::{Contribution, Totals};
use crate::base::{Context, Digest, NodeId, Result, WriterIndex, keyed_hash};
use crate::cas::manifest::{self, Extent};
use crate::causal::{NodeKind, Vector};
use crate::seal::Ref;

/// Live counts of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Nodes, the root included.
    pub nodes: u64,
    /// Files, every name of a file counted.
    pub files: u64,
    /// Sum of file sizes in bytes.
    pub bytes: u64,
    /// What the log occupies on this disk, in bytes.
    pub local_bytes: u64,
    /// Content that is only in memory, in bytes.
    pub dirty_bytes: u64,
    /// The disk of the volume's directory has no room for more content: writes are refused.
    pub full: bool,
    /// Content that became unreachable since the last collection, in bytes (an estimate).
    pub garbage_bytes: u64,
    /// Logical id of the sealed replicated state: equal exactly where the trees are equal.
    pub root: Digest,
    /// What is known of each writer.
    pub vector: Vector,
    /// This device's writer index.
    pub writer: WriterIndex,
    /// Number of the last head.
    pub seq: u64,
    /// Blocks stored and recognised since the volume was opened.
    pub store: crate::cas::Stat,
}

impl Volume {
    /// Counts. O(arenas + nodes changed since the last seal); while a seal is under way, files and bytes are those
    /// from before it.
    pub fn figures(&self) -> Figures {
        let local_bytes = self.blocks.log().stat().disk_bytes;
        let (nodes, dirty_bytes) = (self.nodes(), self.gauge.held());
        let ns = self.ns.lock();
        let totals = live_totals(&ns);
        Figures {
            nodes,
            files: totals.rfiles,
            bytes: totals.rbytes,
            local_bytes,
            dirty_bytes,
            full: is_full(&self.dir),
            garbage_bytes: self.garbage_bytes(),
            root: ns.roots.raw.logical,
            vector: ns.vector.clone(),
            writer: ns.writer,
            seq: ns.roots.seq,
            store: self.blocks.stat(),
        }
    }

    /// The first `most` data blocks of a file with their offsets, and how many more there are. Settles it first.
    pub fn blocks_of(&self, ino: Ino, most: usize) -> Result<(Vec<(u64, Ref)>, u64)> {
        let inode = self.file(ino)?;
        if !self.read_only {
            self.settle(&inode)?;
        }
        let file = File::of(&inode.inner.lock().state)?;
        let (mut list, mut more) = (Vec::new(), 0);
        if let manifest::Content::Inline(_) = file.base {
            return Ok((list, 0));
        }
        for span in manifest::extents(&self.blocks, &file.base, file.base_size, 0) {
            let span = span?;
            if let Extent::Data(block) = span.extent {
                if list.len() < most { list.push((span.start, block)) } else { more += 1 }
            }
        }
        Ok((list, more))
    }

    /// The content id of any bytes in this volume: equal exactly for equal bytes, meaningless elsewhere.
    /// Stores nothing. Returns the id, the length, and the number of chunks the bytes would be cut into.
    pub fn content_id(&self, from: &mut dyn Read) -> Result<(Digest, u64, u64)> {
        let key = self.sealer.logical_key();
        let (mut running, mut bytes, mut chunks) = ([0; 32], 0, 0);
        let mut buffer = Vec::new();
        loop {
            let want = (4 << 20) - buffer.len() as u64;
            let read = from.take(want).read_to_end(&mut buffer).io("read", String::new)?;
            let end = (read as u64) < want;
            let mut rest = buffer.as_slice();
            while !rest.is_empty() && (end || rest.len() >= self.chunker.longest(bytes)) {
                let (chunk, after) = rest.split_at(self.chunker.cut_at(bytes, rest, end));
                running = keyed_hash(&key, &[b"content", &running, chunk]);
                bytes += chunk.len() as u64;
                chunks += 1;
                rest = after;
            }
            buffer = rest.to_vec();
            if end {
                return Ok((running, bytes, chunks));
            }
        }
    }

    /// Id of the root directory.
    pub fn root(&self) -> NodeId {
        NodeId::ROOT
    }
}

/// What the sealed trees count, and what changed since: right after a crash everything new is in the journal only.
/// Files of a directory that was removed or came back as a whole are counted with the next seal.
fn live_totals(ns: &Namespace) -> Totals {
    let mut change = Contribution::default();
    for inode in ns.unsealed.values().filter(|inode| !inode.is_dir()) {
        let inner = inode.inner.lock();
        for (.., row) in inner.rows.iter().filter(|(parent, ..)| *parent != NodeId::TRASH) {
            change.subtract(*row);
        }
        if inner.gone {
            continue;
        }
        let bytes = if inode.kind == NodeKind::File { i128::from(inner.size()) } else { 0 };
        let shows = ns.view.table().shows(inode.id, &inner.state);
        let names = shows.iter().filter(|shown| shown.is_live()).count() as i128;
        change.add(Contribution { bytes: bytes * names, files: names, ..Contribution::default() });
    }
    let mut totals = ns.roots.totals;
    change.apply(&mut totals);
    totals
}
