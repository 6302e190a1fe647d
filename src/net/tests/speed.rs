//! Figures, by hand: `cargo test --release --lib net::tests::speed -- --ignored --nocapture`. Asserts nothing about time.

use std::time::{Duration, Instant};

use super::node::{Node, Over, VOLUME, runtime};
use crate::net::{Walk, Wanted};
use crate::wire::peer::Class;

const LONG: Duration = Duration::from_secs(600);

fn pair(runtime: &tokio::runtime::Runtime, over: Over) -> (Node, Node) {
    let (a, b) = (Node::start(runtime, 1, over), Node::start(runtime, 2, over));
    a.meet(&b);
    (a, b)
}

fn mb_per_s(bytes: usize, begun: Instant) -> f64 {
    bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn bulk_over_loopback() {
    for (name, over) in [("tcp", Over::Tcp), ("quic", Over::Quic)] {
        let runtime = runtime();
        let (a, b) = pair(&runtime, over);
        for size in [64 << 10, 256 << 10, 1 << 20] {
            let per_round = (128 << 20) / size;
            let bids = a.shelf.fill(per_round, usize::try_from(size).unwrap(), 1);
            let at_most = u32::try_from(size).unwrap();
            let wanted: Vec<Wanted> = bids.iter().map(|bid| Wanted { bid: *bid, at_most }).collect();
            let begun = Instant::now();
            for _ in 0..8 {
                let mut fetching = b.net.fetch(VOLUME, &wanted, Class::Pin, LONG);
                while let Some((_, block)) = fetching.next_blocking() {
                    block.unwrap();
                }
            }
            println!("{name}: 1 GiB in blocks of {} KiB: {:.0} MB/s", size >> 10, mb_per_s(1 << 30, begun));
        }
        let walk = Walk::Diff { root: vec![1], old: None };
        a.shelf.order.lock().clear();
        a.shelf.fill(1024, 256 << 10, 2);
        let begun = Instant::now();
        let mut walking = b.net.walk(&a.net.peer_id(), VOLUME, walk, Class::Pin, LONG).unwrap();
        while let Some(block) = walking.next_blocking() {
            block.unwrap();
        }
        println!("{name}: a walk of 256 MiB: {:.0} MB/s", mb_per_s(256 << 20, begun));
    }
}

#[test]
#[ignore = "a measurement"]
fn small_blocks_over_loopback() {
    for (name, over) in [("tcp", Over::Tcp), ("quic", Over::Quic)] {
        let runtime = runtime();
        let (a, b) = pair(&runtime, over);
        let bids = a.shelf.fill(20_000, 4096, 1);
        let wanted: Vec<Wanted> = bids.iter().map(|bid| Wanted { bid: *bid, at_most: 4096 }).collect();
        for threads in [1, 8] {
            let begun = Instant::now();
            std::thread::scope(|scope| {
                for part in wanted.chunks(wanted.len() / threads) {
                    let net = &b.net;
                    scope.spawn(move || {
                        for one in part {
                            net.fetch_blocking(VOLUME, &[*one], Class::Interactive, LONG)[0].as_ref().unwrap();
                        }
                    });
                }
            });
            let rate = wanted.len() as f64 / begun.elapsed().as_secs_f64();
            println!("{name}: {rate:.0} blocks of 4 KiB a second, one at a time in {threads} threads");
        }
        let begun = Instant::now();
        let blocks = b.net.fetch_blocking(VOLUME, &wanted, Class::Pin, LONG);
        assert!(blocks.iter().all(Result::is_ok));
        let rate = wanted.len() as f64 / begun.elapsed().as_secs_f64();
        println!("{name}: {rate:.0} blocks of 4 KiB a second, all at once");
    }
}

/// In a network namespace of its own (`unshare -n`, loopback up): all that two connected nodes say when idle.
#[test]
#[ignore = "a measurement; takes four minutes"]
fn idle_traffic_on_loopback() {
    let bytes =
        || std::fs::read_to_string("/sys/class/net/lo/statistics/tx_bytes").unwrap().trim().parse::<u64>().unwrap();
    for (name, over) in [("tcp", Over::Tcp), ("quic", Over::Quic)] {
        let runtime = runtime();
        let (a, b) = pair(&runtime, over);
        std::thread::sleep(Duration::from_secs(5)); // greetings are over: the measurement is of a span of time
        let before = bytes();
        std::thread::sleep(Duration::from_secs(120));
        let per_second = (bytes() - before) as f64 * 8.0 / 120.0;
        println!(
            "{name}: {per_second:.0} bit/s in both directions, {} connected",
            a.net.is_connected(&b.net.peer_id())
        );
    }
}
