//! Several devices of one volume in one process, reading each other's blocks.

use std::fmt::Write;
use std::sync::Weak;

use super::*;
use crate::base::NodeId;
use crate::base::port::Clock;
use crate::cas::Fetch;
use crate::seal::{BlockType, Ref};

/// A clock that tests set, shared by all devices.
#[derive(Debug, Default)]
pub struct Hand(pub AtomicU64);

impl Clock for Hand {
    fn now(&self) -> crate::base::port::Time {
        // Every look moves it on: later is later, on whichever device.
        let now = self.0.fetch_add(1_000, Ordering::Relaxed);
        crate::base::port::Time(1_760_000_000_000_000_000 + i64::try_from(now).unwrap())
    }
}

/// Where a device finds blocks of others.
#[derive(Default)]
pub struct Others {
    volumes: Mutex<Vec<Weak<Volume>>>,
    pub cut_off: AtomicBool,
}

impl Fetch for Others {
    fn fetch(&self, _: BlockType, _: u8, r: &Ref) -> Result<Vec<u8>> {
        if self.cut_off.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Unreachable, "fetch", ""));
        }
        let all: Vec<_> = self.volumes.lock().iter().filter_map(Weak::upgrade).collect();
        let found = all.iter().find_map(|v| v.blocks().log().get(&r.bid).ok().flatten());
        found.ok_or_else(|| Error::new(Kind::NotFound, "fetch", r.bid.to_string()))
    }
}

pub struct Device {
    dir: tempfile::TempDir,
    root: DeviceRoot,
    pub others: Arc<Others>,
    volume: Option<Arc<Volume>>,
}

pub struct Cluster {
    secrets: VolumeSecrets,
    pub hand: Arc<Hand>,
    pub devices: Vec<Device>,
}

impl Cluster {
    /// `n` devices; the first makes the volume, the others join it at once.
    pub fn new(n: usize) -> Self {
        let cluster = Self::unjoined(n);
        for at in 1..n {
            cluster.tell(0, at);
        }
        cluster
    }

    pub fn unjoined(n: usize) -> Self {
        let home = Home::new();
        let mut cluster = Self { secrets: home.secrets, hand: Arc::default(), devices: Vec::new() };
        for at in 0..n {
            let root = DeviceRoot::generate(&Seeded::new(at as u64 + 1));
            let device = Device { dir: tempfile::tempdir().unwrap(), root, others: Arc::default(), volume: None };
            cluster.devices.push(device);
            cluster.open(at);
        }
        cluster
    }

    pub fn open(&mut self, at: usize) {
        // A worker of the volume that was dropped may still be on its way out.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let volume = loop {
            match Volume::open(self.setup(at)) {
                Err(e) if e.kind() == Kind::Busy && std::time::Instant::now() < deadline => std::thread::yield_now(),
                other => break other.unwrap().0,
            }
        };
        self.devices[at].volume = Some(volume);
        let weak: Vec<_> = self.devices.iter().map(|d| d.volume.as_ref().map(Arc::downgrade)).collect();
        for (n, device) in self.devices.iter().enumerate() {
            let others = weak.iter().enumerate().filter(|(m, _)| *m != n).filter_map(|(_, w)| w.clone());
            *device.others.volumes.lock() = others.collect();
        }
    }

    fn setup(&self, at: usize) -> Setup<'_> {
        let device = &self.devices[at];
        let mut setup = Setup::new(device.dir.path().join("v"), &device.root, &self.secrets, (0, 0));
        setup.writer = Some(at as u32 + 1);
        setup.joined = at > 0;
        setup.shared = true;
        setup.fetch = Some(device.others.clone());
        setup.clock = self.hand.clone();
        setup.entropy = Arc::new(Seeded::new(1000 + at as u64 + self.hand.0.load(Ordering::Relaxed)));
        setup.options = Options { workers: 1, cache: 1 << 20, tree_cache: 1 << 20, ..Options::default() };
        setup
    }

    /// What a backup of a device that does not run has.
    pub fn backup(&mut self, at: usize) -> tempfile::TempDir {
        self.v(at).close().unwrap();
        self.devices[at].volume = None;
        let kept = tempfile::tempdir().unwrap();
        copy(&self.devices[at].dir.path().join("v"), &kept.path().join("v"));
        self.open(at);
        kept
    }

    /// The backup comes back in place of what is there.
    pub fn restore(&mut self, at: usize, backup: &tempfile::TempDir) {
        self.devices[at].volume = None;
        let dir = self.devices[at].dir.path().join("v");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while std::fs::remove_dir_all(&dir).is_err() {
            assert!(std::time::Instant::now() < deadline); // a worker may still be writing
        }
        copy(&backup.path().join("v"), &dir);
        self.open(at);
    }

    /// A device that was set back goes on as `writer`.
    pub fn reborn(&self, at: usize, since: u64, writer: u32) -> u64 {
        let key = self.devices[at].root.author_key(self.secrets.id, writer);
        self.v(at).be_reborn(Reborn { since, writer, incarnation: writer, key }).unwrap()
    }

    /// As after a kill: no close, then open again.
    pub fn crash(&mut self, at: usize) {
        self.devices[at].volume = None;
        self.open(at);
    }

    pub fn v(&self, at: usize) -> &Arc<Volume> {
        self.devices[at].volume.as_ref().unwrap()
    }

    /// `to` hears from `from`.
    pub fn tell(&self, from: usize, to: usize) -> Merged {
        let said = self.v(from).announce().unwrap();
        self.v(to).merge(&self.v(from).author(), &said.head).unwrap()
    }

    /// Everybody tells everybody until nobody learns anything; then all must agree.
    pub fn meet(&self) -> Vec<String> {
        let n = self.devices.len();
        for _ in 0..2 {
            for from in 0..n {
                for to in (0..n).filter(|to| *to != from) {
                    let merged = self.tell(from, to);
                    assert!(!merged.diverged && !merged.rolled_back && !merged.equivocated, "{merged:?}");
                }
            }
        }
        let said: Vec<_> = (0..n).map(|at| self.v(at).announce().unwrap()).collect();
        let trees: Vec<_> = (0..n).map(|at| show(self.v(at))).collect();
        for at in 1..n {
            assert_eq!(said[at].vector, said[0].vector, "everybody knows the same");
            assert_eq!(trees[at], trees[0], "device {at} shows something else");
            assert_eq!(said[at].displaced.logical, said[0].displaced.logical, "device {at}");
            assert_eq!(said[at].raw.logical, said[0].raw.logical, "equal vectors, equal trees");
        }
        (0..n).for_each(|at| self.check(at));
        trees.into_iter().next().unwrap()
    }

    /// What shows is the view from scratch, and the sealed index is what shows.
    pub fn check(&self, at: usize) {
        let v = self.v(at);
        v.announce().unwrap();
        let (roots, table) = {
            let ns = v.ns.lock();
            (ns.roots.clone(), ns.view.table().clone())
        };
        let mut state = crate::causal::State::default();
        for entry in v.tree.range(&roots.raw, &[]) {
            let (key, value) = entry.unwrap();
            state.nodes.insert(NodeId::from_slice(&key).unwrap(), super::super::row::decode_state(&value).unwrap());
        }
        let view = crate::causal::View::of(&state, &|writer| format!("device {writer}"));
        let mut expected = Vec::new();
        for (dir, names) in view.directories.iter().filter(|(dir, _)| **dir != NodeId::TRASH) {
            for (name, entry) in names {
                let id = entry.version.map_or(entry.node, |dot| crate::causal::copy_id(entry.node, dot));
                expected.push((*dir, name.to_string(), id));
            }
        }
        if let Some(name) = table.lost() {
            expected.push((NodeId::ROOT, name.to_string(), NodeId::LOST));
        }
        expected.sort();
        let mut shown = Vec::new();
        for entry in v.tree.range(&roots.index, &[]) {
            let (key, value) = entry.unwrap();
            let (dir, name) = key.split_at(16);
            let dir = NodeId::from_slice(dir).unwrap();
            if dir != NodeId::TRASH {
                let row = super::super::row::Row::decode(&value).unwrap();
                shown.push((dir, String::from_utf8_lossy(name).into_owned(), row.node));
            }
        }
        shown.sort();
        assert_eq!(shown, expected, "device {at}: the index is the view from scratch");
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The tree as lines of `path = content`, directories with a slash; conflict marks as `(device N)`.
pub fn show(v: &Volume) -> Vec<String> {
    let mut out = Vec::new();
    walk(v, ROOT_INO, "", &mut out);
    out.into_iter().map(|line| shorten(&line)).collect()
}

fn walk(v: &Volume, dir: Ino, path: &str, out: &mut Vec<String>) {
    for name in names(v, dir) {
        let attr = v.lookup(dir, name.as_bytes()).unwrap_or_else(|e| panic!("{path}/{name}: {}", e.chain()));
        let here = format!("{path}{name}");
        if attr.kind == FileKind::Directory {
            out.push(format!("{here}/"));
            walk(v, attr.ino, &format!("{here}/"), out);
        } else {
            let data = read_all(v, attr.ino);
            assert_eq!(attr.size, data.len() as u64, "{here}");
            let text = if data.len() < 100 {
                String::from_utf8_lossy(&data).into_owned()
            } else {
                format!("{} bytes, {:02x?}", data.len(), &crate::base::hash(&[&data])[..4])
            };
            out.push(format!("{here} = {text}"));
        }
        v.forget(attr.ino, 1);
    }
}

fn shorten(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(" (conflict device ") {
        let (device, after) = after.split_once(' ').unwrap();
        write!(out, "{before}({device})").unwrap();
        rest = after.split_once(')').unwrap().1;
    }
    out + rest
}

/// Replace a file's content.
pub fn edit(v: &Volume, path: &str, data: &[u8]) {
    let ino = v.resolve(path.as_bytes()).unwrap();
    let fh = v.open(ino, true, true).unwrap();
    v.write(ino, 0, data).unwrap();
    v.release(fh).unwrap();
    v.sync().unwrap(); // settled now, so that later edits are later
}

fn split(v: &Volume, path: &str) -> (Ino, Vec<u8>) {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    (v.resolve(dir.as_bytes()).unwrap(), name.as_bytes().to_vec())
}

pub fn create(v: &Volume, path: &str, data: &[u8]) {
    let (dir, name) = split(v, path);
    put(v, dir, std::str::from_utf8(&name).unwrap(), data);
    v.sync().unwrap();
}

pub fn mkdir(v: &Volume, path: &str) {
    let (parent, name) = split(v, path);
    v.make(parent, &name, &super::dir()).unwrap();
}

pub fn remove(v: &Volume, path: &str) {
    let (parent, name) = split(v, path);
    match v.unlink(parent, &name) {
        Err(e) if e.kind() == Kind::IsDirectory => v.rmdir(parent, &name).unwrap(),
        other => other.unwrap(),
    }
}

pub fn rename(v: &Volume, from: &str, to: &str) {
    let ((a, from), (b, to)) = (split(v, from), split(v, to));
    v.rename(a, &from, b, &to, RenameMode::Replace).unwrap();
}
