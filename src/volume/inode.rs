//! One resident node: its replicated state and, for an open or changed file, its live content.

use std::sync::Arc;

use super::api::{Attr, Ino, ROOT_INO};
use super::content::File;
use super::row::Contribution;
use super::stat::{Stat, file_kind, live_links};
use crate::base::sync::Mutex;
use crate::base::{Name, NodeId};
use crate::causal::{Dot, NodeKind, NodeState};

/// A node in memory. Identity never changes; the rest is behind one lock.
///
/// Lock order: the namespace's lock may be held when this one is taken, never the other way round; two
/// nodes are never locked at once.
#[derive(Debug)]
pub(super) struct Inode {
    pub ino: Ino,
    pub id: NodeId,
    pub kind: NodeKind,
    /// Held while the content is settled: two at it would do the work twice, and the first one in vain. Taken after
    /// the volume's journal and before everything else.
    pub settling: Mutex<()>,
    pub inner: Mutex<Inner>,
}

/// What of a node can change.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub(super) struct Inner {
    pub state: NodeState,
    /// Directories: subdirectories directly inside, live.
    pub subdirs: u32,
    /// Live content, present while the file is open for writing or has unsettled changes.
    pub file: Option<Box<File>>,
    /// Open handles.
    pub opens: u32,
    /// Grows with every change of `state`.
    pub version: u64,
    /// `version` at the last journal flush and at the last seal.
    pub journaled: u64,
    pub sealed: u64,
    /// The rows this node has in the sealed index, with what they add to their directories' totals.
    pub rows: Vec<(NodeId, Name, Contribution)>,
    /// Settle before the next journal flush: this node replaced another, and must not come back empty.
    pub ordered: bool,
    /// No name leads here: in the trash, or gone.
    pub hidden: bool,
    /// Removed for good: the trees forget it.
    pub gone: bool,
    /// Born here and in no sealed tree yet: nobody else can know it.
    pub private: bool,
    /// A version shown beside its node; a node of its own once it is changed.
    pub copy: Option<(NodeId, Dot)>,
}

impl Inode {
    /// A node whose state equals what the trees hold.
    pub fn clean(
        ino: Ino,
        id: NodeId,
        state: NodeState,
        subdirs: u32,
        rows: Vec<(NodeId, Name, Contribution)>,
    ) -> Arc<Self> {
        Self::with(ino, id, state, subdirs, rows, 0)
    }

    /// A node the trees do not know yet.
    pub fn fresh(ino: Ino, id: NodeId, state: NodeState) -> Arc<Self> {
        Self::with(ino, id, state, 0, Vec::new(), 1)
    }

    fn with(
        ino: Ino,
        id: NodeId,
        state: NodeState,
        subdirs: u32,
        rows: Vec<(NodeId, Name, Contribution)>,
        version: u64,
    ) -> Arc<Self> {
        let kind = state.kind;
        let inner = Inner {
            state,
            subdirs,
            file: None,
            opens: 0,
            version,
            journaled: 0,
            sealed: 0,
            rows,
            ordered: false,
            hidden: false,
            gone: false,
            private: false,
            copy: None,
        };
        Arc::new(Self { ino, id, kind, settling: Mutex::new(()), inner: Mutex::new(inner) })
    }

    /// What callers see.
    pub fn attr(&self) -> Attr {
        self.inner.lock().attr(self.ino)
    }

    pub fn is_dir(&self) -> bool {
        self.kind == NodeKind::Directory
    }
}

impl Inner {
    /// Whether no name leads here any more.
    pub fn is_unlinked(&self) -> bool {
        self.hidden
    }

    /// Size in bytes, live.
    pub fn size(&self) -> u64 {
        match &self.file {
            Some(file) => file.size,
            None => self.state.shown().map_or(0, |(_, v)| v.size),
        }
    }

    /// What callers see.
    pub fn attr(&self, ino: Ino) -> Attr {
        let stat = Stat::of(&self.state);
        let (kind, rdev) = file_kind(self.state.kind);
        let links = if self.hidden { 0 } else { live_links(&self.state) };
        let mut attr = Attr {
            ino,
            kind,
            perm: stat.perm,
            nlink: if self.state.kind == NodeKind::Directory && (links > 0 || ino == ROOT_INO) {
                self.subdirs.saturating_add(2)
            } else {
                links
            },
            uid: stat.uid,
            gid: stat.gid,
            rdev,
            size: stat.size,
            blocks: 0,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
            crtime: self.state.born,
        };
        let mut allocated = stat.allocated;
        if let Some(file) = &self.file {
            attr.size = file.size;
            allocated = file.allocated();
            if let Some((mtime, changed)) = file.touched {
                attr.mtime = mtime;
                attr.ctime = attr.ctime.max(changed);
            }
        }
        attr.blocks = allocated.div_ceil(512);
        attr
    }

    /// Whether the live content says more than the state.
    pub fn is_unsettled(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_changed())
    }

    /// Whether everything is settled, journaled and in the trees, and nobody uses it.
    pub fn is_evictable(&self) -> bool {
        self.opens == 0 && self.file.is_none() && self.sealed == self.version && self.journaled == self.version
    }
}
