//! Taking in what another device knows.
//!
//! Its head says which states it has; where its tree differs from ours the nodes are joined one by one, and
//! vectors unite. Atomic: states, names and vector change under one hold of the namespace's lock, and go to the
//! journal in one entry. Must never apply anything before all of it was read, checked and joined.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Volume;
use super::heads::Compared;
use super::incoming::{check_node, check_vector};
use super::lineage::Meeting;
use super::namespace::Namespace;
use super::sealing::HeadBody;
use super::showing::Joined;
use crate::base::port::Time;
use crate::base::{Digest, Error, Kind, NodeId, Result, WriterIndex};
use crate::causal::{Displaced, NodeState, Stamp, Vector, join_node};
use crate::seal::head::{self, OpenedHead};
use crate::tree::Root;

/// How far a stamp from elsewhere may push our clock ahead of the wall clock: a day.
const MAX_AHEAD: i64 = 86_400_000_000_000;

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // what happened, one flag each
pub struct Merged {
    /// Nodes whose state changed.
    pub touched: u64,
    /// Nodes that show otherwise than they say now: conflicts of content or names, merged and revived directories.
    pub conflicts: u64,
    /// The author showed an older head than before: late news, or a device that was set back. Nothing was merged.
    pub rolled_back: bool,
    /// The author signed two heads under one number. Kept as proof; nothing of the author is merged any more.
    pub equivocated: bool,
    /// The author was set back or copied: it made other changes under numbers known here. Nothing was merged; it is
    /// told, and becomes another writer.
    pub set_back: bool,
    /// Others know changes of ours that we do not: this device was set back or copied, and must tell nobody of its
    /// changes before it has become another writer, see [`Volume::be_reborn`]. Nothing was merged.
    pub own_future: bool,
    /// With that: the last own change that is certainly the same there, if that can be told without a head of ours.
    pub common: Option<u64>,
    /// Both sides know the same and yet have different trees: a bug or a lie. Both heads should be kept.
    pub diverged: bool,
    /// Their trees were taken as they are: this device knew nothing.
    pub adopted: bool,
}

/// A head that was opened and checked.
struct Incoming {
    author: [u8; 32],
    writer: WriterIndex,
    seq: u64,
    hash: Digest,
    body: HeadBody,
}

impl Volume {
    /// Take in what the head of `author`, a member, refers to. Tree nodes are read from local blocks, missing ones
    /// are fetched. O(nodes that differ), without waiting for content; a device that knows nothing yet takes the
    /// trees as they are. On an error nothing has changed: [`Kind::Corrupt`] if anything does not verify or is
    /// refused, [`Kind::Unreachable`] if tree nodes cannot be had now.
    pub fn merge(&self, author: &[u8; 32], head: &[u8]) -> Result<Merged> {
        self.check_open()?;
        let incoming = open(&head::open_head(&self.sealer, author, head)?, author)?;
        let merged = {
            let _turn = self.sealing.lock();
            let merged = self.merge_turn(&incoming)?;
            self.save_lineage(false);
            // More than fits a journal entry goes into the trees at once.
            if merged.touched >= self.options.seal_at as u64 && !merged.adopted {
                self.seal_turn()?;
            }
            merged
        };
        self.tell();
        if merged.touched > 0 || merged.adopted {
            self.nudge();
        }
        Ok(merged)
    }

    /// Read and check all that a head's tree has otherwise than this device's, so that what is not here is fetched now: a
    /// merge holds up everybody while it waits. Kinds as for [`Self::merge`]; [`Kind::Interrupted`] when it is not to go on.
    pub fn look_into(&self, author: &[u8; 32], head: &[u8], goes_on: &dyn Fn() -> bool) -> Result<()> {
        self.check_open()?;
        let incoming = open(&head::open_head(&self.sealer, author, head)?, author)?;
        let mine = self.ns.lock().roots.raw.clone();
        for change in self.tree.diff(&mine, &incoming.body.raw) {
            if !goes_on() {
                return Err(Error::new(Kind::Interrupted, "look into a head", self.id.to_string()));
            }
            let change = change?;
            if let Some(value) = &change.new {
                check_node(&change.key, value, &incoming.body.vector)?;
            }
        }
        Ok(())
    }

    /// Whether a merge of this head ends before it looks at any tree: what matters then is that it does so soon.
    pub fn is_settled(&self, author: &[u8; 32], head: &[u8]) -> Result<bool> {
        let incoming = open(&head::open_head(&self.sealer, author, head)?, author)?;
        let Incoming { writer, seq, hash, body, .. } = &incoming;
        let ns = self.ns.lock();
        let known = ns.vector.get(*writer);
        let theirs_set_back =
            *writer != ns.writer && ns.lived.get(*writer).is_some_and(|(id, _)| body.lives.forked(id, known));
        let own = (ns.vector.get(ns.writer), body.lived.get(ns.writer), body.vector.get(ns.writer));
        let lost = ns.author.lives.lost(own.0, own.1, own.2).is_some();
        let news = matches!(ns.heads.compare(author, *seq, hash), Compared::Newer | Compared::Same);
        Ok(lost || theirs_set_back || !news)
    }

    /// What this volume knows.
    pub fn vector(&self) -> Vector {
        self.ns.lock().vector.clone()
    }

    fn merge_turn(&self, incoming: &Incoming) -> Result<Merged> {
        let Incoming { author, writer, seq, hash, body } = incoming;
        let (roots, empty) = {
            let mut ns = self.ns.lock();
            let known = ns.vector.get(*writer);
            let set_back =
                *writer != ns.writer && ns.lived.get(*writer).is_some_and(|(id, _)| body.lives.forked(id, known));
            if let Some(common) =
                ns.author.lives.lost(ns.vector.get(ns.writer), body.lived.get(ns.writer), body.vector.get(ns.writer))
            {
                tracing::debug!("others know changes of this device that it does not: it was set back or copied");
                self.set_back.fetch_or(common.is_some(), Ordering::AcqRel);
                return Ok(Merged { own_future: true, common, ..Merged::default() });
            }
            let covered = ns.vector.includes(&body.vector);
            match ns.heads.compare(author, *seq, hash) {
                Compared::Older | Compared::Newer if set_back && !covered => {
                    return Ok(Merged { set_back: true, ..Merged::default() });
                }
                Compared::Older => return Ok(Merged { rolled_back: true, ..Merged::default() }),
                Compared::Forked => {
                    tracing::error!(author = %crate::base::DeviceId(*author), seq, "an author signed two heads under one number");
                    ns.heads.remember(author, *seq, hash, true);
                    ns.restless = true;
                    return Ok(Merged { equivocated: true, ..Merged::default() });
                }
                Compared::Newer | Compared::Same => {}
            }
            if covered {
                self.remember(&mut ns, incoming);
                let diverged = ns.sealed == body.vector && ns.roots.raw.logical != body.raw.logical;
                if diverged {
                    tracing::error!(seq, "equal knowledge, different trees: keeping both heads");
                }
                return Ok(Merged { diverged, ..Merged::default() });
            }
            (ns.roots.clone(), ns.vector == Vector::default() && ns.unsealed.is_empty())
        };
        if empty { self.adopt_trees(incoming) } else { self.join(incoming, &roots.raw) }
    }

    fn remember(&self, ns: &mut Namespace, incoming: &Incoming) {
        if ns.heads.compare(&incoming.author, incoming.seq, &incoming.hash) == Compared::Newer {
            ns.heads.remember(&incoming.author, incoming.seq, &incoming.hash, false);
            ns.restless = true;
        }
        let most = Time(self.clock.now().0.saturating_add(MAX_AHEAD));
        let writer = ns.writer;
        self.lineage.lock().hear(&incoming.author, &incoming.body.vector);
        ns.clock.observe(Stamp { time: incoming.body.time.min(most), writer });
    }

    /// Join node by node where the trees differ.
    fn join(&self, incoming: &Incoming, mine: &Root) -> Result<Merged> {
        let theirs = self.differing(mine, &incoming.body)?;
        let busy = self.settle_before(theirs.iter().map(|(id, _)| *id));
        let mut guard = self.ns.lock();
        let ns = &mut *guard;
        let mut joined = Joined::new();
        for (id, theirs) in theirs {
            let mine = self.live_state(ns, id)?;
            let state = join_node((mine.as_ref(), &ns.vector), (theirs.as_ref(), &incoming.body.vector));
            if state.as_ref().zip(mine.as_ref()).is_some_and(|(a, b)| a.kind != b.kind) {
                return Err(refused("a node changed its kind"));
            }
            if busy.contains(&id) && !state.as_ref().is_some_and(is_live) {
                let why = "a file that was removed elsewhere is being written here";
                return Err(Error::new(Kind::Busy, "merge", id.to_string()).with_source(why));
            }
            if let Some(state) = state.as_ref().filter(|_| state != mine) {
                let (vector, author) = (&incoming.body.vector, &incoming.author);
                self.lineage.lock().meet(&Meeting { node: id, mine: mine.as_ref(), state, vector, author });
            }
            if state != mine {
                joined.insert(id, state);
            }
        }
        let touched: BTreeSet<NodeId> = ns.view.doubted().into_iter().chain(joined.keys().copied()).collect();
        let count = joined.len() as u64;
        let prepared = self.prepare(ns, &touched, joined).inspect_err(|_| {
            ns.view.doubt_all(&touched);
        })?;
        tracing::debug!(nodes = count, shifts = prepared.len(), "merging");
        self.show(ns, prepared);
        let (body, before) = (&incoming.body, ns.vector.clone());
        ns.lived.unite(&before, (&body.vector, &body.lived));
        ns.vector.unite(&body.vector);
        ns.shared = true;
        ns.restless = true;
        self.remember(ns, incoming);
        Ok(Merged { touched: count, conflicts: ns.view.table().len() as u64, ..Merged::default() })
    }

    /// Make what is being written to these files a version of theirs, so that it is joined as the edit it is. The
    /// files for which that cannot be done now: they stay open over what they were, see [`Self::show`].
    pub(super) fn settle_before(&self, ids: impl Iterator<Item = NodeId>) -> BTreeSet<NodeId> {
        let open: Vec<_> = {
            let ns = self.ns.lock();
            let resident = |id| ns.table.resident(ns.table.number(id)).cloned();
            ids.filter_map(resident).filter(|inode| inode.inner.lock().is_unsettled()).collect()
        };
        let mut busy = BTreeSet::new();
        for inode in open {
            let done = (0..8).any(|_| self.settle(&inode).is_ok_and(|done| done));
            if !done {
                busy.insert(inode.id);
            }
        }
        busy
    }

    /// Their states of the nodes where our sealed tree and theirs differ, checked.
    fn differing(&self, mine: &Root, body: &HeadBody) -> Result<Vec<(NodeId, Option<NodeState>)>> {
        let mut out = Vec::new();
        for change in self.tree.diff(mine, &body.raw) {
            let change = change?;
            let entry = match &change.new {
                Some(value) => {
                    let (id, state) = check_node(&change.key, value, &body.vector)?;
                    (id, Some(state))
                }
                None => (NodeId::from_slice(&change.key).ok_or_else(|| refused("a key is no node id"))?, None),
            };
            out.push(entry);
        }
        Ok(out)
    }

    /// This device knows nothing: their trees become its own. O(1) but for the table of what shows otherwise.
    fn adopt_trees(&self, incoming: &Incoming) -> Result<Merged> {
        let body = &incoming.body;
        let table = Arc::new(self.load_shown(&body.displaced)?);
        let root = self.tree.get(&body.raw, NodeId::ROOT.as_bytes())?;
        let root = root.ok_or_else(|| refused("a volume without a root"))?;
        check_node(NodeId::ROOT.as_bytes(), &root, &body.vector)?;
        let _journal = self.journal.lock();
        self.news.lock().forget();
        let mut snapshot = {
            let mut ns = self.ns.lock();
            if ns.vector != Vector::default() || !ns.unsealed.is_empty() {
                return Err(Error::new(Kind::Busy, "take over a volume", "something was changed meanwhile"));
            }
            self.remember(&mut ns, incoming);
            self.snapshot_of(&ns)
        };
        let mut roots = (*snapshot.roots).clone();
        (roots.raw, roots.index, roots.displaced) = (body.raw.clone(), body.index.clone(), body.displaced.clone());
        (roots.root_subdirs, roots.totals) = (body.root_subdirs, body.totals);
        (snapshot.roots, snapshot.vector) = (Arc::new(roots), body.vector.clone());
        snapshot.lived = body.lived.clone();
        snapshot.shared = true;
        (snapshot.table, snapshot.sealed_table) = (table.clone(), table.clone());
        let folded = self.fold(&snapshot)?;
        {
            let mut ns = self.ns.lock();
            ns.vector = body.vector.clone();
            ns.lived = body.lived.clone();
            ns.shared = true;
            ns.view.set(table);
        }
        self.complete(&snapshot, folded);
        let conflicts = self.ns.lock().view.table().len() as u64;
        Ok(Merged { touched: body.raw.count, conflicts, adopted: true, ..Merged::default() })
    }

    /// Read a sealed table of what shows otherwise.
    pub(super) fn load_shown(&self, root: &Root) -> Result<Displaced> {
        let mut table = Displaced::default();
        for entry in self.tree.range(root, &[]) {
            let (key, value) = entry?;
            let id = NodeId::from_slice(&key).ok_or_else(|| refused("a key is no node id"))?;
            let odd = postcard::from_bytes(&value)
                .map_err(|e| Error::new(Kind::Corrupt, "decode names", id.to_string()).with_source(e))?;
            table.insert(id, odd);
        }
        Ok(table)
    }
}

/// Whether any name leads to it.
fn is_live(state: &NodeState) -> bool {
    state.places().any(|(_, place)| place.parent != NodeId::TRASH)
}

/// Decode and check what a head says.
pub(super) fn decode(head: &OpenedHead) -> Result<HeadBody> {
    let body: HeadBody =
        postcard::from_bytes(&head.body).map_err(|e| Error::new(Kind::Corrupt, "decode head", "").with_source(e))?;
    check_vector(&body.vector)?;
    Ok(body)
}

fn open(head: &OpenedHead, author: &[u8; 32]) -> Result<Incoming> {
    let body = decode(head)?;
    Ok(Incoming { author: *author, writer: head.writer, seq: head.seq, hash: head.hash, body })
}

fn refused(why: &'static str) -> Error {
    Error::new(Kind::Corrupt, "merge", why)
}
