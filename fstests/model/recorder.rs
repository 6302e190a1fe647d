//! Any filesystem with every call written down, so that tests can say what the kernel asks and how often.

use std::sync::Arc;

use lovage::base::Result;
use lovage::base::sync::Mutex;
use lovage::volume::api::{Attr, FallocMode, Fh, Ino, NewNode, RenameMode, SeekWhence, SetAttr, StatFs, XattrMode};
use lovage::volume::{FileSystem, Filler};

/// Looking this name up panics.
pub const PANICS: &str = "a bug in the filesystem";

/// Passes every call on and remembers it as one line.
pub struct Recorder {
    inner: Arc<dyn FileSystem>,
    calls: Mutex<Vec<String>>,
    echo: bool,
    gate: Arc<Mutex<()>>,
}

impl Recorder {
    /// Record calls of `inner`; with `echo` also print them.
    pub fn new(inner: Arc<dyn FileSystem>, echo: bool) -> Self {
        Self { inner, calls: Mutex::new(Vec::new()), echo, gate: Arc::default() }
    }

    /// While this is locked no read returns: content that nobody has.
    pub fn gate(&self) -> Arc<Mutex<()>> {
        self.gate.clone()
    }

    /// The calls since the last time, forgets and releases left out: they come when the kernel likes.
    pub fn take(&self) -> Vec<String> {
        let calls = std::mem::take(&mut *self.calls.lock());
        calls.into_iter().filter(|call| !call.starts_with("forget") && !call.starts_with("release")).collect()
    }

    fn note(&self, call: String) -> &dyn FileSystem {
        if self.echo {
            eprintln!("{call}");
        }
        self.calls.lock().push(call);
        &*self.inner
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Only the fields that are set.
fn describe(change: &SetAttr) -> String {
    let fields = [
        change.perm.map(|perm| format!("perm={perm:o}")),
        change.uid.map(|uid| format!("uid={uid}")),
        change.gid.map(|gid| format!("gid={gid}")),
        change.size.map(|size| format!("size={size}")),
        change.atime.map(|_| "atime".to_owned()),
        change.mtime.map(|_| "mtime".to_owned()),
        change.ctime.map(|_| "ctime".to_owned()),
        change.kill_suidgid.then(|| "kill".to_owned()),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

impl FileSystem for Recorder {
    fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr> {
        assert_ne!(text(name), PANICS, "as a test asked for");
        self.note(format!("lookup {}", text(name))).lookup(parent, name)
    }
    fn forget(&self, ino: Ino, count: u64) {
        self.note(format!("forget {ino} {count}")).forget(ino, count);
    }
    fn getattr(&self, ino: Ino) -> Result<Attr> {
        self.note(format!("getattr {ino}")).getattr(ino)
    }
    fn setattr(&self, ino: Ino, change: &SetAttr) -> Result<Attr> {
        self.note(format!("setattr {ino} {}", describe(change))).setattr(ino, change)
    }
    fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        self.note(format!("readlink {ino}")).readlink(ino)
    }
    fn make(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<Attr> {
        self.note(format!("make {} {:?} {:o}", text(name), node.kind, node.perm)).make(parent, name, node)
    }
    fn create(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<(Attr, Fh)> {
        self.note(format!("create {} {:o}", text(name), node.perm)).create(parent, name, node)
    }
    fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr> {
        self.note(format!("link {ino} {}", text(name))).link(ino, parent, name)
    }
    fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.note(format!("unlink {}", text(name))).unlink(parent, name)
    }
    fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.note(format!("rmdir {}", text(name))).rmdir(parent, name)
    }
    fn rename(&self, parent: Ino, name: &[u8], new_parent: Ino, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let call = format!("rename {} {} {mode:?}", text(name), text(new_name));
        self.note(call).rename(parent, name, new_parent, new_name, mode)
    }
    fn open(&self, ino: Ino, write: bool, truncate: bool) -> Result<Fh> {
        let flags = [(write, " write"), (truncate, " truncate")];
        let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        self.note(format!("open {ino}{flags}")).open(ino, write, truncate)
    }
    fn release(&self, fh: Fh) -> Result<()> {
        self.note("release".to_owned()).release(fh)
    }
    fn read(&self, ino: Ino, offset: u64, len: u32) -> Result<Vec<u8>> {
        let inner = self.note(format!("read {ino} {offset}+{len}"));
        let _open = self.gate.lock();
        inner.read(ino, offset, len)
    }
    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<u32> {
        self.note(format!("write {ino} {offset}+{}", data.len())).write(ino, offset, data)
    }
    fn flush(&self, ino: Ino) -> Result<()> {
        self.note(format!("flush {ino}")).flush(ino)
    }
    fn fsync(&self, ino: Ino, data_only: bool) -> Result<()> {
        self.note(format!("fsync {ino} {data_only}")).fsync(ino, data_only)
    }
    fn fallocate(&self, ino: Ino, offset: u64, len: u64, mode: FallocMode) -> Result<()> {
        self.note(format!("fallocate {ino} {offset}+{len}")).fallocate(ino, offset, len, mode)
    }
    fn seek(&self, ino: Ino, offset: u64, whence: SeekWhence) -> Result<u64> {
        self.note(format!("seek {ino} {offset} {whence:?}")).seek(ino, offset, whence)
    }
    fn copy_range(&self, from: Ino, from_offset: u64, to: Ino, to_offset: u64, len: u64) -> Result<u64> {
        let call = format!("copy_range {from} {from_offset} {to} {to_offset} {len}");
        self.note(call).copy_range(from, from_offset, to, to_offset, len)
    }
    fn opendir(&self, ino: Ino) -> Result<Fh> {
        self.note(format!("opendir {ino}")).opendir(ino)
    }
    fn readdir(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()> {
        self.note(format!("readdir {cookie}")).readdir(fh, cookie, fill)
    }
    fn readdir_plus(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()> {
        self.note(format!("readdir_plus {cookie}")).readdir_plus(fh, cookie, fill)
    }
    fn releasedir(&self, fh: Fh) -> Result<()> {
        self.note("releasedir".to_owned()).releasedir(fh)
    }
    fn fsyncdir(&self, ino: Ino) -> Result<()> {
        self.note(format!("fsyncdir {ino}")).fsyncdir(ino)
    }
    fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        self.note(format!("getxattr {ino} {}", text(name))).getxattr(ino, name)
    }
    fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.note(format!("setxattr {ino} {}", text(name))).setxattr(ino, name, value, mode)
    }
    fn listxattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        self.note(format!("listxattr {ino}")).listxattr(ino)
    }
    fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        self.note(format!("removexattr {ino} {}", text(name))).removexattr(ino, name)
    }
    fn statfs(&self) -> Result<StatFs> {
        self.note("statfs".to_owned()).statfs()
    }
    fn sync(&self) -> Result<()> {
        self.note("sync".to_owned()).sync()
    }
}
