//! Random interleavings of the real collector and party over a store in memory, with kills at every request.
//!
//! The seed is printed; `LOVAGE_SEED` and `LOVAGE_STEPS` choose another run. Each rule is left out once, and missed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::party::{BROKEN, Break, broken};
use super::record::{decode_page, encode_page};
use super::{Outcome, Standing, advance, settle};
use crate::base::sync::Mutex;
use crate::base::{Bid, Kind, Result, hex};
use crate::kv::{Expect, Kv, KvStat, MemoryKv, Task};

const DEVICES: u8 = 4;
const UNIVERSE: u8 = 12;

/// A store where every request waits for its turn.
#[derive(Default)]
struct Turns(MemoryKv);

/// Pending once.
struct Turn(bool);

impl Future for Turn {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn turned<'a, T: 'a>(task: Task<'a, T>) -> Task<'a, T> {
    Box::pin(async move {
        Turn(false).await;
        task.await
    })
}

impl Kv for Turns {
    fn name(&self) -> &'static str {
        "turns:"
    }
    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        turned(self.0.get(id))
    }
    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        turned(self.0.put(id, value))
    }
    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        turned(self.0.has(ids))
    }
    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        Box::pin(async move {
            for id in ids {
                turned(self.0.delete(std::slice::from_ref(id))).await?;
            }
            Ok(())
        })
    }
    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        turned(self.0.list(after, limit))
    }
    fn stat(&self) -> Task<'_, KvStat> {
        self.0.stat()
    }
    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        turned(self.0.get_head(name))
    }
    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        turned(self.0.put_head(name, value, expect))
    }
    fn list_heads(&self) -> Task<'_, Vec<String>> {
        turned(self.0.list_heads())
    }
    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        turned(self.0.delete_head(name))
    }
}

/// What survives a kill.
#[derive(Default)]
struct Disk {
    reach: BTreeSet<Bid>,
    /// What it believed the store to have, and under which collection. Used only where that rule is left out.
    listed: BTreeSet<Bid>,
    freed: u64,
}

type Shared = Arc<Mutex<Disk>>;

struct Rng(u64);

impl Rng {
    /// A device, or the first byte of a block.
    fn small(&mut self, n: u8) -> u8 {
        u8::try_from(self.below(u64::from(n))).unwrap()
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn author(n: u8) -> [u8; 32] {
    [n; 32]
}

fn head(n: u8) -> String {
    format!("h.{}", hex(&author(n)))
}

fn ids(set: &BTreeSet<Bid>) -> Bytes {
    encode_page(&set.iter().copied().collect::<Vec<_>>()).into()
}

/// The device relies on `next` only if it may.
async fn open(kv: &Turns, n: u8, next: &BTreeSet<Bid>) -> Result<bool> {
    Ok(settle(kv, &author(n), &|id| next.contains(id)).await? != Standing::Closed)
}

async fn write(kv: Arc<Turns>, n: u8, disk: Shared, id: Bid) -> Result<()> {
    let mut next = disk.lock().reach.clone();
    next.insert(id);
    if !open(&kv, n, &next).await? {
        return Ok(());
    }
    let old = broken(Break::OldListing) && disk.lock().listed.contains(&id);
    if !old && !kv.has(&[id]).await?[0] {
        kv.put(&id, Bytes::from_static(b"x")).await?;
    }
    disk.lock().listed.insert(id);
    disk.lock().reach.clone_from(&next);
    kv.put_head(&head(n), ids(&next), Expect::Anything).await
}

async fn drop_some(kv: Arc<Turns>, n: u8, disk: Shared, keep: u64) -> Result<()> {
    let mut next = disk.lock().reach.clone();
    next.retain(|id| u64::from(id.0[0]) % 3 == keep);
    kv.put_head(&head(n), ids(&next), Expect::Anything).await?;
    disk.lock().reach = next; // a kill before this leaves more reached than published: harmless
    Ok(())
}

async fn learn(kv: Arc<Turns>, n: u8, disk: Shared, from: u8) -> Result<()> {
    let Some(found) = kv.get_head(&head(from)).await? else { return Ok(()) };
    let mut next = disk.lock().reach.clone();
    next.extend(decode_page(&found).unwrap());
    if !open(&kv, n, &next).await? {
        return Ok(());
    }
    if kv.get_head(&head(from)).await?.as_ref() == Some(&found) || broken(Break::HeadOnce) {
        disk.lock().reach = next;
    }
    Ok(())
}

async fn collect(kv: Arc<Turns>, n: u8, disk: Shared, fresh: [u8; 16]) -> Result<()> {
    let reach = disk.lock().reach.clone();
    let members: BTreeSet<String> = (0..DEVICES).map(|n| hex(&author(n))).collect();
    let reaches = |id: &Bid| reach.contains(id);
    let done = advance(&*kv, (&author(n), fresh), &reaches, (&members, &BTreeSet::new())).await;
    match done {
        Ok(Outcome::Swept(count)) => disk.lock().freed += count,
        Err(e) if e.kind() != Kind::Exists => return Err(e),
        _ => {}
    }
    Ok(())
}

async fn settle_only(kv: Arc<Turns>, n: u8, disk: Shared) -> Result<()> {
    let reach = disk.lock().reach.clone();
    open(&kv, n, &reach).await.map(|_| ())
}

fn begin(kv: &Arc<Turns>, n: u8, disk: &Shared, rng: &mut Rng) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
    let (kv, disk) = (Arc::clone(kv), Arc::clone(disk));
    let other = rng.small(DEVICES);
    let id = Bid([rng.small(UNIVERSE); 32]);
    let (what, fresh) = (rng.below(10), u128::from(rng.below(u64::MAX)) + 1);
    match what {
        0..=2 => Box::pin(write(kv, n, disk, id)),
        3 => Box::pin(drop_some(kv, n, disk, u64::from(id.0[0]) % 3)),
        4..=5 => Box::pin(learn(kv, n, disk, other)),
        6..=7 => Box::pin(settle_only(kv, n, disk)),
        _ => Box::pin(collect(kv, n, disk, fresh.to_le_bytes())),
    }
}

/// Blocks freed, or what was lost at which step.
fn run(seed: u64, steps: u64) -> std::result::Result<u64, String> {
    let (mut rng, kv) = (Rng(seed), Arc::new(Turns::default()));
    let disks: Vec<Shared> = (0..DEVICES).map(|_| Shared::default()).collect();
    let mut tasks = BTreeMap::new();
    let mut context = Context::from_waker(Waker::noop());
    for step in 0..steps {
        let n = rng.small(DEVICES);
        let disk = &disks[usize::from(n)];
        let mut task = tasks.remove(&n).unwrap_or_else(|| begin(&kv, n, disk, &mut rng));
        if rng.below(40) == 0 {
            continue; // killed: what was asked for last has not reached the store
        }
        match task.as_mut().poll(&mut context) {
            Poll::Pending => drop(tasks.insert(n, task)),
            Poll::Ready(done) => done.map_err(|e| format!("seed {seed}, step {step}: {}", e.chain()))?,
        }
        for (n, disk) in disks.iter().enumerate() {
            for id in &disk.lock().reach {
                let Poll::Ready(there) = kv.0.get(id).as_mut().poll(&mut context) else { continue };
                if there.unwrap().is_none() {
                    return Err(format!("seed {seed}, step {step}: device {n} lost {id}"));
                }
            }
        }
    }
    Ok(disks.iter().map(|disk| disk.lock().freed).sum())
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn nothing_that_a_device_relies_on_is_lost_and_garbage_is_freed() {
    let (seed, steps) = (setting("LOVAGE_SEED", 1), setting("LOVAGE_STEPS", 10_000));
    let mut freed = 0;
    for seed in seed..seed + 10 {
        freed += run(seed, steps).unwrap();
    }
    println!("seed {seed}, 10 runs of {steps} steps: {freed} blocks freed");
    assert!(freed > 0);
}

#[test]
fn each_rule_left_out_is_noticed() {
    use Break::{EarlyWords, HeadOnce, LateWord, NoSecondLook, NoWait, NoWord, OldListing};
    let unnoticed = |rule: &Break| {
        BROKEN.set(Some(*rule));
        let lost = (1..=300).find_map(|seed| run(seed, 10_000).err());
        BROKEN.set(None);
        println!("{rule:?}: {lost:?}");
        lost.is_none_or(|lost| !lost.contains("lost"))
    };
    let rules = [LateWord, NoWord, NoSecondLook, HeadOnce, OldListing, NoWait, EarlyWords];
    assert_eq!(rules.into_iter().filter(unnoticed).collect::<Vec<_>>(), []);
}
