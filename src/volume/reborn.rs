//! Becoming another writer, after this device was set back to an earlier state or copied.
//!
//! What it changed since then carries numbers under which others know, or will know, other changes. Those changes
//! become the first ones of a new writer; what had been known of its own lost past comes back like anybody's. Must
//! never give up a change that was made here, nor keep a number that means two things.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Volume;
use super::author::Author;
use super::merge::decode;
use super::row::decode_state;
use super::showing::Joined;
use crate::base::{NodeId, Result, WriterIndex};
use crate::causal::{Lives, Moved};
use crate::seal::AuthorKey;
use crate::seal::head::open_head;

/// As whom a device goes on.
#[derive(Debug)]
pub struct Reborn {
    /// The last own change that others have in common with it.
    pub since: u64,
    /// Its new place in the writer table, nobody's before.
    pub writer: WriterIndex,
    /// Which incarnation of the device that is.
    pub incarnation: u32,
    /// Signs for it.
    pub key: AuthorKey,
}

impl Volume {
    /// Look at a head that this device signed, as others know it. `Some` if it was set back or copied since: the last
    /// own change that is the same in both pasts. [`crate::base::Kind::Corrupt`] if the head is none of its own.
    pub fn recall(&self, head: &[u8]) -> Result<Option<u64>> {
        let author = self.author();
        let opened = open_head(&self.sealer, &author, head)?;
        let body = decode(&opened)?;
        let mut ns = self.ns.lock();
        ns.author.floor = ns.author.floor.max(opened.seq);
        let common = ns.author.lives.diverged(ns.vector.get(ns.writer), &body.lives, body.vector.get(ns.writer));
        if common.is_some() {
            self.set_back.store(true, Ordering::Release);
        }
        Ok(common)
    }

    /// Whether others know changes of this device that it does not: then it tells nobody of its own, until
    /// [`Self::be_reborn`].
    pub fn is_set_back(&self) -> bool {
        self.set_back.load(Ordering::Acquire)
    }

    /// Go on as another writer. Looks at every node; holds up other changes while those made since are gone through.
    /// Durable when it returns. How many nodes were. After an error it can be asked for again.
    pub fn be_reborn(&self, reborn: Reborn) -> Result<u64> {
        self.check_open()?;
        if self.writes_as() == (reborn.writer, reborn.incarnation) {
            return self.sync_all().map(|()| 0); // it was, and what came after failed
        }
        let count = {
            let _turn = self.sealing.lock();
            self.seal_turn()?;
            let (roots, moved) = {
                let ns = self.ns.lock();
                (ns.roots.clone(), Moved { from: ns.writer, since: reborn.since, to: reborn.writer })
            };
            let mut ids = BTreeSet::new();
            for entry in self.tree.range(&roots.raw, &[]).chain(self.tree.range(&roots.local, &[])) {
                let (key, value) = entry?;
                if let Some(id) = NodeId::from_slice(&key)
                    && moved.concerns(&decode_state(&value)?)
                {
                    ids.insert(id);
                }
            }
            self.settle_before(ids.iter().copied());
            let count = self.go_over(ids, moved, reborn)?;
            // It is so from here on, whatever fails: the journal's next entry says it.
            if let Err(error) = self.seal_turn() {
                tracing::warn!(volume = %self.id, error = %error.chain(), "what became another writer's is not sealed yet");
                self.sync_all()?;
            }
            count
        };
        self.tell();
        Ok(count)
    }

    /// Change states, vector and author under one hold of the lock: they are journaled in one entry.
    fn go_over(&self, mut ids: BTreeSet<NodeId>, moved: Moved, reborn: Reborn) -> Result<u64> {
        let mut id = [0; 8];
        self.entropy.fill(&mut id);
        let mut guard = self.ns.lock();
        let ns = &mut *guard;
        ids.extend(ns.unsealed.values().map(|inode| inode.id).filter(|id| *id != NodeId::LOST));
        let mut changed = Joined::new();
        for id in ids {
            if let Some(mut state) = self.live_state(ns, id)?.filter(|state| moved.concerns(state)) {
                moved.node(&mut state);
                changed.insert(id, Some(state));
            }
        }
        let count = changed.len() as u64;
        let touched: BTreeSet<NodeId> = ns.view.doubted().into_iter().chain(changed.keys().copied()).collect();
        let prepared = self.prepare(ns, &touched, changed).inspect_err(|_| ns.view.doubt_all(&touched))?;
        self.show(ns, prepared);
        // What is being written goes on over the same version under its new name.
        for inode in self.listed() {
            if let Some(file) = inode.inner.lock().file.as_mut() {
                file.over.iter_mut().for_each(|dot| *dot = moved.dot(*dot));
                file.restate_all();
            }
        }
        // Bases of conflicts are known by names that changed.
        *self.lineage.lock() = super::lineage::Lineage::default();
        moved.vector(&mut ns.vector);
        ns.lived.set(moved.from, ns.author.lives.at(reborn.since));
        let (mut lives, now) = (Lives::default(), self.clock.now());
        lives.begin(id, 0, u64::try_from(now.0 / 1_000_000_000).unwrap_or(0));
        ns.author.leave(moved.from);
        let former = std::mem::take(&mut ns.author.former);
        ns.author = Author {
            key: Arc::new(reborn.key),
            incarnation: reborn.incarnation,
            former,
            lives,
            floor: 0,
            born: (Instant::now(), now),
        };
        ns.writer = reborn.writer;
        ns.clock.become_writer(reborn.writer);
        ns.restless = true;
        self.note_own(ns);
        self.set_back.store(false, Ordering::Release);
        Ok(count)
    }
}
