//! The asking core: what may come in, and how much.

use crate::base::{Bid, Kind, VolumeId};
use crate::net::session::asker::{Accepted, Ask, Asker, BULK_IN_FLIGHT, MAX_IN_FLIGHT, MOST_OPEN, WALK_CREDIT};
use crate::seal::Sealer;
use crate::wire::peer::data::{Flag, Header, cost};
use crate::wire::peer::{Class, Message, Selector};

fn ids(bids: &[Bid], credit: u32, class: Class) -> Ask {
    Ask { volume: VolumeId([1; 16]), class, deadline_ms: 0, selector: Selector::Ids(bids.to_vec()), credit }
}

fn walk() -> Ask {
    let selector = Selector::Diff { root: vec![1], old: None };
    Ask { volume: VolumeId([1; 16]), class: Class::Metadata, deadline_ms: 0, selector, credit: WALK_CREDIT }
}

fn block(rid: u32, index: u32, length: usize) -> Header {
    Header { rid, index, flag: Flag::Block, length: u32::try_from(length).unwrap() }
}

fn take(asker: &mut Asker, header: Header, bytes: &[u8]) -> crate::base::Result<Accepted> {
    asker.admit(&header, true)?;
    asker.accept(&header, bytes, Sealer::bid(bytes))
}

#[test]
fn blocks_come_in_any_order_each_once_and_only_with_their_own_bytes() {
    let mut asker = Asker::default();
    let (one, two) = (vec![1; 100], vec![2; 50]);
    let bids = [Sealer::bid(&one), Sealer::bid(&two), Bid([0; 32])];
    let (rid, _) = asker.open(ids(&bids, 1000, Class::Interactive)).unwrap();
    assert_eq!(take(&mut asker, block(rid, 1, 50), &two).unwrap(), Accepted::Block { index: 1, bid: bids[1] });
    assert!(take(&mut asker, block(rid, 1, 50), &two).is_err(), "twice");
    assert!(take(&mut asker, block(rid, 0, 50), &two).is_err(), "the bytes of another");
    assert!(take(&mut asker, block(rid, 3, 50), &two).is_err(), "an index nobody asked for");
    assert!(take(&mut asker, block(rid + 1, 0, 50), &two).is_err(), "a request nobody made");
    assert!(asker.admit(&block(rid, 0, 100), false).is_err(), "the wrong stream");
    let missing = Header { rid, index: 2, flag: Flag::Missing, length: 0 };
    assert_eq!(take(&mut asker, missing, &[]).unwrap(), Accepted::Missing { index: 2 });
    assert_eq!(asker.in_flight(), 1000 - cost(50));
    let end = Header { rid, index: 3, flag: Flag::End, length: 0 };
    assert_eq!(take(&mut asker, end, &[]).unwrap(), Accepted::Ended(Ok(())));
    assert_eq!(asker.in_flight(), 0);
}

#[test]
fn nothing_comes_in_beyond_its_credit() {
    let mut asker = Asker::default();
    let (rid, _) = asker.open(ids(&[Bid([1; 32]); 2], cost(100), Class::Interactive)).unwrap();
    assert!(asker.admit(&block(rid, 0, 101), true).is_err());
    assert!(asker.admit(&block(rid, 0, 100), true).is_ok());
}

#[test]
fn what_is_in_flight_is_bounded_and_bulk_leaves_room_for_the_urgent() {
    let mut asker = Asker::default();
    let ask = |class| ids(&[Bid([1; 32])], 1 << 20, class);
    while asker.open(ask(Class::Pin)).is_ok() {}
    assert_eq!(asker.in_flight(), BULK_IN_FLIGHT);
    while asker.open(ask(Class::Interactive)).is_ok() {}
    assert_eq!(asker.in_flight(), MAX_IN_FLIGHT);
    assert_eq!(asker.open(ask(Class::Interactive)).unwrap_err().kind(), Kind::Busy);
    let mut asker = Asker::default();
    let small = |class| ids(&[Bid([1; 32])], 1, class);
    while asker.open(small(Class::Background)).is_ok() {}
    let mut more = 0;
    while asker.open(small(Class::Interactive)).is_ok() {
        more += 1;
    }
    assert_eq!(more, MOST_OPEN / 4);
}

#[test]
fn a_walk_is_paid_as_it_is_taken_and_stays_in_order() {
    let mut asker = Asker::default();
    let (rid, _) = asker.open(walk()).unwrap();
    let bytes = vec![3; 1 << 20];
    for index in 0..100 {
        assert!(matches!(take(&mut asker, block(rid, index, bytes.len()), &bytes), Ok(Accepted::Block { .. })));
        assert!(asker.in_flight() <= WALK_CREDIT);
        asker.taken(rid, bytes.len());
        assert!(asker.in_flight() <= WALK_CREDIT);
    }
    assert!(asker.admit(&block(rid, 7, 10), true).is_err(), "out of order");
    assert!(asker.admit(&Header { rid, index: 100, flag: Flag::Missing, length: 0 }, true).is_err());
    let mut idle = Asker::default();
    let (rid, _) = idle.open(walk()).unwrap();
    let mut index = 0;
    while idle.admit(&block(rid, index, bytes.len()), true).is_ok() {
        take(&mut idle, block(rid, index, bytes.len()), &bytes).unwrap();
        index += 1;
    }
    assert_eq!(index, 4, "who does not take gets no more");
}

#[test]
fn after_a_cancel_what_comes_is_dropped_until_the_end() {
    let mut asker = Asker::default();
    let bytes = vec![1; 100];
    let (rid, _) = asker.open(ids(&[Sealer::bid(&bytes); 3], 1000, Class::Interactive)).unwrap();
    assert_eq!(asker.cancel(rid, 1), Some(Message::Cancel { rid, from: 1 }));
    assert_eq!(asker.cancel(rid, 2), None, "it said so already");
    assert!(matches!(take(&mut asker, block(rid, 0, 100), &bytes), Ok(Accepted::Block { .. })));
    assert_eq!(take(&mut asker, block(rid, 1, 100), &bytes).unwrap(), Accepted::Unwanted);
    let failed = Header { rid, index: 0, flag: Flag::Error, length: 1 };
    assert_eq!(take(&mut asker, failed, &[0]).unwrap(), Accepted::Ended(Err(Kind::Denied)));
    assert_eq!(asker.in_flight(), 0);
    assert!(asker.admit(&block(rid, 2, 100), true).is_err(), "over is over");
}
