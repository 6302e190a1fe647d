//! Telling mounts what to forget, and whoever listens that something happened.
//!
//! Changes are noted under the volume's locks and told later without them: who is told may wait for a
//! request that waits for us. Must never be told from a thread that serves requests.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::Volume;
use super::api::Ino;
use super::filesystem::Invalidate;
use crate::base::Name;
use crate::base::sync::Mutex;

/// Hears of a volume's changes. Called without locks, also from threads that serve requests: only wake somebody up.
pub trait Observer: Send + Sync {
    /// A new head was sealed.
    fn sealed(&self) {}
    /// Something changed: made here or merged.
    fn changed(&self) {}
}

/// What the kernel may have wrong.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub inodes: BTreeSet<Ino>,
    pub entries: BTreeSet<(Ino, Name)>,
}

/// Who is told.
#[derive(Default)]
pub(super) struct Listeners {
    pub notes: Mutex<Notes>,
    mounts: Mutex<Vec<Weak<dyn Invalidate>>>,
    observers: Mutex<Vec<Weak<dyn Observer>>>,
    watched: AtomicBool,
}

impl Listeners {
    /// Whether anybody ever subscribed.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }
}

impl Volume {
    /// Tell `mount` from now on what changed by itself. It is forgotten when it is dropped.
    pub fn attach(&self, mount: &Arc<dyn Invalidate>) {
        self.listeners.mounts.lock().push(Arc::downgrade(mount));
    }

    /// Tell `observer` of changes and seals. It is forgotten when it is dropped.
    pub fn subscribe(&self, observer: &Arc<dyn Observer>) {
        self.listeners.observers.lock().push(Arc::downgrade(observer));
        self.listeners.watched.store(true, Ordering::Relaxed);
    }

    /// Tell the mounts what was noted. Call without locks, not from a request.
    pub(super) fn tell(&self) {
        let notes = std::mem::take(&mut *self.listeners.notes.lock());
        if notes.inodes.is_empty() && notes.entries.is_empty() {
            return;
        }
        for mount in alive(&self.listeners.mounts) {
            notes.inodes.iter().for_each(|ino| mount.inode(*ino));
            notes.entries.iter().for_each(|(parent, name)| mount.entry(*parent, name.as_bytes()));
        }
    }

    pub(super) fn observed(&self, what: impl Fn(&dyn Observer)) {
        for observer in alive(&self.listeners.observers) {
            what(&*observer);
        }
    }
}

fn alive<T: ?Sized>(list: &Mutex<Vec<Weak<T>>>) -> Vec<Arc<T>> {
    let mut list = list.lock();
    list.retain(|weak| weak.strong_count() > 0);
    list.iter().filter_map(Weak::upgrade).collect()
}
