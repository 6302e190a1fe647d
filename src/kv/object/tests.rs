//! Packs in a service that is this process: how many requests things take, and what two writers do to each other.
#![allow(clippy::unwrap_used)]

use opendal::Operator;
use opendal::services::Memory;

use super::super::MemoryKv;
use super::*;
use crate::base::hash;

fn operator() -> Operator {
    Operator::new(Memory::default()).unwrap()
}

fn opened(operator: &Operator) -> ObjectKv {
    cached(operator, None)
}

fn cached(operator: &Operator, cache: Option<&std::path::Path>) -> ObjectKv {
    ObjectKv::new(Service::new("memory service".into(), operator.clone()), Index::open(cache))
}

fn blocks(range: Range<u32>, len: usize) -> Vec<(Bid, Bytes)> {
    let block = |n: u32| {
        let value = Bytes::from(n.to_le_bytes().repeat(len / 4));
        (Bid(hash(&[b"blk1", &value])), value)
    };
    range.map(block).collect()
}

async fn objects(operator: &Operator) -> usize {
    operator.list("packs/").await.map_or(0, |found| found.len())
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn ten_thousand_small_blocks_are_a_handful_of_objects() {
    wait(async {
        let operator = operator();
        let given = blocks(0..10_000, 4096);
        opened(&operator).put_many(given.clone()).await.unwrap();
        assert_eq!(objects(&operator).await, 3);
        let again = opened(&operator);
        for (id, value) in given.iter().step_by(999) {
            assert_eq!(again.get(id).await.unwrap().as_ref(), Some(value));
        }
        again.put_many(given).await.unwrap();
        assert_eq!(objects(&operator).await, 3, "nothing was stored twice");
    });
}

#[test]
fn many_small_packs_become_few() {
    wait(async {
        let operator = operator();
        let kv = opened(&operator);
        let given = blocks(0..200, 1000);
        for (id, value) in &given {
            kv.put(id, value.clone()).await.unwrap();
        }
        assert!(objects(&operator).await < 32);
        let again = opened(&operator);
        for (id, value) in &given {
            assert_eq!(again.get(id).await.unwrap().as_ref(), Some(value));
            assert_eq!(kv.get(id).await.unwrap().as_ref(), Some(value));
        }
    });
}

#[test]
fn what_another_device_added_gathered_or_deleted_shows_here() {
    wait(async {
        let operator = operator();
        let (one, two) = (opened(&operator), opened(&operator));
        let given = blocks(0..60, 1000);
        one.put(&given[0].0, given[0].1.clone()).await.unwrap();
        assert_eq!(two.get(&given[0].0).await.unwrap().as_ref(), Some(&given[0].1));
        for (id, value) in &given {
            one.put(id, value.clone()).await.unwrap(); // gathers: the pack that `two` knows is gone
        }
        assert_eq!(two.get(&given[0].0).await.unwrap().as_ref(), Some(&given[0].1));
        two.list_heads().await.unwrap();
        assert_eq!(two.get(&given[59].0).await.unwrap().as_ref(), Some(&given[59].1));
        two.delete(&[given[0].0]).await.unwrap();
        one.list_heads().await.unwrap();
        assert_eq!(one.get(&given[0].0).await.unwrap(), None);
        assert_eq!(one.get(&given[1].0).await.unwrap().as_ref(), Some(&given[1].1));
    });
}

#[test]
fn a_pack_cut_short_or_with_another_index_has_no_blocks_and_disturbs_no_other() {
    wait(async {
        let operator = operator();
        let given = blocks(0..3, 1000);
        for (id, value) in &given {
            opened(&operator).put(id, value.clone()).await.unwrap();
        }
        let names: Vec<String> = operator.list("packs/").await.unwrap().iter().map(|e| e.path().to_owned()).collect();
        operator.write(&names[0], vec![0_u8; 10]).await.unwrap();
        let mut object = operator.read(&names[1]).await.unwrap().to_vec();
        let at = object.len() - 20;
        object[at] ^= 1;
        operator.write(&names[1], object).await.unwrap();
        let kv = opened(&operator);
        assert_eq!(kv.stat().await.unwrap().blocks, 1);
        kv.put_many(given.clone()).await.unwrap();
        for (id, value) in &given {
            assert_eq!(opened(&operator).get(id).await.unwrap().as_ref(), Some(value), "healed");
        }
    });
}

#[test]
fn a_rotten_block_is_replaced_by_the_next_put() {
    wait(async {
        let operator = operator();
        let given = blocks(0..3, 1000);
        opened(&operator).put_many(given.clone()).await.unwrap();
        let name = operator.list("packs/").await.unwrap()[0].path().to_owned();
        let mut object = operator.read(&name).await.unwrap().to_vec();
        object[1500] ^= 1;
        operator.write(&name, object).await.unwrap();
        opened(&operator).put_many(given.clone()).await.unwrap();
        for (id, value) in &given {
            assert_eq!(opened(&operator).get(id).await.unwrap().as_ref(), Some(value));
        }
    });
}

/// Leave packs as another device would.
async fn left(operator: &Operator, packs: &[&[(Bid, Bytes)]]) -> Vec<String> {
    let mut paths = Vec::new();
    for blocks in packs {
        let (name, object, _) = pack::build(blocks.to_vec());
        operator.write(&pack_path(&name), object).await.unwrap();
        paths.push(pack_path(&name));
    }
    paths
}

#[test]
fn gathering_after_a_gathering_that_was_killed_loses_nothing() {
    wait(async {
        let operator = operator();
        let given = blocks(0..32, 1000);
        let singles: Vec<_> = given.iter().map(std::slice::from_ref).collect();
        left(&operator, &singles).await;
        left(&operator, &[&given]).await;
        let kv = opened(&operator);
        for _ in 0..3 {
            kv.put_many(given.clone()).await.unwrap();
        }
        for (id, value) in &given {
            assert_eq!(opened(&operator).get(id).await.unwrap().as_ref(), Some(value));
            assert_eq!(kv.get(id).await.unwrap().as_ref(), Some(value));
        }
    });
}

#[test]
fn gathering_beside_another_device_that_gathers_loses_nothing() {
    wait(async {
        let operator = operator();
        let (given, more) = (blocks(0..32, 1000), blocks(100..140, 1000));
        let singles: Vec<_> = given.iter().map(std::slice::from_ref).collect();
        let old = left(&operator, &singles).await;
        left(&operator, &[&given]).await;
        let kv = opened(&operator);
        assert_eq!(kv.stat().await.unwrap().blocks, 32);
        for path in old {
            operator.delete(&path).await.unwrap(); // the other device ends its gathering
        }
        for (id, value) in &more {
            kv.put(id, value.clone()).await.unwrap();
        }
        for (id, value) in given.iter().chain(&more) {
            assert_eq!(opened(&operator).get(id).await.unwrap().as_ref(), Some(value));
        }
    });
}

#[test]
fn a_pack_whose_index_rotted_is_rewritten_by_what_is_remembered_of_it() {
    wait(async {
        let operator = operator();
        let given = blocks(0..5, 1000);
        let paths = left(&operator, &[&given]).await;
        let kv = opened(&operator);
        assert_eq!(kv.stat().await.unwrap().blocks, 5);
        let whole = operator.read(&paths[0]).await.unwrap();
        let mut garbled = whole.to_vec();
        let at = garbled.len() - 20;
        garbled[at] ^= 1;
        operator.write(&paths[0], garbled).await.unwrap();
        assert_eq!(opened(&operator).stat().await.unwrap().blocks, 0, "nobody else knows what is in it");
        kv.delete(&[given[0].0]).await.unwrap();
        assert_eq!(opened(&operator).get(&given[0].0).await.unwrap(), None);
        for (id, value) in &given[1..] {
            assert_eq!(opened(&operator).get(id).await.unwrap().as_ref(), Some(value));
        }
    });
}

#[test]
fn an_object_larger_than_any_of_ours_is_not_taken() {
    wait(async {
        let operator = operator();
        operator.write("heads/h.big", vec![0_u8; 5 << 20]).await.unwrap();
        assert_eq!(opened(&operator).get_head("h.big").await.unwrap_err().kind(), Kind::TooBig);
    });
}

#[test]
fn two_writers_at_random_lose_nothing_and_bring_nothing_back_that_stays_deleted() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7_u64);
    println!("SEED={seed}");
    wait(async {
        let operator = operator();
        let writers = [opened(&operator), opened(&operator)];
        let model = MemoryKv::default();
        let given = blocks(0..40, 400);
        let mut state = seed;
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = (state >> 33) as usize;
            let (kv, (id, value)) = (&writers[pick % 2], &given[pick / 2 % given.len()]);
            kv.list_heads().await.unwrap();
            if (pick / 1000).is_multiple_of(3) {
                kv.delete(&[*id]).await.unwrap();
                model.delete(&[*id]).await.unwrap();
            } else {
                kv.put(id, value.clone()).await.unwrap();
                model.put(id, value.clone()).await.unwrap();
            }
        }
        let third = opened(&operator);
        for kv in [&writers[0], &writers[1], &third] {
            kv.list_heads().await.unwrap();
            assert_eq!(kv.list(None, 1000).await.unwrap(), model.list(None, 1000).await.unwrap());
            for (id, _) in &given {
                assert_eq!(kv.get(id).await.unwrap(), model.get(id).await.unwrap());
            }
        }
    });
}

/// Sweep to the end.
async fn swept(kv: &ObjectKv, dead: &mut [Bid]) {
    dead.sort_unstable();
    let mut from = 0;
    while let Some(next) = kv.sweep(dead, from).await.unwrap() {
        from = next;
    }
}

#[test]
fn a_sweep_replaces_packs_of_which_much_is_dead_and_leaves_the_others() {
    wait(async {
        let operator = operator();
        let kv = opened(&operator);
        let (full, half) = (blocks(0..100, 40_000), blocks(100..200, 40_000));
        kv.put_many(full.clone()).await.unwrap();
        kv.put_many(half.clone()).await.unwrap();
        let before = kv.stat().await.unwrap();
        let mut dead: Vec<Bid> = full.iter().take(2).chain(half.iter().take(50)).map(|(id, _)| *id).collect();
        let other = opened(&operator);
        other.stat().await.unwrap();
        swept(&kv, &mut dead).await;
        let after = kv.stat().await.unwrap();
        assert_eq!(before.blocks - after.blocks, 50, "two of a hundred are not worth a pack");
        assert_eq!(before.bytes - after.bytes, 50 * 40_000);
        other.list_heads().await.unwrap();
        for (id, value) in full.iter().chain(&half[50..]) {
            assert_eq!(kv.get(id).await.unwrap().as_ref(), Some(value));
            assert_eq!(other.get(id).await.unwrap().as_ref(), Some(value));
        }
        assert_eq!(other.has(&[half[0].0]).await.unwrap(), [false]);
        let mut rest: Vec<Bid> = full.iter().chain(&half).map(|(id, _)| *id).collect();
        swept(&kv, &mut rest).await;
        assert_eq!((kv.stat().await.unwrap().blocks, objects(&operator).await), (0, 0));
        swept(&kv, &mut rest).await;
    });
}

/// A file for what is known of a service.
fn cache() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store-x.packs");
    (dir, path)
}

#[test]
fn what_is_remembered_is_not_read_again_until_it_is_doubted() {
    wait(async {
        let (operator, (_dir, path)) = (operator(), cache());
        let given = blocks(0..300, 1000);
        cached(&operator, Some(&path)).put_many(given.clone()).await.unwrap();
        let name = operator.list("packs/").await.unwrap()[0].path().to_owned();
        let mut object = operator.read(&name).await.unwrap().to_vec();
        let at = object.len() - 20;
        object[at] ^= 1; // of its index: who read that would not find its blocks
        operator.write(&name, object).await.unwrap();
        let kv = cached(&operator, Some(&path));
        assert_eq!(kv.knows(&given[0].0), None, "it was not listed yet");
        assert_eq!(kv.get(&given[0].0).await.unwrap().as_ref(), Some(&given[0].1));
        assert_eq!((kv.stat().await.unwrap().blocks, kv.knows(&given[299].0)), (300, Some(true)));
        assert_eq!(kv.knows(&Bid([0; 32])), Some(false));
        kv.doubt();
        assert_eq!(kv.knows(&given[0].0), None);
        assert_eq!(kv.stat().await.unwrap().blocks, 0);
        kv.put_many(given.clone()).await.unwrap();
        for kv in [kv, opened(&operator)] {
            assert_eq!(kv.get(&given[299].0).await.unwrap().as_ref(), Some(&given[299].1), "healed");
        }
    });
}

#[test]
fn what_is_remembered_of_another_store_or_of_what_was_there_is_not_believed() {
    wait(async {
        let (operator, (_dir, path)) = (operator(), cache());
        let given = blocks(0..20, 1000);
        for (id, value) in &given[..3] {
            cached(&operator, Some(&path)).put(id, value.clone()).await.unwrap();
        }
        let names: Vec<String> = operator.list("packs/").await.unwrap().iter().map(|e| e.path().to_owned()).collect();
        operator.delete(&names[0]).await.unwrap();
        operator.write(&names[1], vec![0_u8; 10]).await.unwrap();
        assert_eq!(cached(&operator, Some(&path)).stat().await.unwrap().blocks, 1);
        let other = self::operator();
        opened(&other).put_many(given[10..].to_vec()).await.unwrap();
        let kv = cached(&other, Some(&path));
        let ids: Vec<Bid> = given.iter().map(|(id, _)| *id).collect();
        let has = kv.has(&ids).await.unwrap();
        assert!(has[..10].iter().all(|has| !has) && has[10..].iter().all(|has| *has));
    });
}

#[test]
fn a_file_damaged_in_use_is_read_anew_from_the_service() {
    wait(async {
        let (operator, (_dir, path)) = (operator(), cache());
        let given = blocks(0..300, 1000);
        let kv = cached(&operator, Some(&path));
        kv.put_many(given.clone()).await.unwrap();
        std::fs::write(&path, vec![0; 300 * 44]).unwrap();
        let ids: Vec<Bid> = given.iter().map(|(id, _)| *id).collect();
        assert_eq!(kv.has(&ids).await.unwrap_err().kind(), Kind::Unreachable);
        assert_eq!(kv.knows(&ids[0]), None);
        assert!(kv.has(&ids).await.unwrap().iter().all(|has| *has), "for who tries again");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(kv.delete(&ids[..10]).await.unwrap_err().kind(), Kind::Unreachable);
        kv.delete(&ids[..10]).await.unwrap();
        assert_eq!(cached(&operator, Some(&path)).stat().await.unwrap().blocks, 290);
    });
}

#[test]
fn a_store_that_keeps_an_index_needs_no_inventory() {
    wait(async {
        let (operator, (_dir, path)) = (operator(), cache());
        let given = blocks(0..20, 1000);
        let multi = super::super::MultiKv::new();
        let store = multi.add(Arc::new(cached(&operator, Some(&path))));
        store.kv().put_many(given[..10].to_vec()).await.unwrap();
        assert_eq!(store.holds(&given[0].0), None, "it was not listed");
        store.list(3).await.unwrap();
        assert!(given.iter().enumerate().all(|(n, (id, _))| store.holds(id) == Some(n < 10)));
        store.kv().put_many(given[10..].to_vec()).await.unwrap();
        assert!(given.iter().all(|(id, _)| store.holds(id) == Some(true)));
        let memory = multi.add(Arc::new(MemoryKv::default()));
        memory.kv().put_many(given[..10].to_vec()).await.unwrap();
        memory.list(3).await.unwrap();
        memory.gained(&[given[10].0, given[0].0]);
        assert!(given.iter().enumerate().all(|(n, (id, _))| memory.holds(id) == Some(n < 11)));
    });
}
