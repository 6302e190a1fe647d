//! The volumes that this device keeps for others: which they are, the thread that takes what is offered, and what is
//! answered to members.
//!
//! Must never fetch on a thread of the network, and never queue more than a few offers: who finds no room offers again.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::home::Home;
use super::super::keeping::{Fresh, Kept};
use super::Exchange;
use super::word::Word;
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Context, Error, Kind, Result, VolumeId};
use crate::net::{Net, Peer};
use crate::wire::Advice;

/// Tasks waiting for one volume.
const TASKS: usize = 16;
/// With nothing to do, a look at what could have become due.
const NOW_AND_THEN: Duration = Duration::from_secs(600);

/// See the module.
pub struct Keeps {
    home: Home,
    all: RwLock<BTreeMap<VolumeId, Keeping>>,
    opened: Mutex<bool>,
}

struct Keeping {
    kept: Arc<Kept>,
    tasks: SyncSender<Task>,
    thread: JoinHandle<()>,
}

enum Task {
    /// A member has these blocks and would have them kept.
    Offer { from: Peer, number: u32, blocks: Vec<(Bid, u32)> },
    /// A member connected.
    Came(Peer),
    /// Whoever was waited for has perhaps answered.
    Look,
    /// A member gave all it has.
    Room(Peer),
}

impl Keeps {
    /// None opened yet.
    pub fn new(home: Home) -> Self {
        Self { home, all: RwLock::default(), opened: Mutex::new(false) }
    }

    /// Open all there are, once. One that cannot be opened is told of and left alone.
    pub fn open(&self, exchange: &Arc<Exchange>) -> Result<()> {
        let mut opened = self.opened.lock();
        if *opened {
            return Ok(());
        }
        let dir = self.home.keeps();
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.io("look for kept volumes", || dir.display().to_string())?,
        };
        for entry in entries {
            let path = entry.io("look for kept volumes", || dir.display().to_string())?.path();
            if self.all.read().keys().any(|id| self.home.keep(*id) == path) {
                continue;
            }
            match Kept::open(&path) {
                Ok(kept) => self.serve(kept, exchange)?,
                Err(error) => {
                    tracing::error!(dir = %path.display(), error = %error.chain(), "a kept volume cannot be opened");
                }
            }
        }
        *opened = true;
        Ok(())
    }

    /// Keep another volume from now on. [`Kind::Exists`] if it is kept already.
    pub fn add(&self, exchange: &Arc<Exchange>, id: VolumeId, mut fresh: Fresh) -> Result<Arc<Kept>> {
        self.open(exchange)?;
        if self.find(&id).is_some() {
            return Err(Error::new(Kind::Exists, "keep the volume", id.to_string()));
        }
        let taken: Vec<String> = self.all().iter().map(|kept| kept.name()).collect();
        let wanted = fresh.about.name.clone();
        let free = (1_u32..).map(|n| if n == 1 { wanted.clone() } else { format!("{wanted}-{n}") });
        fresh.about.name = free.into_iter().find(|name| !taken.contains(name)).unwrap_or(wanted);
        let dir = self.home.keep(id);
        Kept::make(&dir, &fresh)?;
        self.serve(Kept::open(&dir)?, exchange)?;
        self.find(&id).ok_or_else(|| Error::new(Kind::NotFound, "keep the volume", id.to_string()))
    }

    fn serve(&self, kept: Kept, exchange: &Arc<Exchange>) -> Result<()> {
        let (kept, exchange) = (Arc::new(kept), Arc::downgrade(exchange));
        let (tasks, inbox) = sync_channel(TASKS);
        let worked = Arc::clone(&kept);
        let thread = std::thread::Builder::new().name("lovage-keep".into());
        let thread = thread.spawn(move || work(&worked, &inbox, &exchange));
        let thread = thread.io("start a thread", || "lovage-keep".to_owned())?;
        self.all.write().insert(kept.id, Keeping { kept, tasks, thread });
        Ok(())
    }

    /// A kept volume.
    pub fn find(&self, id: &VolumeId) -> Option<Arc<Kept>> {
        self.all.read().get(id).map(|keeping| Arc::clone(&keeping.kept))
    }

    /// The one that is called `name` here. [`Kind::NotFound`] if there is none.
    pub fn named(&self, name: &str) -> Result<Arc<Kept>> {
        let found = self.all().into_iter().find(|kept| kept.name() == name || kept.id.to_string() == name);
        let advice = || Advice::new("nothing of that name is kept here", "See `lovage keep list`.");
        found.ok_or_else(|| Error::new(Kind::NotFound, "find the kept volume", name).with_source(advice()))
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Kept>> {
        self.all.read().values().map(|keeping| Arc::clone(&keeping.kept)).collect()
    }

    /// Keep a volume no more: what is here of it goes.
    pub fn remove(&self, id: VolumeId) -> Result<()> {
        let keeping = self.all.write().remove(&id);
        if let Some(keeping) = keeping {
            keeping.end();
        }
        let dir = self.home.keep(id);
        fs::remove_dir_all(&dir).io("remove what was kept", || dir.display().to_string())
    }

    /// End all threads.
    pub fn close(&self) {
        let all = std::mem::take(&mut *self.all.write()); // let go of before waiting: what the threads wait for looks here
        all.into_values().for_each(Keeping::end);
    }

    /// Whether there was room for it. What finds none comes again: offers are repeated, and so are greetings.
    fn task(&self, id: &VolumeId, task: Task) -> bool {
        self.all.read().get(id).is_some_and(|keeping| keeping.tasks.try_send(task).is_ok())
    }

    /// Ask who may write what is needed of the volume called `name`, unless that is being asked already.
    pub fn collect(&self, name: &str) -> Result<Arc<Kept>> {
        let kept = self.named(name)?;
        kept.collect()?;
        self.task(&kept.id, Task::Look);
        Ok(kept)
    }

    /// A member connected, or lost one of its connections.
    pub fn came(&self, id: &VolumeId, peer: Peer) {
        self.task(id, Task::Came(peer));
    }
}

impl Keeping {
    fn end(self) {
        self.kept.end();
        drop(self.tasks);
        if self.thread.join().is_err() {
            tracing::error!(volume = self.kept.name(), "the thread of a kept volume panicked");
        }
    }
}

/// Until nobody can give it anything to do.
fn work(kept: &Kept, inbox: &Receiver<Task>, exchange: &Weak<Exchange>) {
    let mut told = kept.era();
    loop {
        let task = match inbox.recv_timeout(NOW_AND_THEN) {
            Ok(task) => task,
            Err(RecvTimeoutError::Timeout) => Task::Look,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(net) = exchange.upgrade().and_then(|exchange| exchange.net()) else { continue };
        match task {
            Task::Look => {
                // Whoever did not hear the question, or owes an answer only since then.
                let owing = |peer: &Peer| matches!(kept.era_for(peer), (_, false));
                connected(kept, &net).into_iter().filter(owing).for_each(|peer| tell_era(&net, kept, &peer));
            }
            Task::Offer { from, number, blocks } => {
                kept.take(&net, &blocks);
                let ids: Vec<Bid> = blocks.iter().map(|(bid, _)| *bid).collect();
                tell(&net, &from, kept, &Word::Holds { number, bits: kept.promise(&ids) });
            }
            Task::Room(peer) => tell(&net, &peer, kept, &Word::Room(kept.room())),
            Task::Came(peer) => {
                tell(&net, &peer, kept, &Word::Room(kept.room()));
                for head in kept.heads().unwrap_or_default() {
                    tell(&net, &peer, kept, &Word::Head(head));
                }
                let facts = net.peers().into_iter().find(|facts| facts.peer == peer);
                let addresses = facts.map(|facts| facts.addresses).unwrap_or_default();
                if let Err(error) = kept.change(|about| about.reached(peer, addresses)) {
                    tracing::warn!(error = %error.chain(), "could not remember where a peer is");
                }
                tell_era(&net, kept, &peer);
            }
        }
        look(kept);
        if kept.era() != told {
            told = kept.era();
            tell_eras(kept, &net);
        }
    }
}

/// Begin a collection when it is time, and end one that everybody has answered.
fn look(kept: &Kept) {
    let swept = kept.sweep().inspect(|swept| {
        if let Some(freed) = swept {
            tracing::info!(volume = kept.name(), freed, "collected: what nobody needs is gone");
        }
    });
    if let Err(error) = swept.and_then(|_| kept.collect_if_due()) {
        tracing::error!(volume = kept.name(), error = %error.chain(), "what is kept cannot be collected");
    }
}

fn connected(kept: &Kept, net: &Net) -> Vec<Peer> {
    let here = net.peers().into_iter().filter(|facts| facts.transport.is_some() && kept.has(&facts.peer));
    here.map(|facts| facts.peer).collect()
}

/// The heads first: what they do not refer to is relied upon by nobody who hears that a collection has ended.
fn tell_eras(kept: &Kept, net: &Net) {
    for peer in connected(kept, net) {
        for head in kept.heads().unwrap_or_default() {
            tell(net, &peer, kept, &Word::Head(head));
        }
        tell_era(net, kept, &peer);
    }
}

fn refused(kept: &Kept, peer: &Peer, what: &str, error: &Error) {
    tracing::warn!(volume = kept.name(), device = kept.name_of(peer), error = %error.chain(), "{what} was refused");
}

fn tell_era(net: &Net, kept: &Kept, peer: &Peer) {
    let (era, told) = kept.era_for(peer);
    tell(net, peer, kept, &Word::Era(era, told));
}

fn tell(net: &Net, peer: &Peer, kept: &Kept, word: &Word) {
    // Whoever left meanwhile asks again.
    let _ = net.push_head_to(peer, kept.id, &word.encode());
}

impl Exchange {
    /// Who belongs to a kept volume, for a member that has just come; the heads follow.
    pub(super) fn words_of_kept(kept: &Kept) -> Vec<Word> {
        kept.records().into_iter().map(Word::Members).collect()
    }

    /// Tell the members how much room there is for a kept volume now.
    pub fn tell_room(&self, kept: &Kept) {
        if let Some(net) = self.net() {
            net.push_head(kept.id, &Word::Room(kept.room()).encode());
        }
    }

    /// A member asks for the list of a collection, or says what it needs of it.
    fn on_answer_of_kept(&self, kept: &Kept, net: &Net, peer: &Peer, word: Word) {
        match word {
            Word::List { number, id, from } => {
                tell(net, peer, kept, &Word::Listed { number, ids: kept.list_page(&id, from) });
            }
            Word::Needs { number, author, id, from, last, bits } => {
                let taken = kept.hear_needs((peer, &author), &id, (from, &bits, last));
                let taken =
                    taken.inspect_err(|error| refused(kept, peer, "what a device needs", error)).unwrap_or(false);
                tell(net, peer, kept, &Word::Holds { number, bits: vec![taken] });
                if taken && last {
                    self.keeps().task(&kept.id, Task::Look);
                }
            }
            _ => {}
        }
    }

    /// A member said something about a kept volume.
    pub(super) fn on_word_of_kept(&self, kept: &Kept, peer: &Peer, word: Word) {
        let Some(net) = self.net() else { return };
        match word {
            Word::Members(records) => match kept.take_records(&records) {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(volume = kept.name(), "the members changed");
                    self.review();
                    self.keeps().task(&kept.id, Task::Look); // perhaps nobody is waited for any more
                    for records in kept.records() {
                        net.push_head(kept.id, &Word::Members(records).encode());
                    }
                }
                Err(error) => refused(kept, peer, "a record", &error),
            },
            Word::Keep { number, head } => {
                let taken = kept.take_head(peer, &head).inspect_err(|error| refused(kept, peer, "a head", error));
                tell(&net, peer, kept, &Word::Holds { number, bits: vec![taken.is_ok()] });
                self.keeps().task(&kept.id, Task::Room(*peer));
                if matches!(taken, Ok(true)) {
                    net.push_head(kept.id, &Word::Head(head).encode());
                }
            }
            Word::Ask { number, promise, ids } => {
                let bits = if promise { kept.promise(&ids) } else { kept.holds(&ids) };
                tell(&net, peer, kept, &Word::Holds { number, bits });
            }
            Word::List { .. } | Word::Needs { .. } => self.on_answer_of_kept(kept, &net, peer, word),
            Word::Offer { number, blocks } => {
                let ids: Vec<Bid> = blocks.iter().map(|(bid, _)| *bid).collect();
                let offer = Task::Offer { from: *peer, number, blocks };
                if !kept.is_reader(peer) || !self.keeps().task(&kept.id, offer) {
                    tell(&net, peer, kept, &Word::Holds { number, bits: kept.holds(&ids) });
                }
            }
            Word::Addresses(list) => {
                for (member, addresses) in list.into_iter().filter(|(member, _)| kept.has(member)) {
                    for address in addresses {
                        // A peer that names nonsense helps nobody and hurts nobody.
                        let _ = net.hear_address(member, &address);
                    }
                }
            }
            // A head comes again as one to keep, once what is below it is here.
            Word::Head(_)
            | Word::Holds { .. }
            | Word::Renew(..)
            | Word::Room(_)
            | Word::Listed { .. }
            | Word::Era(..) => {}
        }
    }
}
