//! Devices that are set back to an earlier state, or copied, and become other writers.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::*;
use super::*;

/// Device 1 has told everybody of `x` and then of `y`; it is set back to before `y`, and its last head before that is
/// what others still have of it.
fn set_back() -> (Cluster, Arc<[u8]>) {
    let mut c = Cluster::new(3);
    create(c.v(1), "x", b"x");
    c.meet();
    let backup = c.backup(1);
    create(c.v(1), "y", b"y");
    edit(c.v(1), "x", b"x as edited later");
    c.meet();
    let head = c.v(1).announced();
    c.restore(1, &backup);
    (c, head)
}

fn lines(all: &[&str]) -> Vec<String> {
    all.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn what_was_made_before_and_after_a_restored_backup_is_all_there() {
    let (c, head) = set_back();
    create(c.v(1), "z", b"z");
    let merged = c.tell(0, 1);
    assert!(merged.own_future && merged.touched == 0, "{merged:?}");
    let since = c.v(1).recall(&head).unwrap().unwrap();
    assert_eq!(merged.common.unwrap_or(since), since);
    assert!(c.v(1).is_set_back());
    assert!(c.reborn(1, since, 50) > 0);
    assert!(!c.v(1).is_set_back());
    assert_eq!(c.v(1).writes_as(), (50, 50));
    assert_eq!(c.meet(), lines(&["x = x as edited later", "y = y", "z = z"]));
}

/// It has made more changes than it lost: by numbers alone it looks newer than what is known of it.
#[test]
fn a_device_that_is_ahead_of_its_own_lost_past_is_found_out_by_both_sides() {
    let (c, head) = set_back();
    for n in 0..40 {
        create(c.v(1), &format!("z{n}"), b"z");
    }
    let said = c.tell(1, 0);
    assert!(said.set_back && said.touched == 0, "{said:?}");
    assert!(c.tell(0, 1).own_future);
    let since = c.v(1).recall(&head).unwrap().unwrap();
    c.reborn(1, since, 50);
    let shown = c.meet();
    assert_eq!(shown.len(), 42, "{shown:?}");
    assert_eq!(shown[..2], ["x = x as edited later", "y = y"]);
}

#[test]
fn edits_of_one_file_in_both_pasts_are_a_conflict_of_two_versions() {
    let (c, head) = set_back();
    edit(c.v(1), "x", b"x as edited after the restore");
    let since = c.v(1).recall(&head).unwrap().unwrap();
    c.reborn(1, since, 50);
    let shown = c.meet();
    assert_eq!(shown[..1], ["x = x as edited after the restore"]);
    assert!(shown.iter().any(|line| line.ends_with("= x as edited later")), "{shown:?}");
    assert_eq!(shown.len(), 3);
}

#[test]
fn it_may_be_opened_again_and_again_before_it_meets_anybody() {
    let (mut c, head) = set_back();
    for n in 0..4 {
        create(c.v(1), &format!("z{n}"), b"z");
        if n % 2 == 0 { c.crash(1) } else { drop(c.backup(1)) }
    }
    let since = c.v(1).recall(&head).unwrap().unwrap();
    c.reborn(1, since, 50);
    c.crash(1);
    assert_eq!(c.v(1).writes_as(), (50, 50), "it is in the journal");
    drop(c.backup(1));
    assert_eq!(c.v(1).writes_as(), (50, 50), "and in the checkpoint");
    let shown = c.meet();
    assert_eq!(shown.len(), 6, "{shown:?}");
    create(c.v(1), "later", b"l");
    assert_eq!(c.meet().len(), 7);
}

#[test]
fn what_is_being_written_meanwhile_is_kept() {
    let (c, head) = set_back();
    create(c.v(1), "z", b"before");
    let ino = c.v(1).resolve(b"z").unwrap();
    let fh = c.v(1).open(ino, true, false).unwrap();
    c.v(1).write(ino, 6, b" and after").unwrap();
    let since = c.v(1).recall(&head).unwrap().unwrap();
    c.reborn(1, since, 50);
    c.v(1).write(ino, 16, b"wards").unwrap();
    c.v(1).release(fh).unwrap();
    assert_eq!(c.meet(), lines(&["x = x as edited later", "y = y", "z = before and afterwards"]));
}

#[test]
fn removals_of_both_pasts_count() {
    let mut c = Cluster::new(2);
    for name in ["a", "b", "c"] {
        create(c.v(1), name, name.as_bytes());
    }
    c.meet();
    let backup = c.backup(1);
    remove(c.v(1), "a");
    c.meet();
    let head = c.v(1).announced();
    c.restore(1, &backup);
    remove(c.v(1), "b");
    let since = c.v(1).recall(&head).unwrap().unwrap();
    c.reborn(1, since, 50);
    assert_eq!(c.meet(), lines(&["c = c"]));
}

#[test]
fn a_copied_machine_and_its_original_both_go_on() {
    let mut c = Cluster::new(3);
    create(c.v(1), "x", b"x");
    c.meet();
    let copy = c.backup(1);
    create(c.v(1), "original", b"o");
    c.tell(1, 0);
    let head = c.v(1).announced();
    c.restore(1, &copy); // from now on device 1 is the copy
    create(c.v(1), "copy", b"c");
    let since = c.v(1).recall(&head).unwrap().unwrap();
    c.reborn(1, since, 50);
    assert_eq!(c.meet(), lines(&["copy = c", "original = o", "x = x"]));
}

#[test]
fn who_only_opens_its_volume_again_or_has_old_heads_told_was_not_set_back() {
    let mut c = Cluster::new(3);
    let mut heads = vec![c.v(1).announce().unwrap().head];
    for n in 0..20 {
        create(c.v(1), &format!("f{n}"), b"f");
        heads.push(c.v(1).announce().unwrap().head);
        if n % 3 == 0 {
            c.tell(1, 0);
        }
        if n % 2 == 0 {
            c.crash(1);
        } else {
            drop(c.backup(1));
        }
        assert!(heads.iter().all(|head| c.v(1).recall(head).unwrap().is_none()), "{n}");
    }
    let author = c.v(1).author();
    assert!(heads.iter().all(|head| !c.v(2).merge(&author, head).unwrap().set_back));
    c.meet();
    assert!(heads.iter().all(|head| !c.v(0).merge(&author, head).unwrap().set_back));
    assert!(!c.v(1).is_set_back());
}

#[test]
fn a_head_of_somebody_else_is_no_memory() {
    let c = Cluster::new(2);
    let head = c.v(0).announce().unwrap().head;
    assert_eq!(c.v(1).recall(&head).unwrap_err().kind(), Kind::Corrupt);
}

/// Devices work, meet, are set back to any earlier backup and are opened again, at random: every file ever told to
/// somebody, or made and not lost with the disk, is there in the end.
#[test]
fn whatever_is_set_back_when_nothing_that_somebody_has_is_lost() {
    for seed in 0..12_u64 {
        let entropy = Seeded::new(seed);
        let random = |n: u64| {
            let mut eight = [0; 8];
            crate::base::port::Entropy::fill(&entropy, &mut eight);
            u64::from_le_bytes(eight) % n
        };
        let mut c = Cluster::new(3);
        // What each device has, and its backups with what they have.
        let mut has: Vec<BTreeSet<String>> = vec![BTreeSet::new(); 3];
        let mut backups: Vec<Vec<(tempfile::TempDir, BTreeSet<String>)>> = (0..3).map(|_| Vec::new()).collect();
        // The newest head of each author that somebody took.
        let mut heads = BTreeMap::<[u8; 32], Arc<[u8]>>::new();
        let (mut writer, mut count) = (100, 0);
        let mut remember = |c: &Cluster, heads: &BTreeMap<_, Arc<[u8]>>, at: usize| {
            let head = heads.get(&c.v(at).author());
            if let Some(since) = head.and_then(|head| c.v(at).recall(head).unwrap()) {
                c.reborn(at, since, writer);
                writer += 1;
            }
        };
        for step in 0..60 {
            let at = random(3) as usize;
            match random(10) {
                0..4 => {
                    count += 1;
                    let name = format!("f{count}");
                    create(c.v(at), &name, name.as_bytes());
                    has[at].insert(name);
                }
                4 => c.crash(at),
                5 => {
                    let kept = c.backup(at);
                    let now = has[at].clone();
                    backups[at].push((kept, now));
                }
                6 if at > 0 && !backups[at].is_empty() => {
                    let which = random(backups[at].len() as u64) as usize;
                    has[at].clone_from(&backups[at][which].1);
                    c.restore(at, &backups[at][which].0);
                }
                _ => {
                    let to = (at + 1 + random(2) as usize) % 3;
                    // Whoever meets is shown its own newest head first.
                    remember(&c, &heads, at);
                    remember(&c, &heads, to);
                    let merged = c.tell(at, to);
                    let fine = !merged.equivocated && !merged.diverged && !merged.own_future && !merged.set_back;
                    assert!(fine, "seed {seed} step {step}: {merged:?}");
                    heads.insert(c.v(at).author(), c.v(at).announced());
                    let more = has[at].clone();
                    has[to].extend(more);
                }
            }
        }
        (0..3).for_each(|at| remember(&c, &heads, at));
        let shown: BTreeSet<_> = c.meet().into_iter().collect();
        for name in has.iter().flatten() {
            assert!(shown.contains(&format!("{name} = {name}")), "seed {seed}: {name} is lost; {shown:?}");
        }
    }
}
