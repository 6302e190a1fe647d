//! Telling the kernel that something it may have cached changed by itself.
//!
//! Callers only note what changed; a thread of its own tells the kernel, because the kernel takes the
//! directory's lock to forget a name, and a request that holds that lock may be waiting for the caller.
//! Notes are merged and bounded: beyond [`LIMIT`] callers wait. Must never be called from a thread that
//! serves requests, nor with a lock held that serving a request needs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fuser::{INodeNo, Notifier};

use crate::base::sync::{Condvar, Mutex};
use crate::base::{Context, Result};
use crate::volume::Invalidate;
use crate::volume::api::Ino;

/// Notes waiting to be told, at most. A note is tens of bytes.
const LIMIT: usize = 1 << 16;
/// After this an inode that the kernel did not know is told once more.
const AGAIN: Duration = Duration::from_millis(300);

/// The kernel's cache of one mount, as far as it can be told to forget.
#[derive(Debug)]
pub struct KernelCache {
    shared: Arc<Shared>,
    teller: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    notes: Notes,
    busy: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Notes {
    inodes: BTreeSet<Ino>,
    entries: BTreeSet<(Ino, Vec<u8>)>,
}

impl Notes {
    fn len(&self) -> usize {
        self.inodes.len() + self.entries.len()
    }
}

/// Whoever carries the notes to the kernel.
trait Tell: Send + 'static {
    /// False: the kernel has no such inode, or not yet.
    fn inode(&self, ino: Ino) -> bool;
    fn entry(&self, parent: Ino, name: &[u8]);
}

impl Tell for Notifier {
    fn inode(&self, ino: Ino) -> bool {
        let told = self.inval_inode(INodeNo(ino), 0, 0);
        let known = !matches!(&told, Err(e) if e.raw_os_error() == Some(libc::ENOENT));
        log(told);
        known
    }

    fn entry(&self, parent: Ino, name: &[u8]) {
        log(self.inval_entry(INodeNo(parent), OsStr::from_bytes(name)));
    }
}

/// What the kernel does not have it need not forget; any other refusal means it keeps showing old things.
fn log(told: std::io::Result<()>) {
    match told {
        Err(e) if !matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ENOTCONN)) => {
            tracing::warn!("the kernel refused to forget: {e}");
        }
        _ => {}
    }
}

impl KernelCache {
    pub(super) fn start(notifier: Notifier) -> Result<Self> {
        Self::telling(notifier)
    }

    fn telling(kernel: impl Tell) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let reader = shared.clone();
        let teller = std::thread::Builder::new()
            .name("lovage-forget".to_owned())
            .spawn(move || reader.tell_all(&kernel))
            .io("start thread", String::new)?;
        Ok(Self { shared, teller: Some(teller) })
    }

    /// Wait until the kernel has been told everything noted so far.
    pub fn settle(&self) {
        let mut state = self.shared.state.lock();
        while (state.busy || state.notes.len() > 0) && !state.closed {
            self.shared.changed.wait(&mut state);
        }
    }
}

impl Invalidate for KernelCache {
    fn inode(&self, ino: Ino) {
        self.shared.note(|notes| notes.inodes.insert(ino));
    }

    fn entry(&self, parent: Ino, name: &[u8]) {
        self.shared.note(|notes| notes.entries.insert((parent, name.to_vec())));
    }
}

impl Shared {
    fn note(&self, add: impl FnOnce(&mut Notes) -> bool) {
        let mut state = self.state.lock();
        while state.notes.len() >= LIMIT && !state.closed {
            self.changed.wait(&mut state);
        }
        if add(&mut state.notes) {
            self.changed.notify_all();
        }
    }

    /// Attributes and content first: whoever then looks a name up again sees both new. An inode the kernel does
    /// not know may be on its way there with what was true before, in the answer to a look-up: it is told again.
    fn tell_all(&self, kernel: &dyn Tell) {
        let mut again = BTreeSet::new();
        let mut due = None;
        loop {
            match self.take(due) {
                Taken::Notes(notes) => {
                    again.extend(notes.inodes.iter().filter(|ino| !kernel.inode(**ino)).take(LIMIT));
                    notes.entries.iter().for_each(|(parent, name)| kernel.entry(*parent, name));
                    if !again.is_empty() {
                        due.get_or_insert_with(|| Instant::now() + AGAIN);
                    }
                }
                Taken::Due => {
                    for ino in std::mem::take(&mut again) {
                        kernel.inode(ino);
                    }
                    due = None;
                }
                Taken::End => return,
            }
        }
    }

    /// The notes there are; waits for some, or until `due`.
    fn take(&self, due: Option<Instant>) -> Taken {
        let mut state = self.state.lock();
        state.busy = false;
        self.changed.notify_all();
        while state.notes.len() == 0 {
            if state.closed {
                return Taken::End;
            }
            match due {
                Some(due) if self.changed.wait_until(&mut state, due).timed_out() => return Taken::Due,
                Some(_) => {}
                None => self.changed.wait(&mut state),
            }
        }
        state.busy = true;
        Taken::Notes(std::mem::take(&mut state.notes))
    }
}

enum Taken {
    Notes(Notes),
    Due,
    End,
}

impl Drop for KernelCache {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(teller) = self.teller.take() {
            let _ = teller.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

    /// A kernel that writes down what it is told, after the gate lets it.
    struct Recorder {
        gate: Receiver<()>,
        told: Sender<String>,
    }

    impl Tell for Recorder {
        fn inode(&self, ino: Ino) -> bool {
            let _ = self.gate.recv();
            self.told.send(format!("inode {ino}")).unwrap();
            ino < UNKNOWN
        }
        fn entry(&self, parent: Ino, name: &[u8]) {
            let _ = self.gate.recv();
            self.told.send(format!("entry {parent} {}", String::from_utf8_lossy(name))).unwrap();
        }
    }

    /// Inodes from here on are not known to the recorder.
    const UNKNOWN: Ino = 1 << 40;

    #[test]
    fn an_inode_the_kernel_does_not_know_is_told_once_more() {
        let (cache, open, heard) = recorder();
        drop(open);
        cache.inode(UNKNOWN);
        cache.inode(1);
        let patience = Duration::from_secs(30);
        let mut told: Vec<_> = (0..3).map(|_| heard.recv_timeout(patience).unwrap()).collect();
        told.sort();
        assert_eq!(told, ["inode 1".to_owned(), format!("inode {UNKNOWN}"), format!("inode {UNKNOWN}")]);
        drop(cache);
        assert_eq!(heard.try_iter().count(), 0);
    }

    fn recorder() -> (KernelCache, Sender<()>, Receiver<String>) {
        let (open, gate) = bounded(0);
        let (told, heard) = unbounded();
        (KernelCache::telling(Recorder { gate, told }).unwrap(), open, heard)
    }

    #[test]
    fn the_kernel_is_told_everything_before_settling() {
        let (cache, open, heard) = recorder();
        drop(open); // an open gate
        cache.inode(7);
        cache.entry(1, b"name");
        cache.settle();
        let mut told: Vec<_> = heard.try_iter().collect();
        told.sort();
        assert_eq!(told, ["entry 1 name", "inode 7"]);
    }

    #[test]
    fn notes_made_while_the_kernel_is_slow_are_merged() {
        let (cache, open, heard) = recorder();
        cache.inode(1);
        open.send(()).unwrap(); // the first is being told
        for _ in 0..1000 {
            cache.inode(2);
            cache.entry(1, b"x");
        }
        drop(open);
        cache.settle();
        let told: Vec<_> = heard.try_iter().collect();
        assert!(told.len() <= 1 + 2 * 2, "{told:?}");
    }

    #[test]
    fn noting_does_not_wait_for_the_kernel() {
        let (cache, open, heard) = recorder();
        for ino in 0..LIMIT as u64 / 2 {
            cache.inode(ino); // the gate is closed all the while
        }
        drop(open);
        drop(cache); // tells the rest first
        assert_eq!(heard.iter().count(), LIMIT / 2);
    }

    #[test]
    fn a_full_book_makes_the_caller_wait_for_room() {
        let (cache, open, heard) = recorder();
        let cache = Arc::new(cache);
        let writer = {
            let cache = cache.clone();
            std::thread::spawn(move || (0..2 * LIMIT as u64 + 10).for_each(|ino| cache.inode(ino)))
        };
        drop(open);
        writer.join().unwrap();
        cache.settle();
        assert_eq!(heard.try_iter().count(), 2 * LIMIT + 10);
    }
}
