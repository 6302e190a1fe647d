//! Opening a volume: the last checkpoint, then the journal replayed over it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::author::Author;
use super::content::Gauge;
use super::elsewhere::Rule;
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
use crate::causal::{Displaced, Field, NodeKind, NodeState, Register, Shown, Value, Vector, copy_id};
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
            damaged: recovery.quarantined.iter().map(ToString::to_string).collect(),
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
        volume.load_lineage();
        opened.created &= !setup.options.read_only;
        if setup.shared || setup.joined || volume.is_shared() {
            volume.share();
        }
        volume.begin_life(setup.device);
        let volume = Arc::new(volume);
        if opened.created && !setup.joined {
            volume.found(setup.owner)?;
        }
        volume.threads.start(&volume, setup.options.workers).io("start threads", || "volume".into())?;
        if opened.replayed > 0 || !volume.unsettled.lock().is_empty() {
            volume.nudge();
        }
        Ok((volume, opened))
    }

    /// A volume without content.
    fn empty(setup: &Setup<'_>, genesis: &Genesis, log: Arc<Log>, index: Option<&Path>, doubt: bool) -> Result<Self> {
        let Options { dirty_max, cache, tree_cache, residents, unsealed_max, compress, .. } = setup.options;
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
        let mut blocks =
            Blocks::new(log, sealer.clone(), index, options).with_entropy(setup.entropy.clone()).with_doubt(doubt);
        if let Some(fetch) = &setup.fetch {
            blocks = blocks.with_fetch(fetch.clone());
        }
        let blocks = Arc::new(blocks);
        let tree = Tree::new(Arc::new(TreeBlocks(blocks.clone())), sealer.logical_key(), tree_cache);
        let empty = tree.empty();
        let roots = Roots {
            raw: empty.clone(),
            local: empty.clone(),
            index: empty.clone(),
            displaced: empty,
            root_subdirs: 0,
            totals: Totals::default(),
            seq: 0,
            head: [0; 32],
        };
        let writer = setup.writer.unwrap_or(secrets.writer);
        let author = Author::new(setup.device, secrets.id, secrets.incarnation);
        let ns = Namespace::new(roots, Vector::default(), (writer, author), setup.clock.now(), residents);
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
            sealing: Mutex::new(()),
            storing: RwLock::new(()),
            collecting: Mutex::new(()),
            sweeps: AtomicU64::new(0),
            journal: Mutex::new(()),
            ns: Mutex::new(ns),
            unsettled: Mutex::default(),
            gauge: Gauge::new(dirty_max),
            brake: super::brake::Brake::new(unsealed_max),
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
            only_reads: AtomicBool::new(false),
            dir: setup.dir.clone(),
            tended: Mutex::new(Tended::default()),
            listeners: super::notes::Listeners::default(),
            announced: Mutex::new(Arc::from([])),
            promises: Mutex::default(),
            lineage: Mutex::default(),
            label: setup.label.clone(),
            set_back: AtomicBool::new(false),
            others: AtomicBool::new(false),
            readers: super::content::Readers::default(),
            news: Mutex::default(),
            own: RwLock::default(),
            public: RwLock::default(),
            lazy: setup.fetch.is_some(),
            stored: AtomicBool::new(false),
            elsewhere: Rule::default(),
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
        let mut replay = Replay { volume: self, subdirs: HashMap::new(), before: Arc::default() };
        if let Some(checkpoint) = checkpoint {
            let shown = Arc::new(self.load_shown(&checkpoint.roots.displaced)?);
            *self.announced.lock() = checkpoint.head.into();
            {
                let mut ns = self.ns.lock();
                ns.roots = Arc::new(checkpoint.roots);
                ns.sealed.clone_from(&checkpoint.vector);
                ns.vector = checkpoint.vector;
                ns.heads = checkpoint.heads;
                ns.shared = checkpoint.shared;
                ns.view.set(shown.clone());
                ns.view.set_sealed(shown);
                ns.clock.observe(crate::causal::Stamp { time: checkpoint.clock, writer: checkpoint.standing.writer });
                ns.take_standing(checkpoint.standing);
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
    /// What showed otherwise before the entry at hand.
    before: Arc<Displaced>,
}

impl Replay<'_> {
    fn batch(&mut self, batch: Batch) -> Result<()> {
        {
            let mut ns = self.volume.ns.lock();
            ns.vector.unite(&batch.vector);
            let writer = ns.writer;
            ns.clock.observe(crate::causal::Stamp { time: batch.clock, writer });
            self.before = ns.view.table().clone();
            if let Some(beside) = batch.beside {
                ns.view.set(Arc::new(beside.shown));
                ns.heads = beside.heads;
                ns.shared |= beside.shared;
                if beside.standing.writer != ns.writer {
                    // What this device had known of itself it knows no more.
                    ns.vector = batch.vector;
                }
                ns.take_standing(beside.standing);
            }
        }
        batch.changes.into_iter().try_for_each(|change| self.change(change))?;
        self.lost()
    }

    /// The directory of what lost its place came or went.
    fn lost(&mut self) -> Result<()> {
        let mut ns = self.volume.ns.lock();
        let now = ns.view.table().lost().cloned();
        let was = self.before.lost().cloned();
        if now == was {
            return Ok(());
        }
        for (name, change) in was.into_iter().map(|n| (n, -1)).chain(now.into_iter().map(|n| (n, 1))) {
            let target = Target { id: NodeId::LOST, link: 0, kind: NodeKind::Directory };
            ns.rename_entry(NodeId::ROOT, name, (change > 0).then_some(target));
            *self.subdirs.entry(NodeId::ROOT).or_default() += change;
        }
        let root = self.volume.inode_held(&mut ns, NodeId::ROOT)?;
        let mut inner = root.inner.lock();
        ns.mark(&root, &mut inner);
        inner.journaled = inner.version;
        Ok(())
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
        let mut ns = self.volume.ns.lock();
        let table = ns.view.table().clone();
        let mut inner = inode.inner.lock();
        let fresh = inner.version == 1 && inner.sealed == 0 && inner.rows.is_empty() && inner.journaled == 0;
        let old = if fresh || inner.gone { Vec::new() } else { self.before.shows(id, &inner.state) };
        let new = state.as_ref().map(|state| table.shows(id, state)).unwrap_or_default();
        if !keep_pieces {
            inner.file = None;
        }
        let live = new.iter().any(Shown::is_live);
        ns.born += i64::from(inner.gone && state.is_some()) - i64::from(!inner.gone && state.is_none());
        inner.gone = state.is_none();
        inner.hidden = id != NodeId::ROOT && !live && (inner.gone || table.get(id).is_none());
        if let Some(state) = state {
            inner.state = state;
        }
        ns.mark(&inode, &mut inner);
        inner.journaled = inner.version;
        drop(inner);
        let at = |shown: &Shown| match shown.version {
            Some(dot) => Target { id: copy_id(id, dot), link: 0, kind: inode.kind },
            None => Target { id, link: shown.link, kind: inode.kind },
        };
        for shown in old.iter().filter(|s| s.is_live()) {
            if self.volume.find(&ns, shown.parent, shown.name.as_bytes())?.is_some_and(|t| t.id == at(shown).id) {
                ns.rename_entry(shown.parent, shown.name.clone(), None);
            }
            *self.subdirs.entry(shown.parent).or_default() -= i32::from(is_dir);
        }
        for shown in new.iter().filter(|s| s.is_live()) {
            ns.rename_entry(shown.parent, shown.name.clone(), Some(at(shown)));
            *self.subdirs.entry(shown.parent).or_default() += i32::from(is_dir);
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
