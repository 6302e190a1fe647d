//! What is given to members that keep the volume and cannot read it: every block of the log, then the head.
//!
//! One thread a replica. Must never give a head before the member has said that it has every block of the log below it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::keeping::{CollectionId, Era};
use super::settling::Answer;
use super::{Exchange, MOST_IDS, Replica, settling};
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Bid, Context, Error, Kind, Result, WriterIndex};
use crate::net::{Net, Peer};
use crate::seal::Sealer;
use crate::seal::head::author_of;
use crate::seal::membership::Member;
use crate::wire::control::KeeperStatus;

/// Changes are gathered for so long.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(30);
/// What is known of a keeper is asked anew after this: it may have lost its disk.
const TRUSTED: Duration = Duration::from_secs(86_400);
/// Bytes of one offer, but for a single larger block.
const OFFER: u64 = 1 << 20;
/// How long a keeper may take for one.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub struct Feeding {
    inner: Mutex<Inner>,
    bell: Condvar,
    /// What is being found out for keepers that ask.
    walks: Mutex<BTreeMap<WriterIndex, Walk>>,
}

/// About which collection, and who finds it out.
type Walk = (CollectionId, JoinHandle<Result<Answer>>);

#[derive(Debug, Default)]
struct Inner {
    rung: bool,
    closed: bool,
    /// By writer index: a device that was removed and came back begins anew.
    given: BTreeMap<WriterIndex, Given>,
    /// Bytes of the log still to be looked at.
    queued: BTreeMap<WriterIndex, u64>,
    /// How often each member came.
    comings: BTreeMap<Peer, u64>,
    /// Where collections of what keepers keep stand, and whether this device has said its word.
    eras: BTreeMap<Peer, (Era, bool)>,
}

/// What a keeper is known to have.
#[derive(Debug, Clone, Default)]
struct Given {
    /// Everything in arenas below this.
    from: u32,
    /// And these of that arena.
    some: HashSet<Bid>,
    since: Option<Instant>,
    /// Which of its comings this is about.
    coming: u64,
    /// The collection that had ended before: what was known then may be gone.
    ended: CollectionId,
    /// Why it has not everything; empty when it has.
    trouble: String,
    head: Option<Arc<[u8]>>,
}

impl Feeding {
    /// Something changed, or somebody came.
    pub fn ring(&self) {
        self.inner.lock().rung = true;
        self.bell.notify_all();
    }

    /// Somebody came, perhaps without what it had, and perhaps without having heard what was said last.
    pub fn came(&self, peer: &Peer) {
        *self.inner.lock().comings.entry(*peer).or_default() += 1;
        self.ring();
    }

    /// A keeper says where its collections stand.
    pub fn heard_era(&self, peer: &Peer, era: (Era, bool)) {
        self.inner.lock().eras.insert(*peer, era);
        self.ring();
    }

    /// What it said last.
    pub fn era_of(&self, peer: &Peer) -> Option<(Era, bool)> {
        self.inner.lock().eras.get(peer).copied()
    }

    /// What is to be said of what a keeper asks about, when that is found out: beside everything else, which goes on.
    fn answer(
        &self,
        replica: &Arc<Replica>,
        net: &Arc<Net>,
        keeper: &Member,
        era: (Era, bool),
    ) -> Result<Option<Answer>> {
        let mut walks = self.walks.lock();
        match walks.remove(&keeper.writer) {
            Some((id, walk)) if id == era.0.open && !walk.is_finished() => {
                walks.insert(keeper.writer, (id, walk));
                return Ok(None);
            }
            Some((id, walk)) if id == era.0.open => {
                let lost = || Error::new(Kind::Other, "find out what is needed", &keeper.name);
                return walk.join().map_err(|_| lost())?.map(Some);
            }
            _ => {} // the end of one that nobody asks about any more is not waited for: it notices
        }
        if settling::is_owed(replica, keeper, era) {
            let (of, net, keeper, writer) = (Arc::clone(replica), Arc::clone(net), keeper.clone(), keeper.writer);
            let work = move || {
                let answer = settling::begin(&of, &net, &keeper, &era.0);
                of.feeding.ring();
                answer
            };
            let walk = std::thread::Builder::new().name("lovage-answer".into()).spawn(work);
            walks.insert(writer, (era.0.open, walk.io("start a thread", || "lovage-answer".to_owned())?));
        }
        Ok(None)
    }

    /// The word on what it asks about is said.
    pub fn told(&self, peer: &Peer, id: &CollectionId) {
        if let Some((era, told)) = self.inner.lock().eras.get_mut(peer) {
            *told |= era.open == *id;
        }
    }

    /// End the thread.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.bell.notify_all();
    }

    /// Wait for something to do; false when it is over.
    fn next(&self, failed: bool) -> bool {
        let mut inner = self.inner.lock();
        while !inner.rung && !inner.closed {
            if !failed {
                self.bell.wait(&mut inner);
            } else if self.bell.wait_for(&mut inner, AGAIN).timed_out() {
                break;
            }
        }
        let due = Instant::now() + DEBOUNCE;
        while !inner.closed && !self.bell.wait_until(&mut inner, due).timed_out() {}
        inner.rung = false;
        !inner.closed
    }

    /// For who looks meanwhile.
    fn queued(&self, writer: WriterIndex, queued: u64) {
        self.inner.lock().queued.insert(writer, queued);
    }

    fn given(&self, writer: WriterIndex) -> Given {
        let given = self.inner.lock().given.remove(&writer).unwrap_or_default();
        let old = given.since.is_none_or(|since| since.elapsed() > TRUSTED);
        if old { Given { since: Some(Instant::now()), ..Given::default() } } else { given }
    }

    fn remember(&self, writer: WriterIndex, given: Given) {
        self.inner.lock().given.insert(writer, given);
    }
}

/// Feed until the replica is closed or the daemon ends.
pub fn run(replica: &Arc<Replica>, exchange: &Weak<Exchange>) {
    let mut failed = false;
    while replica.feeding.next(failed) {
        let Some(exchange) = exchange.upgrade() else { return };
        let Some(net) = exchange.net() else { continue };
        failed = false;
        settling::tidy(replica);
        for keeper in replica.keepers() {
            if !net.is_connected(&Peer(keeper.peer)) {
                continue;
            }
            let mut given = replica.feeding.given(keeper.writer);
            let fed = feed(replica, &net, &keeper, &mut given);
            failed |= fed.is_err();
            let said = fed.err().map(|error| error.chain()).unwrap_or_default();
            if !said.is_empty() && said != given.trouble {
                tracing::warn!(
                    volume = replica.known.name,
                    device = keeper.name,
                    "it does not keep everything: {said}"
                );
            }
            given.trouble = said;
            replica.feeding.remember(keeper.writer, given);
        }
    }
}

fn feed(replica: &Arc<Replica>, net: &Arc<Net>, keeper: &Member, given: &mut Given) -> Result<()> {
    let (writer, peer) = (keeper.writer, Peer(keeper.peer));
    let era = replica.feeding.era_of(&peer).unwrap_or_default();
    if settling::has_ended(replica, keeper, &era.0)? || given.ended != era.0.ended {
        if !replica.role().writes() {
            settling::forget_garbage(replica); // who writes did that before it answered
        }
        *given = Given { since: Some(Instant::now()), coming: given.coming, ended: era.0.ended, ..Given::default() };
    }
    let coming = replica.feeding.inner.lock().comings.get(&peer).copied().unwrap_or_default();
    if coming != given.coming {
        if has_lost(replica, net, &peer, given)? {
            tracing::warn!(
                volume = replica.known.name,
                device = keeper.name,
                "it has not what it had: it is given all anew"
            );
            *given = Given { since: Some(Instant::now()), ..Given::default() };
        }
        (given.coming, given.head) = (coming, None);
    }
    let answer = replica.feeding.answer(replica, net, keeper, era);
    // On a full disk nothing can be sealed; what is there is given all the same, so that it may go.
    let announced = replica.volume.announce();
    let log = replica.volume.blocks().log();
    loop {
        give_log(replica, net, (writer, &peer), given)?;
        if replica.is_closed() {
            return Ok(());
        }
        // What was moved meanwhile is in arenas that were not there; the last that was may be gone by that.
        if log.arenas_from(given.from).iter().all(|(number, _)| *number == given.from) {
            break;
        }
    }
    replica.feeding.queued(writer, 0);
    let head = announced?.head;
    if !replica.role().writes() || replica.volume.is_set_back() || author_of(&head) != Some(replica.volume.author()) {
        return Ok(());
    }
    if given.head.as_ref() != Some(&head) {
        settling::cover(replica, net, keeper, &head)?;
        if !replica.holds.keep(net, replica, &peer, &head) {
            return Err(Error::new(Kind::Unreachable, "have a head kept", &keeper.name));
        }
        given.head = Some(Arc::clone(&head));
    }
    answer?.map_or(Ok(()), |answer| settling::tell(replica, net, keeper, answer, &head))
}

/// Every block of the log from where `given` stands.
fn give_log(replica: &Replica, net: &Net, (writer, peer): (WriterIndex, &Peer), given: &mut Given) -> Result<()> {
    let log = replica.volume.blocks().log();
    let arenas = log.arenas_from(given.from);
    let mut later: u64 = arenas.iter().map(|(_, bytes)| bytes).sum();
    for (number, bytes) in arenas {
        later = later.saturating_sub(bytes);
        if number != given.from {
            (given.from, given.some) = (number, HashSet::new());
        }
        let mut listing = log.listing_of(number)?;
        listing.retain(|(bid, _)| !given.some.contains(bid));
        let mut left: u64 = listing.iter().map(|(_, size)| u64::from(*size)).sum();
        replica.feeding.queued(writer, later.saturating_add(left));
        for page in listing.chunks(MOST_IDS) {
            give(replica, net, peer, page)?;
            given.some.extend(page.iter().map(|(bid, _)| *bid));
            left = left.saturating_sub(page.iter().map(|(_, size)| u64::from(*size)).sum());
            replica.feeding.queued(writer, later.saturating_add(left));
            if replica.is_closed() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whether a keeper lacks some of what it had: asked of the oldest blocks, and of the newest that it was given.
fn has_lost(replica: &Replica, net: &Net, peer: &Peer, given: &Given) -> Result<bool> {
    let log = replica.volume.blocks().log();
    let oldest = log.arenas_from(0).first().map(|(number, _)| *number).filter(|number| *number < given.from);
    let old = oldest.map(|number| log.listing_of(number)).transpose()?.unwrap_or_default();
    let old = old.into_iter().map(|(bid, _)| bid).take(MOST_IDS / 2);
    let ids: Vec<Bid> = given.some.iter().copied().take(MOST_IDS / 2).chain(old).collect();
    if ids.is_empty() {
        return Ok(false);
    }
    let has = replica.holds.ask(net, replica, peer, &ids, false).ok_or_else(|| gone(replica, peer))?;
    Ok(has.iter().take(ids.len()).any(|has| !has))
}

pub(super) fn gone(replica: &Replica, peer: &Peer) -> Error {
    Error::new(Kind::Unreachable, "ask a keeper", replica.name_of(peer)).with_source("it does not answer")
}

/// Have a keeper take those of `blocks` that it lacks.
fn give(replica: &Replica, net: &Net, peer: &Peer, blocks: &[(Bid, u32)]) -> Result<()> {
    let ids: Vec<Bid> = blocks.iter().map(|(bid, _)| *bid).collect();
    // Not as a promise: what is garbage here may go there. What a new head needs is asked for as one.
    let has = replica.holds.ask(net, replica, peer, &ids, false).ok_or_else(|| gone(replica, peer))?;
    let lacking: Vec<_> = blocks.iter().zip(has).filter(|(_, has)| !has).map(|(block, _)| *block).collect();
    let mut bytes = 0;
    let offers = lacking.chunk_by(|_, (_, size)| {
        bytes += u64::from(*size);
        let fits = bytes < OFFER;
        bytes = if fits { bytes } else { 0 };
        fits
    });
    for offer in offers {
        let taken = replica.holds.offer(net, replica, peer, offer, PATIENCE).ok_or_else(|| gone(replica, peer))?;
        let left = offer.iter().zip(taken).filter(|(_, taken)| !taken).map(|((bid, _), _)| bid);
        for bid in left {
            check_given(replica, peer, bid)?;
        }
    }
    Ok(())
}

/// A keeper did not take a block: an error, unless there is none that it could take.
fn check_given(replica: &Replica, peer: &Peer, bid: &Bid) -> Result<()> {
    match replica.volume.blocks().log().get(bid) {
        Ok(Some(sealed)) if Sealer::verify_bid(bid, &sealed) => {
            let why = "it does not take what is offered now: its quota or its disk is full, or it is busy";
            Err(Error::new(Kind::Full, "give blocks", replica.name_of(peer)).with_source(why))
        }
        Ok(None) => Ok(()), // collected meanwhile
        Err(error) if error.kind() != Kind::Corrupt => Err(error),
        _ => {
            tracing::error!(block = %bid, "a damaged block is not given to keepers: see `lovage fsck --repair`");
            Ok(())
        }
    }
}

/// What there is to tell about each keeper.
pub fn status(replica: &Replica, exchange: &Exchange) -> Vec<KeeperStatus> {
    let (net, newest) = (exchange.net(), replica.volume.announced());
    let inner = replica.feeding.inner.lock();
    let tell = |keeper: Member| {
        let connected = net.as_ref().is_some_and(|net| net.is_connected(&Peer(keeper.peer)));
        let given = inner.given.get(&keeper.writer);
        let state = match given {
            _ if !connected => "not connected".to_owned(),
            Some(given) if !given.trouble.is_empty() => given.trouble.clone(),
            Some(given) if given.head.as_ref() == Some(&newest) || !replica.role().writes() => "ok".to_owned(),
            _ => "being given".to_owned(),
        };
        let queue_bytes = inner.queued.get(&keeper.writer).copied().unwrap_or(0);
        KeeperStatus { device: keeper.name, connected, queue_bytes, state }
    };
    replica.keepers().into_iter().map(tell).collect()
}
