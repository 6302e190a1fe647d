//! A shared volume: its membership, what was heard and said of it, and the bell of its thread.
//!
//! Every method is quick; the work is in `replicator`. Must never take a head whose author is no writing member.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

use super::ahead::Ahead;
use super::bringing::Bringing;
use super::feeding::{self, Feeding};
use super::holds::Holds;
use super::inbox::{Inbox, Task};
use super::mending::{self, Mending};
use super::pins::Pins;
use super::placing::Placing;
use super::rebirth::Rebirth;
use super::reliance::Reliance;
use super::remembered::Remembered;
use super::word::Word;
use super::{Exchange, replicator};
use crate::base::sync::{Condvar, Mutex, RwLock};
use crate::base::{Context, Result, WriterIndex};
use crate::net::Peer;
use crate::seal::head::{author_of, verify_envelope};
use crate::seal::membership::{Membership, Role};
use crate::volume::{Observer, Volume};

use super::super::home::Home;
use super::super::policy::Policy;
use super::super::volumes::Known;

/// Room for records in one message.
const WORD: usize = 60 << 10;

/// See the module.
pub struct Replica {
    /// Which volume.
    pub known: Known,
    /// Itself.
    pub volume: Arc<Volume>,
    pub(super) membership: RwLock<Membership>,
    inbox: Mutex<Inbox>,
    bell: Condvar,
    /// The head announced last.
    said: Mutex<Option<Arc<[u8]>>>,
    /// By writer: number of the newest head, and when it came.
    heard: Mutex<BTreeMap<WriterIndex, (u64, Instant)>>,
    /// By author: the trees of the head merged last, to ask for differences.
    pub(super) learned: Mutex<BTreeMap<[u8; 32], Vec<Vec<u8>>>>,
    /// What readers here will want.
    pub(super) ahead: Ahead,
    /// What is kept here whole.
    pub pins: Pins,
    /// What others are asked to hold.
    pub holds: Holds,
    /// The newest heads of others.
    pub remembered: Remembered,
    /// Heads whose trees are on their way.
    pub(super) bringing: Bringing,
    /// Trees that were taken over and are not all here yet.
    pub(super) names: Mutex<Vec<Vec<u8>>>,
    /// What is known of having been set back.
    pub(super) rebirth: Rebirth,
    /// What is given to members that keep it without reading it.
    pub feeding: Feeding,
    /// Which of them should have what.
    pub placing: Placing,
    /// What is brought to them from each other.
    pub mending: Mending,
    /// What must not be relied upon without asking.
    pub reliance: Reliance,
    /// What a person asked of it here.
    policy: Mutex<Policy>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    watch: Mutex<Option<Arc<dyn Observer>>>,
}

struct Watch(Weak<Replica>);

impl Observer for Watch {
    fn sealed(&self) {
        self.changed();
    }

    fn changed(&self) {
        if let Some(replica) = self.0.upgrade() {
            replica.changed();
        }
    }
}

impl Replica {
    /// Of an open volume; nothing runs yet.
    pub fn new(known: Known, volume: Arc<Volume>, membership: Membership, home: &Home) -> Arc<Self> {
        let pins: PathBuf = home.volume(known.id).join("pins");
        let known_id = known.id;
        share(&volume, &membership);
        Arc::new(Self {
            volume,
            membership: RwLock::new(membership),
            inbox: Mutex::default(),
            bell: Condvar::new(),
            said: Mutex::new(None),
            heard: Mutex::default(),
            learned: Mutex::default(),
            ahead: Ahead::default(),
            pins: Pins::open(pins),
            holds: Holds::default(),
            remembered: Remembered::open(home.volume(known_id).join("heads")),
            bringing: Bringing::default(),
            names: Mutex::default(),
            rebirth: Rebirth::default(),
            feeding: Feeding::default(),
            placing: Placing::open(home.volume(known_id).join("boxes")),
            mending: Mending::default(),
            reliance: Reliance::open(home.volume(known.id)),
            known,
            policy: Mutex::default(),
            threads: Mutex::default(),
            watch: Mutex::new(None),
        })
    }

    /// Start its threads, which end with [`Self::close`].
    pub fn run(self: &Arc<Self>, exchange: Weak<Exchange>) -> Result<()> {
        let watch: Arc<dyn Observer> = Arc::new(Watch(Arc::downgrade(self)));
        self.volume.subscribe(&watch);
        *self.watch.lock() = Some(watch);
        let (replica, pinner, too) = (Arc::clone(self), Arc::clone(self), exchange.clone());
        let (feeder, also) = (Arc::clone(self), exchange.clone());
        let (mender, still) = (Arc::clone(self), exchange.clone());
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(work).io("start a thread", || name.to_owned())
        };
        let sync = start("lovage-sync", Box::new(move || replicator::run(&replica, &exchange)))?;
        let pins = start("lovage-pins", Box::new(move || pinner.pins.run(&pinner, &too)))?;
        let feed = start("lovage-feed", Box::new(move || feeding::run(&feeder, &also)))?;
        let mend = start("lovage-mend", Box::new(move || mending::run(&mender, &still)))?;
        self.threads.lock().extend([sync, pins, feed, mend]);
        self.changed();
        Ok(())
    }

    /// What a person asked of it here.
    pub fn policy(&self) -> Policy {
        *self.policy.lock()
    }

    /// Ask something else of it. What was lazy and is not any more has all names of the heads merged last brought here.
    pub fn set_policy(&self, policy: Policy) {
        let before = std::mem::replace(&mut *self.policy.lock(), policy);
        if policy.lazy == Some(false) && before.lazy != Some(false) {
            *self.names.lock() = self.learned.lock().values().flatten().cloned().collect();
            self.inbox.lock().names = true;
            self.bell.notify_all();
        }
    }

    /// End the threads; what they were at is done or given up.
    pub fn close(&self) {
        self.watch.lock().take();
        self.inbox.lock().closed = true;
        self.bell.notify_all();
        self.ahead.close();
        self.pins.close();
        self.feeding.close();
        self.mending.close();
        self.holds.close();
        self.bringing.close();
        self.feeding.end_answers();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!(volume = self.known.name, "a thread of replication panicked");
            }
        }
    }

    /// Something changed here.
    pub fn changed(&self) {
        self.inbox.lock().changed(Instant::now());
        self.bell.notify_all();
        self.feeding.ring();
    }

    /// A head arrived from a peer. Only heads that a writing member signed wait.
    pub fn heard(&self, from: Peer, head: Vec<u8>) {
        let Some(author) = author_of(&head).filter(|author| self.writer(author).is_some()) else {
            tracing::warn!(volume = self.known.name, %from, "a head of somebody who may not write was left out");
            return;
        };
        let Ok(envelope) = verify_envelope(&author, &head) else {
            tracing::warn!(volume = self.known.name, %from, "a head that its author did not sign was left out");
            return;
        };
        if author == self.volume.author() {
            self.feeding.heard_head(&from, &head);
        }
        self.inbox.lock().head(author, from, (head, envelope.seq), Instant::now());
        self.bell.notify_all();
    }

    /// Records of the membership arrived.
    pub fn records(&self, from: Peer, records: Vec<u8>) {
        self.inbox.lock().records(from, records);
        self.bell.notify_all();
    }

    /// A member asks for another index.
    pub fn renew(&self, peer: Peer, author: [u8; 32], proof: [u8; 64]) {
        self.inbox.lock().renew(peer, author, proof);
        self.bell.notify_all();
    }

    /// The room of a box is to be written down.
    pub(super) fn note_room(&self, peer: Peer, bytes: u64) {
        self.inbox.lock().room(peer, bytes);
        self.bell.notify_all();
    }

    /// Announce again what was announced.
    pub(super) fn forget_said(&self) {
        self.said.lock().take();
    }

    /// A member connected.
    pub fn came(&self, peer: Peer) {
        let mut inbox = self.inbox.lock();
        inbox.came(peer, Instant::now());
        inbox.changed(Instant::now());
        drop(inbox);
        self.bell.notify_all();
        self.pins.ring();
        self.feeding.came(&peer);
        self.mending.hurry();
    }

    /// A member is not connected any more.
    pub fn went(&self, peer: &Peer) {
        self.holds.gone(peer);
    }

    /// What was said to a member last is perhaps lost: it is said again.
    pub fn shaken(&self, peer: Peer) {
        self.holds.gone(&peer);
        self.said.lock().take();
        self.came(peer);
    }

    /// Wait for something to do; `None` when it is over. With it, the pause to keep if it fails.
    pub(super) fn next(&self) -> Option<(Task, std::time::Duration)> {
        let mut inbox = self.inbox.lock();
        loop {
            if inbox.closed {
                return None;
            }
            if let Some(brought) = self.bringing.next() {
                let pause = brought.pause;
                return Some((Task::Merge(brought), pause));
            }
            if let Some(task) = inbox.next(Instant::now()) {
                return Some(task);
            }
            match inbox.due() {
                Some(due) => drop(self.bell.wait_until(&mut inbox, due)),
                None => self.bell.wait(&mut inbox),
            }
        }
    }

    /// There is something to do.
    pub(super) fn ring(&self) {
        drop(self.inbox.lock()); // whoever is about to wait has looked, or waits by now
        self.bell.notify_all();
    }

    pub(super) fn inbox(&self) -> crate::base::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock()
    }

    /// Whether no head that was read is being fetched for.
    pub fn is_caught_up(&self) -> bool {
        self.bringing.is_idle()
    }

    /// Whether its threads are to end.
    pub fn is_closed(&self) -> bool {
        self.inbox.lock().closed
    }

    /// The head announced last.
    pub fn said(&self) -> Option<Arc<[u8]>> {
        self.said.lock().clone()
    }

    /// Remember what is announced; whether it is new.
    pub(super) fn say(&self, head: &Arc<[u8]>) -> bool {
        let mut said = self.said.lock();
        let new = said.as_ref() != Some(head) && !head.is_empty();
        if new {
            *said = Some(Arc::clone(head));
        }
        new
    }

    pub(super) fn note(&self, writer: WriterIndex, seq: u64) {
        self.heard.lock().insert(writer, (seq, Instant::now()));
    }

    /// By writer: number of the newest head of others, and seconds since it came.
    pub fn heads(&self) -> Vec<(WriterIndex, u64, u64)> {
        self.heard.lock().iter().map(|(writer, (seq, at))| (*writer, *seq, at.elapsed().as_secs())).collect()
    }

    /// Replace the membership by one that knows more.
    pub(super) fn set_membership(&self, membership: Membership) {
        share(&self.volume, &membership);
        *self.membership.write() = membership;
        self.mending.hurry();
    }

    /// The membership in pieces, each as long as a message.
    pub fn membership_records(&self) -> Vec<Vec<u8>> {
        self.membership.read().pieces(WORD)
    }

    /// The membership in messages.
    pub fn membership_words(&self) -> Vec<Word> {
        self.membership.read().pieces(WORD).into_iter().map(Word::Members).collect()
    }
}

/// From the first other member on, what is not here may be elsewhere. A reader changes nothing.
fn share(volume: &Volume, membership: &Membership) {
    let author = volume.author();
    let me = membership.table().members().find(|m| m.author == author);
    volume.only_read(me.is_some_and(|m| m.role == Role::Reader));
    if membership.table().everyone().nth(1).is_some() {
        volume.share();
    }
}
