//! Stores that stall, lie, fail and vanish, in virtual time.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::super::MemoryKv;
use super::super::faulty::{Faulty, Mood, in_virtual_time};
use super::*;
use crate::base::hash;

async fn filled(blocks: u32) -> (Arc<MemoryKv>, Vec<(Bid, Bytes)>) {
    let memory = Arc::new(MemoryKv::default());
    let mut all = Vec::new();
    for n in 0..blocks {
        let value = Bytes::copy_from_slice(&n.to_le_bytes().repeat(25));
        let id = Bid(hash(&[b"blk1", &value]));
        memory.put(&id, value.clone()).await.unwrap();
        all.push((id, value));
    }
    (memory, all)
}

fn percentile(times: &mut [Duration], per_mille: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * per_mille / 1000]
}

#[test]
fn of_a_hundred_thousand_answers_from_a_liar_none_reaches_the_reader() {
    in_virtual_time(async {
        let (memory, blocks) = filled(100).await;
        let multi = MultiKv::new();
        let liar = multi.add(Faulty::new(&memory, |_| Mood::Lies));
        multi.add(Faulty::new(&memory, |n| if n % 7 == 0 { Mood::Fails(Kind::Unreachable) } else { Mood::Fine(1) }));
        multi.add(Faulty::new(&memory, |_| Mood::Fine(2)));
        for n in 0..100_000 {
            let (id, value) = &blocks[n % blocks.len()];
            assert_eq!(multi.get(id, 100).await.unwrap().as_ref(), Some(value));
        }
        assert!(liar.corrupt() > 0);
        assert!(liar.corrupt() < 100, "condemned, not asked each time: {}", liar.corrupt());
    });
}

#[test]
fn a_rotten_copy_is_replaced_by_the_right_bytes() {
    in_virtual_time(async {
        let (memory, blocks) = filled(1).await;
        let (id, value) = &blocks[0];
        let rotten = Arc::new(MemoryKv::default());
        rotten.put(id, Bytes::from_static(b"rot")).await.unwrap();
        let multi = MultiKv::new();
        multi.add(Arc::clone(&rotten) as Arc<dyn Kv>);
        multi.add(memory);
        assert_eq!(multi.get(id, 100).await.unwrap().as_ref(), Some(value));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(rotten.get(id).await.unwrap().as_ref(), Some(value));
    });
}

#[test]
fn wrong_bytes_alone_are_damage_and_a_dead_store_is_no_absence() {
    in_virtual_time(async {
        let (memory, blocks) = filled(1).await;
        let multi = MultiKv::new();
        assert_eq!(multi.get(&blocks[0].0, 100).await.unwrap(), None, "no store, no block");
        multi.add(Faulty::new(&memory, |_| Mood::Lies));
        assert_eq!(multi.get(&blocks[0].0, 100).await.unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(
            multi.get(&blocks[0].0, 100).await.unwrap_err().kind(),
            Kind::Corrupt,
            "condemned, and the only one"
        );
        multi.add(memory);
        assert_eq!(multi.get(&Bid([9; 32]), 100).await.unwrap_err().kind(), Kind::Corrupt, "no honest absence");
        assert_eq!(multi.get(&blocks[0].0, 100).await.unwrap().as_ref(), Some(&blocks[0].1));
    });
}

#[test]
fn a_black_hole_costs_one_delay_and_then_nothing() {
    in_virtual_time(async {
        let (memory, blocks) = filled(10).await;
        let multi = MultiKv::new();
        let hole = Faulty::new(&memory, |_| Mood::Silent);
        multi.add(Arc::clone(&hole) as Arc<dyn Kv>);
        multi.add(Faulty::new(&memory, |_| Mood::Fine(5)));
        let begin = Instant::now();
        assert!(multi.get(&blocks[0].0, 100).await.unwrap().is_some());
        assert!(begin.elapsed() <= Duration::from_millis(110), "{:?}", begin.elapsed());
        let begin = Instant::now();
        for n in 0..1000 {
            assert!(multi.get(&blocks[n % 10].0, 100).await.unwrap().is_some());
        }
        assert!(begin.elapsed() < Duration::from_millis(5050), "{:?}", begin.elapsed());
        assert!(hole.asked() < 5);
    });
}

#[test]
fn one_of_three_stores_stalling_now_and_then_hardly_shows() {
    in_virtual_time(async {
        let (memory, blocks) = filled(100).await;
        let multi = MultiKv::new();
        let stores = [
            Faulty::new(&memory, |n| if n % 50 == 49 { Mood::Fine(1000) } else { Mood::Fine(10) }),
            Faulty::new(&memory, |_| Mood::Fine(11)),
            Faulty::new(&memory, |_| Mood::Fine(11)),
        ];
        for store in &stores {
            multi.add(Arc::clone(store) as Arc<dyn Kv>);
        }
        for (id, _) in &blocks {
            multi.get(id, 100).await.unwrap(); // learn
        }
        let before: u64 = stores.iter().map(|s| s.asked()).sum();
        let mut times = Vec::new();
        for n in 0..10_000 {
            let begin = Instant::now();
            assert!(multi.get(&blocks[n % 100].0, 100).await.unwrap().is_some());
            times.push(begin.elapsed());
        }
        let requests: u64 = stores.iter().map(|s| s.asked()).sum::<u64>() - before;
        let (p50, p999) = (percentile(&mut times, 500), percentile(&mut times, 999));
        assert!(p999 <= p50.mul_f64(2.5), "{p50:?} {p999:?}");
        assert!(requests <= 10_200, "{requests} requests for 10000 reads");
    });
}

#[test]
fn a_store_that_comes_back_is_asked_again() {
    in_virtual_time(async {
        let (memory, blocks) = filled(1).await;
        let multi = MultiKv::new();
        let store =
            multi.add(Faulty::new(&memory, |n| if n < 3 { Mood::Fails(Kind::Unreachable) } else { Mood::Fine(1) }));
        for _ in 0..3 {
            assert!(multi.get(&blocks[0].0, 100).await.is_err());
        }
        assert!(multi.get(&blocks[0].0, 100).await.is_err(), "open");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(multi.get(&blocks[0].0, 100).await.is_err(), "half open: a probe goes beside");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(multi.get(&blocks[0].0, 100).await.unwrap().is_some());
        assert_eq!(store.state(), "ok");
    });
}

#[test]
fn dropping_a_read_drops_the_requests_of_the_stores() {
    in_virtual_time(async {
        let (memory, blocks) = filled(1).await;
        let multi = MultiKv::new();
        let store = multi.add(Faulty::new(&memory, |_| Mood::Silent));
        let cut = tokio::time::timeout(Duration::from_millis(1), multi.get(&blocks[0].0, 100)).await;
        assert!(cut.is_err());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(store.expected(100), Duration::from_millis(50), "nothing under way, nothing learnt");
    });
}

#[test]
fn a_store_known_to_lack_a_block_is_asked_last_and_still_asked() {
    in_virtual_time(async {
        let (memory, blocks) = filled(2).await;
        let multi = MultiKv::new();
        let kvs = [Faulty::new(&memory, |_| Mood::Fine(1)), Faulty::new(&memory, |_| Mood::Fine(1))];
        let stores = kvs.each_ref().map(|kv| multi.add(Arc::clone(kv) as Arc<dyn Kv>));
        stores[0].listed([blocks[0].0].into_iter());
        stores[1].listed([blocks[1].0].into_iter());
        assert!(multi.get(&blocks[1].0, 100).await.unwrap().is_some());
        assert_eq!(kvs.each_ref().map(|kv| kv.asked()), [0, 1]);
        stores[1].listed([].into_iter());
        assert!(multi.get(&blocks[1].0, 100).await.unwrap().is_some(), "what was known of both was old");
    });
}

#[test]
fn many_at_once_come_verified_from_the_store_that_has_most() {
    in_virtual_time(async {
        let (memory, blocks) = filled(20).await;
        let ids: Vec<Bid> = blocks.iter().map(|(id, _)| *id).collect();
        let multi = MultiKv::new();
        let (half, all) = (
            multi.add(Faulty::new(&memory, |_| Mood::Fine(1))),
            Faulty::new(&memory, |n| if n == 3 { Mood::Lies } else { Mood::Fine(1) }),
        );
        let whole = multi.add(Arc::clone(&all) as Arc<dyn Kv>);
        assert!(multi.get_many(&ids, 100).await.iter().all(Option::is_none), "nothing is known of the stores");
        half.listed(ids[..10].iter().copied());
        whole.listed(ids.iter().copied());
        let found = multi.get_many(&ids, 100).await;
        assert_eq!(found.iter().filter(|value| value.is_none()).count(), 1, "the lie is left out");
        assert!(found.iter().zip(&blocks).all(|(got, (_, value))| got.as_ref().is_none_or(|got| got == value)));
        assert_eq!(whole.corrupt(), 1);
    });
}

#[test]
fn the_only_store_is_asked_although_it_lied_once() {
    in_virtual_time(async {
        let (memory, blocks) = filled(2).await;
        let multi = MultiKv::new();
        multi.add(Faulty::new(&memory, |n| if n == 0 { Mood::Lies } else { Mood::Fine(1) }));
        assert_eq!(multi.get(&blocks[0].0, 100).await.unwrap_err().kind(), Kind::Corrupt);
        assert!(multi.get(&blocks[1].0, 100).await.unwrap().is_some());
    });
}
