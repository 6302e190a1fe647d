//! What feeds a store: blocks it lacks, then the head that refers to them; and what takes heads of others from it.
//!
//! The queue is what the log has and the store has not: the store is listed once at the start, so nothing has to be
//! kept to go on after a kill. Must never store a head before the blocks below it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::super::exchange::{Exchange, Replica};
use super::answering::Answering;
use super::collecting::{Collecting, Members};
use super::{Attached, marker, meeting, recalling};
use crate::base::{Bid, Digest, Error, Kind, Result, hex};
use crate::kv::arena::Log;
use crate::kv::collect::Standing;
use crate::kv::collect::record::OURS;
use crate::kv::multi::Store;
use crate::kv::{Expect, Kv, blocking, version};
use crate::net::Peer;
use crate::seal::Sealer;
use crate::seal::head::author_of;

/// Changes are gathered for so long.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// How often a store is looked at for what others left there: while there is news, and after a long time without.
const POLL: Duration = Duration::from_secs(5);
const RARELY: Duration = Duration::from_secs(60);
/// First and longest pause after a failure.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(120);
/// Batches under way at once, and the bytes of one: in all, what a store may take of the memory.
const AT_ONCE: usize = 3;
const BATCH: u64 = 8 << 20;
/// Ids listed at once.
const PAGE: usize = 50_000;
/// Most heads of a store that are looked at, and the longest that is taken.
const MOST_HEADS: usize = 4096;
const LONGEST_HEAD: usize = 64 << 10;

/// What is known of the store.
#[derive(Default)]
struct Known {
    heads: BTreeMap<String, Digest>,
    /// It was seen to be this volume's.
    checked: bool,
    /// All that the log has below this arena is stored.
    from: u32,
    /// This device's head that lies there.
    published: Option<Arc<[u8]>>,
    /// The last giving was whole: that head is the newest.
    whole: bool,
    /// The members, as the store was told.
    members: Members,
}

/// This device among those whose store it is.
struct Sharing {
    answering: Answering,
    collecting: Collecting,
}

/// Feed until the volume closes.
pub async fn run(attached: &Arc<Attached>, replica: &Weak<Replica>, exchange: &Weak<Exchange>) {
    let mut known = Known::default();
    let Some(author) = replica.upgrade().map(|replica| replica.volume.author()) else { return };
    let mut sharing = Sharing { answering: Answering::default(), collecting: Collecting::new(&author) };
    let (mut pause, mut poll) = (FIRST, POLL);
    loop {
        let Some(replica) = replica.upgrade() else { return };
        let done = known.round(attached, &replica, exchange).await;
        let done = match done {
            Ok((news, standing)) => sharing.go_on(&known, attached, &replica, standing).await.map(|()| news),
            Err(error) => Err(error),
        };
        let failed = match done {
            Ok(news) => {
                pause = FIRST;
                poll = if news { POLL } else { (poll * 2).min(RARELY) };
                attached.trouble.lock().clear();
                false
            }
            Err(error) => {
                tracing::warn!(store = attached.name, error = %error.chain(), "the store is not up to date");
                attached.store.failed(&error);
                attached.went_wrong(error.chain());
                attached.lazy.forget();
                known.checked = false;
                pause = (pause * 2).min(LONGEST);
                true
            }
        };
        drop(replica);
        tokio::select! {
            () = sleep(if failed { pause } else { poll }) => {}
            () = attached.asked.notified() => {}
            () = attached.bell.notified(), if !failed => sleep(DEBOUNCE).await,
        }
    }
}

impl Sharing {
    /// Say what is owed to a collection, and go on with one's own.
    async fn go_on(
        &mut self,
        known: &Known,
        attached: &Arc<Attached>,
        replica: &Arc<Replica>,
        standing: Standing,
    ) -> Result<()> {
        if !replica.role().writes() {
            return Ok(());
        }
        let ended = standing.era().is_some_and(|era| era.is_none_or(|era| era.done));
        if ended && replica.is_caught_up() {
            // What waits to be merged was read after that: nothing of it is gone.
            let (replica, name) = (Arc::clone(replica), attached.name.clone());
            blocking(move || replica.reliance.forget(&name)).await?;
        }
        // Not between two heads: the word would miss what only a head that was sent to others has.
        if let (Standing::Owing(_, list), Some(published), true) = (&standing, &known.published, known.whole) {
            self.answering.owe(attached, replica, list, published).await?;
        }
        let (record, told) = {
            let party = attached.party.lock().await;
            (party.record().copied(), party.is_told())
        };
        attached.note_collection(record, told, &known.members, &replica.volume.author());
        if known.published.is_none() {
            return Ok(()); // the store was not told of the members in this life
        }
        if self.collecting.step(attached, replica, &known.members).await? {
            attached.asked.notify_one();
        }
        Ok(())
    }
}

impl Known {
    /// Give and take. Returns whether there was anything, and where this device stands.
    async fn round(
        &mut self,
        attached: &Attached,
        replica: &Arc<Replica>,
        exchange: &Weak<Exchange>,
    ) -> Result<(bool, Standing)> {
        let round = attached.rounds.fetch_add(1, Ordering::AcqRel) + 1;
        let kv = &**attached.store.kv();
        if !self.checked {
            *self = Self::default();
            *attached.listed_in.lock() = None;
            marker::check(kv, replica.known.id).await?;
            self.checked = true;
            attached.changed.store(true, Ordering::Release);
        }
        let changed = attached.changed.swap(false, Ordering::AcqRel);
        let given = self.give(attached, replica, changed).await;
        let (standing, whole) = given.inspect_err(|_| attached.changed.store(true, Ordering::Release))?;
        self.whole = whole;
        if standing == Standing::Closed {
            attached.changed.fetch_or(changed, Ordering::AcqRel);
            return Ok((true, standing)); // what it needs may be going at this moment
        }
        if whole {
            attached.completed(round);
        } else {
            attached.changed.store(true, Ordering::Release);
            attached.asked.notify_one();
        }
        let begin = Instant::now();
        let taken = self.take(kv, replica, exchange).await?;
        attached.store.answered(0, begin.elapsed());
        Ok((changed || taken, standing))
    }

    /// Blocks, then the head and the membership. Returns where this device stands, and whether all that there was is
    /// stored.
    async fn give(&mut self, attached: &Attached, replica: &Arc<Replica>, changed: bool) -> Result<(Standing, bool)> {
        // Sealing may bring blocks from stores in turn: not on a thread that drives them.
        let (volume, sweeps) = (Arc::clone(&replica.volume), replica.volume.sweeps());
        let announced = if changed { Some(blocking(move || volume.announce()).await?.head) } else { None };
        let head = announced.filter(|head| !head.is_empty());
        let standing = attached.stand(replica, &[], head.clone()).await?;
        let Some(era) = standing.era() else { return Ok((standing, false)) };
        if attached.listed_in() != Some(era) {
            learn(attached, &**attached.store.kv()).await?;
            *attached.listed_in.lock() = Some(era);
            self.from = 0;
            if !changed {
                return Ok((standing, false)); // again, with what there is to give
            }
        }
        if !changed {
            return Ok((standing, true));
        }
        self.give_blocks(attached, replica).await?;
        let Some(head) = head.filter(|_| replica.role().writes()) else { return Ok((standing, true)) };
        if replica.volume.sweeps() != sweeps {
            return Ok((standing, false)); // what the head needs may have been garbage before it was given
        }
        let kv = &**attached.store.kv();
        let author = replica.volume.author();
        // It became another writer while blocks were on their way: its next head says so.
        let stale = author_of(&head) != Some(author);
        let me = hex(&author);
        let first = !self.heads.contains_key(&format!("h.{me}"));
        let set_back = replica.volume.is_set_back() || first && recalling::was_set_back(kv, replica, &me).await?;
        if stale || set_back {
            return Ok((standing, false));
        }
        let members = Members::of(replica);
        for (n, word) in replica.membership_records().into_iter().enumerate() {
            self.give_head(kv, format!("m.{me}.{n}"), word.into()).await?;
        }
        self.members = members;
        self.give_head(kv, format!("h.{me}"), Bytes::copy_from_slice(&head)).await?;
        if let Standing::Open(Some(era)) = &standing
            && !era.done
        {
            // From here on what is new is new since this head, which the store has.
            replica.reliance.covers(&attached.name, &era.id, Arc::clone(&head));
        }
        self.published = Some(head);
        Ok((standing, true))
    }

    async fn give_head(&mut self, kv: &dyn Kv, name: String, value: Bytes) -> Result<()> {
        let now = version(&value);
        if self.heads.get(&name) != Some(&now) {
            // Only this device writes under its own name.
            kv.put_head(&name, value, Expect::Anything).await?;
            self.heads.insert(name, now);
        }
        Ok(())
    }

    async fn give_blocks(&mut self, attached: &Attached, replica: &Replica) -> Result<()> {
        let log = Arc::clone(replica.volume.blocks().log());
        let (store, from, name) = (Arc::clone(&attached.store), self.from, attached.name.clone());
        let mut batches = Batches { each: attached.limit.batch(BATCH), ..Batches::default() };
        let (batches, upto) = blocking(move || {
            let mut known = true;
            let upto = log.for_each_from(from, |id, size| match store.holds(&id) {
                Some(true) => {}
                held => {
                    known &= held.is_some();
                    batches.add(id, size);
                }
            })?;
            let why = "what it has is being read again";
            let unknown = move || Error::new(Kind::Unreachable, "give blocks", name).with_source(why);
            if known { Ok((batches, upto)) } else { Err(unknown()) }
        })
        .await?;
        attached.has_yet_to_get(batches.bytes);
        let mut under_way = JoinSet::new();
        let mut next = batches.all.into_iter();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(batch) = next.next()
            {
                attached.limit.pass(batch.bytes).await;
                let (store, log) = (Arc::clone(&attached.store), Arc::clone(replica.volume.blocks().log()));
                under_way.spawn(async move { give_batch(&store, log, batch).await });
            }
            let Some(done) = under_way.join_next().await else { break };
            let (queued, stored) = done.map_err(|e| Error::new(Kind::Other, "store blocks", "").with_source(e))??;
            attached.stored.fetch_add(stored, Ordering::Relaxed);
            let less = |before: u64| Some(before.saturating_sub(queued));
            let _ = attached.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
        attached.queued.store(0, Ordering::Relaxed);
        self.from = upto;
        Ok(())
    }

    /// Heads and memberships of others, if they are news. Whoever reads them verifies them. Returns whether any was.
    async fn take(&mut self, kv: &dyn Kv, replica: &Replica, exchange: &Weak<Exchange>) -> Result<bool> {
        let me = hex(&replica.volume.author());
        let names = kv.list_heads().await?;
        marker::seen(kv, &names)?;
        let ours = names.into_iter().filter(|name| !name.starts_with(OURS));
        let names: BTreeSet<String> = ours.take(MOST_HEADS).collect();
        self.heads.retain(|name, _| names.contains(name) || name.contains(&me));
        let mut news = false;
        for name in &names {
            let about = ["h.", "m.", meeting::QUESTION].iter().find_map(|kind| name.strip_prefix(kind));
            if about.is_none_or(|about| about.starts_with(&me)) {
                continue;
            }
            let Some(value) = kv.get_head(name).await?.filter(|v| v.len() <= LONGEST_HEAD) else { continue };
            let now = version(&value);
            let answered =
                name.strip_prefix(meeting::QUESTION).is_none_or(|about| names.contains(&meeting::answer_to(about)));
            if self.heads.get(name) == Some(&now) && answered {
                continue;
            }
            if name.starts_with("m.") {
                replica.records(Peer([0; 32]), value.to_vec());
            } else if name.starts_with(meeting::QUESTION) {
                let Some(exchange) = exchange.upgrade() else { return Ok(news) };
                meeting::answer(kv, exchange, name, &value).await?;
            } else {
                let Some(author) = author_of(&value).and_then(|author| replica.writer(&author)) else { continue };
                replica.heard(Peer(author.peer), value.to_vec());
            }
            news = true;
            self.heads.insert(name.clone(), now);
        }
        Ok(news)
    }
}

/// List what is there.
async fn learn(attached: &Attached, kv: &dyn Kv) -> Result<()> {
    kv.list_heads().await?; // also has packs listed anew
    attached.store.list(PAGE).await?;
    attached.stored.store(kv.stat().await?.bytes, Ordering::Relaxed);
    Ok(())
}

/// Blocks to store, in the order of the log, gathered.
#[derive(Default)]
struct Batches {
    all: Vec<Batch>,
    bytes: u64,
    /// Bytes after which a batch is full.
    each: u64,
}

#[derive(Default)]
struct Batch {
    ids: Vec<Bid>,
    bytes: u64,
}

impl Batches {
    fn add(&mut self, id: Bid, size: u32) {
        self.bytes += u64::from(size);
        if self.all.last().is_none_or(|batch| batch.bytes >= self.each) {
            self.all.push(Batch::default());
        }
        if let Some(batch) = self.all.last_mut() {
            batch.ids.push(id);
            batch.bytes += u64::from(size);
        }
    }
}

/// Store a batch. Gives the bytes it was taken for, and those of its blocks.
async fn give_batch(store: &Store, log: Arc<Log>, batch: Batch) -> Result<(u64, u64)> {
    let Batch { ids, bytes } = batch;
    let blocks = blocking(move || {
        let mut blocks = Vec::with_capacity(ids.len());
        for id in ids {
            match log.get(&id) {
                Ok(Some(sealed)) if Sealer::verify_bid(&id, &sealed) => blocks.push((id, Bytes::from(sealed))),
                Ok(None) => {} // collected meanwhile
                Err(e) if e.kind() != Kind::Corrupt => return Err(e),
                _ => tracing::error!(block = %id, "a damaged block is not given to stores: see `lovage fsck --repair`"),
            }
        }
        Ok(blocks)
    })
    .await?;
    let given: Vec<Bid> = blocks.iter().map(|(id, _)| *id).collect();
    let stored = blocks.iter().map(|(_, sealed)| sealed.len() as u64).sum();
    store.kv().put_many(blocks).await?;
    store.gained(&given);
    Ok((bytes, stored))
}
