//! What the scheduler promises, one sentence each.

use std::time::Duration;

use proptest::prelude::*;

use super::simulation::{Simulation, bid, ms};
use crate::base::Kind;
use crate::wire::peer::Class;

const LONG: Duration = Duration::from_secs(1000);
const KIB256: u64 = 256 << 10;

#[test]
fn one_peer_is_kept_busy_and_nothing_comes_twice() {
    let mut sim = Simulation::new(KIB256);
    sim.peer(1, 25, ms(50));
    let waiter = sim.want(0..1000, Class::Pin, LONG);
    sim.run(LONG);
    assert_eq!(sim.outcome(waiter, Kind::Timeout), (1000, 0));
    assert_eq!((sim.core.duplicates, sim.peers[&1].sent), (0, 1000 * KIB256));
    let ideal = 1000.0 * KIB256 as f64 / 25e6;
    assert!(sim.now.as_secs_f64() < ideal * 1.06, "{:?} against {ideal}", sim.now);
    assert!(sim.most_outstanding <= 4 << 20, "twice the bandwidth-delay product: {}", sim.most_outstanding);
    assert!(sim.core.is_idle());
}

#[test]
fn unequal_peers_share_the_work_by_their_speed() {
    let mut sim = Simulation::new(KIB256);
    for (id, rate) in [(1, 50), (2, 25), (3, 10), (4, 5)] {
        sim.peer(id, rate, ms(20));
    }
    let waiter = sim.want(0..2000, Class::Pin, LONG);
    sim.run(LONG);
    assert_eq!(sim.outcome(waiter, Kind::Timeout), (2000, 0));
    let ideal = 2000.0 * KIB256 as f64 / 90e6;
    assert!(sim.now.as_secs_f64() < ideal * 1.1, "{:?} against {ideal}", sim.now);
    let total: u64 = sim.peers.values().map(|p| p.sent).sum();
    assert!(sim.core.duplicates + total - 2000 * KIB256 <= total / 100, "{} duplicate bytes", sim.core.duplicates);
    assert!(sim.core.is_idle());
}

#[test]
fn a_peer_that_stalls_is_relieved_by_the_others() {
    let mut sim = Simulation::new(KIB256);
    sim.peer(1, 50, ms(10));
    sim.peer(2, 50, ms(10));
    let waiter = sim.want(0..400, Class::Pin, LONG);
    sim.run(ms(200));
    sim.peers.get_mut(&1).unwrap().stalls = true;
    sim.run(Duration::from_secs(20));
    assert_eq!(sim.outcome(waiter, Kind::Timeout), (400, 0));
}

#[test]
fn a_peer_that_vanishes_is_replaced_at_once() {
    let mut sim = Simulation::new(KIB256);
    sim.peer(1, 50, ms(10));
    sim.peer(2, 50, ms(10));
    let waiter = sim.want(0..400, Class::Pin, LONG);
    sim.run(ms(500));
    sim.down(1);
    sim.run(Duration::from_secs(20));
    assert_eq!(sim.outcome(waiter, Kind::Timeout), (400, 0));
    assert!(sim.now < Duration::from_secs(3), "{:?}", sim.now);
    let waiter = sim.want(400..800, Class::Pin, LONG);
    sim.run(ms(2200));
    sim.down(2);
    sim.run(LONG);
    let (came, failed) = sim.outcome(waiter, Kind::Unreachable);
    assert!(failed > 0 && came + failed == 400, "the rest is unreachable: {came}, {failed}");
    assert!(sim.core.is_idle());
}

#[test]
fn what_nobody_has_is_not_found_and_without_peers_it_is_unreachable() {
    let mut sim = Simulation::new(KIB256);
    let waiter = sim.want(0..3, Class::Interactive, LONG);
    assert_eq!(sim.outcome(waiter, Kind::Unreachable), (0, 3));
    sim.peer(1, 50, ms(10));
    sim.peer(2, 50, ms(10));
    for peer in sim.peers.values_mut() {
        peer.has = Some([bid(1)].into());
    }
    let waiter = sim.want(0..3, Class::Interactive, LONG);
    sim.run(LONG);
    assert_eq!(sim.outcome(waiter, Kind::NotFound), (1, 2));
    sim.shares.clear();
    let waiter = sim.want(0..3, Class::Interactive, LONG);
    assert_eq!(sim.outcome(waiter, Kind::Unreachable), (0, 3));
    assert!(sim.core.is_idle());
}

#[test]
fn a_block_only_one_peer_has_is_found_there() {
    let mut sim = Simulation::new(KIB256);
    sim.peer(1, 100, ms(1));
    sim.peer(2, 5, ms(50));
    sim.peers.get_mut(&1).unwrap().has = Some((0..50).map(bid).collect());
    let waiter = sim.want(0..60, Class::Pin, LONG);
    sim.run(LONG);
    assert_eq!(sim.outcome(waiter, Kind::NotFound), (60, 0));
}

#[test]
fn two_who_want_one_block_ask_once() {
    let mut sim = Simulation::new(KIB256);
    sim.peer(1, 50, ms(10));
    let first = sim.want(0..4, Class::Pin, LONG);
    let second = sim.want(2..6, Class::Interactive, LONG);
    sim.run(LONG);
    assert_eq!(sim.outcome(first, Kind::Timeout).0 + sim.outcome(second, Kind::Timeout).0, 8);
    assert_eq!(sim.peers[&1].asked, 6);
}

#[test]
fn the_last_waiter_leaving_cancels_and_a_deadline_is_kept() {
    let mut sim = Simulation::new(KIB256);
    sim.peer(1, 1, ms(10));
    let first = sim.want(0..100, Class::Pin, LONG);
    sim.run(ms(300));
    sim.core.leave(first);
    let sent = sim.peers[&1].sent;
    sim.run(LONG);
    assert!(sim.peers[&1].sent <= sent + KIB256, "at most the block on its way");
    assert!(sim.core.is_idle());
    sim.peers.get_mut(&1).unwrap().stalls = true;
    let begun = sim.now;
    let late = sim.want(200..203, Class::Interactive, ms(700));
    sim.run(LONG * 2);
    assert_eq!(sim.outcome(late, Kind::Timeout), (0, 3));
    assert!(sim.heard.len() >= 3 && begun < sim.now);
}

#[test]
fn a_read_is_not_kept_waiting_by_a_pin() {
    let mut sim = Simulation::new(KIB256);
    sim.peer(1, 25, ms(50));
    sim.want(0..10_000, Class::Pin, LONG);
    sim.run(ms(3000));
    let begun = sim.now;
    let reader = sim.want(20_000..20_001, Class::Interactive, LONG);
    while sim.outcome(reader, Kind::Timeout).0 == 0 {
        sim.run(sim.now + ms(1));
    }
    // This peer answers strictly in order, which real ones do not: even so the queue is one window.
    let took = sim.now.saturating_sub(begun);
    assert!(took < ms(200), "{took:?}");
}

#[test]
fn slow_reads_are_hedged_within_the_budget() {
    let mut sim = Simulation::new(KIB256);
    sim.peer(1, 100, ms(2));
    sim.peer(2, 90, ms(2));
    let mut slowest = Duration::ZERO;
    for n in 0..2000_u64 {
        sim.peers.get_mut(&1).unwrap().stalls = n % 100 == 99;
        let begun = sim.now;
        let reader = sim.want(n..n + 1, Class::Interactive, LONG);
        while sim.outcome(reader, Kind::Timeout).0 == 0 {
            sim.run(sim.now + ms(1));
        }
        slowest = slowest.max(sim.now.saturating_sub(begun));
        sim.peers.get_mut(&1).unwrap().stalls = false;
        sim.run(sim.now + ms(30));
    }
    assert!(slowest < ms(300), "{slowest:?}");
    let asked: usize = sim.peers.values().map(|peer| peer.asked).sum();
    assert!(asked <= 2000 + 40 + 4, "{asked} asked for 2000");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn every_waiter_hears_of_each_block_once_whatever_happens(
        steps in proptest::collection::vec((0..8_u8, 0..40_u64, 1..30_u64), 1..40)
    ) {
        let mut sim = Simulation::new(64 << 10);
        let mut expected = 0;
        let mut gone = std::collections::BTreeSet::new();
        let mut waiters = Vec::new();
        let mut next = 1;
        for (what, a, b) in steps {
            match what {
                0 => {
                    sim.peer(next, b, ms(a));
                    if a % 3 == 0 {
                        sim.peers.get_mut(&next).unwrap().has = Some((0..a).map(bid).collect());
                    }
                    next += 1;
                }
                1 if next > 1 => sim.down(1 + a % (next - 1)),
                2 => {
                    if let Some(peer) = sim.peers.values_mut().next() {
                        peer.stalls = !peer.stalls;
                    }
                }
                3 if !waiters.is_empty() => {
                    let at = usize::try_from(a).unwrap() % waiters.len();
                    let (waiter, count) = waiters[at];
                    if gone.insert(waiter) {
                        sim.core.leave(waiter);
                        expected -= count - sim.heard.keys().filter(|(w, _)| *w == waiter).count();
                    }
                }
                4 => sim.run(sim.now + ms(a * b)),
                _ => {
                    let class = Class::ALL[usize::from(what) % 5];
                    let count = usize::try_from(b).unwrap();
                    waiters.push((sim.want(a..a + b, class, ms(100 + a * 500)), count));
                    expected += count;
                }
            }
        }
        sim.run(sim.now + LONG);
        prop_assert_eq!(sim.heard.len(), expected);
    }
}
