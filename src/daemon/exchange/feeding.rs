//! What is given to members that keep the volume and cannot read it: every block of the log that they should have, then
//! the head.
//!
//! One thread a replica. Must never give a head before the member has said that it has all it should have of the log.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::super::keeping::{CollectionId, Era};
use super::giving::{give, gone};
use super::settling::Answering;
use super::{Exchange, MOST_IDS, Replica, settling};
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Bid, Error, Kind, Result, WriterIndex};
use crate::net::{Net, Peer, Wanted};
use crate::seal::Ref;
use crate::seal::head::author_of;
use crate::seal::membership::{EVERYWHERE, Member, Share};
use crate::volume::Announcement;

/// Changes are gathered for so long.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(30);
/// It is looked so often whether a box is gone, unless it is to count as gone sooner.
const LOOK: Duration = Duration::from_secs(600);
/// What is known of a keeper is asked anew after this: it may have lost its disk.
const TRUSTED: Duration = Duration::from_secs(86_400);
/// Plaintext of a tree's node that may be too long, once sealed, to go everywhere for its size.
const LARGE_NODE: u64 = EVERYWHERE / 8 * 7;
/// Then it is another keeper's turn.
const TURN: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub struct Feeding {
    pub(super) inner: Mutex<Inner>,
    bell: Condvar,
    /// What is being found out for keepers that ask.
    pub(super) answers: Mutex<BTreeMap<WriterIndex, Answering>>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    rung: bool,
    closed: bool,
    /// By writer index: a device that was removed and came back begins anew.
    pub given: BTreeMap<WriterIndex, Given>,
    /// Bytes of the log still to be looked at.
    pub queued: BTreeMap<WriterIndex, u64>,
    /// How often each member came.
    comings: BTreeMap<Peer, u64>,
    /// Where collections of what keepers keep stand, and whether this device has said its word.
    pub eras: BTreeMap<Peer, (Era, bool)>,
    /// This device's own head as a keeper has it.
    pub heads: BTreeMap<Peer, Arc<[u8]>>,
    /// How often all trees were looked through.
    walks: u64,
}

/// What a keeper is known to have.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// All of this, of what follows.
    pub share: Share,
    /// Everything in arenas below this.
    from: u32,
    /// And these of that arena.
    some: HashSet<Bid>,
    /// And the nodes of these trees.
    trees: Option<Announcement>,
    /// After that look through all trees.
    walk: u64,
    /// And all else that was there once.
    whole: bool,
    since: Instant,
    /// Which of its comings this is about.
    coming: u64,
    /// The collection that had ended before: what was known then may be gone.
    ended: CollectionId,
    /// Why it has not everything; empty when it has.
    pub trouble: String,
    pub head: Option<Arc<[u8]>>,
}

impl Given {
    fn nothing(share: &Share) -> Self {
        let (some, since) = (HashSet::new(), Instant::now());
        let (share, trouble, head) = (*share, String::new(), None);
        let (trees, walk, whole, coming, ended) = (None, 0, false, 0, CollectionId::default());
        Self { share, from: 0, some, trees, walk, whole, since, coming, ended, trouble, head }
    }
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

    /// End the thread.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.bell.notify_all();
    }

    /// Whether a member has all of `share` that was here when it was looked at last, and takes more.
    pub fn is_whole(&self, writer: WriterIndex, share: &Share) -> bool {
        let inner = self.inner.lock();
        let whole = |given: &Given| given.whole && given.trouble.is_empty() && share.is_within(&given.share);
        inner.given.get(&writer).is_some_and(whole)
    }

    /// Nodes of trees came that were not here: they are looked for again.
    pub fn look_at_trees(&self) {
        self.inner.lock().walks += 1;
        self.ring();
    }

    /// Wait for something to do, or for so long; false when it is over.
    fn next(&self, pause: Duration) -> bool {
        let mut inner = self.inner.lock();
        while !inner.rung && !inner.closed && !self.bell.wait_for(&mut inner, pause).timed_out() {}
        let due = Instant::now() + DEBOUNCE;
        while !inner.closed && !self.bell.wait_until(&mut inner, due).timed_out() {}
        inner.rung = false;
        !inner.closed
    }

    /// For who looks meanwhile.
    fn queued(&self, writer: WriterIndex, queued: u64) {
        self.inner.lock().queued.insert(writer, queued);
    }

    /// What is known of it, as far as that holds for what it should have now.
    fn given(&self, writer: WriterIndex, share: &Share) -> Given {
        let mut inner = self.inner.lock();
        let given = inner.given.entry(writer).or_insert_with(|| Given::nothing(share));
        if given.since.elapsed() > TRUSTED || !share.is_within(&given.share) {
            *given = Given { ended: given.ended, ..Given::nothing(share) };
        }
        given.share = *share;
        given.clone()
    }

    fn remember(&self, writer: WriterIndex, given: Given) {
        self.inner.lock().given.insert(writer, given);
    }
}

/// Feed until the replica is closed or the daemon ends.
pub fn run(replica: &Arc<Replica>, exchange: &Weak<Exchange>) {
    let mut pause = AGAIN;
    while replica.feeding.next(pause) {
        let Some(exchange) = exchange.upgrade() else { return };
        let Some(net) = exchange.net() else { continue };
        settling::tidy(replica);
        let (placement, mut failed) = (exchange.placement(replica), false);
        for keeper in replica.keepers() {
            let share = placement.share(&keeper.peer).filter(|_| net.is_connected(&Peer(keeper.peer)));
            let Some(share) = share else { continue };
            let mut given = replica.feeding.given(keeper.writer, share);
            let fed = feed(replica, &net, &keeper, &mut given);
            if fed.as_ref().is_err_and(|error| error.kind() == Kind::Interrupted) {
                replica.feeding.ring(); // the others first: there is more to give
                replica.feeding.remember(keeper.writer, given);
                continue;
            }
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
        replica.mending.ring();
        let look = (exchange.settings.gone_after / 4).clamp(DEBOUNCE, LOOK);
        pause = if failed { AGAIN.min(look) } else { look };
    }
}

fn feed(replica: &Arc<Replica>, net: &Arc<Net>, keeper: &Member, given: &mut Given) -> Result<()> {
    let (writer, peer) = (keeper.writer, Peer(keeper.peer));
    let era = replica.feeding.era_of(&peer).unwrap_or_default();
    if settling::has_ended(replica, keeper, &era.0)? || given.ended != era.0.ended {
        if !replica.role().writes() {
            settling::forget_garbage(replica); // who writes did that before it answered
        }
        let (coming, ended) = (given.coming, era.0.ended);
        *given = Given { coming, ended, ..Given::nothing(&given.share) };
    }
    let coming = replica.feeding.inner.lock().comings.get(&peer).copied().unwrap_or_default();
    if coming != given.coming {
        if has_lost(replica, net, &peer, given)? {
            tracing::warn!(
                volume = replica.known.name,
                device = keeper.name,
                "it has not what it had: it is given all anew"
            );
            *given = Given { ended: given.ended, ..Given::nothing(&given.share) };
            replica.feeding.remember(writer, given.clone());
            replica.placing.mended(&peer, None);
        }
        (given.coming, given.head) = (coming, None);
    }
    let answer = replica.feeding.answer(replica, net, keeper, era);
    let sweeps = replica.volume.sweeps();
    let fed = give_all(replica, net, keeper, given, sweeps);
    // A box without room may be one that waits for this very word: what it has of this device is a head of before.
    let full = fed.as_ref().is_err_and(|error| error.kind() == Kind::Full);
    let has = match &fed {
        Ok(head) => head.clone(),
        Err(_) if full => given.head.clone().or_else(|| replica.feeding.told_head(&peer)),
        Err(_) => None,
    };
    let Some(answer) = answer? else { return fed.map(drop) };
    let told = has.map(|has| settling::tell(replica, net, keeper, &answer, &has));
    if !matches!(told, Some(Ok(()))) {
        replica.feeding.keep_answer(keeper, answer);
    }
    fed?;
    told.unwrap_or(Ok(()))
}

/// Everything that the keeper should have, and then the head: the one that it has now. None if this device gives none.
fn give_all(
    replica: &Replica,
    net: &Net,
    keeper: &Member,
    given: &mut Given,
    sweeps: u64,
) -> Result<Option<Arc<[u8]>>> {
    let (writer, peer, begin) = (keeper.writer, Peer(keeper.peer), Instant::now());
    // On a full disk nothing can be sealed; what is there is given all the same, so that it may go.
    let announced = replica.volume.announce();
    let log = replica.volume.blocks().log();
    loop {
        give_log(replica, net, (writer, &peer), given, begin)?;
        if replica.is_closed() {
            return Ok(None);
        }
        // What was moved meanwhile is in arenas that were not there; the last that was may be gone by that.
        if log.arenas_from(given.from).iter().all(|(number, _)| *number == given.from) {
            break;
        }
    }
    replica.feeding.queued(writer, 0);
    let announced = announced?;
    give_nodes(replica, net, &peer, given, &announced)?;
    given.whole = true;
    let head = announced.head;
    if !replica.role().writes() || replica.volume.is_set_back() || author_of(&head) != Some(replica.volume.author()) {
        return Ok(None);
    }
    if replica.volume.sweeps() != sweeps {
        replica.feeding.ring(); // what it refers to may have been collected here before it was given
        return Ok(None);
    }
    if given.head.as_ref() != Some(&head) {
        settling::cover(replica, net, keeper, &head)?;
        if !replica.holds.keep(net, replica, &peer, &head) {
            return Err(Error::new(Kind::Unreachable, "have a head kept", &keeper.name));
        }
        given.head = Some(Arc::clone(&head));
    }
    Ok(Some(head))
}

/// Every block of the log from where `given` stands.
fn give_log(
    replica: &Replica,
    net: &Net,
    (writer, peer): (WriterIndex, &Peer),
    given: &mut Given,
    begin: Instant,
) -> Result<()> {
    let log = replica.volume.blocks().log();
    let arenas = log.arenas_from(given.from);
    let mut later: u64 = arenas.iter().map(|(_, bytes)| bytes).sum();
    for (number, bytes) in arenas {
        later = later.saturating_sub(bytes);
        if number != given.from {
            (given.from, given.some) = (number, HashSet::new());
        }
        let mut listing = log.listing_of(number)?;
        listing.retain(|(bid, size)| given.share.has(bid, (*size).into()) && !given.some.contains(bid));
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
            if begin.elapsed() > TURN {
                return Err(Error::new(Kind::Interrupted, "give blocks", replica.name_of(peer)));
            }
        }
    }
    Ok(())
}

/// Nodes of the trees that are not small enough to go everywhere for that: any one box is enough to follow a head.
fn give_nodes(replica: &Replica, net: &Net, peer: &Peer, given: &mut Given, trees: &Announcement) -> Result<()> {
    let walk = replica.feeding.inner.lock().walks;
    if walk != given.walk {
        (given.walk, given.trees) = (walk, None);
    }
    if given.share != Share::ALL {
        let mut nodes = Vec::new();
        let mut note = |node: &Ref| nodes.push((node.bid, Wanted::sealed(node.bid, node.len).at_most));
        replica.volume.large_nodes(given.trees.as_ref(), trees, LARGE_NODE, &mut note)?;
        for page in nodes.chunks(MOST_IDS) {
            give(replica, net, peer, page)?;
        }
    }
    given.trees = Some(trees.clone());
    Ok(())
}

/// Whether a keeper lacks some of what it had: asked of the oldest blocks, and of the newest that it was given.
fn has_lost(replica: &Replica, net: &Net, peer: &Peer, given: &Given) -> Result<bool> {
    let log = replica.volume.blocks().log();
    let oldest = log.arenas_from(0).first().map(|(number, _)| *number).filter(|number| *number < given.from);
    let old = oldest.map(|number| log.listing_of(number)).transpose()?.unwrap_or_default();
    let old = old.into_iter().filter(|(bid, size)| given.share.has(bid, (*size).into()));
    let old = old.map(|(bid, _)| bid).take(MOST_IDS / 2);
    let ids: Vec<Bid> = given.some.iter().copied().take(MOST_IDS / 2).chain(old).collect();
    if ids.is_empty() {
        return Ok(false);
    }
    let has = replica.holds.ask(net, replica, peer, &ids, false).ok_or_else(|| gone(replica, peer))?;
    Ok(has.iter().take(ids.len()).any(|has| !has))
}
