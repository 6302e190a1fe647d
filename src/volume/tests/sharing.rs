//! What devices of one volume rely on each other for: expected blocks, promised blocks, bases, epochs.

use super::cluster::{Cluster, create, edit, rename, show};
use super::*;
use crate::base::NodeId;
use crate::seal::Sealer;

fn node(v: &Volume, name: &str) -> (Ino, NodeId) {
    let ino = v.lookup(ROOT_INO, name.as_bytes()).unwrap().ino;
    let text = String::from_utf8(v.getxattr(ino, b"lovage.id").unwrap()).unwrap();
    (ino, NodeId::from_hex(&text).unwrap())
}

#[test]
fn a_walk_brings_what_the_tree_refers_to_and_nothing_else() {
    let c = Cluster::new(2);
    for n in 0..400 {
        create(c.v(0), &format!("file-{n}"), &noise(n, 200));
    }
    let said = c.v(0).announce().unwrap();
    let offer = c.v(1).offered(&c.v(0).author(), &said.head).unwrap();
    let mut sent = Vec::new();
    c.v(0)
        .answer(&offer.trees[0], None, &mut |sealed| {
            sent.push(sealed);
            true
        })
        .unwrap();
    assert!(sent.len() > 3);
    let stored = |v: &Volume| v.blocks().log().stat().live_bytes;
    let mut expected = c.v(1).expecting(&offer.trees[0]).unwrap();
    let junk = noise(9, 4000);
    let before = stored(c.v(1));
    let refused = c.v(1).take_expected(&mut expected, &Sealer::bid(&junk), &junk).unwrap_err();
    assert_eq!((refused.kind(), stored(c.v(1))), (Kind::Corrupt, before));
    for sealed in &sent {
        c.v(1).take_expected(&mut expected, &Sealer::bid(sealed), sealed).unwrap();
    }
    let again = c.v(1).take_expected(&mut expected, &Sealer::bid(&sent[0]), &sent[0]).unwrap_err();
    assert_eq!(again.kind(), Kind::Corrupt, "each comes once");
    assert!(c.v(1).expecting(b"nonsense").is_err());
}

#[test]
fn what_others_promised_may_go_and_comes_back_when_it_is_read() {
    let c = Cluster::new(2);
    create(c.v(0), "x", &noise(1, 300_000));
    c.tell(0, 1);
    let (ino, _) = node(c.v(0), "x");
    let mut ids = std::collections::HashSet::new();
    c.v(0).data_blocks(ino, 9, &mut ids).unwrap();
    let ids: Vec<_> = ids.into_iter().collect();
    assert!(c.v(1).holds(&ids, true).iter().all(|has| !has));
    let there = c.v(1).resolve(b"x").unwrap();
    assert_eq!(c.v(1).read(there, 0, 300_000).unwrap(), noise(1, 300_000));
    assert_eq!(c.v(0).leaving(&ids).len(), ids.len());
    assert!(c.v(0).holds(&ids, true).iter().all(|has| !has), "they are on their way out");
    assert!(c.v(1).holds(&ids, true).iter().all(|has| *has));
    c.v(0).evict(&ids).unwrap();
    c.v(0).settled(&ids);
    let presence = c.v(0).presence(ino).unwrap();
    assert_eq!((presence.local, presence.size), (0, 300_000));
    assert!(c.v(1).leaving(&ids).is_empty(), "they were promised");
    // Removed there, the promise outlives a collection.
    c.v(1).unlink(ROOT_INO, b"x").unwrap();
    c.v(1).collect(false, &mut |_, _, _| Ok(())).unwrap();
    assert!(c.v(1).holds(&ids, false).iter().all(|has| *has));
    c.v(0).blocks().forget_caches();
    assert_eq!(c.v(0).read(ino, 0, 300_000).unwrap(), noise(1, 300_000));
    assert_eq!(c.v(0).presence(ino).unwrap().local, 300_000);
}

#[test]
fn both_sides_of_a_conflict_know_what_it_began_with() {
    let c = Cluster::new(2);
    create(c.v(0), "x", b"base");
    c.meet();
    for text in [&b"a"[..], b"aa"] {
        edit(c.v(0), "x", text);
        c.v(0).announce().unwrap();
    }
    edit(c.v(1), "x", b"b");
    c.meet();
    for at in 0..2 {
        let found = c.v(at).conflicts().unwrap();
        assert_eq!((found.len(), found[0].versions.len()), (1, 2));
        assert_eq!(found[0].base.map(|base| base.size), Some(4), "device {at}");
        assert_eq!(c.v(at).read_base(found[0].node, 0, 100).unwrap(), b"base");
        let mut texts: Vec<_> =
            found[0].versions.iter().map(|v| c.v(at).read_version(found[0].node, v.dot, 0, 9).unwrap()).collect();
        texts.sort();
        assert_eq!(texts, [&b"aa"[..], b"b"]);
    }
    // It is remembered, and its content is no garbage.
    let mut c = c;
    c.crash(0);
    c.v(0).collect(false, &mut |_, _, _| Ok(())).unwrap();
    let found = c.v(0).conflicts().unwrap();
    assert_eq!(c.v(0).read_base(found[0].node, 0, 100).unwrap(), b"base");
    c.v(0).resolve_conflict(found[0].node, found[0].versions[0].dot).unwrap();
    c.meet();
    assert!(c.v(1).conflicts().unwrap().is_empty());
    assert!(c.v(1).read_base(found[0].node, 0, 1).is_err());
}

#[test]
fn a_new_epoch_is_read_by_who_learnt_it_and_waits_for_who_did_not() {
    let c = Cluster::new(2);
    create(c.v(0), "old", b"old");
    c.tell(0, 1);
    let epoch = [(65_536, EpochSecret::new([7; 32]))];
    c.v(0).learn_epochs(&epoch);
    create(c.v(0), "new", &noise(2, 5000));
    let said = c.v(0).announce().unwrap();
    assert_eq!(c.v(1).merge(&c.v(0).author(), &said.head).unwrap_err().kind(), Kind::Denied);
    assert_eq!(show(c.v(1)).len(), 1);
    c.v(1).learn_epochs(&epoch);
    c.v(1).merge(&c.v(0).author(), &said.head).unwrap();
    let (new, old) = (c.v(1).resolve(b"new").unwrap(), c.v(1).resolve(b"old").unwrap());
    assert_eq!(c.v(1).read(new, 0, 5000).unwrap(), noise(2, 5000));
    assert_eq!(c.v(1).read(old, 0, 9).unwrap(), b"old");
    create(c.v(1), "answer", b"x");
    assert_eq!(c.meet().len(), 3);
}

#[test]
fn a_small_change_is_merged_from_its_head_alone() {
    let c = Cluster::new(2);
    for n in 0..400 {
        create(c.v(0), &format!("file-{n}"), &noise(n, 200));
    }
    c.meet();
    let (author, told) = (c.v(0).author(), c.v(0).announce().unwrap());
    c.tell(0, 1);
    let before = c.v(1).offered(&author, &told.head).unwrap().trees[0].clone();
    c.v(0).told(&told.raw);
    create(c.v(0), "small", b"small");
    rename(c.v(0), "file-7", "moved");
    let said = c.v(0).announce().unwrap();
    c.devices[1].others.cut_off.store(true, Ordering::Relaxed);
    assert!(!c.v(1).foretell(&author, &said.head, b"another tree").unwrap());
    assert!(c.v(1).foretell(&author, &said.head, &before).unwrap());
    assert!(c.v(1).merge(&author, &said.head).unwrap().touched >= 2);
    c.devices[1].others.cut_off.store(false, Ordering::Relaxed);
    c.meet();
    // More than a head carries, and what was sealed between telling and noting it, is asked for.
    let told = c.v(0).announce().unwrap();
    c.v(0).told(&told.raw);
    for n in 0..200 {
        create(c.v(0), &format!("more-{n}"), &noise(n, 200));
    }
    let said = c.v(0).announce().unwrap();
    let before = c.v(1).offered(&author, &told.head).unwrap().trees[0].clone();
    assert!(!c.v(1).foretell(&author, &said.head, &before).unwrap());
    c.v(0).told(&told.raw);
    create(c.v(0), "late", b"late");
    let said = c.v(0).announce().unwrap();
    assert!(!c.v(1).foretell(&author, &said.head, &before).unwrap());
    assert!(said.head.len() < 8 << 10, "{}", said.head.len());
    c.meet();
}

/// An author whose head says something else than its tree has: the tree counts.
#[test]
fn news_that_do_not_make_the_tree_are_of_no_use() {
    let c = Cluster::new(2);
    create(c.v(0), "x", b"x");
    c.meet();
    let (author, told) = (c.v(0).author(), c.v(0).announce().unwrap());
    let before = c.v(1).offered(&author, &told.head).unwrap().trees[0].clone();
    c.v(0).told(&told.raw);
    create(c.v(0), "y", b"y");
    let said = c.v(0).announce().unwrap();
    let opened = crate::seal::head::open_head(&c.v(0).sealer, &author, &said.head).unwrap();
    let mut body: sealing::HeadBody = postcard::from_bytes(&opened.body).unwrap();
    let news = body.news.as_mut().unwrap();
    for value in news.changes.values_mut() {
        *value = None;
    }
    let body = postcard::to_stdvec(&body).unwrap();
    let key = c.v(0).ns.lock().author.key.clone();
    let lie =
        crate::seal::head::seal_head(&c.v(0).sealer, &key, opened.writer, opened.seq, &body, &Seeded::new(3)).unwrap();
    assert!(!c.v(1).foretell(&author, &lie, &before).unwrap());
    assert!(c.v(1).merge(&author, &lie).unwrap().touched > 0);
    assert!(show(c.v(1)).contains(&"y = y".to_owned()));
}

#[test]
fn a_stretch_of_a_file_comes_in_one_answer_and_nothing_else_is_kept() {
    let c = Cluster::new(2);
    let data = noise(5, 6_000_000);
    create(c.v(0), "x", &data);
    c.tell(0, 1);
    let list = |v: &Volume| {
        let inode = v.inode_of(node(v, "x").1).unwrap();
        let data = inode.inner.lock().state.shown().unwrap().1.data.clone();
        let crate::cas::manifest::Content::Tree { root, level } = content::decode(&data).unwrap() else { panic!() };
        (root, level)
    };
    let (root, level) = list(c.v(1));
    assert_eq!((root, level), list(c.v(0)));
    let name = Volume::name_list((&root, level)).unwrap();
    let range = 2_000_000..2_500_000;
    let mut sent = Vec::new();
    c.v(0)
        .answer_range(&name, &range, &mut |sealed| {
            sent.push(bytes::Bytes::from(sealed));
            true
        })
        .unwrap();
    let size: usize = sent.iter().map(bytes::Bytes::len).sum();
    assert!(size > 500_000 && size < 1_600_000, "{size}");
    // In another order nothing from there on is taken.
    let stored = |v: &Volume| v.blocks().log().stat().live_bytes;
    let mut order: Vec<_> = sent.clone();
    order.swap(1, 2);
    let before = stored(c.v(1));
    let take = |all: Vec<bytes::Bytes>| {
        let mut all = all.into_iter().map(|sealed| Ok((Sealer::bid(&sealed), sealed)));
        c.v(1).take_range((&root, level), &range, &mut || all.next())
    };
    assert_eq!(take(order).unwrap_err().kind(), Kind::Corrupt);
    assert!(stored(c.v(1)) - before < 200_000);
    assert_eq!(take(sent[..1].to_vec()).unwrap_err().kind(), Kind::NotFound);
    take(sent).unwrap();
    c.devices[1].others.cut_off.store(true, Ordering::Relaxed);
    let there = c.v(1).resolve(b"x").unwrap();
    assert_eq!(c.v(1).read(there, 2_000_000, 500_000).unwrap(), data[2_000_000..2_500_000]);
    assert!(c.v(1).read(there, 0, 4096).is_err(), "the rest is not here");
    assert_eq!(c.v(1).answer_range(&name, &(0..4096), &mut |_| true).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(c.v(1).answer_range(b"nonsense", &range, &mut |_| true).unwrap_err().kind(), Kind::Invalid);
    assert!(c.v(0).answer_range(&name, &(0..u64::MAX), &mut |_| false).is_ok(), "whoever has enough says so");
}
