//! A disk that remembers every write and every flush: one file served over FUSE, to put under a loop device.
//!
//! From its log come the disks a power cut could have left: everything up to a flush, and any part of what
//! followed it, in any order, torn at any sector. Lives in memory; must never touch a real disk.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};

use super::bytes::Random;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// What reached the disk.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Bytes at an offset.
    Write(u64, Arc<[u8]>),
    /// Everything before it is durable.
    Flush,
}

/// The content of a disk, sparse.
#[derive(Debug, Clone, Default)]
pub struct Pages(HashMap<u64, Arc<[u8; PAGE]>>);

impl Pages {
    /// Reads an image file, skipping holes and zeros.
    pub fn load(path: &Path) -> io::Result<Self> {
        let (mut pages, mut file) = (Pages::default(), File::open(path)?);
        let len = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut chunk = vec![0; 1 << 20];
        let mut at = 0;
        while at < len {
            let n = usize::try_from((len - at).min(1 << 20)).unwrap_or(0);
            file.read_exact(&mut chunk[..n])?;
            for (index, page) in chunk[..n].chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|b| *b != 0)) {
                pages.write(at + (index * PAGE) as u64, page);
            }
            at += n as u64;
        }
        Ok(pages)
    }

    /// Overwrites bytes at any offset.
    pub fn write(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let within = usize::try_from(offset % PAGE as u64).unwrap_or(0);
            let n = data.len().min(PAGE - within);
            let page = self.0.entry(offset / PAGE as u64).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + n].copy_from_slice(&data[..n]);
            offset += n as u64;
            data = &data[n..];
        }
    }

    fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let at = offset + out.len() as u64;
            let within = usize::try_from(at % PAGE as u64).unwrap_or(0);
            let n = (len - out.len()).min(PAGE - within);
            match self.0.get(&(at / PAGE as u64)) {
                Some(page) => out.extend_from_slice(&page[within..within + n]),
                None => out.resize(out.len() + n, 0),
            }
        }
        out
    }

    /// Writes a sparse image file.
    pub fn store(&self, path: &Path, size: u64) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(size)?;
        let mut order: Vec<_> = self.0.iter().collect();
        order.sort_by_key(|(at, _)| **at);
        order.into_iter().try_for_each(|(at, page)| file.write_all_at(&page[..], at * PAGE as u64))
    }
}

struct State {
    pages: Pages,
    log: Vec<Entry>,
}

/// The running disk.
pub struct Disk {
    state: Arc<Mutex<State>>,
    base: Pages,
    size: u64,
    dir: PathBuf,
    session: Option<BackgroundSession>,
}

struct Served {
    state: Arc<Mutex<State>>,
    size: u64,
}

impl Disk {
    /// Serves the content of `image` as `DIR/disk`.
    pub fn serve(image: &Path, dir: &Path) -> io::Result<Self> {
        let base = Pages::load(image)?;
        let size = std::fs::metadata(image)?.len();
        let state = Arc::new(Mutex::new(State { pages: base.clone(), log: Vec::new() }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("fstests-disk".to_owned())];
        let session = fuser::spawn_mount(Served { state: Arc::clone(&state), size }, dir, &config)?;
        Ok(Disk { state, base, size, dir: dir.to_owned(), session: Some(session) })
    }

    /// The file to put a loop device on.
    pub fn file(&self) -> PathBuf {
        self.dir.join("disk")
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A function that tells the length of the log.
    pub fn position(&self) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let state = Arc::clone(&self.state);
        Arc::new(move || state.lock().unwrap().log.len() as u64)
    }

    /// Stops serving and gives what is needed to make crash images.
    pub fn finish(mut self) -> Recording {
        let log = std::mem::take(&mut self.state.lock().unwrap().log);
        self.session.take();
        Recording { base: std::mem::take(&mut self.base), log, size: self.size }
    }
}

/// Everything a disk went through.
#[derive(Debug)]
pub struct Recording {
    base: Pages,
    /// Writes and flushes in order.
    pub log: Vec<Entry>,
    size: u64,
}

/// What may have happened to writes after the last flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// None of them arrived.
    Lost,
    /// All of them arrived.
    Arrived,
    /// Each arrived or not, in any order, the last perhaps in part.
    Shuffled(u64),
}

impl Recording {
    /// Index just after each flush.
    pub fn flushes(&self) -> Vec<usize> {
        self.log.iter().enumerate().filter(|(_, e)| matches!(e, Entry::Flush)).map(|(at, _)| at + 1).collect()
    }

    /// The disk after a power cut when `cut` entries had been issued.
    pub fn image(&self, cut: usize, fate: Fate) -> Pages {
        let flushed = self.log[..cut].iter().rposition(|e| matches!(e, Entry::Flush)).unwrap_or(0);
        self.image_from(flushed, cut, fate)
    }

    /// As `image`, with nothing after `durable` entries guaranteed: what a disk that lies about flushes leaves.
    pub fn image_from(&self, durable: usize, cut: usize, fate: Fate) -> Pages {
        let mut pages = self.base.clone();
        for entry in &self.log[..durable] {
            apply(&mut pages, entry);
        }
        let tail = &self.log[durable..cut];
        match fate {
            Fate::Lost => {}
            Fate::Arrived => tail.iter().for_each(|entry| apply(&mut pages, entry)),
            Fate::Shuffled(seed) => shuffled(&mut pages, tail, &mut Random::new(seed)),
        }
        pages
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.size
    }
}

fn apply(pages: &mut Pages, entry: &Entry) {
    if let Entry::Write(offset, data) = entry {
        pages.write(*offset, data);
    }
}

/// Half of the writes, in any order, each third one torn into a random set of its sectors.
fn shuffled(pages: &mut Pages, tail: &[Entry], random: &mut Random) {
    let mut order: Vec<&Entry> = tail.iter().filter(|_| random.below(2) == 0).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.index(at + 1));
    }
    for entry in order {
        let Entry::Write(offset, data) = entry else { continue };
        if random.below(3) > 0 {
            pages.write(*offset, data);
            continue;
        }
        for (index, sector) in data.chunks(SECTOR).enumerate() {
            if random.below(2) == 0 {
                pages.write(offset + (index * SECTOR) as u64, sector);
            }
        }
    }
}

impl Served {
    fn attr(&self, ino: u64) -> FileAttr {
        let root = ino == 1;
        FileAttr {
            ino: INodeNo(ino),
            size: if root { 0 } else { self.size },
            blocks: if root { 0 } else { self.size / 512 },
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if root { FileType::Directory } else { FileType::RegularFile },
            perm: if root { 0o755 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

const FOREVER: Duration = Duration::from_secs(3600);

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == "disk" {
            reply.entry(&FOREVER, &self.attr(2), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attr(ino.0));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let len = u64::from(size).min(self.size.saturating_sub(offset));
        reply.data(&self.state.lock().unwrap().pages.read(offset, usize::try_from(len).unwrap_or(0)));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state.lock().unwrap();
        state.pages.write(offset, data);
        state.log.push(Entry::Write(offset, data.into()));
        reply.written(u32::try_from(data.len()).unwrap_or(0));
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.state.lock().unwrap().log.push(Entry::Flush);
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, byte: u8, len: usize) -> Entry {
        Entry::Write(offset, vec![byte; len].into())
    }

    fn recording(log: Vec<Entry>) -> Recording {
        Recording { base: Pages::default(), log, size: 1 << 20 }
    }

    #[test]
    fn what_was_flushed_is_in_every_image() {
        let recording = recording(vec![write(0, 1, 4096), Entry::Flush, write(0, 2, 4096), write(8192, 3, 4096)]);
        assert_eq!(recording.flushes(), [2]);
        assert_eq!(recording.image(4, Fate::Lost).read(0, 1), [1]);
        assert_eq!(recording.image(4, Fate::Arrived).read(8192, 1), [3]);
        for seed in 0..100 {
            let image = recording.image(4, Fate::Shuffled(seed));
            assert!(image.read(0, 4096).iter().all(|b| *b == 1 || *b == 2));
        }
    }

    #[test]
    fn shuffled_images_differ_in_order_presence_and_tears() {
        let recording = recording(vec![Entry::Flush, write(0, 1, 8192), write(0, 2, 8192)]);
        let seen: std::collections::HashSet<Vec<u8>> =
            (0..200).map(|seed| recording.image(3, Fate::Shuffled(seed)).read(0, 8192)).collect();
        assert!(seen.contains(&vec![0; 8192]) && seen.contains(&vec![1; 8192]) && seen.contains(&vec![2; 8192]));
        assert!(seen.iter().any(|image| image.contains(&0) && image.contains(&1)), "no torn image");
    }

    #[test]
    fn writes_and_reads_cross_pages() {
        let mut pages = Pages::default();
        pages.write(4000, &[7; 200]);
        assert_eq!(pages.read(3999, 202), [vec![0], vec![7; 200], vec![0]].concat());
    }
}
