//! Races that chance finds too seldom: one thing is stopped after each of its steps, others happen, it goes on.
//!
//! Each holds as it is, and loses a block for some stop when its rule is left out.
#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::device::{Device, Disk, World, author};
use super::turns::Turns;
use super::{BROKEN, Break, Doing};
use crate::base::sync::Mutex;
use crate::base::{Bid, Kind, hex};
use crate::kv::Kv;

/// The block that is garbage at first.
const B: Bid = Bid([3; 32]);
/// Stops tried: more than anything here has steps; and of a second thing.
const STOPS: usize = 300;
const SECOND: usize = 60;

fn polled(doing: &mut Doing, most: usize) -> bool {
    for _ in 0..most {
        match doing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {}
            Poll::Ready(Err(e)) if e.kind() != Kind::Exists && e.kind() != Kind::Busy => unreachable!("{}", e.chain()),
            Poll::Ready(_) => return true,
        }
    }
    false
}

fn done(doing: impl Future<Output = crate::base::Result<()>> + 'static) {
    let mut doing: Doing = Box::pin(doing);
    assert!(polled(&mut doing, 100_000), "it hangs");
}

struct Place {
    kv: Arc<Turns>,
    world: Arc<Mutex<World>>,
    devices: Vec<Arc<Device>>,
}

impl Place {
    /// Two members that know each other, and a block in the store that nobody needs.
    fn new() -> Self {
        let (kv, world) = (Arc::new(Turns::default()), Arc::new(Mutex::new(World::default())));
        world.lock().writers = (0..2).map(|n| hex(&author(n))).collect();
        let mut place = Self { kv, world, devices: Vec::new() };
        place.join();
        place.join();
        place.devices[0].write(B);
        place.rounds(0, 1);
        place
    }

    fn join(&mut self) -> Arc<Device> {
        let n = u8::try_from(self.devices.len()).unwrap();
        self.devices.push(Device::new(n, &self.kv, &Arc::new(Mutex::new(Disk::default())), &self.world));
        Arc::clone(self.devices.last().unwrap())
    }

    fn round(&self, n: usize, begin: bool) -> Doing {
        Box::pin(Arc::clone(&self.devices[n]).round(begin.then_some([7; 16])))
    }

    fn rounds(&self, n: usize, many: usize) {
        (0..many).for_each(|_| done(self.round(n, false)));
    }

    fn has(&self, id: &Bid) -> bool {
        let there = Pin::as_mut(&mut self.kv.0.get(id)).poll(&mut Context::from_waker(Waker::noop()));
        matches!(there, Poll::Ready(Ok(Some(_))))
    }

    /// Whether somebody relies on the block, and nobody has it.
    fn lost(&self) -> bool {
        let relies = |device: &Arc<Device>| {
            let disk = device.disk.lock();
            disk.reach.contains(&B) && !disk.own.contains(&B)
        };
        self.devices.iter().any(relies) && !self.has(&B)
    }
}

/// For how many stops the block is lost, as it is and with `rule` left out.
fn losses(rule: Break, stops: usize, race: impl Fn(usize) -> Place) -> [usize; 2] {
    [None, Some(rule)].map(|left_out| {
        (0..stops)
            .filter(|stop| {
                BROKEN.set(left_out);
                let lost = race(*stop).lost();
                BROKEN.set(None);
                lost
            })
            .count()
    })
}

fn holds_only_by(rule: Break, stops: usize, race: impl Fn(usize) -> Place) {
    let [sound, broken] = losses(rule, stops, race);
    println!("{rule:?}: {sound} and {broken} of {stops}");
    assert!(sound == 0 && broken > 0, "{rule:?}: {sound} and {broken}");
}

#[test]
fn a_newcomer_is_seen_who_comes_between_the_last_word_and_the_end_of_words() {
    holds_only_by(Break::NoRecount, STOPS * SECOND, |stop| {
        let mut place = Place::new();
        place.devices[0].drop_some(0, true);
        place.devices[0].write(Bid([9; 32]));
        place.rounds(0, 1);
        place.devices[0].drop_some(1, true);
        done(place.round(0, true));
        place.rounds(1, 2);
        let mut collecting = place.round(0, false);
        let ended = polled(&mut collecting, stop / SECOND);
        let newcomer = place.join();
        newcomer.write(B);
        let mut coming = place.round(2, false);
        polled(&mut coming, stop % SECOND); // it has left a word and listed the store, and not found out yet what it needs
        let mut evicting: Doing = Box::pin(newcomer.evict(B));
        polled(&mut evicting, 1000);
        if !ended {
            polled(&mut collecting, 100_000);
        }
        place.rounds(0, 1);
        place
    });
}

#[test]
fn a_head_that_waits_is_not_merged_after_a_sweep_before_heads_were_read_again() {
    holds_only_by(Break::EarlyTrust, STOPS, |stop| {
        let mut place = Place::new();
        place.join();
        done(place.round(2, true));
        place.rounds(1, 2); // has said its word, and taken the head with the block, which it has not merged yet
        place.devices[0].drop_some(1, true);
        place.rounds(0, 2);
        place.rounds(2, 2);
        let mut taking = place.round(1, false);
        let ended = polled(&mut taking, stop);
        let mut merging: Doing = Box::pin(Arc::clone(&place.devices[1]).merge(0));
        let merged = polled(&mut merging, 1000);
        let ended = ended || polled(&mut taking, 100_000);
        assert!(ended && (merged || polled(&mut merging, 1000)), "they hold each other up");
        place
    });
}

#[test]
fn a_sweep_is_not_taken_over_while_the_other_may_be_at_it() {
    holds_only_by(Break::TwoSweepers, STOPS, |stop| {
        let mut place = Place::new();
        let third = place.join();
        place.rounds(2, 1);
        place.devices[0].drop_some(1, true);
        place.rounds(0, 1);
        done(place.round(0, true));
        [1, 2, 1, 2].into_iter().for_each(|n| place.rounds(n, 1));
        let mut sweeping = place.round(0, false);
        let ended = polled(&mut sweeping, stop);
        place.world.lock().gone.insert(hex(&author(0)));
        place.world.lock().writers.remove(&hex(&author(0)));
        done(place.round(1, true));
        third.write(B);
        place.rounds(2, 2);
        done(third.evict(B));
        if !ended {
            polled(&mut sweeping, 100_000);
        }
        place
    });
}
