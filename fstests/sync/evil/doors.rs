//! Those who do not belong: strangers, invites that are not good, members that say who belongs and may not, and those who were put
//! out (C6, C7).

use fstests::harness::device::{Device, until};
use libp2p::Multiaddr;
use libp2p::futures::{AsyncReadExt, AsyncWriteExt};
use lovage::base::port::{Clock, System};
use lovage::base::{Bid, VolumeId};
use lovage::seal::invite::{Link, Request};
use lovage::seal::membership::{Entry, Role};
use lovage::wire::peer::data::Flag;
use lovage::wire::peer::{Class, Selector};

use super::session::{On, Session, noise, want};
use super::stage::{Foe, HEAD, MEMBERS, Stage, members, peer};
use super::tree::{Forger, encoded};
use super::wire::{Stream, Wire};

const JOIN: &str = "/lovage/join/1";
const STRANGER: [u8; 32] = [66; 32];

/// Ask on a stream of its own; the answer, if there is one.
async fn ask(wire: &Wire, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream: Stream = wire.stream(JOIN).await.ok()?;
    stream.write_all(bytes).await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = Vec::new();
    super::wire::within("an answer", stream.read_to_end(&mut answer)).await.ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

fn question(body: &[u8]) -> Vec<u8> {
    super::session::framed(body)
}

/// A question with a secret that was never given out.
fn unproven(link: &Link, seed: &[u8; 32]) -> Vec<u8> {
    let other = Link::new(link.volume, link.inviter, Vec::new(), Role::Admin, u64::MAX, &System);
    let mut request = Request {
        invite: link.verifier().id(),
        volume: link.volume,
        author: [1; 32],
        box_key: [2; 32],
        name: "x".into(),
    };
    let wrong = request.encode(&other.verifier(), &peer(seed), &link.inviter).unwrap();
    request.invite = other.verifier().id();
    assert!(request.encode(&other.verifier(), &peer(seed), &link.inviter).is_ok());
    wrong
}

async fn gets_nothing(to: Multiaddr) {
    let wire = Wire::dial(&STRANGER, &to).await.unwrap();
    for protocol in ["/lovage/bx/1/control", "/lovage/bx/1/interactive", "/lovage/bx/1/bulk", JOIN, "/ipfs/id/1.0.0"] {
        assert!(wire.stream(protocol).await.is_err(), "{protocol}");
    }
    wire.until_closed().await;
}

async fn gets_one_answer(to: Multiaddr, link: String) {
    let link = Link::parse(&link).unwrap();
    for (name, bytes) in [
        ("noise", question(&noise(1, 400))),
        ("nothing", question(&[])),
        ("four milliards", vec![0xff; 64]),
        ("more than is read", question(&vec![0; (64 << 10) + 1])),
        ("a secret that was never given out", question(&unproven(&link, &STRANGER))),
    ] {
        let wire = Wire::dial(&STRANGER, &to).await.unwrap();
        assert!(wire.stream("/lovage/bx/1/control").await.is_err(), "{name}: no session for a stranger");
        let answer = ask(&wire, &bytes).await.unwrap_or_default();
        assert!(answer.len() < 64, "{name}: {} bytes", answer.len());
        assert!(
            wire.stream(JOIN).await.is_err() || ask(&wire, &question(&[1])).await.is_none(),
            "{name}: a second one"
        );
    }
}

/// With the link and its secret, but for more than it is good for, or as somebody else.
async fn five_attempts(to: Multiaddr, link: String) {
    let link = Link::parse(&link).unwrap();
    for n in 0..5 {
        let seed = [67 + n; 32];
        let answer = answered(&seed, &to, &question(&unproven(&link, &seed))).await;
        assert!(answer.len() < 64, "refused");
    }
}

/// The answer to a stranger: they are let in a few at a time, so it may have to try again.
async fn answered(seed: &[u8; 32], to: &Multiaddr, bytes: &[u8]) -> Vec<u8> {
    super::wire::within("a stranger gets its answer", async {
        loop {
            if let Ok(wire) = Wire::dial(seed, to).await
                && let Some(answer) = ask(&wire, bytes).await
            {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await; // between two looks
        }
    })
    .await
}

#[test]
fn strangers_get_nothing_and_with_an_open_invite_one_answer() {
    let Some(mut stage) = Stage::new(0) else { return };
    // One that has let nobody in; the other may be asked by strangers, who may hold an invite of its.
    stage.attack(gets_nothing(stage.address_of(1)));
    stage.unharmed("a stranger");
    let link = stage.victim.invite("default", &[]);
    stage.attack(gets_one_answer(stage.address(), link.clone()));
    stage.unharmed("a stranger while an invite is open");
    stage.attack(five_attempts(stage.address(), link.clone()));
    stage.unharmed("guesses at an invite");
    let honest = Device::new(&stage.lan, 2, "gamma");
    // Strangers are let in a few at a time, also those who mean no harm.
    until("the invite is void", || honest.run(&["join", &link]).err.contains("too many wrong attempts"));
    assert_eq!(members(&stage.victim), 3);
}

/// Records as a member may not make them.
fn records(stage: &Stage, foe: &Foe) -> Vec<(&'static str, Vec<u8>)> {
    let sound = stage.membership.bytes();
    let mut flipped = sound.clone();
    let at = flipped.len() - 5;
    flipped[at] ^= 1;
    let tail = sound[sound.len() - 200..].to_vec();
    vec![
        ("noise as records", noise(3, 2000)),
        ("a record that nobody signed", flipped),
        ("a record longer than it is", [&u32::MAX.to_le_bytes()[..], &tail].concat()),
        ("a writer makes itself an admin", signed(foe, &[[9; 32]], vec![Entry::Role(foe.writer, Role::Admin)])),
        ("a writer puts the founder out", signed(foe, &tip(stage), vec![Entry::Remove(0)])),
        (
            "records that follow nothing",
            (0..500_u32).flat_map(|n| signed(foe, &[[n.to_le_bytes()[0]; 32]], vec![])).collect(),
        ),
    ]
}

fn tip(stage: &Stage) -> Vec<[u8; 32]> {
    let bytes = stage.membership.bytes();
    let (mut at, mut last) = (0, Vec::new());
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        last = bytes[at + 4..at + 4 + len].to_vec();
        at += 4 + len;
    }
    vec![lovage::base::hash(&[&last[..last.len() - 64]])]
}

/// One record by a foe, as `seal::membership` writes them, with its length.
fn signed(foe: &Foe, parents: &[[u8; 32]], entries: Vec<Entry>) -> Vec<u8> {
    let mut out = b"mem1".to_vec();
    out.extend_from_slice(&foe.volume.0);
    out.extend_from_slice(&9_u32.to_le_bytes());
    out.extend_from_slice(&foe.key.public());
    out.extend_from_slice(&System.now().0.to_le_bytes());
    out.push(u8::try_from(parents.len()).unwrap_or(255));
    out.extend_from_slice(parents.as_flattened());
    out.extend_from_slice(&u16::try_from(entries.len()).unwrap().to_le_bytes());
    for entry in entries {
        match entry {
            Entry::Remove(writer) => out.extend_from_slice(&[&[1][..], &writer.to_le_bytes()].concat()),
            Entry::Role(writer, role) => {
                out.extend_from_slice(&[&[2][..], &writer.to_le_bytes(), &[role.byte()]].concat());
            }
            _ => unreachable!("not forged here"),
        }
    }
    let signature = foe.key.sign(&out);
    out.extend_from_slice(&signature);
    [&u32::try_from(out.len()).unwrap().to_le_bytes()[..], &out].concat()
}

/// Say something of a volume and see that the session goes on.
async fn say(foe: Foe, to: Multiaddr, words: Vec<(u8, Vec<u8>)>) {
    let mut session = Session::begin(&foe.seed, &to).await.unwrap();
    for (tag, body) in words {
        session.word(foe.volume, tag, &body).await;
    }
    session.heeded(foe.volume).await;
    assert!(session.stands().await);
}

#[test]
fn who_may_not_say_who_belongs_is_not_heard() {
    let Some(mut stage) = Stage::new(3) else { return };
    let (foe, to) = (stage.foe(), stage.address());
    let before = stage.victim.run(&["members", "default", "--json"]).done().out;
    let parents = signed(&foe, &vec![[7; 32]; 10_000], vec![Entry::Remove(0)]);
    for (name, bytes) in records(&stage, &foe).into_iter().chain([("ten thousand parents", parents)]) {
        println!("attack: {name}");
        let words = bytes.chunks(60 << 10).map(|piece| (MEMBERS, piece.to_vec())).collect();
        stage.attack(say(foe.clone(), to.clone(), words));
        stage.unharmed(name);
        let now = stage.victim.run(&["members", "default", "--json"]).done().out;
        let still = |text: &str| text.replace("\"connected\":true", "\"connected\":false");
        assert_eq!(still(&now), still(&before), "{name}");
    }
    let renew = (7, [&[8; 32][..], &[9; 64]].concat());
    let addresses = [&[2; 32][..], &[3, 200], &noise(4, 100)].concat();
    let ask = [&[1, 0, 0, 0, 1][..], &noise(5, 1024 * 32)].concat();
    for (name, words) in [
        ("another index without proof", vec![renew; 50]),
        ("addresses that are none", vec![(2, addresses)]),
        ("a question for a thousand blocks, a thousand times", vec![(3, ask); 1000]),
        ("answers to no question", vec![(4, noise(6, 100)); 500]),
        ("offers to one that keeps nothing", vec![(5, noise(7, 4 + 36 * 100)), (6, noise(8, 500))]),
        ("words that are none", (8..255).map(|tag| (tag, noise(9, 50))).collect()),
    ] {
        println!("attack: {name}");
        stage.attack(say(foe.clone(), to.clone(), words));
        stage.unharmed(name);
    }
}

#[test]
fn who_was_put_out_does_not_come_back_by_the_invite_it_used() {
    let Some(mut stage) = Stage::new(1) else { return };
    let device = Device::new(&stage.lan, 2, "gamma");
    let link = stage.victim.invite("default", &[]);
    device.run(&["join", &link]).done();
    let keystore = lovage::seal::Keystore::open(&device.home().join("keystore"), None).unwrap();
    let seed = *keystore.device.identity_seed().expose();
    let link = Link::parse(&link).unwrap();
    let id = link.verifier().id();
    let own = keystore.device.author_key(link.volume, u32::from_le_bytes(id[..4].try_into().unwrap()).max(1));
    stage.victim.run(&["members", "default", "remove", "gamma"]).done();
    let known = members(&stage.victim);
    // The door is open for somebody else.
    stage.victim.invite("default", &[]);
    let to = stage.address();
    stage.attack(async move {
        for author in [own.public(), [5; 32], own.public(), [6; 32]] {
            let name = "gamma".to_owned();
            let request = Request { invite: id, volume: link.volume, author, box_key: [2; 32], name };
            let bytes = request.encode(&link.verifier(), &peer(&seed), &link.inviter).unwrap();
            let answer = answered(&seed, &to, &question(&bytes)).await;
            assert!(answer.len() < 64, "let in again: {} bytes", answer.len());
        }
    });
    assert_eq!(members(&stage.victim), known);
    stage.unharmed("an invite that was used, by one who was put out");
}

/// Of what is here: a block of the tree the newest head names, asked for as anybody would.
async fn is_answered(session: &mut Session, volume: VolumeId, bid: Bid) -> Option<Flag> {
    session.say(&want(1, volume, Class::Interactive, 1 << 20, Selector::Ids(vec![bid]))).await;
    session.data(On::Interactive).await.map(|(header, _)| header.flag)
}

#[test]
fn who_is_put_out_is_cut_off_at_once_and_comes_in_no_more() {
    let Some(mut stage) = Stage::new(2) else { return };
    let (foe, to) = (stage.foe(), stage.address());
    let (ready, told) = std::sync::mpsc::channel();
    let name = foe.name.clone();
    let cut = stage.begin({
        let to = to.clone();
        async move {
            let forger = Forger::new(foe.clone());
            let mut session = Session::begin(&foe.seed, &to).await.unwrap();
            assert_eq!(is_answered(&mut session, foe.volume, Bid([3; 32])).await, Some(Flag::Missing));
            ready.send(()).unwrap();
            session.wire.until_closed().await;
            assert!(!session.stands().await, "its streams are gone");
            assert!(Session::begin(&foe.seed, &to).await.is_err(), "and it is a stranger");
            forger.of_states(vec![encoded(&forger.file("by-the-removed"))])
        }
    });
    told.recv().unwrap();
    stage.victim.run(&["members", "default", "remove", &name]).done();
    let head = cut.join().unwrap();
    // Its head, brought by one who still belongs, does not count.
    let other = stage.foe();
    let carried = say(other, to, vec![(HEAD, head)]);
    stage.attack(carried);
    stage.until_said(&["somebody who may not write"]);
    stage.unharmed("a head of one who was put out");
}

#[test]
fn a_head_of_one_who_may_not_write_is_not_taken_whoever_brings_it() {
    let Some(mut stage) = Stage::new(1) else { return };
    for role in ["reader", "storage"] {
        let foe = stage.as_role(role);
        let forger = Forger::new(foe.clone());
        let head = forger.of_states(vec![encoded(&forger.file("not-mine-to-write"))]);
        let before = stage.victim.said().matches("may not write").count();
        stage.attack(say(foe, stage.address(), vec![(HEAD, head)]));
        until("it is left out", || stage.victim.said().matches("may not write").count() > before);
        stage.unharmed(role);
    }
}
