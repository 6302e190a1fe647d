//! Devices that change one volume apart and meet: the merge table on live volumes, and what surrounds it.

use super::cluster::*;
use super::*;

#[test]
fn a_device_that_joins_sees_the_tree_at_once_and_fetches_content_when_it_is_read() {
    let mut c = Cluster::unjoined(2);
    let big = noise(5, 700_000);
    mkdir(c.v(0), "d");
    create(c.v(0), "d/big", &big);
    create(c.v(0), "small", b"hello");
    assert!(c.v(1).getattr(ROOT_INO).is_err(), "nothing is there before the first head");
    let merged = c.tell(0, 1);
    assert!(merged.adopted);
    let local = c.v(1).blocks().log().stat().live_bytes;
    assert!(local < 100_000, "content came along: {local}");
    assert_eq!(show(c.v(1)), show(c.v(0)));
    assert!(c.v(1).blocks().log().stat().live_bytes > 700_000, "what was read is kept");
    c.meet();
    c.crash(1);
    assert_eq!(show(c.v(1)), show(c.v(0)));
    c.meet();
}

#[test]
fn changes_go_both_ways() {
    let c = Cluster::new(2);
    create(c.v(0), "a", b"from a");
    create(c.v(1), "b", b"from b");
    mkdir(c.v(1), "d");
    create(c.v(1), "d/x", b"1");
    assert_eq!(c.meet(), ["a = from a", "b = from b", "d/", "d/x = 1"]);
    rename(c.v(0), "d/x", "y");
    remove(c.v(0), "a");
    edit(c.v(1), "b", b"again");
    assert_eq!(c.meet(), ["b = again", "d/", "y = 1"]);
    remove(c.v(1), "d");
    assert_eq!(c.meet(), ["b = again", "y = 1"]);
}

#[test]
fn edit_and_edit_keep_both_and_the_copy_can_be_read_changed_and_removed() {
    let c = Cluster::new(2);
    create(c.v(0), "x.txt", b"v1");
    c.meet();
    edit(c.v(0), "x.txt", b"vA");
    edit(c.v(1), "x.txt", b"vB");
    assert_eq!(c.meet(), ["x(1).txt = vA", "x.txt = vB"]);
    let conflicts = c.v(0).conflicts().unwrap();
    assert_eq!((conflicts.len(), conflicts[0].versions.len(), conflicts[0].paths.len()), (1, 2, 2));
    let copy = names(c.v(0), ROOT_INO)[0].clone();
    edit(c.v(0), &copy, b"vA2");
    assert_eq!(c.meet(), ["x(1).txt = vA2", "x.txt = vB"]);
    assert!(c.v(1).conflicts().unwrap().is_empty(), "a changed copy is a file of its own");
    edit(c.v(0), "x.txt", b"vA3");
    edit(c.v(1), "x.txt", b"vB3");
    c.meet();
    let all = names(c.v(1), ROOT_INO);
    remove(c.v(1), all.iter().rfind(|n| n.contains("conflict")).unwrap());
    let left = c.meet();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_conflict_copy_that_is_renamed_is_a_file_of_its_own_and_one_that_is_deleted_resolves() {
    let c = Cluster::new(2);
    create(c.v(0), "x", b"v1");
    c.meet();
    edit(c.v(0), "x", b"vA");
    edit(c.v(1), "x", b"vB");
    c.meet();
    let copy = names(c.v(0), ROOT_INO)[1].clone();
    assert!(copy.contains("conflict"));
    rename(c.v(0), &copy, "mine");
    assert_eq!(c.meet(), ["mine = vA", "x = vB"]);
    edit(c.v(0), "x", b"vA");
    edit(c.v(1), "x", b"vB2");
    c.meet();
    let copy = names(c.v(1), ROOT_INO).into_iter().find(|n| n.contains("conflict")).unwrap();
    remove(c.v(1), &copy);
    assert_eq!(c.meet(), ["mine = vA", "x = vB2"]);
    assert!(c.v(0).conflicts().unwrap().is_empty());
}

#[test]
fn removing_the_winner_leaves_the_loser() {
    let c = Cluster::new(2);
    create(c.v(0), "x", b"v1");
    c.meet();
    edit(c.v(0), "x", b"vA");
    edit(c.v(1), "x", b"vB");
    c.meet();
    remove(c.v(0), "x");
    assert_eq!(c.meet(), ["x(1) = vA"]);
}

#[test]
fn keeping_one_version_ends_the_conflict() {
    let c = Cluster::new(2);
    create(c.v(0), "x", b"v1");
    c.meet();
    edit(c.v(0), "x", b"vA");
    edit(c.v(1), "x", b"vB");
    c.meet();
    let conflict = c.v(1).conflicts().unwrap().remove(0);
    let loser = conflict.versions[1].dot;
    c.v(1).resolve_conflict(conflict.node, loser).unwrap();
    assert_eq!(c.meet(), ["x = vA"]);
}

#[test]
fn edit_wins_over_delete_and_brings_its_directory_back() {
    let c = Cluster::new(2);
    mkdir(c.v(0), "d");
    create(c.v(0), "d/x", b"v1");
    c.meet();
    remove(c.v(0), "d/x");
    remove(c.v(0), "d");
    edit(c.v(1), "d/x", b"v2");
    assert_eq!(c.meet(), ["d/", "d/x = v2"]);
    create(c.v(0), "d/y", b"y");
    assert_eq!(c.meet(), ["d/", "d/x = v2", "d/y = y"]);
    remove(c.v(1), "d/x");
    remove(c.v(1), "d/y");
    remove(c.v(1), "d");
    assert!(c.meet().is_empty());
}

#[test]
fn a_tree_removed_while_something_is_made_in_it_comes_back_with_that_alone() {
    let c = Cluster::new(2);
    mkdir(c.v(0), "d");
    mkdir(c.v(0), "d/e");
    create(c.v(0), "d/e/old", b"old");
    c.meet();
    for path in ["d/e/old", "d/e", "d"] {
        remove(c.v(0), path);
    }
    create(c.v(1), "d/e/new", b"new");
    assert_eq!(c.meet(), ["d/", "d/e/", "d/e/new = new"]);
}

#[test]
fn rename_wins_over_delete_with_its_content() {
    let c = Cluster::new(2);
    create(c.v(0), "x", b"v1");
    c.meet();
    remove(c.v(0), "x");
    rename(c.v(1), "x", "y");
    assert_eq!(c.meet(), ["y = v1"]);
}

#[test]
fn directory_moves_forming_a_cycle_heal() {
    let c = Cluster::new(2);
    mkdir(c.v(0), "a");
    mkdir(c.v(0), "b");
    create(c.v(0), "a/x", b"x");
    c.meet();
    rename(c.v(0), "a", "b/a");
    rename(c.v(1), "b", "a/b");
    assert_eq!(c.meet(), ["b/", "b/a/", "b/a/x = x"]);
    rename(c.v(0), "b/a", "c");
    c.meet();
}

#[test]
fn directories_made_twice_are_one_and_clashing_files_are_both_there() {
    let c = Cluster::new(3);
    for at in 0..3 {
        mkdir(c.v(at), "d");
        create(c.v(at), &format!("d/{at}"), b"own");
        create(c.v(at), "d/same", b"same");
        create(c.v(at), "d/other", format!("by {at}").as_bytes());
    }
    let all = ["d/", "d/0 = own", "d/1 = own", "d/2 = own", "d/other = by 2", "d/other(1) = by 0"];
    assert_eq!(c.meet(), [&all[..], &["d/other(2) = by 1", "d/same = same"]].concat());
    rename(c.v(1), "d", "e");
    assert_eq!(c.meet().iter().filter(|p| p.starts_with("e/")).count(), 8);
    edit(c.v(2), "e/same", b"changed");
    assert_eq!(c.meet().iter().filter(|p| p.contains("same")).collect::<Vec<_>>(), ["e/same = changed"]);
    for name in names(c.v(0), c.v(0).resolve(b"e").unwrap()) {
        remove(c.v(0), &format!("e/{name}"));
    }
    remove(c.v(0), "e");
    assert!(c.meet().is_empty());
}

#[test]
fn unlinking_both_names_on_two_devices_shows_the_content_as_lost() {
    let c = Cluster::new(2);
    create(c.v(0), "x", b"v");
    let (x, root) = (c.v(0).resolve(b"x").unwrap(), ROOT_INO);
    c.v(0).link(x, root, b"y").unwrap();
    c.meet();
    remove(c.v(0), "x");
    remove(c.v(1), "y");
    let shown = c.meet();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0] == "lost+found/" && shown[1].ends_with(" = v"), "{shown:?}");
    let dir = c.v(1).resolve(b"lost+found").unwrap();
    let name = names(c.v(1), dir).remove(0);
    rename(c.v(1), &format!("lost+found/{name}"), "found");
    assert_eq!(c.meet(), ["found = v"]);
}

#[test]
fn a_file_written_to_during_a_merge_becomes_the_later_version() {
    let c = Cluster::new(2);
    create(c.v(0), "x", b"0123456789");
    c.meet();
    let x = c.v(1).resolve(b"x").unwrap();
    let fh = c.v(1).open(x, true, false).unwrap();
    edit(c.v(0), "x", b"theirs");
    let said = c.v(0).announce().unwrap();
    c.v(1).write(x, 0, b"mine").unwrap();
    c.v(1).merge(&c.v(0).author(), &said.head).unwrap();
    assert_eq!(read_all(c.v(1), x), b"mine456789", "an open file keeps a consistent view");
    c.v(1).fsync(x, false).unwrap();
    c.v(1).write(x, 9, b"!").unwrap();
    c.v(1).release(fh).unwrap();
    assert_eq!(c.meet(), ["x = mine45678!", "x(1) = theirs"]);
}

#[test]
fn unsettled_content_over_a_merged_file_survives_a_crash() {
    let mut c = Cluster::new(2);
    let base = noise(3, 900_000);
    create(c.v(0), "x", &base);
    c.meet();
    let x = c.v(1).resolve(b"x").unwrap();
    c.v(1).open(x, true, false).unwrap();
    edit(c.v(0), "x", b"theirs");
    let said = c.v(0).announce().unwrap();
    assert_eq!(read_all(c.v(1), x).len(), base.len());
    c.v(1).write(x, 10, b"mine").unwrap();
    c.v(1).merge(&c.v(0).author(), &said.head).unwrap();
    c.v(1).fsync(x, false).unwrap();
    let expected = read_all(c.v(1), x);
    c.crash(1);
    let shown = c.meet();
    assert_eq!(shown.len(), 2);
    assert!(read_all(c.v(1), c.v(1).resolve(b"x").unwrap()) == expected);
}

#[test]
fn after_a_crash_a_merge_is_there_whole_or_not_at_all() {
    let mut c = Cluster::new(2);
    mkdir(c.v(0), "d");
    create(c.v(0), "d/x", b"v1");
    c.meet();
    edit(c.v(0), "d/x", b"vA");
    edit(c.v(1), "d/x", b"vB");
    rename(c.v(0), "d", "e");
    c.tell(0, 1);
    c.v(1).sync().unwrap(); // journaled, not sealed
    c.crash(1);
    assert_eq!(show(c.v(1)), ["e/", "e/x = vB", "e/x(1) = vA"]);
    c.meet();
    create(c.v(0), "e/z", b"z");
    c.tell(0, 1);
    c.crash(1);
    c.meet();
}

#[test]
fn what_cannot_be_had_is_an_error_and_not_a_wrong_answer() {
    let mut c = Cluster::new(2);
    create(c.v(0), "x", &noise(1, 5000));
    c.tell(0, 1);
    c.devices[1].others.cut_off.store(true, Ordering::Relaxed);
    let x = c.v(1).resolve(b"x").unwrap();
    assert_eq!(c.v(1).read(x, 0, 100).unwrap_err().kind(), Kind::Unreachable);
    create(c.v(0), "y", b"y");
    let said = c.v(0).announce().unwrap();
    let refused = c.v(1).merge(&c.v(0).author(), &said.head).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unreachable, "{}", refused.chain());
    c.devices[1].others.cut_off.store(false, Ordering::Relaxed);
    assert_eq!(c.meet().len(), 2);
    c.crash(1);
    c.meet();
}

#[test]
fn an_older_head_and_another_head_of_one_number_are_noticed() {
    let c = Cluster::new(2);
    create(c.v(0), "x", b"x");
    let first = c.v(0).announce().unwrap();
    create(c.v(0), "y", b"y");
    c.tell(0, 1);
    let author = c.v(0).author();
    assert!(c.v(1).merge(&author, &first.head).unwrap().rolled_back);
    assert_eq!(c.v(1).merge(&[3; 32], &first.head).unwrap_err().kind(), Kind::Corrupt);
    let (sealer, key) = (&c.v(0).sealer, c.v(0).ns.lock().author.key.clone());
    let opened = crate::seal::head::open_head(sealer, &author, &c.v(0).announce().unwrap().head).unwrap();
    let again =
        crate::seal::head::seal_head(sealer, &key, opened.writer, opened.seq, &opened.body, &Seeded::new(9)).unwrap();
    assert!(c.v(1).merge(&author, &again).unwrap().equivocated);
    create(c.v(0), "z", b"z");
    assert!(c.tell(0, 1).equivocated, "the proof stays");
}
