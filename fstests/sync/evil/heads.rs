//! Heads: forged, replayed, forked, and honest in form but with a tree inside that no program would make (C7).

use std::sync::Arc;

use fstests::harness::device::{until, until_reads};
use libp2p::Multiaddr;
use lovage::base::NodeId;
use lovage::causal::{Attribute, Field, NodeKind, NodeState, Value};
use lovage::seal::Codec;
use lovage::wire::peer::data::{Flag, Header};
use lovage::wire::peer::{Message, Selector};

use super::session::{On, Session, noise};
use super::stage::{Foe, HEAD, Stage};
use super::tree::{Body, Forger, Shelf, encoded, of_another_volume};

/// Announce a head and answer whatever is asked, for as long as the session is not dropped.
async fn announce(
    foe: Foe,
    shelf: Shelf,
    heads: Vec<Vec<u8>>,
    to: Multiaddr,
    mut over: tokio::sync::oneshot::Receiver<()>,
) {
    let mut session = Session::begin(&foe.seed, &to).await.unwrap();
    for head in heads {
        session.word(foe.volume, HEAD, &head).await;
    }
    loop {
        let message = tokio::select! {
            message = session.listen() => message,
            _ = &mut over => return,
        };
        match message {
            Some(Message::Want { rid, class, selector, .. }) => {
                let on = if class.is_interactive() { On::Interactive } else { On::Bulk };
                answer(&mut session, &shelf, (rid, on), &selector).await;
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// As a well-behaved peer would; trees it cannot walk it says nothing of.
async fn answer(session: &mut Session, shelf: &Shelf, (rid, on): (u32, On), selector: &Selector) {
    let ids = match selector {
        Selector::Ids(ids) => ids.clone(),
        _ => Vec::new(),
    };
    for (index, bid) in (0..).zip(&ids) {
        let found = shelf.lock().unwrap().get(bid).cloned();
        let flag = if found.is_some() { Flag::Block } else { Flag::Missing };
        let bytes = found.unwrap_or_default();
        session.give(on, Header { rid, index, flag, length: u32::try_from(bytes.len()).unwrap() }, &bytes).await;
    }
    let end = Header { rid, index: u32::try_from(ids.len()).unwrap(), flag: Flag::End, length: 0 };
    session.give(on, end, &[]).await;
}

/// Announce heads while `seen` waits for what they lead to.
fn announced(stage: &mut Stage, forger: &Forger, heads: Vec<Vec<u8>>, seen: impl FnOnce(&mut Stage)) {
    let (done, over) = tokio::sync::oneshot::channel();
    let (foe, shelf) = (forger.foe.clone(), Arc::clone(&forger.shelf));
    let foes = stage.begin(announce(foe, shelf, heads, stage.address(), over));
    seen(stage);
    drop(done);
    foes.join().unwrap();
}

/// Announce one head; the daemon says that it refused it.
fn refused(stage: &mut Stage, name: &str, forger: &Forger, head: Vec<u8>) {
    println!("attack: {name}");
    let who = format!("{}\"", forger.foe.name);
    announced(stage, forger, vec![head], |stage| stage.until_said(&["a head was refused", &who]));
    stage.unharmed(name);
}

/// A change of a sound state that makes it unsound.
type Spoil = fn(&Forger, NodeState) -> Vec<u8>;

fn change(act: impl Fn(&mut NodeState)) -> impl Fn(NodeState) -> Vec<u8> {
    move |mut state| {
        act(&mut state);
        encoded(&state)
    }
}

/// The state with its name, `QQQQ`, replaced by these bytes.
fn renamed(state: &NodeState, name: &[u8]) -> Vec<u8> {
    let bytes = encoded(state);
    let at = bytes.windows(5).position(|w| w == b"\x04QQQQ").unwrap();
    let mut length = vec![u8::try_from(name.len() & 127).unwrap()];
    if name.len() > 127 {
        length = vec![length[0] | 128, u8::try_from(name.len() >> 7).unwrap()];
    }
    [&bytes[..at], &length, name, &bytes[at + 5..]].concat()
}

fn attribute(forger: &Forger, field: Field, value: Value) -> Attribute {
    Attribute { field, value, stamp: forger.stamp(), dot: forger.dot() }
}

fn names() -> Vec<(&'static str, Spoil)> {
    vec![
        ("a file called ..", |_, s| renamed(&s, b"..")),
        ("a file called .", |_, s| renamed(&s, b".")),
        ("a file without a name", |_, s| renamed(&s, b"")),
        ("a name with NUL", |_, s| renamed(&s, b"a\0b")),
        ("a name with a slash", |_, s| renamed(&s, b"a/b")),
        ("a path to somewhere else", |_, s| renamed(&s, b"../../../../etc/cron.d/evil")),
        ("a name of 300 bytes", |_, s| renamed(&s, &[b'n'; 300])),
    ]
}

fn states() -> Vec<(&'static str, Spoil)> {
    vec![
        ("a character device", |_, s| change(|s| s.kind = NodeKind::CharDevice(0x0501))(s)),
        ("a block device", |_, s| change(|s| s.kind = NodeKind::BlockDevice(0x0800))(s)),
        ("content that is none", |_, s| change(|s| s.content.0[0].1.data = noise(1, 40))(s)),
        ("more bytes than the size says", |_, s| change(|s| s.content.0[0].1.size = 1)(s)),
        ("a size beyond all files", |_, s| change(|s| s.content.0[0].1.size = u64::MAX)(s)),
        ("a link to nothing", |_, s| change(|s| (s.kind, s.content.0[0].1.data) = (NodeKind::Symlink, Vec::new()))(s)),
        ("a link with NUL", |_, s| change(|s| (s.kind, s.content.0[0].1.data) = (NodeKind::Symlink, vec![0; 2]))(s)),
        ("a change that was never made", |_, s| change(|s| s.content.0[0].0.seq = 1 << 40)(s)),
        ("a link without a place", |_, s| change(|s| s.links[0].1.0.clear())(s)),
        ("bytes behind a state", |_, s| [encoded(&s), vec![0]].concat()),
        ("half a state", |_, s| encoded(&s)[..20].to_vec()),
        ("noise for a state", |_, _| noise(2, 200)),
        ("a mode of all bits", |f, s| {
            change(|s| s.attributes = vec![attribute(f, Field::Mode, Value::Mode(u16::MAX))])(s)
        }),
        ("a mode that is a time", |f, s| {
            change(|s| s.attributes = vec![attribute(f, Field::Mode, Value::Time(f.stamp().time))])(s)
        }),
        ("an extended attribute without a name", |f, s| {
            let value = Value::Bytes(Some(vec![1]));
            change(|s| s.attributes = vec![attribute(f, Field::Xattr(Vec::new()), value.clone())])(s)
        }),
        ("an extended attribute of a megabyte", |f, s| {
            let value = Value::Bytes(Some(vec![1; 300_000]));
            change(|s| s.attributes = vec![attribute(f, Field::Xattr(b"user.x".to_vec()), value.clone())])(s)
        }),
    ]
}

/// A tree whose only block is this.
type Block = fn(&Forger) -> lovage::tree::Root;

fn blocks() -> Vec<(&'static str, Block)> {
    vec![
        ("a tree of noise", |f| f.block(Codec::Raw, &noise(3, 5000), 5000)),
        ("a tree that counts four milliards", |f| f.block(Codec::Raw, &[1, 0, 255, 255, 255, 255, 1, 0], 8)),
        ("a tree of another level", |f| lovage::tree::Root { level: 3, ..f.block(Codec::Raw, &[1, 0, 1, 0, 0, 0], 6) }),
        ("a tree as high as the sky", |f| lovage::tree::Root {
            level: 255,
            ..f.block(Codec::Raw, &[1, 255, 1, 0, 0, 0], 6)
        }),
        ("a block that swells to ten thousand times", |f| f.block(Codec::Zstd, &bomb(4), 400)),
        ("a block that swells beyond the largest", |f| f.block(Codec::Zstd, &bomb(512), 4 << 20)),
        ("a block that is no zstd", |f| f.block(Codec::Zstd, &noise(4, 500), 1000)),
    ]
}

/// So many MiB of zeros.
fn bomb(megabytes: u64) -> Vec<u8> {
    let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), megabytes << 20), &mut out).unwrap();
    out.finish().unwrap()
}

#[test]
fn trees_that_no_program_would_make_are_refused_whole_and_show_nothing() {
    let Some(mut stage) = Stage::new(40) else { return };
    // That what is made here would be taken, were it sound.
    let forger = Forger::new(stage.foe());
    let head = forger.of_states(vec![encoded(&forger.file("QQQQ"))]);
    announced(&mut stage, &forger, vec![head], |stage| {
        until_reads(&stage.victim.at("QQQQ"), b"hi");
        until_reads(&stage.friend.at("QQQQ"), b"hi");
    });
    std::fs::remove_file(stage.victim.at("QQQQ")).unwrap();
    until("it is gone", || !stage.friend.at("QQQQ").exists());
    for (name, spoil) in names().into_iter().chain(states()) {
        let forger = Forger::new(stage.foe());
        let sound = forger.file("QQQQ");
        let beside = encoded(&forger.file("beside"));
        let head = forger.of_states(vec![beside, spoil(&forger, sound)]);
        refused(&mut stage, name, &forger, head);
    }
    for (name, id) in [("the trash itself", NodeId::TRASH), ("a root that is a file", NodeId::ROOT)] {
        let forger = Forger::new(stage.foe());
        let raw = forger.build([(id.0.to_vec(), encoded(&forger.file("QQQQ")))]);
        let head = forger.head(&forger.body(raw), 1);
        refused(&mut stage, name, &forger, head);
    }
    for (name, block) in blocks() {
        let forger = Forger::new(stage.foe());
        let head = forger.head(&forger.body(block(&forger)), 1);
        refused(&mut stage, name, &forger, head);
    }
}

/// A directory in a directory.
fn directory(forger: &Forger, name: &str, parent: NodeId) -> NodeState {
    let mut state = forger.file(name);
    state.kind = NodeKind::Directory;
    state.content.0.clear();
    state.links[0].1.0[0].1.parent = parent;
    state
}

#[test]
fn heads_that_lie_are_left_out_and_a_forked_one_silences_its_author() {
    let Some(mut stage) = Stage::new(12) else { return };
    let forger = Forger::new(stage.foe());
    let sound = forger.of_states(vec![encoded(&forger.file("forged"))]);
    let mut unsigned = sound.clone();
    *unsigned.last_mut().unwrap() ^= 1;
    let body: Body = forger.body(forger.build([]));
    let elsewhere = of_another_volume(&forger.foe, &postcard::to_stdvec(&body).unwrap());
    let no_body = lovage::seal::head::seal_head(
        &forger.foe.sealer,
        &forger.foe.key,
        forger.foe.writer,
        2,
        &noise(5, 500),
        &lovage::base::port::System,
    );
    for (name, head, said) in [
        ("a head of noise", noise(6, 900), "may not write"),
        ("a head of nothing", Vec::new(), "may not write"),
        ("a head that nobody signed", unsigned, "did not sign"),
        ("a head of another volume", elsewhere, "a head was refused"),
        ("a head that says nothing sensible", no_body.unwrap(), "a head was refused"),
    ] {
        println!("attack: {name}");
        let before = stage.victim.said().matches(said).count();
        announced(&mut stage, &forger, vec![head], |stage| {
            until(said, || stage.victim.said().matches(said).count() > before);
        });
        stage.unharmed(name);
    }
    numbers(&mut stage);
}

/// Old, forked, from the end of time.
fn numbers(stage: &mut Stage) {
    let last = Forger::new(stage.foe());
    let head = last.head(&last.body(last.build([])), u64::MAX);
    let older = last.head(&last.body(last.build([(last.id(0).0.to_vec(), encoded(&last.file("older")))])), 7);
    println!("attack: the last number there is");
    announced(stage, &last, vec![head, older], |stage| stage.unharmed("the last number there is, and an old one"));
    let mut late = Forger::new(stage.foe());
    let mut body = late.body(late.build([(late.id(0).0.to_vec(), encoded(&late.file("late")))]));
    body.time = lovage::base::port::Time(3_471_292_800_000_000_000); // 2080
    println!("attack: a head of 2080");
    let head = late.head(&body, 1);
    announced(stage, &late, vec![head], |stage| {
        until_reads(&stage.friend.at("late"), b"hi");
    });
    std::fs::remove_file(stage.victim.at("late")).unwrap();
    until("it is gone", || !stage.friend.at("late").exists());
    stage.unharmed("a head of 2080");
    late.seq = 1;
    let fork = late.head(&late.body(late.build([(late.id(1).0.to_vec(), encoded(&late.file("fork")))])), 1);
    late.seq = 2;
    let after = late.head(&late.body(late.build([(late.id(2).0.to_vec(), encoded(&late.file("after")))])), 2);
    println!("attack: two heads of one number");
    // One after the other: of heads that wait together only the newest counts.
    announced(stage, &late, vec![fork], |stage| stage.until_said(&["signed two histories"]));
    announced(stage, &late, vec![after], |stage| stage.unharmed("two heads of one number"));
    let nowhere = Forger::new(stage.foe());
    let mut body = nowhere.body(nowhere.block(Codec::Raw, b"gone", 4));
    nowhere.shelf.lock().unwrap().clear();
    body.raw.count = u64::MAX;
    println!("attack: a tree that nobody has");
    let head = nowhere.head(&body, 1);
    announced(stage, &nowhere, vec![head], |stage| stage.unharmed("a tree that nobody has"));
    let ahead = Forger::new(stage.foe());
    let mut body = ahead.body(ahead.build([]));
    body.vector.raise(lovage::causal::Dot { writer: 7, seq: u64::MAX - 1 });
    let head = ahead.head(&body, 1);
    refused(stage, "changes that cannot be counted", &ahead, head);
}

#[test]
fn directories_within_each_other_hold_up_nobody() {
    let Some(mut stage) = Stage::new(1) else { return };
    let forger = Forger::new(stage.foe());
    let (one, two, own) = (forger.id(0), forger.id(1), forger.id(2));
    let states = [directory(&forger, "one", two), directory(&forger, "two", one), directory(&forger, "own", own)];
    println!("attack: directories within each other");
    let head = forger.of_states(states.iter().map(encoded).collect());
    announced(&mut stage, &forger, vec![head], |stage| {
        let said =
            || {
                stage.victim.said().lines().any(|line| {
                    (line.contains("merged") || line.contains("conflict")) && line.contains(&forger.foe.name)
                })
            };
        until("it is merged, or refused", || {
            said() || stage.victim.said().lines().any(|l| l.contains("refused") && l.contains(&forger.foe.name))
        });
    });
    for device in [&stage.victim, &stage.friend] {
        let found = std::process::Command::new("find").arg(device.dir()).output().unwrap();
        assert!(found.status.success(), "{found:?}");
        println!("cycles show as {:?}", super::stage::names(&device.dir()));
    }
    stage.names = super::stage::names(&stage.victim.dir());
    stage.unharmed("directories within each other");
}
