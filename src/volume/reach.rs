//! What the volume refers to wherever that is, for stores that are collected: all of it, or what a head adds.
//!
//! Manifests and tree nodes that are not here are fetched: what lies below them is somewhere else only. Must never
//! leave anything out: what is not named here may be removed there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Volume;
use super::collect::Meet;
use super::exchange::Announcement;
use super::sealing::HeadBody;
use crate::base::{Error, Kind, Result};
use crate::causal::Vector;
use crate::seal::Ref;
use crate::seal::head::open_head;
use crate::tree::Root;

impl Volume {
    /// Everything that the volume refers to now, in its trees and in memory; gives the head of that. `meet` says whether
    /// to look below a block. [`Kind::Unreachable`] and the like if something that is needed to go on cannot be had.
    pub fn reach(&self, meet: Meet<'_>) -> Result<Arc<[u8]>> {
        let (roots, head, held) = {
            let _sealing = self.sealing.lock();
            let _storing = self.storing.write();
            let (roots, head) = {
                let ns = self.ns.lock();
                (ns.roots.clone(), self.announced.lock().clone())
            };
            (roots, head, self.held_blocks()?)
        };
        self.mark(meet, &roots, &held, &mut |_, _, _| Ok(()))?;
        let bases = self.lineage.lock().contents()?;
        for base in bases {
            // One that is not to be had is not missed: a conflict is told without it.
            match self.mark_content(meet, &base) {
                Err(e) if matches!(e.kind(), Kind::Unreachable | Kind::Timeout | Kind::NotFound) => {}
                other => other?,
            }
        }
        Ok(head)
    }

    /// What a head of `author` has and this volume has not. A device that knows nothing yet is told everything.
    pub fn brings(&self, author: &[u8; 32], head: &[u8], meet: Meet<'_>) -> Result<()> {
        let theirs = self.body_of(author, head)?;
        let (mine, fresh) = {
            let ns = self.ns.lock();
            (ns.roots.clone(), ns.vector == Vector::default())
        };
        if fresh {
            for root in [&theirs.raw, &theirs.index, &theirs.displaced] {
                self.tree.blocks(root, |block, _| meet(block))?;
            }
        }
        self.new_content(&mine.raw, &theirs.raw, meet)
    }

    /// What this device's own head `new` has and its head `old` had not.
    pub fn news(&self, old: &[u8], new: &[u8], meet: Meet<'_>) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let author = self.author();
        let (old, new) = (self.body_of(&author, old)?, self.body_of(&author, new)?);
        for (old, new) in [(&old.raw, &new.raw), (&old.index, &new.index), (&old.displaced, &new.displaced)] {
            self.tree.missing(old, new, &mut |block, _| meet(block).map(drop))?;
        }
        self.new_content(&old.raw, &new.raw, meet)
    }

    /// The nodes of the announced trees whose plaintext is longer than `size` bytes, but for those that were announced
    /// `before`. What is not here is not looked below.
    pub fn large_nodes(
        &self,
        before: Option<&Announcement>,
        now: &Announcement,
        size: u64,
        visit: &mut dyn FnMut(&Ref),
    ) -> Result<()> {
        let mut meet = |block: &Ref| {
            if u64::from(block.len) > size {
                visit(block);
            }
        };
        let trees = |of: &Announcement| [of.raw.clone(), of.index.clone(), of.displaced.clone()];
        for (at, new) in trees(now).iter().enumerate() {
            match before.map(trees).as_ref().and_then(|trees| trees.get(at)) {
                Some(old) => self.tree.missing(old, new, &mut |block, _| {
                    meet(block);
                    Ok(())
                })?,
                None => self.tree.blocks(new, |block, _| {
                    meet(block);
                    Ok(self.blocks.contains(block))
                })?,
            }
        }
        Ok(())
    }

    /// How often a collection began to delete: what was announced before may have lost blocks that are of no use now.
    pub fn sweeps(&self) -> u64 {
        self.sweeps.load(Ordering::Acquire)
    }

    fn new_content(&self, old: &Root, new: &Root, meet: Meet<'_>) -> Result<()> {
        for change in self.tree.diff(old, new) {
            if let Some(value) = change?.new {
                self.mark_state(meet, &value)?;
            }
        }
        Ok(())
    }

    fn body_of(&self, author: &[u8; 32], head: &[u8]) -> Result<HeadBody> {
        let opened = open_head(&self.sealer, author, head)?;
        postcard::from_bytes(&opened.body).map_err(|e| Error::new(Kind::Corrupt, "decode head", "").with_source(e))
    }

    /// Fetch a block and keep it, for an hour at least.
    pub fn bring(&self, block: &Ref) -> Result<()> {
        self.blocks.bring(block)?;
        let busy = || Error::new(Kind::Busy, "keep a block", block.bid.to_string());
        if self.holds(&[block.bid], true) == [true] { Ok(()) } else { Err(busy()) }
    }
}
