//! The answering core: turns, credit, limits.

use std::time::{Duration, Instant};

use crate::base::{Bid, VolumeId};
use crate::net::session::answerer::{Answerer, STARVED, Spend, Step, Wanted};
use crate::wire::peer::data::{Reason, cost};
use crate::wire::peer::{Class, Selector};

fn wanted(rid: u32, class: Class, ids: u8, credit: u32) -> Wanted {
    let selector = Selector::Ids((0..ids).map(|n| Bid([n; 32])).collect());
    Wanted { rid, volume: VolumeId([1; 16]), class, deadline_ms: 0, credit, selector }
}

fn diff(rid: u32, credit: u32) -> Wanted {
    let selector = Selector::Diff { root: vec![1], old: None };
    Wanted { selector, ..wanted(rid, Class::Metadata, 1, credit) }
}

/// Read what a step asks for, all blocks of this length.
fn read(answerer: &mut Answerer, step: &Step, length: usize) -> Vec<bool> {
    let Step::Read { rid, ids, .. } = step else { panic!("{step:?}") };
    answerer.sent(*rid, &vec![Some(length); ids.len()])
}

#[test]
fn a_request_is_answered_in_batches_and_ends() {
    let (mut answerer, now) = (Answerer::default(), Instant::now());
    answerer.want(wanted(5, Class::Pin, 100, 1 << 20), true, now).unwrap();
    assert_eq!(answerer.next(true, now), None, "it belongs to the other stream");
    let mut firsts = Vec::new();
    while let Some(step @ Step::Read { first, .. }) = answerer.next(false, now) {
        firsts.push(first);
        assert!(read(&mut answerer, &step, 10).into_iter().all(|goes| goes));
        if firsts.len() == 2 {
            assert_eq!(answerer.next(false, now), Some(Step::End { rid: 5, frames: 100 }));
        }
    }
    assert_eq!(firsts, [0, 64]);
}

#[test]
fn the_urgent_go_first_and_the_last_class_is_not_forgotten() {
    let (mut answerer, now) = (Answerer::default(), Instant::now());
    for rid in 0..100 {
        answerer.want(wanted(rid, Class::Background, 1, 100), true, now).unwrap();
        answerer.want(wanted(1000 + rid, Class::Readahead, 1, 100), true, now).unwrap();
    }
    let mut order = Vec::new();
    while let Some(step) = answerer.next(false, now) {
        if let Step::Read { rid, .. } = step {
            order.push(rid >= 1000);
            answerer.cancel(rid, 0);
            read(&mut answerer, &step, 10);
        }
    }
    assert!(order[..9].iter().all(|urgent| *urgent));
    let early = order[..100].iter().filter(|urgent| !**urgent).count();
    assert!((5..=15).contains(&early), "{early} of the first hundred were of the last class");
    assert_eq!(order.len(), 200);
}

#[test]
fn credit_is_never_exceeded() {
    let (mut answerer, now) = (Answerer::default(), Instant::now());
    answerer.want(wanted(1, Class::Interactive, 3, 2 * cost(100)), true, now).unwrap();
    let step = answerer.next(true, now).unwrap();
    assert_eq!(read(&mut answerer, &step, 100), [true, true, false], "the third counts as missing");
    answerer.want(diff(2, cost(100)), true, now).unwrap();
    assert_eq!(answerer.next(true, now), Some(Step::End { rid: 1, frames: 3 }));
    assert!(matches!(answerer.next(true, now), Some(Step::Walk { rid: 2, .. })));
    assert_eq!(answerer.spend(2, 100, now), (Spend::Go, 0));
    assert_eq!(answerer.spend(2, 100, now), (Spend::Wait, 1));
    answerer.credit(2, cost(100));
    assert_eq!(answerer.spend(2, 100, now), (Spend::Go, 1));
    answerer.credit(2, cost(100));
    answerer.cancel(2, 0);
    assert_eq!(answerer.spend(2, 100, now).0, Spend::Stop);
    assert_eq!(answerer.finished(2), 2);
    assert_eq!(answerer.spend(2, 100, now).0, Spend::Stop);
}

#[test]
fn who_may_not_who_is_too_many_and_who_is_late_is_told() {
    let (mut answerer, now) = (Answerer::default(), Instant::now());
    answerer.want(wanted(1, Class::Interactive, 1, 100), false, now).unwrap();
    assert_eq!(answerer.next(true, now), Some(Step::Refuse { rid: 1, reason: Reason::Denied }));
    answerer.want(Wanted { deadline_ms: 10, ..wanted(1, Class::Interactive, 1, 100) }, true, now).unwrap();
    let later = now + Duration::from_millis(10);
    assert_eq!(answerer.next(true, later), Some(Step::Refuse { rid: 1, reason: Reason::Timeout }));
    for rid in 0..9 {
        answerer.want(diff(rid, 100), true, now).unwrap();
    }
    for rid in 0..8 {
        assert!(matches!(answerer.next(true, now), Some(Step::Walk { rid: r, .. }) if r == rid));
    }
    assert_eq!(answerer.next(true, now), Some(Step::Refuse { rid: 8, reason: Reason::Busy }));
}

#[test]
fn a_number_in_use_and_a_flood_of_requests_end_the_session() {
    let (mut answerer, now) = (Answerer::default(), Instant::now());
    answerer.want(wanted(0, Class::Pin, 1, 100), true, now).unwrap();
    assert!(answerer.want(wanted(0, Class::Pin, 1, 100), true, now).is_err());
    let taken =
        (1..10_000).take_while(|rid| answerer.want(wanted(*rid, Class::Pin, 1, 100), true, now).is_ok()).count();
    assert_eq!(taken, 511);
}

#[test]
fn refusals_do_not_wait_for_what_is_being_read() {
    let (mut answerer, now) = (Answerer::default(), Instant::now());
    answerer.want(wanted(1, Class::Interactive, 1, 100), true, now).unwrap();
    let step = answerer.next(true, now).unwrap();
    answerer.want(wanted(2, Class::Interactive, 1, 0), false, now).unwrap();
    answerer.want(wanted(3, Class::Pin, 1, 0), false, now).unwrap();
    answerer.want(wanted(4, Class::Interactive, 1, 100), true, now).unwrap();
    assert_eq!(answerer.refusals(true), [(2, Reason::Denied)]);
    assert_eq!(answerer.refusals(true), []);
    read(&mut answerer, &step, 10);
    assert!(matches!(answerer.next(true, now), Some(Step::Read { rid: 4, .. })), "nobody loses a turn by it");
}

#[test]
fn a_walk_that_is_given_no_credit_ends_by_itself() {
    let (mut answerer, now) = (Answerer::default(), Instant::now());
    answerer.want(diff(1, cost(100)), true, now).unwrap();
    assert!(matches!(answerer.next(true, now), Some(Step::Walk { rid: 1, .. })));
    assert_eq!(answerer.spend(1, 100, now).0, Spend::Go);
    assert_eq!(answerer.spend(1, 100, now).0, Spend::Wait);
    assert_eq!(answerer.spend(1, 100, now + STARVED / 2).0, Spend::Wait);
    answerer.credit(1, cost(100));
    assert_eq!(answerer.spend(1, 100, now + STARVED / 2).0, Spend::Go, "it was only slow");
    assert_eq!(answerer.spend(1, 100, now + STARVED).0, Spend::Wait);
    assert_eq!(answerer.spend(1, 100, now + STARVED * 2).0, Spend::Starved);
}
