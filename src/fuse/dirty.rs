//! Which files may have pages the kernel has not written back yet, and how to get at them.
//!
//! lseek(2) for data or holes reaches us without the kernel writing anything back first, so that a file
//! being written looks emptier than it is. For such a file the kernel is told to drop its pages, which
//! makes it write the dirty ones, before the question is answered.

use std::collections::HashMap;
use std::sync::OnceLock;

use fuser::{INodeNo, Notifier};

use crate::base::sync::Mutex;
use crate::volume::api::Ino;

/// Files open for writing: only these have dirty pages, since closing writes them back and a mapping
/// keeps its file open.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    writers: Mutex<HashMap<Ino, u64>>,
    kernel: OnceLock<Notifier>,
}

impl Dirty {
    /// From now on pages can be asked for.
    pub(super) fn can_tell(&self, kernel: Notifier) {
        let _ = self.kernel.set(kernel);
    }

    pub(super) fn opened(&self, ino: Ino, write: bool) {
        if write {
            *self.writers.lock().entry(ino).or_default() += 1;
        }
    }

    pub(super) fn released(&self, ino: Ino, write: bool) {
        let mut writers = self.writers.lock();
        if let Some(count) = writers.get_mut(&ino).filter(|_| write) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                writers.remove(&ino);
            }
        }
    }

    fn is_written(&self, ino: Ino) -> bool {
        self.writers.lock().contains_key(&ino)
    }

    /// Answer once everything written to `ino` so far has reached us; at once if nobody writes to it.
    ///
    /// A thread of its own, always: the writes this waits for need the threads that take requests.
    pub(super) fn after_write_back(&self, ino: Ino, answer: impl FnOnce() + Send + 'static) {
        let kernel = self.kernel.get().filter(|_| self.is_written(ino)).cloned();
        let Some(kernel) = kernel else { return answer() };
        std::thread::spawn(move || {
            if let Err(e) = kernel.inval_inode(INodeNo(ino), 0, 0) {
                tracing::debug!("the kernel keeps its pages: {e}");
            }
            answer();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_until_its_last_writer_leaves() {
        let dirty = Dirty::default();
        dirty.opened(5, true);
        dirty.opened(5, false);
        dirty.opened(5, true);
        dirty.released(5, true);
        dirty.released(5, false);
        assert!(dirty.is_written(5));
        dirty.released(5, true);
        assert!(!dirty.is_written(5));
    }

    #[test]
    fn a_release_too_many_is_harmless() {
        let dirty = Dirty::default();
        dirty.released(5, true);
        dirty.opened(5, true);
        assert!(dirty.is_written(5));
    }

    #[test]
    fn without_writers_the_answer_comes_on_the_same_thread() {
        let (tell, heard) = std::sync::mpsc::channel();
        Dirty::default().after_write_back(5, move || {
            let _ = tell.send(std::thread::current().id());
        });
        assert_eq!(heard.try_recv().ok(), Some(std::thread::current().id()));
    }
}
