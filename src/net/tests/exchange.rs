//! Two nodes: they connect, exchange heads, walk trees, join.

use std::sync::atomic::Ordering;

use super::node::{Node, Over, PATIENCE, VOLUME, runtime, until};
use crate::base::Kind;
use crate::net::{Transport, Walk};
use crate::wire::peer::Class;

fn diff(root: &[u8]) -> Walk {
    Walk::Diff { root: root.to_vec(), old: None }
}

#[test]
fn two_nodes_connect_and_exchange_heads_over_both_transports() {
    for (over, transport) in [(Over::Tcp, Transport::Tcp), (Over::Quic, Transport::Quic)] {
        let runtime = runtime();
        let (a, b) = (Node::start(&runtime, 1, over), Node::start(&runtime, 2, over));
        a.shelf.heads.lock().push((VOLUME, b"head of a".to_vec()));
        b.shelf.heads.lock().push((VOLUME, b"head of b".to_vec()));
        a.meet(&b);
        until("b hears a's head", || *b.shelf.heard.lock() == [(a.net.peer_id(), b"head of a".to_vec())]);
        until("a hears b's head", || *a.shelf.heard.lock() == [(b.net.peer_id(), b"head of b".to_vec())]);
        assert_eq!(a.net.push_head(VOLUME, b"next"), 1);
        until("b hears the next", || b.shelf.heard.lock().len() == 2);
        assert_eq!(a.net.peers()[0].transport, Some(transport));
        until("the round trip is measured", || a.net.peers()[0].rtt.is_some());
        runtime.block_on(a.net.shutdown());
        until("b sees a leave", || !b.net.is_connected(&a.net.peer_id()));
    }
}

#[test]
fn a_walk_brings_every_block_in_order_whatever_its_size() {
    let runtime = runtime();
    for over in [Over::Tcp, Over::Quic] {
        let (a, b) = (Node::start(&runtime, 1, over), Node::start(&runtime, 2, over));
        let mut expected = Vec::new();
        for (count, size) in [(50, 100), (3, 4 << 20), (20, 256 << 10)] {
            expected.extend(a.shelf.fill(count, size, 1));
        }
        a.meet(&b);
        let mut walk = b.net.walk(&a.net.peer_id(), VOLUME, diff(b"root"), Class::Metadata, PATIENCE).unwrap();
        let mut got = Vec::new();
        while let Some(block) = walk.next_blocking() {
            got.push(block.unwrap().0);
            assert!(b.net.peers()[0].in_flight <= 16 << 20);
        }
        assert!(got == expected, "{} of {} blocks", got.len(), expected.len());
        until("nothing is left in flight", || b.net.peers()[0].in_flight == 0);
    }
}

#[test]
fn a_walk_that_cannot_be_answered_says_why() {
    let runtime = runtime();
    let (a, b) = (Node::start(&runtime, 1, Over::Tcp), Node::start(&runtime, 2, Over::Tcp));
    a.meet(&b);
    let kind = |walk| {
        let mut walk = b.net.walk(&a.net.peer_id(), VOLUME, walk, Class::Metadata, PATIENCE).unwrap();
        walk.next_blocking().unwrap().unwrap_err().kind()
    };
    assert_eq!(kind(diff(b"unknown")), Kind::NotFound);
    a.shelf.shared_with.lock().clear();
    assert_eq!(kind(diff(b"root")), Kind::Denied);
    assert!(b.net.is_connected(&a.net.peer_id()), "neither is a reason to part");
}

#[test]
fn a_stranger_may_join_while_there_is_an_invite_and_do_nothing_else() {
    let runtime = runtime();
    let (a, b) = (Node::start(&runtime, 1, Over::Tcp), Node::start(&runtime, 2, Over::Quic));
    let there = a.net.listen_addresses();
    let ask = |question: &[u8]| b.net.join_blocking(a.net.peer_id(), &there, question.to_vec());
    assert_eq!(ask(b"hello").unwrap_err().kind(), Kind::Unreachable, "no invite is open");
    a.shelf.inviting.store(true, Ordering::Relaxed);
    let answer = ask(b"hello").unwrap();
    assert_eq!(answer, format!("hello from {}", b.net.peer_id()).into_bytes());
    assert_eq!(ask(b"refuse me").unwrap_err().kind(), Kind::Denied);
    assert!(!a.net.is_connected(&b.net.peer_id()), "a stranger has no session");
    // One side thinks they are members: still nothing but joins.
    b.befriend(&a);
    b.net.add_address(a.net.peer_id(), &there[0]).unwrap();
    assert!(ask(b"again").is_ok());
    assert!(!b.net.is_connected(&a.net.peer_id()));
    a.befriend(&b);
    until("members are connected", || b.net.is_connected(&a.net.peer_id()));
    assert!(ask(b"another volume").is_ok(), "a member may join again");
}

#[test]
fn a_removed_member_is_left_at_once_and_stays_out() {
    let runtime = runtime();
    let (a, b) = (Node::start(&runtime, 1, Over::Tcp), Node::start(&runtime, 2, Over::Tcp));
    a.meet(&b);
    a.net.allow([]);
    until("both see it", || !a.net.is_connected(&b.net.peer_id()) && !b.net.is_connected(&a.net.peer_id()));
    let error = b.net.walk(&a.net.peer_id(), VOLUME, diff(b"root"), Class::Metadata, PATIENCE).err().unwrap();
    assert_eq!(error.kind(), Kind::Unreachable);
}

#[test]
fn both_may_dial_at_once_and_one_connection_remains() {
    let runtime = runtime();
    let (a, b) = (Node::start(&runtime, 1, Over::Tcp), Node::start(&runtime, 2, Over::Tcp));
    a.befriend(&b);
    b.befriend(&a);
    b.net.add_address(a.net.peer_id(), &a.net.listen_addresses()[0]).unwrap();
    a.meet(&b);
    for _ in 0..20 {
        a.shelf.fill(1, 100, 9);
    }
    until("a walk goes through", || {
        let walk = b.net.walk(&a.net.peer_id(), VOLUME, diff(b"root"), Class::Metadata, PATIENCE);
        walk.is_ok_and(|mut walk| {
            let mut blocks = 0;
            while let Some(Ok(_)) = walk.next_blocking() {
                blocks += 1;
            }
            blocks == 20
        })
    });
}
