//! Opening a volume: the last checkpoint, then the journal replayed over it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::content::Gauge;
use super::inode::Inode;
use super::journal::{Batch, Change, apply_pieces};
use super::namespace::{Names, Namespace, Roots, Target};
use super::options::Setup;
use super::row::Totals;
use super::sealing::Checkpoint;
use super::store::TreeBlocks;
use super::tend::Tended;
use super::work::{Bell, Threads, Work};
use super::{Options, Volume};
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Context, Error, Kind, NodeId, Result};
use crate::cas::{self, Blocks, Chunker, Chunking, DedupIndex};
use crate::causal::{Field, NodeKind, NodeState, Register, Value, Vector};
use crate::kv::arena::{self, Log, RealDisk, Recovery};
use crate::kv::local::Map;
use crate::seal::genesis::{self, Genesis};
use crate::tree::Tree;

/// What was found on opening.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// The volume was made now.
    pub created: bool,
    /// It was not closed properly the last time.
    pub unclean: bool,
    /// Journal entries replayed.
    pub replayed: usize,
    /// Damaged places in the log, described for people.
    pub damaged: Vec<String>,
}

impl Volume {
    /// Open a volume, or make it where there is none. Replays the journal; costs O(changes since the last
    /// seal), not O(nodes). [`Kind::Corrupt`] when the log's own records do not add up.
    pub fn open(setup: Setup<'_>) -> Result<(Arc<Self>, Opened)> {
        std::fs::create_dir_all(&setup.dir).io("make volume directory", || setup.dir.display().to_string())?;
        let disk = Arc::new(RealDisk::open(&setup.dir.join("log"))?);
        let (log, recovery) = Log::open(disk, arena::Options::default())?;
        let index = setup.dir.join("dedup");
        Self::assemble(setup, Arc::new(log), recovery, Some(&index))
    }

    #[allow(clippy::needless_pass_by_value)] // consumed in meaning: a setup opens one volume, a recovery restores one
    /// Put a volume together over an open log.
    pub(super) fn assemble(
        setup: Setup<'_>,
        log: Arc<Log>,
        recovery: Recovery,
        index: Option<&Path>,
    ) -> Result<(Arc<Self>, Opened)> {
        let (id, genesis) = Genesis::open(&setup.secrets.genesis)?;
        if id != setup.secrets.id {
            return Err(Error::new(Kind::Corrupt, "open volume", "its genesis belongs to another volume"));
        }
        let mut opened = Opened {
            created: recovery.checkpoint.is_none() && recovery.journal.is_empty(),
            unclean: recovery.unclean,
            replayed: recovery.journal.len(),
            damaged: recovery.quarantined.iter().map(|finding| format!("{finding:?}")).collect(),
        };
        if opened.created && !setup.make {
            let damage = opened.damaged.join(", ");
            let why = if damage.is_empty() { "its log is empty".to_owned() } else { damage };
            return Err(Error::new(Kind::Corrupt, "open volume", setup.dir.display().to_string()).with_source(why));
        }
        let volume = Self::empty(&setup, &genesis, log, index, recovery.unclean)?;
        let checkpoint = match &recovery.checkpoint {
            Some(sealed) => Some(volume.open_checkpoint(sealed)?),
            None => None,
        };
        volume.restore(checkpoint, &recovery.journal)?;
        opened.created &= !setup.options.read_only;
        let volume = Arc::new(volume);
        if opened.created {
            volume.found(setup.owner)?;
        }
        volume.threads.start(&volume, setup.options.workers).io("start threads", || "volume".into())?;
        if opened.replayed > 0 {
            volume.nudge();
        }
        Ok((volume, opened))
    }

    /// A volume without content.
    fn empty(setup: &Setup<'_>, genesis: &Genesis, log: Arc<Log>, index: Option<&Path>, doubt: bool) -> Result<Self> {
        let Options { dirty_max, cache, tree_cache, residents, compress, .. } = setup.options;
        let secrets = setup.secrets;
        let sealer = Arc::new(secrets.sealer()?);
        let chunking = match genesis.chunking {
            genesis::Chunking::Cdc { min, avg, max } => Chunking::Cdc { min, avg, max },
            genesis::Chunking::Fixed => Chunking::Fixed,
        };
        let local = || setup.device.local_sealer(secrets.id, setup.entropy.clone());
        let index = match index.map(Path::to_path_buf) {
            Some(path) => Some(DedupIndex::start(local(), move || Map::open(&path))?),
            None => None,
        };
        let dedup = genesis.dedup == genesis::Dedup::On;
        let options = cas::Options { compress, dedup, cache_bytes: cache };
        let blocks = Arc::new(
            Blocks::new(log, sealer.clone(), index, options).with_entropy(setup.entropy.clone()).with_doubt(doubt),
        );
        let tree = Tree::new(Arc::new(TreeBlocks(blocks.clone())), sealer.logical_key(), tree_cache);
        let empty = tree.empty();
        let roots = Roots {
            raw: empty.clone(),
            local: empty.clone(),
            index: empty,
            root_subdirs: 0,
            totals: Totals::default(),
            seq: 0,
            head: [0; 32],
        };
        let writer = secrets.writer;
        let ns = Namespace::new(roots, Vector::default(), writer, setup.clock.now(), residents);
        Ok(Self {
            id: secrets.id,
            options: setup.options,
            clock: setup.clock.clone(),
            entropy: setup.entropy.clone(),
            blocks,
            tree,
            chunker: Chunker::new(&sealer.cut_key(), chunking)?,
            sealer,
            local: local(),
            author: setup.device.author_key(secrets.id, secrets.incarnation),
            sealing: Mutex::new(()),
            storing: RwLock::new(()),
            collecting: Mutex::new(()),
            journal: Mutex::new(()),
            ns: Mutex::new(ns),
            unsettled: Mutex::default(),
            gauge: Gauge::new(dirty_max),
            room: super::room::Room::default(),
            listings: super::ops::Listings::default(),
            work: Arc::new(Work::default()),
            bell: Arc::new(Bell::default()),
            threads: Threads::default(),
            piece: AtomicU64::new(1),
            nudges: AtomicU64::new(0),
            garbage: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            read_only: setup.options.read_only,
            dir: setup.dir.clone(),
            tended: Mutex::new(Tended::default()),
        })
    }

    /// The first node of a new volume, made durable at once.
    fn found(&self, (uid, gid): (u32, u32)) -> Result<()> {
        {
            let mut ns = self.ns.lock();
            if ns.table.resident(super::api::ROOT_INO).is_some() {
                return Ok(());
            }
            let (_, stamp) = ns.tick(&*self.clock);
            let mut state = NodeState {
                kind: NodeKind::Directory,
                born: stamp.time,
                links: Vec::new(),
                content: Register::default(),
                attributes: Vec::new(),
            };
            state.set_attribute(Field::Mode, Value::Mode(0o755), stamp);
            state.set_attribute(Field::Owner, Value::Owner(uid, gid), stamp);
            let inode = ns.table.admit(Inode::fresh(super::api::ROOT_INO, NodeId::ROOT, state));
            let mut inner = inode.inner.lock();
            ns.touch(&inode, &mut inner);
            ns.names.insert(NodeId::ROOT, Names { fresh: true, ..Names::default() });
            ns.born += 1;
        }
        self.seal()
    }

    /// Bring the live state to where the checkpoint and the journal end.
    fn restore(&self, checkpoint: Option<Checkpoint>, journal: &[Vec<u8>]) -> Result<()> {
        let mut replay = Replay { volume: self, subdirs: HashMap::new() };
        if let Some(checkpoint) = checkpoint {
            {
                let mut ns = self.ns.lock();
                ns.roots = Arc::new(checkpoint.roots);
                ns.vector = checkpoint.vector;
                ns.clock.observe(crate::causal::Stamp { time: checkpoint.clock, writer: checkpoint.writer });
            }
            self.note_garbage(checkpoint.garbage);
            for pieces in checkpoint.carried {
                replay.change(Change::Pieces(pieces))?;
            }
        }
        for sealed in journal {
            replay.batch(self.open_batch(sealed)?)?;
        }
        replay.finish()
    }
}

/// Applies journal entries.
struct Replay<'v> {
    volume: &'v Volume,
    /// Directories gained or lost by each directory.
    subdirs: HashMap<NodeId, i32>,
}

impl Replay<'_> {
    fn batch(&mut self, batch: Batch) -> Result<()> {
        {
            let mut ns = self.volume.ns.lock();
            ns.vector.unite(&batch.vector);
            let writer = ns.writer;
            ns.clock.observe(crate::causal::Stamp { time: batch.clock, writer });
        }
        batch.changes.into_iter().try_for_each(|change| self.change(change))
    }

    fn change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Node { id, state, keep_pieces } => self.node(id, state, keep_pieces),
            Change::Pieces(pieces) => {
                let inode = self.existing(pieces.id)?;
                let Some(inode) = inode else { return Ok(()) };
                let mut inner = inode.inner.lock();
                apply_pieces(&mut inner, &pieces)?;
                if let Some(file) = inner.file.as_mut() {
                    file.listed = true;
                }
                drop(inner);
                self.volume.unsettled.lock().insert(inode.ino, inode);
                Ok(())
            }
        }
    }

    /// The node as known so far; `None` if there is none.
    fn existing(&self, id: NodeId) -> Result<Option<Arc<Inode>>> {
        match self.volume.inode_held(&mut self.volume.ns.lock(), id) {
            Ok(inode) => Ok(Some(inode)),
            Err(e) if e.kind() == Kind::Stale => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn node(&mut self, id: NodeId, state: Option<NodeState>, keep_pieces: bool) -> Result<()> {
        let inode = match (self.existing(id)?, &state) {
            (Some(inode), _) => inode,
            (None, None) => return Ok(()),
            (None, Some(state)) => self.born(id, state),
        };
        let is_dir = inode.is_dir();
        let places = |state: &NodeState| -> Vec<_> {
            state.places().map(|(link, p)| (link, p.parent, p.name.clone())).collect()
        };
        let mut ns = self.volume.ns.lock();
        let mut inner = inode.inner.lock();
        let fresh = inner.version == 1 && inner.sealed == 0 && inner.rows.is_empty() && inner.journaled == 0;
        let old = if fresh { Vec::new() } else { places(&inner.state) };
        let new = state.as_ref().map(places).unwrap_or_default();
        if !keep_pieces {
            inner.file = None;
        }
        if let Some(state) = state {
            inner.state = state;
        } else {
            inner.state.links.clear();
            ns.born -= 1;
        }
        ns.touch(&inode, &mut inner);
        inner.journaled = inner.version;
        drop(inner);
        for (_, parent, name) in &old {
            if self.volume.find(&ns, *parent, name.as_bytes())?.is_some_and(|t| t.id == id) {
                ns.rename_entry(*parent, name.clone(), None);
            }
            *self.subdirs.entry(*parent).or_default() -= i32::from(is_dir);
        }
        for (link, parent, name) in new {
            ns.rename_entry(parent, name, Some(Target { id, link, kind: inode.kind }));
            *self.subdirs.entry(parent).or_default() += i32::from(is_dir);
        }
        Ok(())
    }

    /// A node the trees do not know.
    fn born(&self, id: NodeId, state: &NodeState) -> Arc<Inode> {
        let mut ns = self.volume.ns.lock();
        let ino = ns.table.number(id);
        let inode = ns.table.admit(Inode::fresh(ino, id, state.clone()));
        if inode.is_dir() {
            ns.names.entry(id).or_insert_with(|| Names { fresh: true, ..Names::default() });
        }
        ns.born += 1;
        inode
    }

    fn finish(self) -> Result<()> {
        let mut ns = self.volume.ns.lock();
        for (dir, change) in self.subdirs {
            match self.volume.inode_held(&mut ns, dir) {
                Ok(inode) => {
                    let mut inner = inode.inner.lock();
                    inner.subdirs = inner.subdirs.saturating_add_signed(change);
                }
                Err(e) if e.kind() == Kind::Stale => {}
                Err(e) => return Err(e),
            }
        }
        ns.unjournaled.clear();
        Ok(())
    }
}
