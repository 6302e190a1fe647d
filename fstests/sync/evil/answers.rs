//! Answers to questions that the daemon really asks: other bytes, more bytes, bytes twice, none at all (C7).

use fstests::harness::device::{until, until_reads};
use fstests::harness::mount::PATIENCE;
use libp2p::Multiaddr;
use lovage::seal::Codec;
use lovage::wire::peer::data::{Flag, Header};
use lovage::wire::peer::{Class, RequestId};

use super::session::{On, Seen, Session, noise, observe};
use super::stage::{Foe, HEAD, Stage};
use super::tree::{Forger, encoded};

/// A question for one block.
#[derive(Clone, Copy)]
struct Question {
    rid: RequestId,
    on: On,
    credit: u32,
}

/// What is answered: frames, each with a header of its own.
type Lie = fn(Question, &[u8]) -> Vec<(On, Header, Vec<u8>)>;

fn block(rid: RequestId, index: u32, bytes: &[u8]) -> (Header, Vec<u8>) {
    (Header { rid, index, flag: Flag::Block, length: u32::try_from(bytes.len()).unwrap() }, bytes.to_vec())
}

fn one(on: On, (header, bytes): (Header, Vec<u8>)) -> Vec<(On, Header, Vec<u8>)> {
    vec![(on, header, bytes)]
}

fn lies() -> Vec<(&'static str, Lie, Seen)> {
    vec![
        ("other bytes", |q, sound| one(q.on, block(q.rid, 0, &noise(1, sound.len()))), Seen::Banned),
        ("a byte less", |q, sound| one(q.on, block(q.rid, 0, &sound[1..])), Seen::Banned),
        (
            "more bytes than there was credit for",
            |q, _| one(q.on, block(q.rid, 0, &noise(2, q.credit as usize))),
            Seen::Banned,
        ),
        ("a block that was not asked for", |q, sound| one(q.on, block(q.rid, 9, sound)), Seen::Banned),
        ("the answer to another question", |q, sound| one(q.on, block(q.rid + 1000, 0, sound)), Seen::Banned),
        (
            "the answer on the wrong stream",
            |q, sound| one(if q.on == On::Bulk { On::Interactive } else { On::Bulk }, block(q.rid, 0, sound)),
            Seen::Banned,
        ),
        (
            "the answer twice",
            |q, sound| [one(q.on, block(q.rid, 0, sound)), one(q.on, block(q.rid, 0, sound))].concat(),
            Seen::Banned,
        ),
        (
            "an end without an answer",
            |q, _| one(q.on, (Header { rid: q.rid, index: 0, flag: Flag::End, length: 0 }, vec![])),
            Seen::Ignored,
        ),
        (
            "an end that counts wrong, then the answer",
            |q, sound| {
                let end = (Header { rid: q.rid, index: 77, flag: Flag::End, length: 0 }, vec![]);
                [one(q.on, end), one(q.on, block(q.rid, 0, sound))].concat()
            },
            Seen::Banned,
        ),
        (
            "an error that nobody knows",
            |q, _| one(q.on, (Header { rid: q.rid, index: 0, flag: Flag::Error, length: 1 }, vec![250])),
            Seen::Ignored,
        ),
    ]
}

/// Announce a head whose tree only the foe has, wait for the question, answer it by a lie.
async fn lie_to(name: &'static str, foe: Foe, to: Multiaddr, (lie, seen): (Lie, Seen)) {
    let forger = Forger::new(foe.clone());
    let head = forger.of_states(vec![encoded(&forger.file("lied"))]);
    let sound = forger.shelf.lock().unwrap().values().next().unwrap().clone();
    let mut session = Session::begin(&foe.seed, &to).await.unwrap();
    session.word(foe.volume, HEAD, &head).await;
    let (rid, class, credit, _) = session.asked().await;
    let on = if class.is_interactive() { On::Interactive } else { On::Bulk };
    for (on, header, bytes) in lie(Question { rid, on, credit }, &sound) {
        session.give(on, header, &bytes).await;
    }
    observe(name, session, seen, &foe.seed, &to).await;
}

#[test]
fn answers_that_lie_end_the_session_and_what_they_were_for_comes_from_nowhere() {
    let Some(mut stage) = Stage::new(12) else { return };
    for (name, lie, seen) in lies() {
        println!("attack: {name}");
        let (foe, to) = (stage.foe(), stage.address());
        stage.attack(lie_to(name, foe, to, (lie, seen)));
        // Sound blocks that came beside the lie may have been taken: then the file is there, as a member may make one.
        if stage.victim.at("lied").exists() {
            std::fs::remove_file(stage.victim.at("lied")).unwrap();
            until("it is gone", || !stage.friend.at("lied").exists());
        }
        stage.unharmed(name);
    }
}

/// Answer nothing but the questions that tell whether it is alive, until told to end.
async fn stall(
    foe: Foe,
    to: Multiaddr,
    asked: std::sync::mpsc::Sender<()>,
    mut over: tokio::sync::oneshot::Receiver<()>,
) {
    let forger = Forger::new(foe.clone());
    let head = forger.of_states(vec![encoded(&forger.file("stalled"))]);
    let mut body = forger.body(forger.block(Codec::Raw, b"late", 4));
    body.raw.count = 1000;
    let later = forger.head(&body, 2);
    let mut session = Session::begin(&foe.seed, &to).await.unwrap();
    session.word(foe.volume, HEAD, &head).await;
    session.word(foe.volume, HEAD, &later).await;
    loop {
        let message = tokio::select! {
            message = session.listen() => message,
            _ = &mut over => return,
        };
        let Some(message) = message else { return };
        if let lovage::wire::peer::Message::Want { rid, class: Class::Interactive, volume, .. } = message
            && volume.0 == [0; 16]
        {
            session.give(On::Interactive, Header { rid, index: 0, flag: Flag::End, length: 0 }, &[]).await;
        } else if matches!(message, lovage::wire::peer::Message::Want { .. }) {
            let _ = asked.send(());
        }
    }
}

#[test]
fn members_that_are_asked_and_never_answer_hold_up_nobody_else() {
    let Some(mut stage) = Stage::new(4) else { return };
    let mut foes = Vec::new();
    let (asked, question) = std::sync::mpsc::channel();
    for _ in 0..4 {
        let (done, over) = tokio::sync::oneshot::channel();
        let (foe, to) = (stage.foe(), stage.address());
        foes.push((done, stage.begin(stall(foe, to, asked.clone(), over))));
    }
    question.recv_timeout(PATIENCE).expect("a question to one of them");
    // A file that only the friend has is read while others that might have it say nothing.
    let content = fstests::harness::bytes::random(9, 2_000_000);
    std::fs::write(stage.friend.at("by-beta"), &content).unwrap();
    until_reads(&stage.victim.at("by-beta"), &content);
    for round in 0..5 {
        stage.unharmed(&format!("nothing was answered, {round}"));
    }
    for (done, foe) in foes {
        drop(done);
        foe.join().unwrap();
    }
}
