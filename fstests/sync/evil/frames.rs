//! Attacks that are bytes on a stream: what no decoder may accept, and what must not be acted upon (C7).

use lovage::base::{Bid, VolumeId};
use lovage::wire::peer::data::{Flag, Header};
use lovage::wire::peer::{Class, MAX_CONTROL, Message, Selector, encode_frame};

use super::session::{On, Seen, Session, framed, hello, noise, observe, want};
use super::stage::{Foe, Stage};

/// What is sent where, and what is seen.
struct Attack {
    name: &'static str,
    /// Whether the greeting comes first.
    greets: bool,
    on: On,
    bytes: Vec<u8>,
    seen: Seen,
}

fn attack(name: &'static str, on: On, bytes: Vec<u8>, seen: Seen) -> Attack {
    Attack { name, greets: true, on, bytes, seen }
}

fn told(message: &Message) -> Vec<u8> {
    encode_frame(message).unwrap()
}

fn ids(count: usize) -> Selector {
    Selector::Ids(vec![Bid([7; 32]); count])
}

/// A WANT whose list of ids is these bytes.
fn want_of(volume: VolumeId, list: &[u8]) -> Vec<u8> {
    let mut body = vec![2, 9];
    body.extend_from_slice(&volume.0);
    body.extend_from_slice(&[0, 0, 0, 0]);
    let mut length = list.len();
    while length > 127 {
        body.push(u8::try_from(length & 127).unwrap() | 128);
        length >>= 7;
    }
    body.push(u8::try_from(length).unwrap());
    body.extend_from_slice(list);
    framed(&body)
}

fn greetings() -> Vec<Attack> {
    let silent = |name, bytes, seen| Attack { name, greets: false, on: On::Control, bytes, seen };
    let question = want(1, VolumeId([1; 16]), Class::Interactive, 0, ids(1));
    vec![
        silent("a question before HELLO", told(&question), Seen::Banned),
        silent("HELLO of another version", told(&Message::Hello { version: 7, features: 0 }), Seen::Cut),
        silent("noise instead of HELLO", noise(1, 4096), Seen::Banned),
        silent("HELLO with all features", told(&Message::Hello { version: 1, features: u64::MAX }), Seen::Ignored),
        attack("HELLO twice", On::Control, told(&hello()), Seen::Banned),
    ]
}

fn messages(volume: VolumeId) -> Vec<Attack> {
    let control = |name, bytes, seen| attack(name, On::Control, bytes, seen);
    let mut head_too_long = vec![1];
    head_too_long.extend_from_slice(&volume.0);
    head_too_long.extend_from_slice(&[0x81, 0x80, 0x04]); // 65,537 bytes
    head_too_long.extend_from_slice(&vec![0; (64 << 10) + 1]);
    let mut a_lie = vec![1];
    a_lie.extend_from_slice(&volume.0);
    a_lie.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]);
    let backwards = [&[2, 9][..], &volume.0, &[0, 0, 0, 2, 1, 7, 9, 3]].concat();
    vec![
        control("noise", [&[0xff; 4][..], &noise(2, 4096)].concat(), Seen::Banned),
        control(
            "a frame one byte too long",
            u32::try_from(MAX_CONTROL + 1).unwrap().to_le_bytes().into(),
            Seen::Banned,
        ),
        control("noise in a frame", framed(&noise(3, 300)), Seen::Banned),
        control("an unknown message", framed(&[99, 1, 2, 3]), Seen::Banned),
        control("no message at all", framed(&[]), Seen::Banned),
        control("bytes behind a message", framed(&[&[3, 1, 1][..], &[0; 9]].concat()), Seen::Banned),
        control("a head that is too long", framed(&head_too_long), Seen::Banned),
        control("a head that lies about its length", framed(&a_lie), Seen::Banned),
        control("a question for 257 ids", want_of(volume, &[7; 257 * 32]), Seen::Banned),
        control("a question for one and a half ids", want_of(volume, &[7; 48]), Seen::Banned),
        control("a question for no ids", want_of(volume, &[]), Seen::Banned),
        control("a range that ends before it begins", framed(&backwards), Seen::Banned),
        control("credit for nothing", told(&Message::Credit { rid: 77, bytes: u32::MAX }), Seen::Ignored),
        control("a cancel of nothing", told(&Message::Cancel { rid: 77, from: 0 }), Seen::Ignored),
    ]
}

/// Questions that are well formed: all are answered, somehow.
fn questions(volume: VolumeId) -> Vec<Attack> {
    let control = |name, bytes| attack(name, On::Control, bytes, Seen::Ignored);
    let ask = |rid, class, credit, selector| told(&want(rid, volume, class, credit, selector));
    let many = |count: u32, each: &dyn Fn(u32) -> Vec<u8>| (0..count).flat_map(each).collect::<Vec<u8>>();
    let overflow =
        |rid| [ask(rid, Class::Metadata, u32::MAX, ids(256)), told(&Message::Credit { rid, bytes: u32::MAX })];
    let everything = Selector::Range { manifest: noise(4, 72), from: 0, to: u64::MAX };
    let no_tree = Selector::Diff { root: noise(5, 256), old: Some(noise(6, 256)) };
    vec![
        control("ids that nobody has, without credit", many(200, &|rid| ask(rid, Class::Interactive, 0, ids(256)))),
        control("credit beyond all bounds", many(50, &|rid| overflow(rid).concat())),
        control("all of a file that is none", ask(1, Class::Interactive, u32::MAX, everything)),
        control("what differs in trees that are none", ask(1, Class::Metadata, u32::MAX, no_tree)),
        control("a volume that is not shared", told(&want(1, VolumeId([9; 16]), Class::Pin, 1 << 20, ids(256)))),
        control(
            "asked and cancelled at once",
            many(200, &|rid| {
                [ask(rid, Class::Pin, 1 << 20, ids(256)), told(&Message::Cancel { rid, from: 0 })].concat()
            }),
        ),
    ]
}

/// Data when nothing was asked.
fn data() -> Vec<Attack> {
    let header = |flag, length| Header { rid: 5, index: 0, flag, length }.encode();
    let block = [&header(Flag::Block, 1000)[..], &noise(7, 1000)].concat();
    let longest = [&[1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0][..]].concat();
    vec![
        attack("data that nobody asked for", On::Interactive, block.clone(), Seen::Banned),
        attack("data that nobody asked for, in bulk", On::Bulk, block, Seen::Banned),
        attack("an end of nothing", On::Bulk, header(Flag::End, 0).into(), Seen::Banned),
        attack("noise as data", On::Interactive, noise(8, 4096), Seen::Banned),
        attack("a block longer than any", On::Interactive, longest, Seen::Banned),
    ]
}

async fn make(attack: Attack, foe: Foe, to: libp2p::Multiaddr) {
    let session =
        if attack.greets { Session::begin(&foe.seed, &to).await } else { Session::silent(&foe.seed, &to).await };
    let mut session = session.unwrap_or_else(|e| panic!("{}: {e}", attack.name));
    session.send(attack.on, &attack.bytes).await;
    observe(attack.name, session, attack.seen, &foe.seed, &to).await;
}

#[test]
fn bytes_that_mean_harm_end_a_session_or_nothing_and_nobody_else_notices() {
    let Some(mut stage) = Stage::new(32) else { return };
    let to = stage.address();
    let mut harmless = stage.foe();
    let volume = harmless.volume;
    for attack in [greetings(), messages(volume), questions(volume), data()].into_iter().flatten() {
        let (name, seen, foe) = (attack.name, attack.seen, harmless.clone());
        println!("attack: {name}");
        stage.attack(make(attack, foe, to.clone()));
        if seen == Seen::Banned {
            harmless = stage.foe();
        }
        stage.unharmed(name);
    }
    // Half a message, and then nothing for ever: what was begun is dropped with the stream.
    let foe = harmless.clone();
    stage.attack(async move {
        let mut session = Session::begin(&foe.seed, &to).await.unwrap();
        session.send(On::Control, &[200, 0, 0, 0, 1, 2, 3]).await;
        libp2p::futures::AsyncWriteExt::close(&mut session.control).await.unwrap();
        observe("half a message", session, Seen::Cut, &foe.seed, &to).await;
    });
    stage.unharmed("half a message");
}
