//! The two filesystems side by side, and which nodes of one are which of the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use fstests::harness::bytes::Random;
use fstests::model::ModelFs;
use lovage::base::port::{Seeded, Time};
use lovage::base::{Kind, Result};
use lovage::seal::genesis::{Chunking, Dedup, Genesis};
use lovage::seal::{DeviceRoot, EpochSecret, VolumeSecrets};
use lovage::volume::api::{Attr, EntryName, Fh, FileKind, Ino, ROOT_INO};
use lovage::volume::{FileSystem, Options, Setup, Volume};

/// One node, in both.
#[derive(Debug, Clone)]
pub struct Node {
    pub ours: Ino,
    pub theirs: Ino,
    pub kind: FileKind,
    /// Open handles, in both.
    pub handles: Vec<(Fh, Fh)>,
}

/// A volume in a temporary directory, and the model.
pub struct Pair {
    pub random: Random,
    pub model: ModelFs,
    pub volume: Arc<Volume>,
    pub nodes: Vec<Node>,
    /// What was done, for whoever looks into a divergence.
    pub trace: Vec<String>,
    home: tempfile::TempDir,
    device: DeviceRoot,
    secrets: VolumeSecrets,
}

/// Memory where there is some: thousands of volumes are made.
fn place() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn secrets(device: &DeviceRoot) -> VolumeSecrets {
    let admin = device.admin_key(&[7; 32]);
    let genesis = Genesis {
        admin: admin.public(),
        nonce: [7; 32],
        name: String::new(),
        // Small chunks, so that small files have boundaries.
        chunking: Chunking::Cdc { min: 1 << 10, avg: 4 << 10, max: 16 << 10 },
        dedup: Dedup::On,
        created: Time(0),
    };
    let (id, genesis) = genesis.sign(&admin).unwrap();
    VolumeSecrets::founded(id, genesis, EpochSecret::new([9; 32]))
}

fn open(home: &tempfile::TempDir, device: &DeviceRoot, secrets: &VolumeSecrets) -> Arc<Volume> {
    let mut setup = Setup::new(home.path().join("v"), device, secrets, (0, 0));
    setup.options = Options { dirty_max: 4 << 20, workers: 1, residents: 16, seal_at: 24, ..Options::default() };
    Volume::open(setup).unwrap().0
}

impl Pair {
    pub fn new(seed: u64) -> Self {
        let (home, device) = (place(), DeviceRoot::generate(&Seeded::new(seed)));
        let secrets = secrets(&device);
        let volume = open(&home, &device, &secrets);
        let root = Node { ours: ROOT_INO, theirs: ROOT_INO, kind: FileKind::Directory, handles: Vec::new() };
        let (random, model) = (Random::new(seed), ModelFs::default());
        Self { random, model, volume, nodes: vec![root], trace: Vec::new(), home, device, secrets }
    }

    /// `steps` operations, remounts and crashes in between, and a last look after a clean one.
    pub fn run(&mut self, steps: usize) -> usize {
        for step in 0..steps {
            match self.random.below(100) {
                0 => self.remount(),
                1 => self.crash(),
                2 => self.compare("midway"),
                3 => self.collect(),
                _ => self.step(step),
            }
        }
        self.crash();
        self.remount();
        steps
    }

    /// What nothing refers to goes; nothing else may.
    fn collect(&mut self) {
        self.trace.push("collect".into());
        self.volume.collect(false, &mut |_, _, _| Ok(())).unwrap();
        self.compare("after a collection");
    }

    /// Close and open again.
    fn remount(&mut self) {
        self.trace.push("remount".into());
        self.let_go();
        self.volume.close().unwrap();
        self.reopen();
        self.compare("after a remount");
    }

    /// Everything synced, then the process is gone: what memory knows is lost, what it began is not finished.
    fn crash(&mut self) {
        self.trace.push("crash".into());
        self.let_go();
        self.volume.sync_all().unwrap();
        self.reopen();
        self.compare("after a crash");
    }

    /// On a copy of what the disk has: the volume until now holds its directory as long as it lives.
    fn reopen(&mut self) {
        let home = place();
        copy(&self.home.path().join("v"), &home.path().join("v"));
        self.home = home;
        self.volume = open(&self.home, &self.device, &self.secrets);
    }

    fn let_go(&mut self) {
        for node in &mut self.nodes {
            for (ours, theirs) in node.handles.drain(..) {
                self.volume.release(ours).unwrap();
                self.model.release(theirs).unwrap();
            }
        }
    }

    /// Walks both trees, compares all there is, and learns the numbers anew.
    pub fn compare(&mut self, when: &str) {
        let handles: BTreeMap<Ino, Vec<(Fh, Fh)>> = self.nodes.iter().map(|n| (n.theirs, n.handles.clone())).collect();
        let mut open: Vec<Node> = std::mem::take(&mut self.nodes);
        open.retain(|n| !n.handles.is_empty());
        self.visit(ROOT_INO, ROOT_INO, when);
        for node in &mut self.nodes {
            node.handles = handles.get(&node.theirs).cloned().unwrap_or_default();
        }
        for node in open {
            if !self.nodes.iter().any(|n| n.theirs == node.theirs) {
                self.nodes.push(node);
            }
        }
    }

    fn visit(&mut self, ours: Ino, theirs: Ino, when: &str) {
        let (mine, other) = (self.volume.getattr(ours).unwrap(), self.model.getattr(theirs).unwrap());
        assert_eq!(shown(&mine), shown(&other), "{when}");
        self.same_attributes(ours, theirs, when);
        let known = self.nodes.iter().any(|n| n.theirs == theirs);
        if !known {
            self.nodes.push(Node { ours, theirs, kind: mine.kind, handles: Vec::new() });
        }
        match mine.kind {
            FileKind::File => {
                let len = u32::try_from(mine.size).unwrap();
                let (a, b) = (outcome(self.volume.read(ours, 0, len)), outcome(self.model.read(theirs, 0, len)));
                assert!(a == b, "{when}: content of {theirs}: {}", difference(&a, &b));
            }
            FileKind::Symlink => {
                assert_eq!(self.volume.readlink(ours).unwrap(), self.model.readlink(theirs).unwrap(), "{when}");
            }
            FileKind::Directory if !known => {
                let (mine, other) = (list(&*self.volume, ours), list(&self.model, theirs));
                assert_eq!(mine, other, "{when}: names");
                for name in mine {
                    let a = self.volume.lookup(ours, &name).unwrap();
                    let b = self.model.lookup(theirs, &name).unwrap();
                    self.visit(a.ino, b.ino, when);
                }
            }
            _ => {}
        }
    }

    fn same_attributes(&self, ours: Ino, theirs: Ino, when: &str) {
        let sorted = |names: Result<Vec<Vec<u8>>>| {
            let mut names = names.unwrap();
            names.sort();
            names
        };
        let names = sorted(self.volume.listxattr(ours));
        assert_eq!(names, sorted(self.model.listxattr(theirs)), "{when}: attributes");
        for name in names {
            assert_eq!(self.volume.getxattr(ours, &name).unwrap(), self.model.getxattr(theirs, &name).unwrap());
        }
    }
}

/// What both must show alike: times are of their own clocks, and who stores what where is nobody's business.
pub fn shown(attr: &Attr) -> (FileKind, u16, u32, u32, u32, u64) {
    let size = if attr.kind == FileKind::Directory { 0 } else { attr.size };
    (attr.kind, attr.perm, attr.nlink, attr.uid, attr.gid, size)
}

/// The names in a directory, sorted.
fn list(fs: &dyn FileSystem, ino: Ino) -> Vec<Vec<u8>> {
    let fh = fs.opendir(ino).unwrap();
    let (mut names, mut cookie) = (Vec::new(), 0);
    loop {
        let before = names.len();
        fs.readdir(fh, cookie, &mut |entry, _| {
            cookie = entry.cookie;
            if let EntryName::Child(name) = &entry.name {
                names.push(name.as_bytes().to_vec());
            }
            true
        })
        .unwrap();
        if names.len() == before {
            break;
        }
    }
    fs.releasedir(fh).unwrap();
    names.sort();
    names
}

/// What a crash leaves. The dedup index, which lovage makes anew where it is lost, writes and removes files of its own
/// meanwhile: what vanishes of it while it is copied is not there after the crash.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = std::process::Command::new("cp").arg("-a").arg("--sparse=always").arg(from).arg(to).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    let vanished = |line: &str| line.contains("/dedup/") && line.contains("No such file or directory");
    assert!(done.status.success() || (!said.is_empty() && said.lines().all(vanished)), "{said}");
}

/// The kind of an error, or the answer.
pub fn outcome<T>(result: Result<T>) -> std::result::Result<T, Kind> {
    result.map_err(|e| e.kind())
}

/// Where two contents part.
pub fn difference(a: &std::result::Result<Vec<u8>, Kind>, b: &std::result::Result<Vec<u8>, Kind>) -> String {
    let (Ok(a), Ok(b)) = (a, b) else { return format!("{:?}, not {:?}", a.as_ref().err(), b.as_ref().err()) };
    let at = a.iter().zip(b).position(|(x, y)| x != y);
    format!("{} bytes, not {}; first difference at {at:?}", a.len(), b.len())
}
