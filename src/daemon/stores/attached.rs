//! One store of one volume, with the thread that feeds it.
//!
//! Must never keep a volume alive that is to close.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::super::exchange::{Exchange, Replica};
use super::collecting::Progress;
use super::limit::Limit;
use super::{Entry, Rules, feed, marker};
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Bid, Context, Error, Kind, Result, VolumeId};
use crate::kv::Lazy;
use crate::kv::collect::{Era, Party};
use crate::kv::multi::Store;
use crate::volume::Observer;
use crate::wire::control::StoreStatus;

/// A store that fails is tried again after this while somebody waits for it.
const AGAIN: Duration = Duration::from_secs(1);
/// For questions that somebody waits for.
const SOON: Duration = Duration::from_secs(10);

/// See the module.
pub struct Attached {
    /// What people call it.
    pub name: String,
    url: String,
    /// It, as one of those that are read.
    pub store: Arc<Store>,
    /// What opens it, and opens it anew when it was away.
    pub(super) lazy: Arc<Lazy>,
    /// Rings when something changed.
    pub(super) bell: Notify,
    /// Rings when somebody waits.
    pub(super) asked: Notify,
    closed: Notify,
    pub(super) queued: AtomicU64,
    pub(super) stored: AtomicU64,
    /// Something changed since it last looked.
    pub(super) changed: AtomicBool,
    /// Rounds begun, and the last after which all that was there at its beginning is stored.
    pub(super) rounds: AtomicU64,
    pub(super) complete: AtomicU64,
    pub(super) limit: Limit,
    before_fsync: AtomicBool,
    /// Rings when a round was good for something or went wrong; guards nothing.
    pub(super) over: (Mutex<()>, Condvar),
    /// It is fed no more: who waits for it waits in vain.
    ended: AtomicBool,
    /// Rounds that went wrong.
    failures: AtomicU64,
    /// Why it is not up to date; empty when it is.
    pub(super) trouble: Mutex<String>,
    /// This device among those that use it. Taken before anything of the replica's reliance.
    pub(super) party: tokio::sync::Mutex<Party>,
    #[allow(clippy::option_option)] // not listed, before the first collection, an era
    pub(super) listed_in: Mutex<Option<Option<Era>>>,
    pub(super) progress: Mutex<Progress>,
    replica: Weak<Replica>,
    thread: Mutex<Option<JoinHandle<()>>>,
    watch: Mutex<Option<Arc<dyn Observer>>>,
}

struct Watch(Weak<Attached>);

impl Observer for Watch {
    fn sealed(&self) {
        self.changed();
    }

    fn changed(&self) {
        if let Some(attached) = self.0.upgrade() {
            attached.changed.store(true, Ordering::Release);
            attached.bell.notify_one();
        }
    }
}

impl Attached {
    /// Feed `store` from now on.
    pub fn start(
        entry: Entry,
        store: Arc<Store>,
        lazy: Arc<Lazy>,
        (replica, exchange): (&Arc<Replica>, &Arc<Exchange>),
        runtime: Arc<Runtime>,
    ) -> Result<Arc<Self>> {
        let attached = Arc::new(Self {
            name: entry.name,
            url: entry.url,
            store,
            lazy,
            bell: Notify::new(),
            asked: Notify::new(),
            closed: Notify::new(),
            queued: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            changed: AtomicBool::new(true),
            rounds: AtomicU64::new(0),
            complete: AtomicU64::new(0),
            limit: Limit::default(),
            before_fsync: AtomicBool::new(false),
            over: Default::default(),
            ended: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            trouble: Mutex::new("starting".to_owned()),
            party: tokio::sync::Mutex::new(Party::new(&replica.volume.author())),
            listed_in: Mutex::default(),
            progress: Mutex::default(),
            replica: Arc::downgrade(replica),
            thread: Mutex::new(None),
            watch: Mutex::new(None),
        });
        attached.obey(entry.rules);
        let watch: Arc<dyn Observer> = Arc::new(Watch(Arc::downgrade(&attached)));
        replica.volume.subscribe(&watch);
        *attached.watch.lock() = Some(watch);
        let (fed, replica, exchange) = (Arc::clone(&attached), Arc::downgrade(replica), Arc::downgrade(exchange));
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = feed::run(&fed, &replica, &exchange) => {}
                    () = fed.closed.notified() => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("lovage-store".into()).spawn(work);
        *attached.thread.lock() = Some(thread.io("start a thread", || "lovage-store".to_owned())?);
        Ok(attached)
    }

    /// What is asked of it from now on.
    pub fn obey(&self, rules: Rules) {
        self.limit.set(rules.limit);
        let _told = self.over.0.lock();
        self.before_fsync.store(rules.before_fsync, Ordering::Release);
        self.over.1.notify_all(); // nobody waits for what is not asked any more
    }

    /// Whether it is given only so many bytes a second.
    pub fn is_limited(&self) -> bool {
        self.limit.rate().is_some()
    }

    /// Whether `fsync` waits for it.
    pub fn is_before_fsync(&self) -> bool {
        self.before_fsync.load(Ordering::Acquire)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An error if it is not (any more) the volume's.
    pub async fn is_ours(&self, volume: VolumeId) -> Result<()> {
        marker::check(&**self.store.kv(), volume).await
    }

    /// Which of `ids` it has, asked now; an error if it is not (any more) the volume's.
    /// A store that does not answer soon does not count.
    pub async fn has(&self, volume: VolumeId, ids: &[Bid]) -> Result<Vec<bool>> {
        if !self.store.is_ok() || !self.trouble.lock().is_empty() {
            return Ok(Vec::new());
        }
        let late = || Error::new(Kind::Timeout, "ask the store", &self.name);
        let asked = tokio::time::timeout(SOON, self.ask_for(volume, ids)).await;
        asked.unwrap_or_else(|_| Err(late())).inspect_err(|error| self.store.failed(error))
    }

    async fn ask_for(&self, volume: VolumeId, ids: &[Bid]) -> Result<Vec<bool>> {
        let kv = self.store.kv();
        marker::check(&**kv, volume).await?;
        if let Some(replica) = self.replica.upgrade() {
            // A collection must know that these are relied upon, and what was listed before it says nothing.
            let standing = self.stand(&replica, ids, None).await?;
            if standing.era().is_none_or(|era| self.listed_in() != Some(era)) {
                return Ok(Vec::new());
            }
        }
        marker::seen(&**kv, &kv.list_heads().await?)?; // also has packs listed anew
        // What is on its way there may be seen before it is durable: only what was acknowledged counts.
        let has = kv.has(ids).await?;
        Ok(ids.iter().zip(has).map(|(id, has)| has && self.store.holds(id) == Some(true)).collect())
    }

    /// Believe nothing that is known of it: it is listed anew, and given what it turns out to lack.
    pub fn doubt(&self) {
        self.store.kv().doubt();
        *self.listed_in.lock() = None;
        self.ring();
    }

    /// End the thread; what was under way is dropped and done again the next time.
    pub fn close(&self) {
        {
            let _told = self.over.0.lock();
            self.ended.store(true, Ordering::Release);
            self.over.1.notify_all();
        }
        self.watch.lock().take();
        self.closed.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(store = self.name, "the thread of a store panicked");
        }
    }

    /// Look again now. Gives the number of the last round begun.
    pub fn ring(&self) -> u64 {
        self.changed.store(true, Ordering::Release);
        self.asked.notify_one();
        self.rounds.load(Ordering::Acquire)
    }

    /// Whether all that was there in a round after `round` is stored.
    pub fn is_settled_after(&self, round: u64) -> bool {
        self.complete.load(Ordering::Acquire) > round
    }

    /// A round went wrong.
    pub(super) fn went_wrong(&self, why: String) {
        *self.trouble.lock() = why;
        self.failures.fetch_add(1, Ordering::AcqRel);
    }

    /// It answers, and is given so many bytes. Until it has them it counts for nothing, as before.
    pub(super) fn has_yet_to_get(&self, bytes: u64) {
        let mut trouble = self.trouble.lock();
        if !trouble.is_empty() && bytes > 0 {
            "being brought up to date".clone_into(&mut trouble);
        }
        drop(trouble);
        self.queued.store(bytes, Ordering::Relaxed);
    }

    /// How many rounds went wrong: what was the matter before somebody asked may be over.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// All that was there in this round is stored.
    pub(super) fn completed(&self, round: u64) {
        let _told = self.over.0.lock();
        self.complete.store(round, Ordering::Release);
        self.over.1.notify_all();
    }

    /// Wait until all that is there now is stored, or that is not asked any more. [`Kind::Timeout`] with what is the matter if it is not by `deadline`.
    pub fn settle_by(&self, deadline: Instant) -> Result<()> {
        let (round, mut failures) = (self.ring(), self.failures());
        let mut told = self.over.0.lock();
        while !self.is_settled_after(round) && self.is_before_fsync() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.ended.load(Ordering::Acquire) {
                return Err(Error::new(Kind::Timeout, "store what was written", &self.name).with_source(self.state()));
            }
            self.over.1.wait_for(&mut told, left.min(AGAIN));
            let before = std::mem::replace(&mut failures, self.failures());
            if failures != before {
                self.asked.notify_one(); // somebody waits: not after the feeder's own pause
            }
        }
        Ok(())
    }

    fn state(&self) -> String {
        if self.thread.lock().as_ref().is_some_and(JoinHandle::is_finished) {
            return "what feeds it has ended: see the log, and restart the daemon".to_owned();
        }
        let trouble = self.trouble.lock().clone();
        if trouble.is_empty() { self.store.state() } else { trouble }
    }

    /// What there is to tell.
    pub fn status(&self, volume: &str) -> StoreStatus {
        StoreStatus {
            name: self.name.clone(),
            url: self.url.clone(),
            state: self.state(),
            latency_ms: self.store.latency().map_or(0.0, |latency| latency.as_secs_f64() * 1000.0),
            queue_bytes: self.queued.load(Ordering::Relaxed),
            stored_bytes: self.stored.load(Ordering::Relaxed),
            volume: volume.to_owned(),
            limit_bytes_s: self.limit.rate(),
            before_fsync: self.is_before_fsync(),
            collection: self.collection(),
        }
    }
}
