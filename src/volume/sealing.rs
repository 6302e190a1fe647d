//! Sealing: the changes since the last seal become part of the trees, and a checkpoint replaces the journal.
//!
//! Changes are copied out under the namespace's lock, folded into new trees without it, and dropped from the
//! overlay where nothing newer came meanwhile. Costs O(changed nodes + touched tree nodes).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Volume;
use super::author::{Author, Standing};
use super::heads::Heads;
use super::inode::Inode;
use super::journal::Pieces;
use super::namespace::{Namespace, Roots};
use super::news::News;
use super::row::{Contribution, Row, Totals, encode_state};
use crate::base::port::Time;
use crate::base::{Digest, Error, Kind, Name, NodeId, Result, WriterIndex, hash};
use crate::causal::{Displaced, Lived, Lives, NodeState, Shown, Vector};
use crate::kv::arena::Lsn;
use crate::seal::head::seal_head;
use crate::tree::Root;

const PURPOSE: &[u8] = b"lovage checkpoint 3";

/// What a checkpoint says: all there is to know to open the volume without an older journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub roots: Roots,
    pub vector: Vector,
    pub clock: Time,
    /// As whom this device writes.
    pub standing: Standing,
    /// Journaled content of files that were not settled yet.
    pub carried: Vec<Pieces>,
    /// The signed head of this state.
    pub head: Vec<u8>,
    /// Bytes of content that became garbage since the last collection.
    pub garbage: u64,
    /// The highest heads seen of others, and whether others write here.
    pub heads: Heads,
    pub shared: bool,
}

/// What a head says, encrypted for readers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeadBody {
    pub vector: Vector,
    pub raw: Root,
    pub index: Root,
    pub displaced: Root,
    pub root_subdirs: u32,
    pub totals: Totals,
    pub previous: Digest,
    pub time: Time,
    /// The author's own lives.
    pub lives: Lives,
    /// The life of the newest change in `vector`, by writer.
    pub lived: Lived,
    /// What changed since the author last told others, if that is little.
    pub news: Option<News>,
}

/// A changed node as it was when the seal began.
pub(super) struct Changed {
    pub inode: Arc<Inode>,
    version: u64,
    pub state: Option<NodeState>,
    /// The names it shows under, in the trash too.
    pub shows: Vec<Shown>,
    pub subdirs: u32,
    pub old_rows: Rows,
}

/// Where a node is in the sealed index, and what it adds to the totals there.
pub(super) type Rows = Vec<(NodeId, Name, Contribution)>;

/// What a seal made.
pub(super) struct Folded {
    roots: Roots,
    /// The head as signed.
    pub head: Arc<[u8]>,
    /// The rows of each changed node, in the snapshot's order.
    rows: Vec<Rows>,
    /// The rows of directories whose totals changed.
    dirs: Vec<(NodeId, Rows)>,
}

/// Everything a seal works on.
pub(super) struct Snapshot {
    pub changed: Vec<Changed>,
    names: Vec<(NodeId, Vec<(Name, u64)>)>,
    pub roots: Arc<Roots>,
    pub vector: Vector,
    pub table: Arc<Displaced>,
    pub sealed_table: Arc<Displaced>,
    pub shared: bool,
    heads: Heads,
    /// Nothing was merged since the last seal either.
    idle: bool,
    clock: Time,
    writer: WriterIndex,
    author: Author,
    pub lived: Lived,
    carried: Vec<Pieces>,
    covers: Lsn,
    born: i64,
}

impl Volume {
    /// Fold everything that changed into the trees and write a checkpoint. Durable when it returns.
    pub(super) fn seal(&self) -> Result<()> {
        let sealed = {
            let _turn = self.sealing.lock();
            self.seal_turn()?
        };
        if sealed {
            self.observed(|o| o.sealed());
        }
        Ok(())
    }

    /// As [`Self::seal`], with `sealing` held. False: there was nothing to seal.
    pub(super) fn seal_turn(&self) -> Result<bool> {
        let snapshot = self.snapshot()?;
        let nothing = snapshot.idle && snapshot.changed.is_empty() && snapshot.carried.is_empty();
        if nothing && snapshot.roots.seq > 0 && !self.has_long_tail() {
            return Ok(false);
        }
        match self.fold(&snapshot) {
            Ok(folded) => {
                self.complete(&snapshot, folded);
                Ok(true)
            }
            Err(error) => {
                self.retract(&snapshot);
                Err(error)
            }
        }
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let _turn = self.journal.lock();
        let mut ns = self.ns.lock();
        self.live_on(&mut ns);
        let carried = self.carried()?;
        let table = ns.view.table().clone();
        let changed = ns
            .unsealed
            .drain()
            .filter(|(_, inode)| inode.id != NodeId::LOST)
            .map(|(_, inode)| {
                let mut inner = inode.inner.lock();
                inner.private = false;
                let state = if inner.gone { None } else { Some(inner.state.clone()) };
                let changed = Changed {
                    version: inner.version,
                    shows: state.as_ref().map(|s| table.shows(inode.id, s)).unwrap_or_default(),
                    state,
                    subdirs: inner.subdirs,
                    old_rows: inner.rows.clone(),
                    inode: inode.clone(),
                };
                drop(inner);
                changed
            })
            .collect::<Vec<_>>();
        ns.in_seal = changed.len();
        let names = ns
            .names
            .iter_mut()
            .map(|(dir, names)| {
                names.fresh = false;
                (*dir, names.map.iter().map(|(name, entry)| (name.clone(), entry.version)).collect())
            })
            .collect();
        Ok(Snapshot { changed, names, carried, ..self.snapshot_of(&ns) })
    }

    /// The volume as it is but for what changed.
    pub(super) fn snapshot_of(&self, ns: &Namespace) -> Snapshot {
        let view = &ns.view;
        Snapshot {
            changed: Vec::new(),
            names: Vec::new(),
            roots: ns.roots.clone(),
            vector: ns.vector.clone(),
            table: view.table().clone(),
            sealed_table: view.sealed().clone(),
            shared: ns.shared,
            heads: ns.heads.clone(),
            idle: ns.vector == ns.sealed && Arc::ptr_eq(view.table(), view.sealed()),
            clock: ns.clock.last(),
            writer: ns.writer,
            author: ns.author.clone(),
            lived: ns.lived(),
            carried: Vec::new(),
            covers: self.blocks.log().end(),
            born: ns.born,
        }
    }

    /// Build the new trees and store the checkpoint.
    pub(super) fn fold(&self, snapshot: &Snapshot) -> Result<Folded> {
        let mut roots = (*snapshot.roots).clone();
        self.fold_states(snapshot, &mut roots)?;
        if snapshot.table != snapshot.sealed_table {
            roots.displaced = self.fold_shown(&snapshot.table)?;
        }
        let staged = self.stage(snapshot, &mut roots)?;
        let rows = snapshot.changed.iter().map(|c| staged.rows_of(c, &snapshot.table)).collect();
        let edits: Result<Vec<_>> = staged
            .rows
            .iter()
            .map(|(key, row)| Ok((key.clone(), row.as_ref().map(Row::encode).transpose()?)))
            .collect();
        roots.index = self.tree.edit(&roots.index, edits?)?;
        roots.seq = roots.seq.max(snapshot.author.floor) + 1;
        let head = self.make_head(snapshot, &roots)?;
        roots.head = hash(&[&head]);
        let checkpoint = Checkpoint {
            roots: roots.clone(),
            vector: snapshot.vector.clone(),
            clock: snapshot.clock,
            standing: snapshot.author.standing(snapshot.writer, &snapshot.lived),
            carried: snapshot.carried.clone(),
            head: head.clone(),
            garbage: self.garbage_bytes(),
            heads: snapshot.heads.clone(),
            shared: snapshot.shared,
        };
        let plain = postcard::to_stdvec(&checkpoint)
            .map_err(|e| Error::new(Kind::Other, "encode checkpoint", "").with_source(e))?;
        let sealed = self.local.seal(PURPOSE, &plain)?;
        self.blocks.log().checkpoint_covering(snapshot.covers, &sealed)?;
        Ok(Folded { roots, head: head.into(), rows, dirs: staged.dir_rows() })
    }

    /// The table of what shows otherwise, as a tree by node id.
    fn fold_shown(&self, table: &Displaced) -> Result<Root> {
        let encode = |(id, odd): (NodeId, &crate::causal::Odd)| {
            let value = postcard::to_stdvec(odd)
                .map_err(|e| Error::new(Kind::Other, "encode names", id.to_string()).with_source(e))?;
            Ok((id.as_bytes().to_vec(), Some(value)))
        };
        let entries: Result<Vec<_>> = table.iter().map(encode).collect();
        self.tree.edit(&self.tree.empty(), entries?)
    }

    fn fold_states(&self, snapshot: &Snapshot, roots: &mut Roots) -> Result<()> {
        let mut raw = Vec::with_capacity(snapshot.changed.len());
        let mut local = Vec::new();
        for changed in &snapshot.changed {
            let key = changed.inode.id.as_bytes().to_vec();
            let value = changed.state.as_ref().map(encode_state).transpose()?;
            if changed.inode.kind.is_local() { local.push((key, value)) } else { raw.push((key, value)) }
        }
        raw.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        local.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.news.lock().add(&raw);
        roots.raw = self.tree.edit(&roots.raw, raw)?;
        roots.local = self.tree.edit(&roots.local, local)?;
        Ok(())
    }

    /// Sign what was sealed.
    fn make_head(&self, snapshot: &Snapshot, roots: &Roots) -> Result<Vec<u8>> {
        let body = HeadBody {
            vector: snapshot.vector.clone(),
            raw: roots.raw.clone(),
            index: roots.index.clone(),
            displaced: roots.displaced.clone(),
            root_subdirs: roots.root_subdirs,
            totals: roots.totals,
            previous: roots.head,
            time: snapshot.clock,
            lives: snapshot.author.lives.clone(),
            lived: snapshot.lived.clone(),
            news: self.news.lock().news(),
        };
        let body = postcard::to_stdvec(&body).map_err(|e| Error::new(Kind::Other, "encode head", "").with_source(e))?;
        seal_head(&self.sealer, &snapshot.author.key, snapshot.writer, roots.seq, &body, &*self.entropy)
    }

    /// Make the new trees current and forget what they now contain.
    pub(super) fn complete(&self, snapshot: &Snapshot, folded: Folded) {
        let mut guard = self.ns.lock();
        let ns = &mut *guard;
        ns.roots = Arc::new(folded.roots);
        ns.sealed = snapshot.vector.clone();
        ns.view.set_sealed(snapshot.table.clone());
        *self.announced.lock() = folded.head;
        for (dir, rows) in folded.dirs {
            if let Some(inode) = ns.table.resident(ns.table.number(dir)) {
                inode.inner.lock().rows = rows;
            }
        }
        ns.born -= snapshot.born;
        ns.in_seal = 0;
        for (changed, rows) in snapshot.changed.iter().zip(folded.rows) {
            let mut inner = changed.inode.inner.lock();
            inner.sealed = changed.version;
            inner.rows = rows;
            if inner.version == changed.version {
                inner.journaled = changed.version;
                ns.unjournaled.remove(&changed.inode.ino);
            } else {
                ns.unsealed.insert(changed.inode.ino, changed.inode.clone());
            }
        }
        for (dir, sealed) in &snapshot.names {
            let Some(names) = ns.names.get_mut(dir) else { continue };
            for (name, version) in sealed {
                if names.map.get(name).is_some_and(|e| e.version == *version) {
                    names.map.remove(name);
                }
            }
            if names.map.is_empty() && !names.fresh {
                ns.names.remove(dir);
            }
        }
        self.brake.measure(ns);
        ns.table.sweep();
    }

    /// The seal failed: everything in it is still to be sealed.
    fn retract(&self, snapshot: &Snapshot) {
        let mut ns = self.ns.lock();
        for changed in &snapshot.changed {
            ns.unsealed.entry(changed.inode.ino).or_insert_with(|| changed.inode.clone());
        }
        ns.in_seal = 0;
        self.brake.measure(&ns);
    }

    pub(super) fn open_checkpoint(&self, sealed: &[u8]) -> Result<Checkpoint> {
        let plain = self.local.open(PURPOSE, sealed)?;
        postcard::from_bytes(&plain).map_err(|e| Error::new(Kind::Corrupt, "decode checkpoint", "").with_source(e))
    }
}
