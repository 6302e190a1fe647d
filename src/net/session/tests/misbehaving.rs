//! Sessions with a peer that sends what it must not: each ends as a violation, none panics or hangs.

use std::sync::Arc;
use std::time::Duration;

use super::pipe::{Pipe, pipe};
use crate::base::sync::Mutex;
use crate::base::{Bid, Kind, VolumeId};
use crate::net::link::Link;
use crate::net::session::asker::Ask;
use crate::net::session::{Arrived, Ending, Receive, Session, Walks};
use crate::net::tests::node::{PATIENCE, Shelf, VOLUME};
use crate::net::{Peer, Transport};
use crate::seal::Sealer;
use crate::wire::peer::data::{Flag, Header};
use crate::wire::peer::{Class, Message, RequestId, Selector, decode, encode_frame};
use libp2p::futures::{AsyncReadExt, AsyncWriteExt};

/// The far ends of a session's streams.
struct Far {
    control: Pipe,
    interactive: Pipe,
    bulk: Pipe,
}

#[derive(Default)]
struct Ear(Mutex<Vec<Result<usize, Kind>>>);

impl Receive for Ear {
    fn receive(&self, _: &Arc<Session>, _: RequestId, what: Arrived) {
        self.0.lock().push(match what {
            Arrived::Block { bytes, .. } => Ok(bytes.len()),
            Arrived::Missing { .. } => Err(Kind::NotFound),
            Arrived::Ended(outcome) => outcome.map(|()| 0),
        });
    }
}

impl Far {
    async fn say(&mut self, message: &Message) {
        self.control.write_all(&encode_frame(message).unwrap()).await.unwrap();
    }

    async fn hello(&mut self) {
        self.say(&Message::Hello { version: 1, features: 0 }).await;
    }

    async fn data(&mut self, header: Header, bytes: &[u8]) {
        let _ = self.interactive.write_all(&header.encode()).await;
        let _ = self.interactive.write_all(bytes).await;
    }
}

fn bid() -> Bid {
    Sealer::bid(&[1; 100])
}

fn want(rid: u32, volume: VolumeId, class: Class) -> Message {
    Message::Want { rid, volume, class, deadline_ms: 0, credit: 1000, selector: Selector::Ids(vec![bid()]) }
}

fn block(rid: u32, index: u32, length: u32) -> Header {
    Header { rid, index, flag: Flag::Block, length }
}

/// A session with one open request (rid 1, two blocks, 500 bytes of credit) and `far` doing its worst.
fn with<F: Future<Output = Far>>(far: impl FnOnce(Far) -> F) -> (Ending, Vec<Result<usize, Kind>>) {
    on(tokio::runtime::Builder::new_current_thread().enable_all(), PATIENCE, far)
}

/// [`with`] in time that passes only when nothing happens.
fn in_virtual_time<F: Future<Output = Far>>(far: impl FnOnce(Far) -> F) -> (Ending, Vec<Result<usize, Kind>>) {
    on(tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true), Duration::from_secs(3600), far)
}

fn on<F: Future<Output = Far>>(
    runtime: &mut tokio::runtime::Builder,
    patience: Duration,
    far: impl FnOnce(Far) -> F,
) -> (Ending, Vec<Result<usize, Kind>>) {
    runtime.build().unwrap().block_on(async {
        let [(control, c), (interactive, i), (bulk, b)] = [pipe(), pipe(), pipe()];
        let peer = Peer([2; 32]);
        let link = Link {
            peer,
            transport: Transport::Tcp,
            control: Box::new(control),
            interactive: Box::new(interactive),
            bulk: Box::new(bulk),
        };
        let shelf = Arc::new(Shelf::default());
        shelf.shared_with.lock().insert(peer);
        let (session, outbox) = Session::new(1, &link, shelf, Walks::default().of(peer));
        let ear = Arc::new(Ear::default());
        let selector = Selector::Ids(vec![bid(), Bid([0; 32])]);
        let ask = Ask { volume: VOLUME, class: Class::Interactive, deadline_ms: 0, selector, credit: 500 };
        assert_eq!(session.ask(ask, Arc::clone(&ear) as Arc<dyn Receive>).unwrap(), 1);
        let far = far(Far { control: c, interactive: i, bulk: b });
        let both = async { tokio::join!(session.run(link, outbox, || ()), far) };
        let (ending, _far) = tokio::time::timeout(patience, both).await.expect("the session ends");
        let heard = ear.0.lock().clone();
        (ending, heard)
    })
}

fn is_violation<F: Future<Output = Far>>(what: &str, far: impl FnOnce(Far) -> F) {
    let (ending, heard) = with(far);
    assert!(matches!(ending, Ending::Violation(_)), "{what}: {ending:?}");
    assert_eq!(heard.last(), Some(&Err(Kind::Corrupt)), "{what}: who asked hears of it");
}

async fn after_hello(mut far: Far, header: Header, bytes: Vec<u8>) -> Far {
    far.hello().await;
    far.data(header, &bytes).await;
    far
}

#[test]
fn data_that_was_not_asked_for_ends_the_session() {
    is_violation("flood", |far| after_hello(far, block(99, 0, 1 << 20), vec![0; 1 << 16]));
    is_violation("other bytes", |far| after_hello(far, block(1, 0, 100), vec![2; 100]));
    is_violation("index", |far| after_hello(far, block(1, 2, 100), vec![1; 100]));
    is_violation("credit", |far| after_hello(far, block(1, 0, 437), vec![1; 437]));
    is_violation("a claim", |far| after_hello(far, block(1, 0, 4 << 20), vec![]));
    is_violation("a bent header", |mut far| async move {
        far.hello().await;
        let _ = far.interactive.write_all(&[0xff; 12]).await;
        far
    });
    is_violation("twice", |far| async {
        let mut far = after_hello(far, block(1, 0, 100), vec![1; 100]).await;
        far.data(block(1, 0, 100), &[1; 100]).await;
        far
    });
    is_violation("the other stream", |mut far| async move {
        far.hello().await;
        let _ = far.bulk.write_all(&block(1, 0, 100).encode()).await;
        far
    });
}

#[test]
fn messages_that_make_no_sense_end_the_session() {
    is_violation("no greeting", |mut far| async move {
        far.say(&Message::Credit { rid: 1, bytes: 1 }).await;
        far
    });
    is_violation("greeted twice", |mut far| async move {
        far.hello().await;
        far.hello().await;
        far
    });
    is_violation("a long frame", |mut far| async move {
        far.hello().await;
        far.control.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        far
    });
    is_violation("garbage", |mut far| async move {
        far.hello().await;
        far.control.write_all(&[3, 0, 0, 0, 0xff, 0xff, 0xff]).await.unwrap();
        far
    });
    is_violation("a flood of requests", |mut far| async move {
        far.hello().await;
        // Nothing of the answers is read: they pile up on our side until it is too much.
        for rid in 0..5000 {
            let sent = far.control.write_all(&encode_frame(&want(rid, VOLUME, Class::Pin)).unwrap()).await;
            let refused = far.control.write_all(&encode_frame(&want(rid, VOLUME, Class::Pin)).unwrap()).await;
            if sent.and(refused).is_err() {
                break;
            }
        }
        far
    });
}

#[test]
fn another_version_and_a_lost_stream_are_no_crime() {
    let (ending, heard) = with(|mut far| async move {
        far.say(&Message::Hello { version: 2, features: 0 }).await;
        far
    });
    assert!(matches!(&ending, Ending::Lost(error) if error.kind() == Kind::Unsupported), "{ending:?}");
    assert_eq!(heard, [Err(Kind::Unreachable)]);
    let (ending, _) = with(|mut far| async move {
        far.hello().await;
        let (_, kept) = pipe();
        std::mem::replace(&mut far.bulk, kept).close().await.unwrap();
        far
    });
    assert!(matches!(ending, Ending::Lost(_)), "{ending:?}");
}

#[test]
fn a_volume_that_is_not_shared_is_denied() {
    let (_, heard) = with(|mut far| async move {
        far.hello().await;
        far.say(&want(7, VolumeId([9; 16]), Class::Interactive)).await;
        let mut answer = [0; 13];
        far.interactive.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 3, 0]);
        far.data(block(1, 0, 100), &[1; 100]).await;
        far.data(Header { rid: 1, index: 1, flag: Flag::Missing, length: 0 }, &[]).await;
        far.data(Header { rid: 1, index: 2, flag: Flag::End, length: 0 }, &[]).await;
        far.control.close().await.unwrap();
        far
    });
    assert_eq!(heard, [Ok(100), Err(Kind::NotFound), Ok(0)]);
}

#[test]
fn a_peer_that_is_gone_without_a_word_is_given_up_and_who_asked_hears_of_it() {
    let (ending, heard) = in_virtual_time(|mut far| async move {
        far.hello().await;
        far
    });
    assert!(matches!(&ending, Ending::Lost(error) if error.kind() == Kind::Timeout), "{ending:?}");
    assert_eq!(heard, [Err(Kind::Unreachable)]);
}

#[test]
fn a_peer_that_is_slow_is_waited_for_as_long_as_it_shows_signs_of_life() {
    let (ending, heard) = in_virtual_time(|mut far| async move {
        far.hello().await;
        let mut messages = 0;
        // HELLO, the request, and then a question for nothing now and again.
        while messages < 20 {
            let mut length = [0; 4];
            far.control.read_exact(&mut length).await.unwrap();
            let mut body = vec![0; u32::from_le_bytes(length) as usize];
            far.control.read_exact(&mut body).await.unwrap();
            messages += 1;
            if let Message::Want { rid, selector: Selector::Ids(ids), .. } = decode(&body).unwrap()
                && ids == [Bid([0; 32])]
            {
                far.data(Header { rid, index: 0, flag: Flag::End, length: 0 }, &[]).await;
            }
        }
        far.data(block(1, 0, 100), &[1; 100]).await;
        far.data(Header { rid: 1, index: 1, flag: Flag::Missing, length: 0 }, &[]).await;
        far.data(Header { rid: 1, index: 2, flag: Flag::End, length: 0 }, &[]).await;
        far.control.close().await.unwrap();
        far
    });
    assert_eq!(heard, [Ok(100), Err(Kind::NotFound), Ok(0)], "{ending:?}");
}

#[test]
fn a_peer_that_asks_and_never_reads_is_let_go() {
    let (ending, _) = in_virtual_time(|mut far| async move {
        far.hello().await;
        far.data(block(1, 0, 100), &[1; 100]).await;
        far.data(Header { rid: 1, index: 1, flag: Flag::Missing, length: 0 }, &[]).await;
        far.data(Header { rid: 1, index: 2, flag: Flag::End, length: 0 }, &[]).await;
        // More answers than a pipe takes, to fewer questions than are a crime.
        let selector = Selector::Ids(vec![Bid([9; 32]); 256]);
        for rid in 0..200 {
            let (volume, class, selector) = (VOLUME, Class::Interactive, selector.clone());
            far.say(&Message::Want { rid, volume, class, deadline_ms: 0, credit: 0, selector }).await;
        }
        far
    });
    assert!(matches!(ending, Ending::Lost(_)), "{ending:?}");
}
