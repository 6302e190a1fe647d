//! The merge table, line by line. Two devices that know the same, change concurrently, and meet.

use super::replica::*;
use crate::base::NodeId;
use crate::causal::{Field, NodeKind, Value};

/// Devices A and B that both know what `setup` made on A.
fn two<T>(setup: impl FnOnce(&mut Replica) -> T) -> (Replica, Replica, T) {
    let mut a = Replica::new(1);
    let made = setup(&mut a);
    let b = a.twin(2);
    (a, b, made)
}

/// What both show once they met.
fn met(a: &mut Replica, b: &mut Replica) -> Vec<String> {
    meet(&mut [a, b]);
    show(&a.state)
}

/// B's changes get later stamps than A's.
fn later(b: &mut Replica) {
    b.now += 1_000;
}

fn file_in(r: &mut Replica) -> (NodeId, NodeId) {
    let d = r.mkdir(ROOT, "d");
    (d, r.file(d, "x.txt", "v1"))
}

#[test]
fn edit_and_edit_of_the_same_bytes_is_one() {
    let (mut a, mut b, f) = two(|r| r.file(ROOT, "x.txt", "v1"));
    a.write(f, "same");
    b.write(f, "same");
    assert_eq!(met(&mut a, &mut b), ["x.txt = same"]);
}

#[test]
fn edit_and_edit_show_the_later_under_the_name_and_the_other_beside_it() {
    let (mut a, mut b, f) = two(|r| r.file(ROOT, "x.txt", "v1"));
    a.write(f, "vA");
    later(&mut b);
    b.write(f, "vB");
    assert_eq!(met(&mut a, &mut b), ["x(dev1).txt = vA", "x.txt = vB"]);
    let view = a.view();
    let names: Vec<String> = view.list(ROOT).map(|(n, _)| n.to_string()).collect();
    assert!(names[0].starts_with("x (conflict dev1 1970-01-01 ") && names[0].ends_with(").txt"), "{names:?}");
    let copy = view.list(ROOT).next().unwrap().1;
    assert_eq!(copy.node, f, "a conflict copy is a view entry, not a new file");
    let dot = copy.version.unwrap();
    let mut deleted = a.clone();
    deleted.tick();
    deleted.node(f).content.0.retain(|(d, _)| *d != dot);
    assert_eq!(show(&deleted.state), ["x.txt = vB"], "deleting a copy resolves");
    a.write_copy(f, dot, ROOT, "mine.txt", "vA2");
    assert_eq!(met(&mut a, &mut b), ["mine.txt = vA2", "x.txt = vB"]);
}

#[test]
fn edit_and_rename_lands_at_the_new_place() {
    let (mut a, mut b, (d, f)) = two(file_in);
    a.rename(f, ROOT, "y.txt");
    b.write(f, "v2");
    assert_eq!(met(&mut a, &mut b), ["d/", "y.txt = v2"]);
    a.rename(d, ROOT, "e");
    b.write(f, "v3");
    assert_eq!(met(&mut a, &mut b), ["e/", "y.txt = v3"]);
}

#[test]
fn edit_wins_over_delete_and_revives_its_directories() {
    let (mut a, mut b, (d, f)) = two(file_in);
    a.remove_all(&[f, d]);
    b.write(f, "v2");
    assert_eq!(met(&mut a, &mut b), ["d/", "d/x.txt = v2"]);
    assert_eq!(a.view().displaced().count(), 1, "the directory shows elsewhere than its newest place");
}

#[test]
fn rename_wins_over_delete() {
    let (mut a, mut b, (d, f)) = two(file_in);
    a.remove_all(&[f, d]);
    b.rename(f, d, "y.txt");
    assert_eq!(met(&mut a, &mut b), ["d/", "d/y.txt = v1"]);
}

#[test]
fn rename_and_rename_of_one_node_the_later_wins_and_nothing_is_doubled() {
    let (mut a, mut b, (_, f)) = two(file_in);
    a.rename(f, ROOT, "a.txt");
    later(&mut b);
    b.rename(f, ROOT, "b.txt");
    assert_eq!(met(&mut a, &mut b), ["b.txt = v1", "d/"]);
}

#[test]
fn rename_and_rename_to_one_name_keeps_both_and_marks_the_later() {
    let (mut a, mut b, (f, g)) = two(|r| (r.file(ROOT, "f", "F"), r.file(ROOT, "g", "G")));
    a.rename(f, ROOT, "z");
    later(&mut b);
    b.rename(g, ROOT, "z");
    assert_eq!(met(&mut a, &mut b), ["z = F", "z(dev2) = G"]);
}

#[test]
fn directory_moves_forming_a_cycle_the_earlier_stands_and_the_later_returns() {
    let (mut a, mut b, (p, q)) = two(|r| (r.mkdir(ROOT, "p"), r.mkdir(ROOT, "q")));
    a.rename(p, q, "p");
    later(&mut b);
    b.rename(q, p, "q");
    assert_eq!(met(&mut a, &mut b), ["q/", "q/p/"]);
}

#[test]
fn removal_of_a_directory_and_creation_inside_revive_it_with_the_new_entry_only() {
    let (mut a, mut b, (d, f)) = two(file_in);
    a.remove_all(&[f, d]);
    b.file(d, "new", "n");
    assert_eq!(met(&mut a, &mut b), ["d/", "d/new = n"]);
}

#[test]
fn removal_of_a_directory_and_a_file_moved_out_the_file_survives_at_its_target() {
    let (mut a, mut b, (d, f)) = two(file_in);
    a.remove_all(&[f, d]);
    b.rename(f, ROOT, "out.txt");
    assert_eq!(met(&mut a, &mut b), ["out.txt = v1"]);
}

#[test]
fn delete_wins_over_chmod_and_xattr_and_the_trash_has_the_change() {
    let (mut a, mut b, f) = two(|r| r.file(ROOT, "x", "v1"));
    a.remove(f);
    b.chmod(f, 0o600);
    b.set(f, Field::Xattr(b"user.k".to_vec()), Value::Bytes(Some(b"v".to_vec())));
    assert!(met(&mut a, &mut b).is_empty());
    assert!(a.view().lookup(TRASH, b"x").is_some());
    assert_eq!(a.mode(f), Some(0o600));
}

#[test]
fn attributes_merge_by_field_and_the_later_of_one_field_wins() {
    let (mut a, mut b, f) = two(|r| r.file(ROOT, "x", "v1"));
    let xattr = |n: &str| Field::Xattr(n.as_bytes().to_vec());
    let bytes = |v: &str| Value::Bytes(Some(v.as_bytes().to_vec()));
    a.chmod(f, 0o600);
    a.set(f, xattr("both"), bytes("a"));
    a.set(f, xattr("mine"), bytes("a"));
    later(&mut b);
    b.chmod(f, 0o755);
    b.set(f, xattr("both"), Value::Bytes(None));
    a.set(f, Field::Owner, Value::Owner(7, 7));
    meet(&mut [&mut a, &mut b]);
    let node = &a.state.nodes[&f];
    assert_eq!(a.mode(f), Some(0o755));
    assert_eq!(node.attribute(&xattr("both")).unwrap().value, Value::Bytes(None), "a removal is a value");
    assert_eq!(node.attribute(&xattr("mine")).unwrap().value, bytes("a"));
    assert_eq!(node.attribute(&Field::Owner).unwrap().value, Value::Owner(7, 7));
    let fields: Vec<_> = node.shown_attributes().map(|x| x.field.clone()).collect();
    assert!(fields.is_sorted_by(|x, y| x < y), "each field once");
    a.chmod(f, 0o640);
    let after = &a.state.nodes[&f];
    assert_eq!(after.attributes.len(), after.shown_attributes().count(), "the next change leaves one value a field");
}

#[test]
fn mkdir_and_mkdir_show_one_merged_directory() {
    let (mut a, mut b, ()) = two(|_| ());
    let da = a.mkdir(ROOT, "d");
    a.file(da, "a", "A");
    a.mkdir(da, "sub");
    later(&mut b);
    let db = b.mkdir(ROOT, "d");
    b.file(db, "b", "B");
    let sub = b.mkdir(db, "sub");
    b.file(sub, "deep", "D");
    assert_eq!(met(&mut a, &mut b), ["d/", "d/a = A", "d/b = B", "d/sub/", "d/sub/deep = D"]);
    let view = a.view();
    assert_eq!((view.canonical(db), view.canonical(da)), (da, da), "the earliest stands for all");
    assert_eq!(view.list(db).count(), 3);
    assert!(view.lookup(db, b"a").is_some());
}

#[test]
fn a_clash_of_directories_made_by_a_rename_is_marked_and_never_merged() {
    let (mut a, mut b, d) = two(|r| r.mkdir(ROOT, "d"));
    a.file(d, "in-d", "1");
    a.rename(d, ROOT, "z");
    later(&mut b);
    let z = b.mkdir(ROOT, "z");
    b.file(z, "in-z", "2");
    assert_eq!(met(&mut a, &mut b), ["z/", "z/in-d = 1", "z(dev2)/", "z(dev2)/in-z = 2"]);
}

#[test]
fn creation_and_creation_of_the_same_bytes_is_one_entry() {
    let (mut a, mut b, ()) = two(|_| ());
    let fa = a.file(ROOT, "f", "same");
    later(&mut b);
    let fb = b.file(ROOT, "f", "same");
    assert_eq!(met(&mut a, &mut b), ["f = same"]);
    let entry = a.view().lookup(ROOT, b"f").cloned().unwrap();
    assert_eq!((entry.node, entry.also), (fb, vec![(fa, 0)]));
    a.write(fb, "changed");
    assert_eq!(show(&a.state).len(), 2, "once they differ both show");
}

#[test]
fn creation_and_creation_keeps_the_name_for_the_later() {
    let (mut a, mut b, ()) = two(|_| ());
    a.file(ROOT, "f.txt", "A");
    later(&mut b);
    b.file(ROOT, "f.txt", "B");
    assert_eq!(met(&mut a, &mut b), ["f(dev1).txt = A", "f.txt = B"]);
}

#[test]
fn of_a_file_and_a_directory_of_one_name_the_directory_keeps_it() {
    for directory_first in [true, false] {
        let (mut a, mut b, ()) = two(|_| ());
        later(if directory_first { &mut b } else { &mut a });
        a.mkdir(ROOT, "n");
        b.file(ROOT, "n", "F");
        assert_eq!(met(&mut a, &mut b), ["n/", "n(dev2) = F"]);
    }
}

#[test]
fn a_node_lives_while_any_link_lives() {
    let (mut a, mut b, f) = two(|r| r.file(ROOT, "one", "v"));
    a.link(f, ROOT, "two");
    b.remove(f);
    assert_eq!(met(&mut a, &mut b), ["two = v"]);
    assert!(a.view().list(TRASH).next().is_none(), "what lives is not in the trash");
    let (mut a, mut b, (f, second)) = two(|r| {
        let f = r.file(ROOT, "one", "v");
        (f, r.link(f, ROOT, "two"))
    });
    a.unlink(f, 0);
    b.unlink(f, second);
    meet(&mut [&mut a, &mut b]);
    assert_eq!(a.view().list(LOST).count(), 1, "both names went, content nobody deleted stays");
}

#[test]
fn symlinks_and_fifos_clash_like_files() {
    let (mut a, mut b, ()) = two(|_| ());
    a.create(NodeKind::Symlink, ROOT, "l", Some("/x"));
    a.create(NodeKind::Fifo, ROOT, "p", None);
    later(&mut b);
    b.create(NodeKind::Symlink, ROOT, "l", Some("/x"));
    b.create(NodeKind::Socket, ROOT, "p", None);
    assert_eq!(met(&mut a, &mut b), ["l = /x", "p = ", "p(dev1) = "]);
}
