//! Recursive totals, statfs, and what the volume tells of itself.

use std::collections::HashSet;

use super::Volume;
use super::api::StatFs;
use super::row::Totals;
use crate::base::{Context, NodeId, Result};

impl Volume {
    /// Everything below a directory: exact, live. Seals what changed first if anything did.
    pub fn totals_of(&self, dir: NodeId) -> Result<Totals> {
        let (dirty, roots) = {
            let ns = self.ns.lock();
            (!ns.unsealed.is_empty(), ns.roots.clone())
        };
        let unsettled: HashSet<_> = self.unsettled.lock().keys().copied().collect();
        let roots = if (dirty || !unsettled.is_empty()) && !self.read_only {
            self.settle_all()?;
            self.seal()?;
            self.ns.lock().roots.clone()
        } else {
            roots
        };
        if dir == NodeId::ROOT {
            return Ok(roots.totals);
        }
        let Some(state) = self.sealed_state(&roots, dir)? else { return Ok(Totals::default()) };
        let shows = self.ns.lock().view.sealed().shows(dir, &state);
        let Some(shown) = shows.first() else { return Ok(Totals::default()) };
        let row = self.sealed_row(&roots, shown.parent, shown.name.as_bytes())?;
        Ok(row.and_then(|r| r.totals).unwrap_or_default())
    }

    /// The underlying filesystem's space, and the number of nodes.
    pub(super) fn stat_fs(&self) -> Result<StatFs> {
        let vfs = rustix::fs::statvfs(&self.dir)
            .map_err(std::io::Error::from)
            .io("look at free space", || self.dir.display().to_string())?;
        let nodes = self.nodes();
        let unit = vfs.f_frsize.max(1);
        let blocks = |n: u64| u64::try_from(u128::from(n) * u128::from(unit) / 4096).unwrap_or(u64::MAX);
        let free = u64::from(u32::MAX);
        Ok(StatFs {
            blocks: blocks(vfs.f_blocks),
            bfree: blocks(vfs.f_bfree),
            bavail: blocks(vfs.f_bavail),
            files: nodes.saturating_add(free),
            ffree: free,
            bsize: 4096,
            namelen: 255,
        })
    }

    /// Number of nodes, live.
    pub fn nodes(&self) -> u64 {
        let ns = self.ns.lock();
        (ns.roots.raw.count + ns.roots.local.count).saturating_add_signed(ns.born)
    }
}
