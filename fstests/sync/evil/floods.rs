//! Much of everything, and everything slowly: connections, streams, questions, words, one byte at a time; and an honest transfer
//! beside it (C7, C8).

use std::time::{Duration, Instant};

use fstests::harness::bytes::{count, random};
use fstests::harness::device::{until, until_reads};
use libp2p::Multiaddr;
use libp2p::futures::AsyncWriteExt as _;
use lovage::base::Bid;
use lovage::wire::peer::{Class, Message, Selector, encode_frame};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

use super::session::{On, Session, hello, want};
use super::stage::{Foe, MOST_MEMORY, Stage};
use super::wire::Wire;

/// Between two bytes of those that are slow.
const SLOWLY: Duration = Duration::from_millis(500);

type Over = watch::Receiver<bool>;

async fn until_over(mut over: Over) {
    let _ = over.wait_for(|over| *over).await;
}

/// A session that greets one byte at a time.
async fn greet_slowly(foe: Foe, to: Multiaddr, over: Over) {
    let slow = async {
        loop {
            let Ok(mut session) = Session::silent(&foe.seed, &to).await else { continue };
            for byte in encode_frame(&hello()).unwrap().into_iter().chain(vec![9; 1 << 16]) {
                session.send(On::Control, &[byte]).await;
                tokio::time::sleep(SLOWLY).await; // what a slow loris does
                if session.wire.is_closed() {
                    break;
                }
            }
        }
    };
    tokio::select! { () = slow => {}, () = until_over(over) => {} }
}

/// Questions for everything there is, whose answers are never read; walks without credit, which never end.
async fn ask_and_never_read(foe: Foe, to: Multiaddr, roots: Vec<Vec<u8>>, over: Over) {
    let mut session = Session::begin(&foe.seed, &to).await.unwrap();
    for (rid, root) in (0..).zip(roots.iter().cycle().take(64)) {
        let walk = Selector::Diff { root: root.clone(), old: None };
        session.say(&want(rid, foe.volume, Class::Metadata, 0, walk)).await;
    }
    for rid in 1000..1200 {
        session.say(&want(rid, foe.volume, Class::Pin, 1 << 24, Selector::Ids(vec![Bid([4; 32]); 256]))).await;
    }
    until_over(over).await;
}

/// More streams than anybody needs, some of them with a few bytes of noise.
async fn open_streams(foe: Foe, to: Multiaddr, over: Over) {
    let session = Session::begin(&foe.seed, &to).await.unwrap();
    let mut all = Vec::new();
    for n in 0..400 {
        let Ok(mut stream) = session.wire.bare().await else { break };
        if n % 2 == 0 {
            let _ = stream.write_all(b"\x13/multistream/1.0.0\n\x1a/lovage/bx/1").await;
            let _ = stream.flush().await;
        }
        all.push(stream);
    }
    until_over(over).await;
}

/// Connections without a word on them, and dials by strangers, over and over.
async fn dial(to: Multiaddr, many: usize, over: Over) {
    let port =
        to.iter().find_map(|part| if let libp2p::multiaddr::Protocol::Tcp(port) = part { Some(port) } else { None });
    let host = to.iter().find_map(|part| if let libp2p::multiaddr::Protocol::Ip4(ip) = part { Some(ip) } else { None });
    let (host, port) = (host.unwrap(), port.unwrap());
    let mut silent = Vec::new();
    for n in 0..many {
        if *over.borrow() {
            return;
        }
        match n % 4 {
            0 => silent.extend(tokio::net::TcpStream::connect((host, port)).await),
            1 => {
                if let Ok(mut stream) = tokio::net::TcpStream::connect((host, port)).await {
                    let _ = stream.write_all(&random(n as u64, 3000)).await;
                }
            }
            _ => {
                let mut seed = [3; 32];
                seed[..8].copy_from_slice(&(n as u64).to_le_bytes());
                if let Ok(wire) = Wire::dial(&seed, &to).await {
                    let _ = wire.stream("/lovage/bx/1/control").await;
                }
            }
        }
        if silent.len() > 200 {
            silent.remove(0);
        }
    }
    until_over(over).await;
}

/// Streams of mDNS packets: noise, and peers that are nowhere, each another.
async fn announce_nobody(over: Over) {
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
    for n in 0..usize::MAX {
        if *over.borrow() {
            return;
        }
        let packet = if n % 4 == 0 { random(n as u64, 600) } else { nobody(n as u64) };
        let _ = socket.send_to(&packet, "224.0.0.251:5353").await;
        tokio::task::yield_now().await;
    }
}

/// An answer of a libp2p peer that does not exist, as mDNS carries it.
fn nobody(n: u64) -> Vec<u8> {
    let mut seed = [8; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    let id = libp2p::identity::Keypair::ed25519_from_bytes(seed).unwrap().public().to_peer_id();
    let name = |labels: &[&[u8]]| {
        let each = labels.iter().flat_map(|label| [&[u8::try_from(label.len()).unwrap()], *label].concat());
        each.chain([0]).collect::<Vec<u8>>()
    };
    let service = name(&[b"_p2p", b"_udp", b"local"]);
    let label = super::session::noise(n, 16).iter().map(|byte| b'a' + byte % 26).collect::<Vec<u8>>();
    let peer = name(&[&label, b"_p2p", b"_udp", b"local"]);
    let mut out = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 4];
    let mut record = |name: &[u8], kind: u8, body: &[u8]| {
        out.extend_from_slice(name);
        out.extend_from_slice(&[0, kind, 0, 1, 0x7f, 0xff, 0xff, 0xff]);
        out.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        out.extend_from_slice(body);
    };
    record(&service, 12, &peer);
    for k in 0..4 {
        let text = format!("dnsaddr=/ip4/10.77.{}.{}/tcp/{}/p2p/{id}", n % 200, k + 1, 1000 + n % 60_000);
        record(&peer, 16, &[&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat());
    }
    out
}

/// The trees that a daemon's head names, as it would be asked for them.
async fn roots(foe: Foe, to: Multiaddr) -> Vec<Vec<u8>> {
    let mut session = Session::begin(&foe.seed, &to).await.unwrap();
    loop {
        let Some(Message::Head { head, .. }) = session.hear().await else { panic!("a head of the daemon's own") };
        if let Some((&super::stage::HEAD, head)) = head.split_first()
            && let Some(author) = lovage::seal::head::author_of(head)
            && let Ok(opened) = lovage::seal::head::open_head(&foe.sealer, &author, head)
        {
            let (_, raw, index): (lovage::causal::Vector, lovage::tree::Root, lovage::tree::Root) =
                postcard::take_from_bytes(&opened.body).unwrap().0;
            return [raw, index].iter().map(|root| postcard::to_stdvec(root).unwrap()).collect();
        }
    }
}

/// Begin everything there is against a stage, until the sender is told.
fn besiege(stage: &mut Stage, dials: usize) -> (watch::Sender<bool>, Vec<std::thread::JoinHandle<()>>) {
    let (done, over) = watch::channel(false);
    let to = stage.address();
    let foe = stage.foe();
    let roots = stage.begin(roots(foe, to.clone())).join().unwrap();
    let mut all = Vec::new();
    for _ in 0..3 {
        let foe = stage.foe();
        all.push(stage.begin(ask_and_never_read(foe, to.clone(), roots.clone(), over.clone())));
    }
    let (slow, wide) = (stage.foe(), stage.foe());
    all.push(stage.begin(greet_slowly(slow, to.clone(), over.clone())));
    all.push(stage.begin(open_streams(wide, to.clone(), over.clone())));
    all.push(stage.begin(dial(to, dials, over.clone())));
    all.push(stage.begin(announce_nobody(over)));
    (done, all)
}

/// Megabytes a second at which the friend gets `megabytes` of the victim's.
fn transfer(stage: &Stage, name: &str, megabytes: usize, memory: &mut u64) -> f64 {
    let content = random(megabytes as u64 + name.len() as u64, megabytes << 20);
    std::fs::write(stage.victim.at(name), &content).unwrap();
    until("the other has the name", || stage.friend.at(name).metadata().is_ok_and(|m| m.len() == content.len() as u64));
    let begin = Instant::now();
    let path = stage.friend.at(name);
    let read = std::thread::spawn(move || std::fs::read(path));
    while !read.is_finished() {
        *memory = stage.victim.memory().max(*memory);
        std::thread::sleep(Duration::from_millis(50)); // between two looks
    }
    assert!(read.join().unwrap().unwrap() == content, "{name}");
    #[allow(clippy::cast_precision_loss)]
    let rate = megabytes as f64 / begin.elapsed().as_secs_f64();
    rate
}

#[test]
fn a_flood_costs_a_bounded_amount_of_memory_and_an_honest_transfer_goes_on() {
    let dials = count("FSTESTS_DIALS", 200);
    let megabytes = count("FSTESTS_MEGABYTES", 48);
    let Some(mut stage) = Stage::new(8) else { return };
    let mut memory = 0;
    let calm = transfer(&stage, "calm", megabytes, &mut memory);
    let (done, foes) = besiege(&mut stage, dials);
    let flooded = transfer(&stage, "flooded", megabytes, &mut memory);
    stage.names.extend(["calm".to_owned(), "flooded".to_owned()]);
    stage.unharmed("a flood, under way");
    stage.until_said(&["too many announce themselves"]);
    let _ = done.send(true);
    for foe in foes {
        foe.join().unwrap();
    }
    stage.unharmed("a flood");
    println!(
        "C8: {dials} dials: {calm:.1} MB/s alone, {flooded:.1} MB/s meanwhile ({:.0} %), at most {} MiB",
        100.0 * flooded / calm,
        memory >> 20
    );
    assert!(memory < MOST_MEMORY, "{memory} bytes");
    if std::env::var_os("FSTESTS_KEEPS_80").is_some() {
        assert!(flooded >= 0.8 * calm, "{flooded} MB/s of {calm}");
    }
    let late = random(77, 300_000);
    std::fs::write(stage.friend.at("by-beta"), &late).unwrap();
    until_reads(&stage.victim.at("by-beta"), &late);
}
