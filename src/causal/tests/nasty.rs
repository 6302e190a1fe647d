//! The nasty cases that concern pure state, each by name, with devices that relay.

use super::replica::*;
use crate::base::NodeId;
use crate::base::port::Time;
use crate::causal::{Field, HybridClock, NodeState, Place, Register, State, Value, View};

fn crowd(base: &Replica, n: u32) -> Vec<Replica> {
    (1..=n).map(|w| base.twin(w + 10)).collect()
}

/// All orders in which `n` devices can be heard.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for _ in 0..n {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                let rest: Vec<_> = (0..n).filter(|i| !order.contains(i)).collect();
                rest.into_iter().map(move |i| order.iter().copied().chain([i]).collect())
            })
            .collect();
    }
    all
}

/// One passes everything on in every order: always the same state and view.
fn in_every_order(all: &[Replica]) -> Vec<String> {
    let hear = |order: &[usize]| order.iter().fold(State::default(), |sum, i| sum.join(&all[*i].state));
    let mut orders = orders(all.len()).into_iter();
    let first = hear(&orders.next().unwrap());
    let shown = view(&first);
    for order in orders {
        let other = hear(&order);
        assert_eq!(other, first, "{order:?}");
        assert_eq!(view(&other), shown);
    }
    show(&first)
}

/// A ring of `n` directories, each moved into the next by another device.
fn ring(n: u32) -> Vec<String> {
    let mut base = Replica::new(1);
    let dirs: Vec<_> = (0..n).map(|i| base.mkdir(ROOT, &format!("d{i}"))).collect();
    let mut all = crowd(&base, n);
    for (at, r) in all.iter_mut().enumerate() {
        r.now += i64::try_from(at).unwrap() * 10;
        assert!(r.rename(dirs[at], dirs[(at + 1) % dirs.len()], &format!("d{at}")));
    }
    in_every_order(&all)
}

#[test]
fn a_move_cycle_of_two_heals_in_every_order() {
    assert_eq!(ring(2), ["d1/", "d1/d0/"]);
}

#[test]
fn a_move_cycle_of_five_heals_in_every_order() {
    assert_eq!(ring(5).last().unwrap(), "d4/d3/d2/d1/d0/", "the last mover returned, the others stand");
}

#[test]
fn a_cycle_whose_way_back_closes_another_ends_in_lost() {
    let mut base = Replica::new(1);
    let (p, q) = (base.mkdir(ROOT, "p"), base.mkdir(ROOT, "q"));
    base.rename(p, q, "p");
    let mut all = crowd(&base, 2);
    // A takes q out of nowhere into p by way of the root; B knows only the older places.
    all[0].rename(p, ROOT, "p");
    all[0].rename(q, p, "q");
    all[1].now += 100;
    all[1].rename(p, q, "again");
    assert!(in_every_order(&all).is_empty());
    let joined = all[0].state.join(&all[1].state);
    assert_eq!(paths(&joined, &view(&joined), LOST), ["p/", "p/q/"]);
}

#[test]
fn rm_rf_edit_move_and_create_on_four_replicas() {
    let mut base = Replica::new(1);
    let d = base.mkdir(ROOT, "d");
    let e = base.mkdir(d, "e");
    let (edited, moved, gone) = (base.file(e, "edited", "1"), base.file(e, "moved", "2"), base.file(e, "gone", "3"));
    let mut all = crowd(&base, 4);
    all[0].remove_all(&[edited, moved, gone, e, d]);
    all[1].write(edited, "1b");
    all[2].rename(moved, ROOT, "out");
    all[3].file(e, "created", "4");
    assert_eq!(in_every_order(&all), ["d/", "d/e/", "d/e/created = 4", "d/e/edited = 1b", "out = 2"]);
}

#[test]
fn a_device_back_after_purge_resurrects_nothing_it_did_not_touch() {
    let mut a = Replica::new(1);
    let d = a.mkdir(ROOT, "d");
    let f = a.file(d, "x", "v1");
    let old = a.twin(2);
    a.remove_all(&[f, d]);
    a.purge(f);
    a.purge(d);
    a.receive(&old);
    assert!(a.state.nodes.is_empty(), "purge leaves nothing behind");
}

#[test]
fn an_edit_made_offline_comes_back_after_purge() {
    let mut a = Replica::new(1);
    let d = a.mkdir(ROOT, "d");
    let (f, g) = (a.file(d, "x", "v1"), a.file(ROOT, "y", "v1"));
    a.chmod(f, 0o600);
    let mut old = a.twin(2);
    a.remove_all(&[f, d, g]);
    [f, d, g].iter().for_each(|id| a.purge(*id));
    old.write(f, "late");
    old.write(g, "late too");
    meet(&mut [&mut a, &mut old]);
    assert_eq!(show(&a.state), ["y = late too"], "at its place");
    assert_eq!(paths(&a.state, &a.view(), LOST), ["x = late"], "or in LOST if that is gone");
    assert_eq!(a.mode(f), Some(0o600), "with its attributes, which the edit asserted");
}

#[test]
fn chmod_edit_and_purge_agree_in_every_order() {
    let mut base = Replica::new(1);
    let f = base.file(ROOT, "x", "v1");
    let mut all = crowd(&base, 3);
    all[0].remove(f);
    all[0].purge(f);
    all[1].chmod(f, 0o600);
    all[2].write(f, "v2");
    assert_eq!(in_every_order(&all), ["x = v2"]);
    let (purger, rest) = all.split_first_mut().unwrap();
    purger.receive(&rest[0]);
    assert!(show(&purger.state).is_empty(), "a late chmod alone shows nothing");
    purger.receive(&rest[1]);
    assert_eq!(purger.mode(f), Some(0o600), "and is not forgotten when an edit brings the node back");
}

#[test]
fn resolving_while_the_winner_is_edited_keeps_the_edit() {
    let (mut a, mut b, f) = conflict();
    let keep = a.state.nodes[&f].shown().unwrap().0;
    a.resolve(f, keep);
    b.write(f, "vB2");
    meet(&mut [&mut a, &mut b]);
    assert_eq!(show(&a.state), ["x = vB2"]);
}

#[test]
fn resolving_while_the_loser_is_edited_keeps_both() {
    let (mut a, mut b, f) = conflict();
    let (keep, _) = *a.state.nodes[&f].shown().unwrap();
    let loser = a.state.nodes[&f].content.0.iter().map(|(d, _)| *d).find(|d| *d != keep).unwrap();
    a.resolve(f, keep);
    b.write_copy(f, loser, ROOT, "x copy", "loser edited");
    meet(&mut [&mut a, &mut b]);
    assert_eq!(show(&a.state), ["x = vB", "x copy = loser edited"]);
}

/// A file with two versions known to both devices; B's is shown.
fn conflict() -> (Replica, Replica, NodeId) {
    let mut a = Replica::new(1);
    let f = a.file(ROOT, "x", "v1");
    let mut b = a.twin(2);
    b.now += 100;
    a.write(f, "vA");
    b.write(f, "vB");
    meet(&mut [&mut a, &mut b]);
    assert_eq!(a.state.nodes[&f].content.0.len(), 2);
    (a, b, f)
}

#[test]
fn atomic_saves_and_a_rename_between_them_are_one_file() {
    let mut base = Replica::new(1);
    let f = base.file(ROOT, "doc", "1");
    let mut all = crowd(&base, 2);
    all[0].atomic_save(f, "2");
    all[1].rename(f, ROOT, "paper");
    all[0].atomic_save(f, "3");
    assert_eq!(in_every_order(&all), ["paper = 3"]);
}

#[test]
fn atomic_saves_on_two_devices_are_one_conflict_and_leave_no_temporaries() {
    let mut base = Replica::new(1);
    let f = base.file(ROOT, "doc", "1");
    let mut all = crowd(&base, 2);
    all[0].atomic_save(f, "A");
    all[1].now += 50;
    all[1].atomic_save(f, "B");
    assert_eq!(in_every_order(&all), ["doc = B", "doc(dev11) = A"]);
}

#[test]
fn triple_mkdir_then_rename_and_rmdir_of_the_merged_directory() {
    let mut all = crowd(&Replica::new(1), 3);
    let dirs: Vec<_> = all.iter_mut().map(|r| r.mkdir(ROOT, "d")).collect();
    let mut third = all.pop().unwrap();
    third.file(dirs[2], "three", "3");
    let (first, second) = all.split_at_mut(1);
    meet(&mut [&mut first[0], &mut second[0]]);
    // One rename of the merged directory moves both members under one stamp.
    let (dot, stamp) = all[0].tick();
    for id in &dirs[..2] {
        let place = Place { parent: ROOT, name: name("e"), stamp, from: Some((ROOT, name("d"))) };
        all[0].node(*id).links = vec![(0, Register(vec![(dot, place)]))];
    }
    assert_eq!(show(&all[0].state), ["e/"], "still one directory");
    all[0].receive(&third);
    assert_eq!(show(&all[0].state), ["d/", "d/three = 3", "e/"], "the third was not known and stays");
    all[1].remove_all(&dirs[..2]);
    let [a, b] = &mut all[..] else { panic!() };
    meet(&mut [a, b, &mut third]);
    assert_eq!(show(&third.state), ["d/", "d/three = 3", "e/"], "rename wins over rmdir");
    third.remove_all(&dirs[..2]);
    assert_eq!(show(&third.state), ["d/", "d/three = 3"]);
}

#[test]
fn two_directories_renamed_to_one_name_are_both_there() {
    let mut base = Replica::new(1);
    let (p, q) = (base.mkdir(ROOT, "p"), base.mkdir(ROOT, "q"));
    base.file(p, "in-p", "1");
    base.file(q, "in-q", "2");
    let mut all = crowd(&base, 2);
    all[0].rename(p, ROOT, "z");
    all[1].now += 50;
    all[1].rename(q, ROOT, "z");
    assert_eq!(in_every_order(&all), ["z/", "z/in-p = 1", "z(dev12)/", "z(dev12)/in-q = 2"]);
}

#[test]
fn a_file_swapped_for_a_directory_and_back() {
    let mut base = Replica::new(1);
    let f = base.file(ROOT, "n", "file");
    let mut all = crowd(&base, 2);
    all[0].remove(f);
    let d = all[0].mkdir(ROOT, "n");
    all[0].file(d, "inside", "1");
    all[1].write(f, "edited");
    assert_eq!(in_every_order(&all), ["n/", "n/inside = 1", "n(dev1) = edited"]);
    let [a, b] = &mut all[..] else { panic!() };
    meet(&mut [a, b]);
    let inside = b.view().lookup(d, b"inside").unwrap().node;
    b.remove_all(&[inside, d]);
    assert_eq!(show(&b.state), ["n = edited"], "the name returns when the directory goes");
}

#[test]
fn a_file_taken_for_a_parent_sends_its_children_to_lost() {
    let mut a = Replica::new(1);
    let f = a.file(ROOT, "f", "1");
    a.file(f, "child", "2");
    assert_eq!(paths(&a.state, &a.view(), LOST), ["child = 2"]);
}

#[test]
fn a_removed_link_an_edit_and_a_move_into_a_deleted_directory() {
    let mut base = Replica::new(1);
    let d = base.mkdir(ROOT, "d");
    let f = base.file(ROOT, "one", "v1");
    let second = base.link(f, ROOT, "two");
    let mut all = crowd(&base, 4);
    all[0].unlink(f, second);
    all[1].write(f, "v2");
    all[2].rename(f, d, "moved");
    all[3].remove(d);
    assert_eq!(in_every_order(&all), ["d/", "d/moved = v2", "two = v2"]);
}

#[test]
fn a_clock_at_2080_and_back_keeps_order() {
    let mut a = Replica::new(1);
    let f = a.file(ROOT, "x", "v1");
    a.now = 3_471_292_800_000_000_000;
    a.write(f, "from the future");
    let mut b = a.twin(2);
    b.receive(&a);
    b.now = 5;
    b.write(f, "later in truth");
    a.now = 6;
    a.receive(&b);
    assert_eq!(show(&a.state), ["x = later in truth"]);
    a.rename(f, ROOT, "y");
    b.receive(&a);
    b.rename(f, ROOT, "z");
    meet(&mut [&mut a, &mut b]);
    assert_eq!(show(&a.state), ["z = later in truth"]);
}

#[test]
fn a_clock_at_the_end_of_time_neither_panics_nor_hides() {
    let mut clock = HybridClock::new(1, Time(i64::MAX));
    assert_eq!(clock.stamp(Time(i64::MAX)).time, Time(i64::MAX));
    let mut a = Replica::new(1);
    a.now = i64::MAX - 3;
    let f = a.file(ROOT, "x", "1");
    let mut b = a.twin(2);
    a.write(f, "2");
    b.write(f, "3");
    meet(&mut [&mut a, &mut b]);
    assert_eq!(show(&a.state).len(), 2);
}

#[test]
fn a_removed_writers_late_edits_are_known_or_not_and_nothing_between() {
    let mut base = Replica::new(1);
    let f = base.file(ROOT, "x", "v1");
    let mut all = crowd(&base, 3);
    all[2].write(f, "late");
    let before = all[2].clone();
    all[2].write(f, "later");
    // The others accept the removed writer up to its first change only.
    let [a, b, _] = &mut all[..] else { panic!() };
    a.receive(&before);
    meet(&mut [a, b]);
    assert_eq!(show(&b.state), ["x = late"]);
}

#[test]
fn a_deep_tree_trashed_above_one_live_file_shows_the_whole_path() {
    let mut a = Replica::new(1);
    let mut dirs = vec![a.mkdir(ROOT, "0")];
    for depth in 1..60 {
        dirs.push(a.mkdir(dirs[depth - 1], &depth.to_string()));
    }
    let mut b = a.twin(2);
    b.file(dirs[59], "keep", "k");
    dirs.reverse();
    a.remove_all(&dirs);
    meet(&mut [&mut a, &mut b]);
    assert_eq!(show(&a.state).len(), 61);
}

#[test]
fn conflict_names_that_exist_already_get_longer_tags() {
    let (mut a, _, f) = conflict();
    for _ in 0..3 {
        let view = a.view();
        let taken: Vec<_> = view.list(ROOT).map(|(n, _)| n.to_string()).filter(|n| n.contains("conflict")).collect();
        for n in &taken {
            let mine = a.file(ROOT, n, "in the way");
            assert_eq!(a.view().lookup(ROOT, n.as_bytes()).unwrap().node, mine, "a real name stands");
        }
    }
    let copies = a.view().list(ROOT).filter(|(_, e)| e.version.is_some() && e.node == f).count();
    assert_eq!(copies, 1);
}

#[test]
fn nodes_a_liar_makes_are_shown_somewhere() {
    let mut a = Replica::new(1);
    let d = a.mkdir(ROOT, "d");
    let (dot, stamp) = a.tick();
    let far = NodeId([9; 16]);
    let own =
        |parent, name_text: &str| Place { parent, name: name(name_text), stamp, from: Some((d, name(name_text))) };
    let node = |place: Place, kind| NodeState {
        kind,
        born: stamp.time,
        links: vec![(0, Register(vec![(dot, place.clone())])), (5, Register(vec![(dot, place)]))],
        content: Register::default(),
        attributes: Vec::new(),
    };
    // In itself, under nobody, in the trash of the trash, and one that claims a reserved id.
    a.state.nodes.insert(NodeId([1; 16]), node(own(NodeId([1; 16]), "self"), a.state.nodes[&d].kind));
    a.state.nodes.insert(NodeId([2; 16]), node(own(far, "nobody"), crate::causal::NodeKind::File));
    a.state.nodes.insert(NodeId([3; 16]), node(own(TRASH, "trash"), crate::causal::NodeKind::File));
    let shown = View::of(&a.state, &label);
    check(&a.state, &shown);
    a.state.nodes.insert(NodeId::TRASH, node(own(ROOT, "root of evil"), crate::causal::NodeKind::Directory));
    assert!(View::of(&a.state, &label).lookup(ROOT, b"root of evil").is_none());
}

#[test]
fn a_touched_directory_does_not_lose_its_times_to_a_concurrent_rename() {
    let mut base = Replica::new(1);
    let d = base.mkdir(ROOT, "d");
    let mut all = crowd(&base, 2);
    all[0].set(d, Field::Mtime, Value::Time(Time(77)));
    all[1].rename(d, ROOT, "e");
    assert_eq!(in_every_order(&all), ["e/"]);
    let joined = all[0].state.join(&all[1].state);
    assert_eq!(joined.nodes[&d].attribute(&Field::Mtime).unwrap().value, Value::Time(Time(77)));
}
