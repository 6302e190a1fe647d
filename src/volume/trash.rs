//! The trash: what was removed while others could have changed it, until nobody can mean it any more.
//!
//! See `docs/decisions/0005-trash-when-shared.md`. Must never drop a directory that holds something live.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Volume;
use super::names::name_in;
use super::row::Row;
use crate::base::{NodeId, Result};

/// How long removed nodes are kept, in nanoseconds: thirty days.
const RETENTION: i64 = 30 * 86_400_000_000_000;
/// Look this often.
const EVERY: Duration = Duration::from_secs(3600);

impl Volume {
    /// Others can write to this volume from now on: what is removed goes to the trash.
    pub fn share(&self) {
        self.others.store(self.lazy, Ordering::Release);
        let mut ns = self.ns.lock();
        if !ns.shared {
            ns.shared = true;
            ns.restless = true;
        }
    }

    /// Drop what has been in the trash for too long; now and then.
    pub(super) fn expire_if_due(&self) -> Result<()> {
        let due = self.tended.lock().expired.is_none_or(|at| at.elapsed() >= EVERY);
        if due && self.check_writable().is_ok() && self.ns.lock().shared {
            self.tended.lock().expired = Some(Instant::now());
            let dropped = self.expire(RETENTION)?;
            if dropped > 0 {
                tracing::info!("dropped {dropped} nodes from the trash");
            }
        }
        Ok(())
    }

    /// Drop what was removed more than `age` nanoseconds ago, as last sealed. O(trash).
    pub(super) fn expire(&self, age: i64) -> Result<u64> {
        let before = self.clock.now().0.saturating_sub(age);
        let roots = self.ns.lock().roots.clone();
        let mut old = Vec::new();
        for entry in self.tree.range(&roots.index, NodeId::TRASH.as_bytes()) {
            let (key, value) = entry?;
            if name_in(&key, NodeId::TRASH).is_none() {
                break;
            }
            let row = Row::decode(&value)?;
            if row.ctime.0 < before {
                old.push(row.node);
            }
        }
        let mut dropped = 0;
        for id in old {
            let Ok(inode) = self.inode_of(id) else { continue };
            let mut ns = self.ns.lock();
            let (hidden, gone) = {
                let inner = inode.inner.lock();
                (inner.hidden, inner.gone)
            };
            if hidden && !gone && ns.view.table().get(id).is_none() {
                let (_, stamp) = ns.tick(&*self.clock);
                self.purge(&mut ns, &inode, stamp);
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}
