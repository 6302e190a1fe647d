//! What is kept here whole: node ids and depths, followed after each merge until nothing of them is missing.
//!
//! A pin names a node, so it survives renames and follows new content. Must never forget a pin because its node
//! cannot be found at the moment, nor hold up a merge.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::home::replace_file;
use super::{Exchange, Replica, follow};
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Error, Kind, NodeId, Result};

/// A pin that is not complete is tried again after this, at the latest when somebody connects.
const AGAIN: Duration = Duration::from_secs(5);
/// Most pins of one volume.
const MOST: usize = 4096;

/// One pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The node.
    pub id: NodeId,
    /// Levels below it; none: all.
    pub depth: Option<u32>,
}

impl Pin {
    /// Levels below the node that it covers.
    pub fn levels(&self) -> usize {
        self.depth.map_or(usize::MAX, |d| usize::try_from(d).unwrap_or(usize::MAX))
    }
}

/// How far a pin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PinState {
    /// Nothing is missing.
    pub complete: bool,
    /// Bytes of content it covers.
    pub bytes: u64,
    /// Of them, not here.
    pub missing: u64,
}

#[derive(Debug, Default)]
struct Inner {
    pins: Vec<Pin>,
    states: BTreeMap<NodeId, PinState>,
    rung: bool,
    closed: bool,
}

/// The pins of one volume.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    inner: Mutex<Inner>,
    bell: Condvar,
}

impl Pins {
    /// Read from `path`; what cannot be read is said and counts as none.
    pub fn open(path: PathBuf) -> Self {
        let pins = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::error!(path = %path.display(), %error, "the pins cannot be read: pin again");
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        let rung = !pins.is_empty();
        Self { path, inner: Mutex::new(Inner { pins, rung, ..Inner::default() }), bell: Condvar::new() }
    }

    /// Every pin and how far it was when last looked at.
    pub fn list(&self) -> Vec<(Pin, PinState)> {
        let inner = self.inner.lock();
        inner.pins.iter().map(|pin| (*pin, inner.states.get(&pin.id).copied().unwrap_or_default())).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.inner.lock().pins.len()
    }

    /// Pin, or change the depth of a pin. Durable when it returns.
    pub fn add(&self, pin: Pin) -> Result<()> {
        let mut inner = self.inner.lock();
        let mut pins = inner.pins.clone();
        pins.retain(|p| p.id != pin.id);
        if pins.len() >= MOST {
            return Err(Error::new(Kind::Full, "pin", format!("there are {MOST} pins already")));
        }
        pins.push(pin);
        self.save(&pins)?;
        inner.pins = pins;
        inner.rung = true;
        self.bell.notify_all();
        Ok(())
    }

    /// Unpin; whether it was pinned. What is here stays until it is evicted.
    pub fn remove(&self, id: NodeId) -> Result<bool> {
        let mut inner = self.inner.lock();
        let mut pins = inner.pins.clone();
        pins.retain(|p| p.id != id);
        let was = pins.len() < inner.pins.len();
        self.save(&pins)?;
        inner.pins = pins;
        inner.states.remove(&id);
        Ok(was)
    }

    /// Look again: something changed, or somebody came.
    pub fn ring(&self) {
        self.inner.lock().rung = true;
        self.bell.notify_all();
    }

    /// End the thread.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.bell.notify_all();
    }

    fn save(&self, pins: &[Pin]) -> Result<()> {
        let text = serde_json::to_vec(pins).map_err(|e| Error::new(Kind::Other, "save the pins", "").with_source(e))?;
        replace_file(&self.path, &text)
    }

    /// Follow the pins until closed.
    pub fn run(&self, replica: &Arc<Replica>, exchange: &Weak<Exchange>) {
        while self.wait() {
            let Some(exchange) = exchange.upgrade() else { return };
            let pins: Vec<Pin> = self.inner.lock().pins.clone();
            for pin in pins {
                if self.inner.lock().closed {
                    return;
                }
                match follow(&replica.volume, &exchange, &pin, &|| !self.inner.lock().closed, &mut |_| Ok(())) {
                    Ok(state) => drop(self.inner.lock().states.insert(pin.id, state)),
                    Err(error) => tracing::debug!(volume = replica.known.name, error = %error.chain(), "a pin waits"),
                }
            }
        }
    }

    /// Wait until there is something to do; false: it is over.
    fn wait(&self) -> bool {
        let mut inner = self.inner.lock();
        loop {
            if inner.closed {
                return false;
            }
            if std::mem::take(&mut inner.rung) {
                return true;
            }
            let open = inner.pins.iter().any(|p| !inner.states.get(&p.id).is_some_and(|s| s.complete));
            if open {
                let due = Instant::now() + AGAIN;
                if self.bell.wait_until(&mut inner, due).timed_out() {
                    inner.rung = true;
                }
            } else {
                self.bell.wait(&mut inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pins_survive_a_restart_and_a_second_pin_of_a_node_replaces_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins");
        let pins = Pins::open(path.clone());
        let pin = |n, depth| Pin { id: NodeId([n; 16]), depth };
        pins.add(pin(1, None)).unwrap();
        pins.add(pin(2, Some(3))).unwrap();
        pins.add(pin(1, Some(0))).unwrap();
        let again = Pins::open(path.clone());
        assert_eq!(again.list().into_iter().map(|(p, _)| p).collect::<Vec<_>>(), [pin(2, Some(3)), pin(1, Some(0))]);
        assert!(again.remove(NodeId([1; 16])).unwrap());
        assert!(!again.remove(NodeId([1; 16])).unwrap());
        assert_eq!(Pins::open(path).count(), 1);
    }

    #[test]
    fn a_damaged_list_is_none_and_does_not_stop_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins");
        fs::write(&path, b"nonsense").unwrap();
        assert_eq!(Pins::open(path).count(), 0);
    }
}
