//! Blocks by id, from one, two and three peers, some of them bad.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::node::{Node, Over, PATIENCE, VOLUME, runtime, until};
use crate::base::{Bid, Kind};
use crate::net::{Waited, Wanted};
use crate::seal::Sealer;
use crate::wire::peer::Class;

fn of_size(bids: &[Bid], size: u32) -> Vec<Wanted> {
    bids.iter().map(|bid| Wanted { bid: *bid, at_most: size }).collect()
}

#[test]
fn blocks_are_fetched_verified_and_in_the_order_asked() {
    let runtime = runtime();
    for over in [Over::Tcp, Over::Quic] {
        let (a, b) = (Node::start(&runtime, 1, over), Node::start(&runtime, 2, over));
        let bids = [a.shelf.fill(300, 4096, 1), a.shelf.fill(5, 4 << 20, 2)].concat();
        a.meet(&b);
        let wanted: Vec<Wanted> = bids.iter().map(|bid| Wanted::unknown(*bid)).collect();
        let blocks = b.net.fetch_blocking(VOLUME, &wanted, Class::Pin, PATIENCE);
        for (block, bid) in blocks.iter().zip(&bids) {
            assert_eq!(Sealer::bid(block.as_ref().unwrap()), *bid);
        }
        assert_eq!(b.net.duplicate_bytes(), 0);
        let absent = b.net.fetch_blocking(VOLUME, &of_size(&[Bid([9; 32])], 100), Class::Interactive, PATIENCE);
        assert_eq!(absent[0].as_ref().unwrap_err().kind(), Kind::NotFound);
    }
}

#[test]
fn what_is_in_flight_stays_within_sixteen_mebibytes() {
    let runtime = runtime();
    let (a, b) = (Node::start(&runtime, 1, Over::Tcp), Node::start(&runtime, 2, Over::Tcp));
    let bids = a.shelf.fill(60, 1 << 20, 1);
    a.meet(&b);
    let mut pins = b.net.fetch(VOLUME, &of_size(&bids, 1 << 20), Class::Pin, PATIENCE);
    let mut reads = b.net.fetch(VOLUME, &of_size(&a.shelf.fill(40, 1 << 20, 2), 1 << 20), Class::Interactive, PATIENCE);
    let mut most = 0;
    while pins.left() + reads.left() > 0 {
        most = most.max(b.net.peers()[0].in_flight);
        for fetching in [&mut pins, &mut reads] {
            if let Waited::Block(_, block) = fetching.next_within(Duration::from_millis(1)) {
                block.unwrap();
            }
        }
    }
    assert!(most > 0 && most <= 16 << 20, "{most}");
}

#[test]
fn a_consumer_that_does_not_take_holds_back_the_peer() {
    let runtime = runtime();
    let (a, b) = (Node::start(&runtime, 1, Over::Tcp), Node::start(&runtime, 2, Over::Tcp));
    let bids = a.shelf.fill(100, 1 << 20, 1);
    a.meet(&b);
    let mut pins = b.net.fetch(VOLUME, &of_size(&bids, 1 << 20), Class::Pin, PATIENCE);
    until("it comes to rest", || b.net.peers()[0].in_flight == 0 && b.net.peers()[0].received >= 16 << 20);
    assert!(b.net.peers()[0].received <= 32 << 20, "{}", b.net.peers()[0].received);
    while let Some((_, block)) = pins.next_blocking() {
        block.unwrap();
    }
}

#[test]
fn a_peer_that_lies_is_refused_and_another_one_answers() {
    let runtime = runtime();
    let nodes: Vec<Node> = (1..4).map(|seed| Node::start(&runtime, seed, Over::Tcp)).collect();
    let [a, liar, c] = &nodes[..] else { panic!() };
    let bids = a.shelf.fill(50, 64 << 10, 1);
    liar.shelf.fill(50, 64 << 10, 1);
    liar.shelf.lies.store(true, Ordering::Relaxed);
    liar.meet(c);
    a.meet(c);
    let blocks = c.net.fetch_blocking(VOLUME, &of_size(&bids, 64 << 10), Class::Pin, PATIENCE);
    assert!(blocks.iter().all(Result::is_ok));
    // Whoever was asked first, the liar is found out as soon as it is asked.
    a.shelf.blocks.lock().clear();
    let alone = c.net.fetch_blocking(VOLUME, &of_size(&bids, 64 << 10), Class::Pin, PATIENCE);
    assert!(alone.iter().all(Result::is_err));
    until("the liar is shut out", || !c.net.is_connected(&liar.net.peer_id()));
    assert!(c.net.is_connected(&a.net.peer_id()));
}

#[test]
fn a_peer_that_stalls_is_replaced_and_alone_it_runs_into_the_deadline() {
    let runtime = runtime();
    let nodes: Vec<Node> = (1..4).map(|seed| Node::start(&runtime, seed, Over::Tcp)).collect();
    let [a, slow, c] = &nodes[..] else { panic!() };
    let bids = a.shelf.fill(40, 64 << 10, 1);
    slow.shelf.fill(40, 64 << 10, 1);
    slow.meet(c);
    slow.shelf.stall(true);
    let alone = c.net.fetch_blocking(VOLUME, &of_size(&bids, 64 << 10), Class::Interactive, Duration::from_millis(300));
    assert!(alone.iter().all(|block| block.as_ref().is_err_and(|e| e.kind() == Kind::Timeout)));
    a.meet(c);
    for class in [Class::Interactive, Class::Pin] {
        let blocks = c.net.fetch_blocking(VOLUME, &of_size(&bids, 64 << 10), class, PATIENCE);
        assert!(blocks.iter().all(Result::is_ok), "{class:?}");
    }
    slow.shelf.stall(false);
}

#[test]
fn a_disconnect_in_the_middle_is_made_good_by_another_peer() {
    let runtime = runtime();
    let nodes: Vec<Node> = (1..4).map(|seed| Node::start(&runtime, seed, Over::Quic)).collect();
    let [a, b, c] = &nodes[..] else { panic!() };
    let bids = a.shelf.fill(200, 64 << 10, 1);
    b.shelf.fill(200, 64 << 10, 1);
    *a.shelf.delay.lock() = Duration::from_millis(1);
    *b.shelf.delay.lock() = Duration::from_millis(1);
    a.meet(c);
    b.meet(c);
    let mut fetching = c.net.fetch(VOLUME, &of_size(&bids, 64 << 10), Class::Pin, PATIENCE);
    let mut count = 0;
    while let Some((_, block)) = fetching.next_blocking() {
        block.unwrap();
        count += 1;
        if count == 50 {
            c.net.allow([b.net.peer_id()]);
        }
    }
    assert_eq!(count, 200);
}

#[test]
fn dropping_the_question_stops_the_answer() {
    let runtime = runtime();
    let (a, b) = (Node::start(&runtime, 1, Over::Tcp), Node::start(&runtime, 2, Over::Tcp));
    let bids = a.shelf.fill(2000, 4096, 1);
    *a.shelf.delay.lock() = Duration::from_micros(500);
    a.meet(&b);
    let mut fetching = b.net.fetch(VOLUME, &of_size(&bids, 4096), Class::Background, PATIENCE);
    fetching.next_blocking().unwrap().1.unwrap();
    drop(fetching);
    until("nothing is in flight", || b.net.peers()[0].in_flight == 0);
    assert!(a.shelf.reads.load(Ordering::Relaxed) < 2000);
}
