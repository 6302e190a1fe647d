//! A device of the simulation: what `daemon/stores` does with the real party and collector, over sets instead of trees.
//!
//! Two things run at once in it: what feeds the store and takes from it, and what a person or another device does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::super::{Break, Collector, Doubts, Era, List, Needs, Outcome, Parties, Party, Standing, broken};
use super::turns::{Turns, turn};
use crate::base::sync::Mutex;
use crate::base::{Bid, Kind, Result, hex};
use crate::kv::collect::record::Bits;
use crate::kv::{Expect, Kv, Task};

pub type Blocks = BTreeSet<Bid>;

/// What survives a kill.
#[derive(Default)]
pub struct Disk {
    /// What its volume refers to, and what its log has.
    pub reach: Blocks,
    pub own: Blocks,
    /// What it said it does not need, and the head it said that under.
    pub doubts: Option<Doubts>,
    told: Option<([u8; 16], Blocks)>,
    pub freed: u64,
    /// How often its log was collected.
    swept: u64,
}

/// What a kill ends.
struct Memory {
    inbox: BTreeMap<u8, Blocks>,
    seen: BTreeMap<String, Bytes>,
    inventory: Option<(Option<Era>, Blocks)>,
    published: Option<Blocks>,
    /// It has left a word in this life.
    stood: bool,
}

/// What everybody knows of everybody.
#[derive(Default)]
pub struct World {
    pub writers: BTreeSet<String>,
    pub gone: BTreeSet<String>,
    /// Nobody that was put out is running any more.
    pub vouched: bool,
}

/// One device. Made anew after a kill, over the same disk.
pub struct Device {
    n: u8,
    kv: Arc<Turns>,
    pub disk: Arc<Mutex<Disk>>,
    world: Arc<Mutex<World>>,
    memory: Mutex<Memory>,
    party: tokio::sync::Mutex<Party>,
    /// Held by a merge from its look at the doubts to its end, and to begin to doubt.
    merging: tokio::sync::Mutex<()>,
    collector: tokio::sync::Mutex<Collector>,
}

pub fn author(n: u8) -> [u8; 32] {
    [n; 32]
}

fn encode(set: &Blocks) -> Bytes {
    set.iter().flat_map(|id| id.0).collect::<Vec<u8>>().into()
}

fn decode(bytes: &[u8]) -> Blocks {
    bytes.as_chunks::<32>().0.iter().map(|id| Bid(*id)).collect()
}

/// What is needed beside what is needed already: all of this, or what is not in the head the word was said under.
struct More<'d> {
    device: &'d Device,
    also: Vec<Bid>,
    head: Option<Blocks>,
}

impl Needs for More<'_> {
    fn needs<'a>(&'a self, list: &'a Arc<List>, told: bool) -> Task<'a, Bits> {
        let disk = &mut *self.device.disk.lock();
        if !told {
            if let Some(doubts) = disk.doubts.as_mut().filter(|doubts| doubts.id == list.id) {
                doubts.claim(&self.also);
            }
            return Box::pin(async { Ok(Bits::default()) });
        }
        let known = disk.told.as_ref().filter(|(id, _)| *id == list.id).map(|(_, head)| head.clone());
        let known = known.unwrap_or_default();
        let news = self.head.iter().flatten().filter(|id| !known.contains(id));
        let bits = list.bits(news.chain(&self.also));
        Box::pin(async move { Ok(bits) })
    }
}

impl Device {
    pub fn new(n: u8, kv: &Arc<Turns>, disk: &Arc<Mutex<Disk>>, world: &Arc<Mutex<World>>) -> Arc<Self> {
        let memory =
            Memory { inbox: BTreeMap::new(), seen: BTreeMap::new(), inventory: None, published: None, stood: false };
        Arc::new(Self {
            n,
            kv: Arc::clone(kv),
            disk: Arc::clone(disk),
            world: Arc::clone(world),
            memory: Mutex::new(memory),
            party: tokio::sync::Mutex::new(Party::new(&author(n))),
            merging: tokio::sync::Mutex::default(),
            collector: tokio::sync::Mutex::new(Collector::new(&author(n))),
        })
    }

    fn head(n: u8) -> String {
        format!("h.{}", hex(&author(n)))
    }

    async fn stand(&self, also: &[Bid], head: Option<&Blocks>) -> Result<Standing> {
        let more = More { device: self, also: also.to_vec(), head: head.cloned() };
        self.party.lock().await.stand(&*self.kv, &more).await
    }

    /// One round of what feeds the store. `begin`: a person wants it collected, under this name.
    pub async fn round(self: Arc<Self>, begin: Option<[u8; 16]>) -> Result<()> {
        let (head, swept) = {
            let disk = self.disk.lock();
            (disk.reach.clone(), disk.swept)
        };
        let standing = self.stand(&[], Some(&head)).await?;
        let Some(era) = standing.era() else { return self.collect(None).await };
        self.memory.lock().stood = true;
        if broken(Break::EarlyTrust) && era.is_none_or(|era| era.done) {
            self.disk.lock().doubts = None;
        }
        let listed = self.memory.lock().inventory.as_ref().map(|(era, _)| *era);
        if listed != Some(era) && (listed.is_none() || !broken(Break::OldListing)) {
            let all = self.kv.list(None, usize::MAX).await?.into_iter().collect();
            self.memory.lock().inventory = Some((era, all));
        }
        if !self.give(&head, swept).await? {
            return Ok(());
        }
        self.take().await?;
        if era.is_none_or(|era| era.done) {
            self.disk.lock().doubts = None; // the heads that wait were read after the sweep
        }
        if let Standing::Owing(_, list) = &standing {
            self.answer(list).await?;
        }
        self.collect(begin).await
    }

    /// False: what the head refers to was collected here meanwhile, and there will be a newer one.
    async fn give(&self, head: &Blocks, swept: u64) -> Result<bool> {
        let lacking: Vec<Bid> = {
            let (disk, memory) = (self.disk.lock(), self.memory.lock());
            let there = |id: &&Bid| memory.inventory.as_ref().is_some_and(|(_, there)| there.contains(id));
            disk.own.iter().filter(|id| !there(id)).copied().collect()
        };
        for id in lacking {
            if !self.disk.lock().own.contains(&id) {
                continue;
            }
            self.kv.put(&id, Bytes::from_static(b"x")).await?;
            if let Some((_, there)) = &mut self.memory.lock().inventory {
                there.insert(id);
            }
        }
        if self.disk.lock().swept != swept {
            return Ok(false);
        }
        self.kv.put_head(&Self::head(self.n), encode(head), Expect::Anything).await?;
        self.memory.lock().published = Some(head.clone());
        Ok(true)
    }

    async fn take(&self) -> Result<()> {
        for name in self.kv.list_heads().await? {
            let Some(key) = name.strip_prefix("h.") else { continue };
            if name == Self::head(self.n) || self.world.lock().gone.contains(key) {
                continue;
            }
            let Some(found) = self.kv.get_head(&name).await? else { continue };
            let mut memory = self.memory.lock();
            if memory.seen.insert(name.clone(), found.clone()).as_ref() != Some(&found) {
                let from = u8::from_str_radix(&key[..2], 16).unwrap();
                memory.inbox.insert(from, decode(&found));
            }
        }
        Ok(())
    }

    /// Find out what is needed of the list, and say it.
    async fn answer(&self, list: &List) -> Result<()> {
        {
            let _gate = self.merging.lock().await;
            self.disk.lock().doubts = Some(Doubts::new(list));
        }
        let walked = {
            let disk = &mut *self.disk.lock();
            self.forget_garbage(disk);
            disk.reach.clone()
        };
        turn().await;
        turn().await;
        let mut party = self.party.lock().await;
        let published = self.memory.lock().published.clone().unwrap();
        let needs = {
            let disk = &mut *self.disk.lock();
            disk.told = Some((list.id, published.clone()));
            let doubts = disk.doubts.as_mut().unwrap();
            doubts.told(list, list.bits(walked.iter().chain(&published)))
        };
        party.tell(&*self.kv, list, needs).await.map(drop)
    }

    /// The log is collected, but for what waits to be merged.
    fn forget_garbage(&self, disk: &mut Disk) {
        let memory = self.memory.lock();
        let waits = |id: &Bid| memory.inbox.values().any(|head| head.contains(id));
        disk.swept += 1;
        disk.own.retain(|id| disk.reach.contains(id) || waits(id));
    }

    async fn collect(&self, begin: Option<[u8; 16]>) -> Result<()> {
        let (writers, gone, vouched) = {
            let world = self.world.lock();
            let put_out = world.gone.contains(&hex(&author(self.n))); // and has not heard of it
            let gone = if put_out { BTreeSet::new() } else { world.gone.clone() };
            (world.writers.difference(&gone).cloned().collect::<BTreeSet<_>>(), gone, world.vouched)
        };
        let parties = Parties { writers: &writers, gone: &gone };
        let mut collector = self.collector.lock().await;
        if let Some(fresh) = begin {
            let reach = self.disk.lock().reach.clone();
            let reaches = |id: &Bid| reach.contains(id);
            ignoring(collector.begin(&*self.kv, fresh, Some(&reaches), (parties, vouched)).await)?;
        }
        while let Some(outcome) = ignoring(collector.advance(&*self.kv, parties).await)? {
            match outcome {
                Outcome::Sweeping(..) => {}
                Outcome::Swept(count) => self.disk.lock().freed += count,
                _ => break,
            }
        }
        Ok(())
    }

    /// Take in a head that waits.
    pub async fn merge(self: Arc<Self>, from: u8) -> Result<()> {
        let _gate = self.merging.lock().await;
        let belongs = !self.world.lock().gone.contains(&hex(&author(from)));
        let Some(head) = self.memory.lock().inbox.remove(&from).filter(|_| belongs) else { return Ok(()) };
        let (id, left) = {
            let disk = &mut *self.disk.lock();
            let news: Vec<Bid> = head.difference(&disk.reach).copied().collect();
            let doubts = disk.doubts.as_mut().filter(|_| !broken(Break::NoDoubts));
            doubts.map_or((None, Vec::new()), |doubts| (Some(doubts.id), doubts.claim(&news)))
        };
        if !left.is_empty() && !self.claimed(id, &left).await? {
            for id in &left {
                if !self.disk.lock().own.contains(id) {
                    if self.kv.get(id).await?.is_none() {
                        self.memory.lock().inbox.entry(from).or_insert(head); // later again, or a newer one
                        return Ok(());
                    }
                    self.disk.lock().own.insert(*id);
                }
            }
        }
        self.disk.lock().reach.extend(head);
        Ok(())
    }

    /// Whether the word could be added to while the collection still asks.
    async fn claimed(&self, id: Option<[u8; 16]>, ids: &[Bid]) -> Result<bool> {
        let standing = self.stand(ids, None).await?;
        Ok(matches!(standing, Standing::Open(Some(era)) if Some(era.id) == id && !era.done))
    }

    /// A block of its own leaves this disk if the store has it.
    pub async fn evict(self: Arc<Self>, id: Bid) -> Result<()> {
        if !self.disk.lock().reach.contains(&id) {
            return Ok(());
        }
        let Some(era) = self.stand(&[id], None).await?.era() else { return Ok(()) };
        let listed = self.memory.lock().inventory.as_ref().is_some_and(|(of, all)| *of == era && all.contains(&id));
        if listed && self.kv.has(&[id]).await?[0] {
            self.disk.lock().own.remove(&id);
        }
        Ok(())
    }

    /// Something is written here.
    pub fn write(&self, id: Bid) {
        let mut disk = self.disk.lock();
        disk.reach.insert(id);
        disk.own.insert(id);
    }

    /// Something is removed here, and its blocks with it sooner or later.
    pub fn drop_some(&self, keep: u8, now: bool) {
        let disk = &mut *self.disk.lock();
        disk.reach.retain(|id| id.0[0] % 3 == keep);
        if now {
            self.forget_garbage(disk);
        }
    }

    /// Another device tells it of its state, with what only that one has.
    pub fn hear(&self, other: &Self) {
        if Arc::ptr_eq(&self.disk, &other.disk) || !self.memory.lock().stood {
            return;
        }
        let (reach, own) = {
            let disk = other.disk.lock();
            (disk.reach.clone(), disk.own.intersection(&disk.reach).copied().collect::<Blocks>())
        };
        self.disk.lock().own.extend(own);
        self.memory.lock().inbox.insert(other.n, reach);
    }
}

/// Another was faster, or it is done later.
fn ignoring(outcome: Result<Outcome>) -> Result<Option<Outcome>> {
    match outcome {
        Err(e) if e.kind() == Kind::Exists => Ok(None),
        other => other.map(Some),
    }
}
