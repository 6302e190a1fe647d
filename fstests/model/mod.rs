//! The reference filesystem: what every operation means, in memory, as plainly as it can be said.
//!
//! Tests compare the live volume with it, and the FUSE adapter is tested over it. One lock, ordered maps,
//! no caching. Must never become clever: where speed and plainness differ, plainness wins.

mod content;
mod listing;
mod names;
mod node;
mod operations;
mod recorder;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use lovage::base::port::{Clock, System, Time};
use lovage::base::sync::Mutex;
use lovage::base::{Error, Kind, Result};
use lovage::volume::api::{FileKind, Ino, NewNode, ROOT_INO};

pub use recorder::{PANICS, Recorder};

use listing::OpenDirectory;
use node::Node;

/// A filesystem in memory.
#[derive(Debug)]
pub struct ModelFs {
    state: Mutex<State>,
}

/// Everything there is.
#[derive(Debug)]
struct State {
    clock: Arc<dyn Clock>,
    nodes: BTreeMap<Ino, Node>,
    handles: BTreeMap<u64, Handle>,
    next_ino: Ino,
    next_handle: u64,
}

#[derive(Debug)]
enum Handle {
    File(Ino),
    Directory(OpenDirectory),
}

impl Default for ModelFs {
    fn default() -> Self {
        Self::new(Arc::new(System))
    }
}

impl ModelFs {
    /// An empty filesystem whose root belongs to root and anybody may enter (0755).
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let root = NewNode { kind: FileKind::Directory, perm: 0o755, uid: 0, gid: 0, rdev: 0, target: None };
        let root = Node::new(&root, clock.now(), ROOT_INO);
        let state = State {
            clock,
            nodes: BTreeMap::from([(ROOT_INO, root)]),
            handles: BTreeMap::new(),
            next_ino: ROOT_INO + 1,
            next_handle: 1,
        };
        Self { state: Mutex::new(state) }
    }

    /// How many nodes exist, names or not: after all handles are released and all references forgotten,
    /// exactly those reachable from the root.
    pub fn node_count(&self) -> usize {
        self.state.lock().nodes.len()
    }
}

impl State {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn node(&self, ino: Ino) -> Result<&Node> {
        self.nodes.get(&ino).ok_or_else(|| Error::new(Kind::Stale, "find node", ino.to_string()))
    }

    fn node_mut(&mut self, ino: Ino) -> Result<&mut Node> {
        self.nodes.get_mut(&ino).ok_or_else(|| Error::new(Kind::Stale, "find node", ino.to_string()))
    }

    fn add_handle(&mut self, handle: Handle) -> u64 {
        let number = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(number, handle);
        number
    }

    /// Let go of a node that has neither a name nor a user.
    fn reap(&mut self, ino: Ino) {
        let gone = self.nodes.get(&ino).is_some_and(|n| n.nlink == 0 && n.references == 0 && n.opens == 0);
        if gone {
            self.nodes.remove(&ino);
        }
    }
}

/// An error of the model: the kind is what matters.
fn fail<T>(kind: Kind) -> Result<T> {
    Err(Error::new(kind, "operate on the model", ""))
}
