//! Collecting a store from this device: begun by a person, gone on with in every round until it is done.
//!
//! Everything there is to know is in the store, so a restart resumes. Must never go on by a membership that the store
//! has not been given: others must hear who was put out before what only that one needed is gone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::super::exchange::{Replica, forget_garbage};
use super::{Attached, Stores};
use crate::base::port::{Entropy, System};
use crate::base::{Error, Kind, Result, VolumeId, hex};
use crate::kv::collect::record::{Phase, Record};
use crate::kv::collect::{Collector, Outcome, Parties, short};
use crate::wire::Advice;
use crate::wire::control::CollectionStatus;

/// A round removes for so long, and goes on in the next.
const SPAN: Duration = Duration::from_secs(2);

/// Whom a collection is for, as the store has been told.
#[derive(Debug, Clone, Default)]
pub struct Members {
    writers: BTreeSet<String>,
    gone: BTreeSet<String>,
    names: BTreeMap<String, String>,
}

impl Members {
    /// As this device knows them now.
    pub fn of(replica: &Replica) -> Self {
        let mut members = Self::default();
        for (author, name, writes) in replica.authors() {
            let key = hex(&author);
            if writes {
                members.writers.insert(key.clone())
            } else {
                members.gone.insert(key.clone())
            };
            members.names.insert(key, name);
        }
        members.gone = members.gone.difference(&members.writers).cloned().collect();
        members
    }

    fn parties(&self) -> Parties<'_> {
        Parties { writers: &self.writers, gone: &self.gone }
    }

    fn name(&self, key: &str) -> String {
        self.names.get(key).cloned().unwrap_or_else(|| format!("device {}", key.get(..8).unwrap_or(key)))
    }
}

/// What a person asked for, and how far it is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Collect; with the person's word that a device which was put out is not at it any more.
    wanted: Option<bool>,
    /// Questions of persons, and those that were answered.
    asked: u64,
    answered: u64,
    /// Bytes the store had when removing began.
    before: Option<u64>,
    /// Why this device cannot tell what it needs; empty if it can.
    pub(super) trouble: String,
    status: CollectionStatus,
}

impl Attached {
    /// Begin a collection, or look how far one is. Gives a number for [`Self::collected`].
    pub fn collect(&self, vouched: bool) -> u64 {
        let mut progress = self.progress.lock();
        progress.wanted = Some(vouched);
        progress.asked += 1;
        let asked = progress.asked;
        drop(progress);
        self.ring();
        asked
    }

    /// How far it is, and whether that answers the question with this number.
    pub fn collected(&self, asked: u64) -> (CollectionStatus, bool) {
        let progress = self.progress.lock();
        (progress.status.clone(), progress.answered >= asked)
    }

    /// What there is to tell of a collection, if anything.
    pub fn collection(&self) -> Option<CollectionStatus> {
        let progress = self.progress.lock();
        let trouble = progress.trouble.clone();
        let status = CollectionStatus { trouble, ..progress.status.clone() };
        (!status.state.is_empty()).then_some(status)
    }

    /// Tell how far the collection is that was seen last.
    pub(super) fn note_collection(&self, record: Option<Record>, told: bool, members: &Members, me: &[u8; 32]) {
        let mut progress = self.progress.lock();
        let Some(record) = record else { return };
        let mine = record.owner == *me;
        let ended = record.phase == Phase::Done;
        if mine && (ended || matches!(progress.status.state.as_str(), "waiting" | "sweeping" | "interrupted")) {
            return; // told by who collects
        }
        let state = match record.phase {
            Phase::Asking => "asking",
            Phase::Closing | Phase::Sweeping => "sweeping",
            Phase::Done => "",
        };
        progress.status = CollectionStatus {
            state: state.to_owned(),
            by: members.name(&hex(&record.owner)),
            owed: !told && !ended,
            ..CollectionStatus::default()
        };
    }
}

/// This device as one that collects a store.
pub struct Collecting {
    collector: Collector,
    /// What this device reaches, being found out beside everything else.
    reaching: Option<JoinHandle<Result<HashSet<u64>>>>,
}

impl Collecting {
    /// Of the device with this key.
    pub fn new(me: &[u8; 32]) -> Self {
        Self { collector: Collector::new(me), reaching: None }
    }

    /// Begin if a person wants it, and go on with what was begun. True: at once again.
    pub async fn step(&mut self, attached: &Arc<Attached>, replica: &Arc<Replica>, members: &Members) -> Result<bool> {
        let (wanted, asked) = {
            let mut progress = attached.progress.lock();
            (progress.wanted.take(), progress.asked)
        };
        let me = replica.volume.author();
        if let Some(vouched) = wanted {
            let outcome = self.begin(attached, replica, members, vouched).await?;
            if outcome == Outcome::Idle {
                attached.progress.lock().wanted = Some(vouched); // what it reaches is not known yet
                return Ok(false);
            }
            if !matches!(outcome, Outcome::Sweeping(..)) {
                attached.tell(&outcome, members, None, asked);
                return Ok(false);
            }
        } else {
            let record = attached.party.lock().await.record().copied();
            if !record.is_some_and(|record| record.is_open() && record.owner == me) {
                return Ok(false);
            }
        }
        self.go_on(attached, members, (&hex(&me), asked)).await
    }

    async fn go_on(&mut self, attached: &Attached, members: &Members, (me, asked): (&str, u64)) -> Result<bool> {
        let (kv, begin) = (attached.store.kv(), Instant::now());
        loop {
            let outcome = match self.collector.advance(&**kv, members.parties()).await {
                Err(e) if e.kind() == Kind::Exists => return Ok(true), // another device was faster: look again
                other => other?,
            };
            let before = attached.progress.lock().before;
            let bytes = match (&outcome, before) {
                (Outcome::Sweeping(..), None) => {
                    let now = kv.stat().await?.bytes;
                    attached.progress.lock().before = Some(now);
                    None
                }
                (Outcome::Swept(_), Some(before)) => Some(before.saturating_sub(kv.stat().await?.bytes)),
                _ => None,
            };
            let able = attached.progress.lock().trouble.is_empty();
            let soon = matches!(&outcome, Outcome::Waiting(owing) if able && owing.contains(me));
            let goes_on = matches!(outcome, Outcome::Sweeping(..));
            attached.tell(&outcome, members, bytes, if soon || goes_on { 0 } else { asked });
            if !goes_on {
                return Ok(matches!(outcome, Outcome::Swept(_)));
            }
            if begin.elapsed() > SPAN {
                return Ok(true);
            }
        }
    }

    async fn begin(
        &mut self,
        attached: &Arc<Attached>,
        replica: &Arc<Replica>,
        members: &Members,
        vouched: bool,
    ) -> Result<Outcome> {
        let kv = attached.store.kv();
        let (parties, me) = (members.parties(), replica.volume.author());
        let record = attached.party.lock().await.record().copied().filter(Record::is_open);
        let in_the_way = record.is_some_and(|record| {
            record.phase == Phase::Sweeping || record.owner == me || !members.gone.contains(&hex(&record.owner))
        });
        let reached = match self.reaching.take_if(|walk| walk.is_finished()) {
            _ if in_the_way => None,
            Some(walk) => {
                let lost = |e| Error::new(Kind::Other, "find out what is in use", &attached.name).with_source(e);
                Some(walk.await.map_err(lost)??)
            }
            None => {
                if self.reaching.is_none() {
                    self.reaching = Some(reach(attached, replica));
                }
                return Ok(Outcome::Idle);
            }
        };
        let reaches = |id: &_| reached.as_ref().is_some_and(|reached| reached.contains(&short(id)));
        let reaches: Option<&(dyn Fn(&_) -> bool + Sync)> = if reached.is_some() { Some(&reaches) } else { None };
        match self.collector.begin(&**kv, fresh(), reaches, (parties, vouched)).await {
            // Another device was faster: it is busy, or will be seen to be.
            Err(e) if e.kind() == Kind::Exists => Ok(Outcome::Sweeping(0, 0)),
            other => other,
        }
    }
}

/// Find out what this device reaches, without what is garbage in its own log: that would be given again.
fn reach(attached: &Arc<Attached>, replica: &Arc<Replica>) -> JoinHandle<Result<HashSet<u64>>> {
    let (attached, replica) = (Arc::clone(attached), Arc::clone(replica));
    tokio::task::spawn_blocking(move || {
        let find_out = || {
            forget_garbage(&replica);
            replica.volume.announce()?;
            let mut reached = HashSet::new();
            replica.volume.reach(&mut |block| {
                let stop = || Error::new(Kind::Interrupted, "collect the store", &attached.name);
                if replica.is_closed() { Err(stop()) } else { Ok(reached.insert(short(&block.bid))) }
            })?;
            Ok(reached)
        };
        let found = find_out();
        attached.asked.notify_one();
        found
    })
}

fn fresh() -> [u8; 16] {
    let mut id = [0; 16];
    System.fill(&mut id);
    id
}

impl Attached {
    /// `asked`: the question that this answers, 0 for none.
    fn tell(&self, outcome: &Outcome, members: &Members, bytes: Option<u64>, asked: u64) {
        let mut progress = self.progress.lock();
        progress.answered = progress.answered.max(asked);
        let mut status = CollectionStatus::default();
        let state = match outcome {
            Outcome::Idle => "",
            Outcome::Waiting(owing) => {
                status.waiting = owing.iter().map(|key| members.name(key)).collect();
                progress.before = None;
                "waiting"
            }
            Outcome::Busy(owner) => {
                status.by = members.name(&hex(owner));
                "busy"
            }
            Outcome::Orphaned(owner) => {
                status.by = members.name(&hex(owner));
                "orphaned"
            }
            Outcome::Sweeping(done, all) => {
                (status.blocks, status.of) = (*done, *all);
                "sweeping"
            }
            Outcome::Swept(count) => {
                (status.blocks, status.of, status.bytes) = (*count, *count, bytes.unwrap_or(0));
                progress.before = None;
                tracing::info!(store = self.name, blocks = count, bytes = status.bytes, "the store is collected");
                "done"
            }
        };
        state.clone_into(&mut status.state);
        progress.status = status;
    }
}

impl Stores {
    /// [`Kind::Unsupported`] if the store called `name` cannot be collected.
    pub fn check_collectable(&self, id: VolumeId, name: &str) -> Result<()> {
        let attached = self.find(id, name)?;
        if self.run(async { attached.store.kv().compares().await })? {
            return Ok(());
        }
        let why = "it cannot replace an object only if that is still what was read, which is what keeps several devices \
                   from removing what another needs";
        let next = "Attach an empty store: what is in use goes there by itself. Then detach this one.";
        Err(Error::new(Kind::Unsupported, "collect the store", name).with_source(Advice::new(why, next)))
    }
}
