//! What this device refers to and has not here: boxes that should have it and do not are given it, from whoever has it.
//!
//! One thread a replica, after feeding, when what a box should have changed, when it lost something, and once a day. Must
//! never keep more than a few MiB here of what it brings, nor drop what was here before or no box has.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::giving::{give, offer};
use super::invites::now;
use super::{Exchange, MOST_IDS, Replica, following};
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Bid, Error, Kind, Result};
use crate::net::{Net, Peer, Wanted};
use crate::seal::Ref;
use crate::seal::membership::{Member, Share};

/// It is looked so often whether a day has passed.
const LOOK: Duration = Duration::from_secs(600);
/// First and longest pause after a failure, unless somebody comes.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Bytes brought here at a time.
const GROUP: u64 = 8 << 20;
/// Blocks met of late, so that content that repeats is looked at once.
const RECENT: usize = 1 << 16;

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blocks looked at.
    pub looked: u64,
    /// Of them, those that a box lacked and has now.
    pub given: u64,
    /// Why it does not go on; empty if it does.
    pub trouble: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Mending {
    inner: Mutex<Inner>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    rung: bool,
    closed: bool,
    /// After a failure nothing is tried before.
    rests: Option<Instant>,
    /// How long it rests after the next.
    pause: Duration,
    progress: Progress,
}

impl Mending {
    /// Something was given: look whether there is more to do.
    pub fn ring(&self) {
        self.inner.lock().rung = true;
        self.bell.notify_all();
    }

    /// Somebody came or went for good: what failed may go well now.
    pub fn hurry(&self) {
        let mut inner = self.inner.lock();
        (inner.rung, inner.rests, inner.pause) = (true, None, FIRST_PAUSE);
        self.bell.notify_all();
    }

    /// End the thread.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.bell.notify_all();
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.inner.lock().progress.clone()
    }

    /// Wait for something to do; false when it is over.
    fn next(&self) -> bool {
        let mut inner = self.inner.lock();
        loop {
            let rests = inner.rests.filter(|until| *until > Instant::now());
            if inner.closed || inner.rung && rests.is_none() {
                inner.rung = false;
                return !inner.closed;
            }
            let until = rests.unwrap_or_else(|| Instant::now() + LOOK);
            if self.bell.wait_until(&mut inner, until).timed_out() {
                inner.rung = true;
            }
        }
    }

    fn begin(&self) {
        self.inner.lock().progress = Progress::default();
    }

    fn end(&self, done: &Result<()>) {
        let mut inner = self.inner.lock();
        inner.progress.trouble = done.as_ref().err().map(Error::chain).unwrap_or_default();
        let pause = inner.pause.clamp(FIRST_PAUSE, LONGEST_PAUSE);
        (inner.rests, inner.pause) = match done {
            Ok(()) => (None, FIRST_PAUSE),
            Err(_) => (Some(Instant::now() + pause), pause * 2),
        };
        inner.rung |= done.is_err();
    }

    fn note(&self, note: impl FnOnce(&mut Progress)) {
        note(&mut self.inner.lock().progress);
    }
}

/// A box that is looked after.
#[derive(Debug, Clone, Copy)]
struct Due {
    peer: Peer,
    share: Share,
}

/// Mend until the replica is closed or the daemon ends.
pub fn run(replica: &Arc<Replica>, exchange: &Weak<Exchange>) {
    while replica.mending.next() {
        let Some(exchange) = exchange.upgrade() else { return };
        let Some(net) = exchange.net().filter(|_| replica.role().writes()) else { continue };
        let (boxes, begin) = (due(replica, &exchange, &net), now());
        if boxes.is_empty() {
            continue;
        }
        replica.mending.begin();
        let done = mend(replica, &exchange, &net, &boxes);
        let (volume, given) = (&replica.known.name, replica.mending.progress().given);
        match &done {
            Ok(()) => {
                for due in &boxes {
                    replica.placing.mended(&due.peer, Some(&(begin, due.share)));
                }
                tracing::debug!(volume, given, "boxes have what is not here");
            }
            Err(error) => tracing::warn!(volume, error = %error.chain(), "boxes lack what is not here"),
        }
        replica.mending.end(&done);
        if given > 0 {
            replica.pins.ring(); // what was brought for others is gone again, and a pin may have taken it for here
        }
        replica.feeding.look_at_trees();
    }
}

/// The boxes that have what is here, and perhaps not what is not.
fn due(replica: &Replica, exchange: &Exchange, net: &Net) -> Vec<Due> {
    let placement = exchange.placement(replica);
    let due = |keeper: Member| {
        let (peer, share) = (Peer(keeper.peer), *placement.share(&keeper.peer)?);
        let whole = net.is_connected(&peer) && replica.feeding.is_whole(keeper.writer, &share);
        (whole && replica.placing.is_due(&peer, &share)).then_some(Due { peer, share })
    };
    replica.keepers().into_iter().filter_map(due).collect()
}

/// Once through all that the volume refers to.
fn mend(replica: &Replica, exchange: &Exchange, net: &Net, boxes: &[Due]) -> Result<()> {
    let volume = &replica.volume;
    let mut mender = Mender { replica, exchange, net, boxes, page: Vec::new(), nowhere: 0 };
    let mut recent = Recent(vec![0; RECENT]);
    volume.reach(&mut |block| {
        if !recent.is_new(&block.bid) {
            return Ok(false);
        }
        if !volume.blocks().contains(block) {
            mender.page.push(*block);
        }
        mender.looked()?;
        Ok(true)
    })?;
    mender.turn()?;
    match mender.nowhere {
        0 => Ok(()),
        many => {
            let why = format!("{many} blocks that it should have are neither here nor with anybody who can be reached");
            Err(Error::new(Kind::Unreachable, "give what is not here", "").with_source(why))
        }
    }
}

struct Mender<'a> {
    replica: &'a Replica,
    exchange: &'a Exchange,
    net: &'a Net,
    boxes: &'a [Due],
    /// Blocks that are not here, to be asked for.
    page: Vec<Ref>,
    /// Blocks that nobody has.
    nowhere: usize,
}

impl Mender<'_> {
    fn looked(&mut self) -> Result<()> {
        if self.replica.is_closed() {
            return Err(Error::new(Kind::Interrupted, "give what is not here", "the volume is being closed"));
        }
        self.replica.mending.note(|progress| progress.looked += 1);
        if self.page.len() < MOST_IDS { Ok(()) } else { self.turn() }
    }

    /// Have the boxes take what they lack of the page.
    fn turn(&mut self) -> Result<()> {
        let mut page = std::mem::take(&mut self.page);
        // A list of blocks is here once it was looked into: it is given like all that is here.
        page.retain(|block| !self.replica.volume.blocks().contains(block));
        let lacking = self.lacking(&page)?;
        let wanted: HashSet<Bid> = lacking.iter().flatten().copied().collect();
        page.retain(|block| wanted.contains(&block.bid));
        let mut bytes = 0;
        let mut groups = page.chunk_by(|_, block| {
            bytes += u64::from(block.len);
            let fits = bytes < GROUP;
            bytes = if fits { bytes } else { 0 };
            fits
        });
        groups.try_for_each(|group| self.give(group, &lacking))
    }

    /// By box: which of `page` it should have, and has not.
    fn lacking(&self, page: &[Ref]) -> Result<Vec<HashSet<Bid>>> {
        let ask = |due: &Due| {
            let its = page.iter().filter(|block| due.share.has(&block.bid, sealed(block).into()));
            let ids: Vec<Bid> = its.map(|block| block.bid).collect();
            if ids.is_empty() {
                return Ok(HashSet::new());
            }
            let gone = || Error::new(Kind::Unreachable, "ask a keeper", self.replica.name_of(&due.peer));
            let has = self.replica.holds.ask(self.net, self.replica, &due.peer, &ids, true).ok_or_else(gone)?;
            Ok(ids.into_iter().zip(has).filter(|(_, has)| !has).map(|(bid, _)| bid).collect())
        };
        self.boxes.iter().map(ask).collect()
    }

    /// Have a group taken from whoever has it. What a box does not get like that is brought here, given, and let go.
    fn give(&mut self, group: &[Ref], lacking: &[HashSet<Bid>]) -> Result<()> {
        let (replica, volume) = (self.replica, &self.replica.volume);
        let its = |lacking: &HashSet<Bid>, of: &[Ref]| -> Vec<(Bid, u32)> {
            of.iter().filter(|block| lacking.contains(&block.bid)).map(|block| (block.bid, sealed(block))).collect()
        };
        let offered = self.boxes.iter().zip(lacking).map(|(due, lacking)| {
            let mut left = HashSet::new();
            let mut note = |bid: &Bid| {
                left.insert(*bid);
                Ok(())
            };
            offer(replica, self.net, &due.peer, &its(lacking, group), &mut note)?;
            Ok(left)
        });
        let left = offered.collect::<Result<Vec<_>>>()?;
        let mut came: Vec<Ref> = group.to_vec();
        came.retain(|block| left.iter().any(|left| left.contains(&block.bid)));
        let wanted = came.len();
        // What somebody else brought here meanwhile stays.
        let absent: HashSet<Bid> =
            came.iter().filter(|block| !volume.blocks().contains(block)).map(|block| block.bid).collect();
        let given = following::bring(volume, self.exchange, &came, &|| !replica.is_closed()).and_then(|()| {
            came.retain(|block| volume.blocks().contains(block));
            let mut boxes = self.boxes.iter().zip(&left);
            boxes.try_for_each(|(due, left)| give(replica, self.net, &due.peer, &its(left, &came)))
        });
        // They came from elsewhere, where they are still, and a box has them now as well; also when not all went well.
        let ids: Vec<Bid> = absent.into_iter().collect();
        let free = volume.leaving(&ids);
        let gone = volume.evict(&free);
        volume.settled(&free);
        given?;
        self.nowhere += wanted - came.len();
        replica.mending.note(|progress| progress.given += (group.len() + came.len() - wanted) as u64);
        gone.map(drop)
    }
}

/// The most that its sealed bytes can be.
fn sealed(block: &Ref) -> u32 {
    Wanted::sealed(block.bid, block.len).at_most
}

/// What was met of late, by the first bytes of its id: a new one takes the place of an old one.
struct Recent(Vec<u64>);

impl Recent {
    fn is_new(&mut self, bid: &Bid) -> bool {
        let short = bid.0.first_chunk().map_or(0, |part| u64::from_le_bytes(*part));
        let slot = usize::try_from(short % RECENT as u64).ok().and_then(|at| self.0.get_mut(at));
        slot.is_none_or(|slot| std::mem::replace(slot, short) != short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_met_once_and_what_was_long_ago_again() {
        let bid = |n: u64| {
            let mut bid = Bid([0; 32]);
            bid.0.iter_mut().zip(n.to_le_bytes()).for_each(|(to, byte)| *to = byte);
            bid
        };
        let mut recent = Recent(vec![0; RECENT]);
        assert!(recent.is_new(&bid(7)) && !recent.is_new(&bid(7)));
        assert!(recent.is_new(&bid(7 + RECENT as u64)) && recent.is_new(&bid(7)));
    }

    #[test]
    fn it_rests_ever_longer_after_failures_until_somebody_comes() {
        let mending = Mending::default();
        let failed = || Err(Error::new(Kind::Unreachable, "mend", ""));
        let rests = |mending: &Mending| mending.inner.lock().rests.map(|until| until - Instant::now());
        mending.end(&failed());
        assert!(rests(&mending).is_some_and(|rest| rest <= FIRST_PAUSE));
        mending.end(&failed());
        assert!(rests(&mending).is_some_and(|rest| rest > FIRST_PAUSE));
        assert!(mending.progress().trouble.contains("mend"));
        mending.hurry();
        assert!(mending.next(), "at once");
        (0..20).for_each(|_| mending.end(&failed()));
        assert!(rests(&mending).is_some_and(|rest| rest <= LONGEST_PAUSE));
        mending.end(&Ok(()));
        assert_eq!((rests(&mending), mending.progress()), (None, Progress::default()));
        mending.close();
        assert!(!mending.next());
    }
}
