//! Membership: golden bytes, branches in every order, authority, hostile bytes.

use super::*;
use crate::base::WriterIndex;
use crate::seal::boxed::BOXED;
use crate::seal::secret::Secret;

const VOLUME: VolumeId = VolumeId([7; 16]);

fn key(n: u8) -> AuthorKey {
    AuthorKey::from_seed(&Secret::take(&mut [n; 32]))
}

/// The device `n`: its author key is `key(n)`.
fn member(writer: WriterIndex, n: u8, role: Role) -> Member {
    Member {
        writer,
        peer: [n; 32],
        author: key(n).public(),
        box_key: [n ^ 0xff; 32],
        role,
        name: format!("device {n}"),
    }
}

fn founded() -> Membership {
    Membership::found(VOLUME, &key(100), member(0, 0, Role::Admin), Time(1)).unwrap()
}

fn add(to: &mut Membership, by: u8, writer: WriterIndex, n: u8, role: Role) {
    to.append(&key(by), vec![Entry::Add(member(writer, n, role))], Time(2)).unwrap();
}

fn indexes(of: &Membership) -> Vec<WriterIndex> {
    of.table().members().map(|m| m.writer).collect()
}

fn reopened(m: &Membership) -> Membership {
    Membership::open(VOLUME, key(100).public(), &m.bytes()).unwrap()
}

#[test]
fn it_is_the_same_after_storing_and_sending() {
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Writer);
    add(&mut m, 100, 2, 2, Role::Reader);
    m.append(&key(0), vec![Entry::Role(1, Role::Admin), Entry::Remove(2)], Time(3)).unwrap();
    let again = reopened(&m);
    assert_eq!((again.table(), again.digest(), again.bytes()), (m.table(), m.digest(), m.bytes()));
    assert_eq!(indexes(&m), [0, 1]);
    assert_eq!(m.table().member(1).unwrap().role, Role::Admin);
    assert!(m.table().member(2).is_none() && m.table().ever(2).is_some());
}

#[test]
fn records_of_a_golden_membership_keep_their_bytes() {
    let mut m = founded();
    m.append(&key(0), vec![Entry::Add(member(1, 1, Role::Writer)), Entry::Role(1, Role::Reader)], Time(2)).unwrap();
    m.append(&key(0), vec![Entry::Remove(1), Entry::Epoch { epoch: 1 << 16, boxes: vec![(0, [5; BOXED])] }], Time(3))
        .unwrap();
    let shown = crate::base::Bid(hash(&[&m.bytes()])).to_string();
    assert_eq!((m.bytes().len(), shown.as_str()), (GOLDEN_LEN, GOLDEN));
    assert_eq!(reopened(&m).bytes(), m.bytes());
}

const GOLDEN_LEN: usize = 817;
const GOLDEN: &str = "2b2cca9fbcd06d9e173277532fc4461d45cfacfa7de13791bb5e0540f40ab146";

#[test]
fn only_admins_change_it() {
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Writer);
    for stranger in [1, 9] {
        let error = m.append(&key(stranger), vec![Entry::Remove(0)], Time(3)).unwrap_err();
        assert_eq!(error.kind(), Kind::NotPermitted);
    }
    // The same, made by hand and sent.
    let forged = Record::sign(VOLUME, &key(1), &[m.records[1].hash], 2, Time(3), vec![Entry::Remove(0)]).unwrap();
    assert_eq!(m.merge(&join(&[forged])).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(indexes(&m), [0, 1]);
}

#[test]
fn an_admin_that_was_removed_or_demoted_changes_nothing_afterwards() {
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Admin);
    add(&mut m, 0, 2, 2, Role::Admin);
    m.append(&key(0), vec![Entry::Remove(1), Entry::Role(2, Role::Writer)], Time(3)).unwrap();
    for former in [1, 2] {
        assert_eq!(m.append(&key(former), vec![Entry::Remove(0)], Time(4)).unwrap_err().kind(), Kind::NotPermitted);
    }
}

#[test]
fn of_two_branches_the_removals_unite_whatever_the_order() {
    let mut base = founded();
    add(&mut base, 0, 1, 1, Role::Admin);
    add(&mut base, 0, 2, 2, Role::Writer);
    let (mut a, mut b) = (base.clone(), base.clone());
    a.append(&key(0), vec![Entry::Remove(1)], Time(5)).unwrap();
    b.append(&key(1), vec![Entry::Remove(2)], Time(5)).unwrap();
    add(&mut b, 1, (1 << 16) + 1, 3, Role::Writer);
    let (mut ab, mut ba) = (a.clone(), b.clone());
    assert_eq!(ab.merge(&b.bytes()).unwrap(), 2);
    assert_eq!(ba.merge(&a.bytes()).unwrap(), 1);
    assert_eq!((ab.table(), ab.bytes(), ab.digest()), (ba.table(), ba.bytes(), ba.digest()));
    assert_eq!(indexes(&ab), [0, 0x1_0001], "what the removed admin did apart from it stays");
    // The next record joins the branches.
    add(&mut ab, 0, 3, 4, Role::Reader);
    assert_eq!(ab.records.last().unwrap().parents.len(), 2);
    assert_eq!(ba.merge(&ab.bytes()).unwrap(), 1);
    assert_eq!(reopened(&ba).digest(), ab.digest());
    // Nobody comes back under an old index.
    assert!(ab.append(&key(0), vec![Entry::Add(member(2, 9, Role::Writer))], Time(9)).is_err());
}

#[test]
fn two_admins_apart_never_give_one_index_or_epoch_twice() {
    let mut base = founded();
    add(&mut base, 0, 1, 1, Role::Admin);
    let table = base.table();
    assert_eq!((table.next_writer(0), table.next_writer(1)), (Some(2), Some(1 << 16)));
    assert_eq!((table.next_epoch(0), table.next_epoch(1)), (Some(1 << 16), Some((1 << 16) + 1)));
    assert_eq!(table.next_writer(1 << 16), None, "a device let in by another than the founder has no lane");
    let foreign = vec![Entry::Add(member(5, 5, Role::Writer))];
    assert_eq!(base.append(&key(1), foreign, Time(5)).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn how_many_copies_and_how_much_room_are_written_down_and_the_later_word_counts() {
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Storage);
    assert_eq!((m.table().copies(), m.table().room(1)), (0, None));
    m.append(&key(0), vec![Entry::Copies(2), Entry::Room(1, 40)], Time(3)).unwrap();
    assert_eq!((m.table().copies(), m.table().room(1)), (2, Some(40)));
    assert_eq!(reopened(&m).table(), m.table());
    let bytes = &m.records.last().unwrap().bytes;
    assert!(bytes.windows(10).any(|w| w == [2, 0, 5, 2, 6, 1, 0, 0, 0, 40]), "{bytes:?}");
    for bad in [Entry::Copies(MAX_COPIES + 1), Entry::Room(1, 64), Entry::Room(9, 40)] {
        assert_eq!(m.append(&key(0), vec![bad], Time(4)).unwrap_err().kind(), Kind::Invalid);
    }
    assert_eq!(m.append(&key(1), vec![Entry::Copies(1)], Time(4)).unwrap_err().kind(), Kind::NotPermitted);
    // Two admins apart: one of them, the same everywhere.
    add(&mut m, 0, 2, 2, Role::Admin);
    let (mut a, mut b) = (m.clone(), m);
    a.append(&key(0), vec![Entry::Copies(3)], Time(5)).unwrap();
    b.append(&key(2), vec![Entry::Copies(4)], Time(5)).unwrap();
    a.merge(&b.bytes()).unwrap();
    b.merge(&a.bytes()).unwrap();
    assert_eq!(a.table(), b.table());
    a.append(&key(0), vec![Entry::Copies(0)], Time(6)).unwrap();
    assert_eq!(a.table().copies(), 0);
}

#[test]
fn a_box_that_says_now_this_and_now_that_does_not_fill_the_membership() {
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Storage);
    assert_eq!(m.room_entry(1, 0), None);
    assert_eq!(m.room_entry(1, (1 << 40) - 1), Some(Entry::Room(1, 39)));
    let mut written = 0;
    for n in 0..100_u64 {
        let Some(entry) = m.room_entry(1, 1 << (30 + n % 2)) else { continue };
        m.append(&key(0), vec![entry], Time(3)).unwrap();
        written += 1;
    }
    assert_eq!(written, MOST_ROOMS);
}

#[test]
fn an_author_key_belongs_to_one_member() {
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Writer);
    assert!(m.append(&key(0), vec![Entry::Add(member(2, 1, Role::Writer))], Time(5)).is_err());
}

#[test]
fn a_device_that_goes_on_under_another_index_is_one_device() {
    let again = |of: WriterIndex, writer, n: u8| {
        // By whom it was until now.
        let before = [0, 1, 11, 12].get(of as usize).map_or(99, |n| *n);
        let proof = prove(VOLUME, &key(before), &key(n).public());
        Entry::Again { of, writer, author: key(n).public(), proof }
    };
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Writer);
    m.append(&key(0), vec![again(1, 2, 11)], Time(3)).unwrap();
    m.append(&key(0), vec![again(2, 3, 12)], Time(4)).unwrap();
    assert_eq!(reopened(&m).table(), m.table());
    assert_eq!(indexes(&m), [0, 1, 2, 3]);
    assert_eq!((m.table().first(3), m.table().same(1).count()), (1, 3));
    let now = m.table().member(3).unwrap();
    assert_eq!((now.peer, now.name.as_str(), now.author), ([1; 32], "device 1", key(12).public()));
    // Whatever is said of one index is said of all.
    m.append(&key(0), vec![Entry::Role(2, Role::Reader)], Time(5)).unwrap();
    assert!((1..4).all(|writer| m.table().member(writer).unwrap().role == Role::Reader));
    m.append(&key(0), vec![Entry::Remove(1)], Time(6)).unwrap();
    assert_eq!(indexes(&m), [0]);
    // Nobody who is not there, and no key twice.
    let stolen = prove(VOLUME, &key(1), &key(13).public());
    let stolen = Entry::Again { of: 0, writer: 5, author: key(13).public(), proof: stolen };
    for bad in [again(9, 4, 13), again(0, 1, 13), again(0, 5, 11), again(0, 1 << 20, 13), stolen] {
        assert!(m.append(&key(0), vec![bad], Time(7)).is_err());
    }
}

#[test]
fn an_admin_that_does_not_know_of_a_removal_cannot_bring_anybody_back() {
    let proof = prove(VOLUME, &key(2), &key(12).public());
    let again = Entry::Again { of: 2, writer: (1 << 16) + 5, author: key(12).public(), proof };
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Admin);
    add(&mut m, 0, 2, 2, Role::Writer);
    let (mut here, mut there) = (m.clone(), m);
    here.append(&key(0), vec![Entry::Remove(2)], Time(5)).unwrap();
    there.append(&key(1), vec![again], Time(6)).unwrap();
    assert_eq!(indexes(&there), [0, 1, 2, (1 << 16) + 5]);
    here.merge(&there.bytes()).unwrap();
    there.merge(&here.bytes()).unwrap();
    assert_eq!((indexes(&here), here.table()), (vec![0, 1], there.table()));
}

#[test]
fn an_admin_under_another_index_keeps_its_lane_and_two_that_were_asked_give_one_index() {
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Admin);
    let lane = 1 << 16;
    let proof = prove(VOLUME, &key(1), &key(11).public());
    let again = Entry::Again { of: 1, writer: lane + 7, author: key(11).public(), proof };
    m.append(&key(1), vec![again], Time(3)).unwrap();
    assert_eq!(m.table().next_writer(lane + 7), Some(lane));
    assert_eq!(m.table().next_epoch(lane + 7), m.table().next_epoch(1));
    m.append(&key(11), vec![Entry::Add(member(lane, 3, Role::Writer))], Time(4)).unwrap();
    let (mut here, mut there) = (m.clone(), m);
    let proof = prove(VOLUME, &key(3), &key(13).public());
    let again = |writer| vec![Entry::Again { of: lane, writer, author: key(13).public(), proof }];
    here.append(&key(0), again(9), Time(5)).unwrap();
    there.append(&key(11), again(lane + 1), Time(6)).unwrap();
    here.merge(&there.bytes()).unwrap();
    there.merge(&here.bytes()).unwrap();
    assert_eq!(here.table(), there.table());
    assert_eq!(here.table().everyone().filter(|(m, _)| m.author == key(13).public()).count(), 1);
    assert!([9, lane + 1].iter().all(|writer| here.table().first(*writer) == lane), "both stand for it");
    let mut out = here.clone();
    let other = if here.table().ever(9).is_some() { lane + 1 } else { 9 };
    out.append(&key(0), vec![Entry::Remove(other)], Time(8)).unwrap();
    assert_eq!(indexes(&out), [0, 1, lane + 7]);
    // Somewhere in the middle, and round the end.
    assert_eq!(here.table().next_writer_from(0, 0xffff), Some(0xffff));
    assert_eq!(here.table().next_writer_from(1, 0), Some(lane + 2));
}

#[test]
fn a_record_without_its_parents_is_left_out_and_the_others_are_taken() {
    let mut m = founded();
    let start = m.clone();
    add(&mut m, 0, 1, 1, Role::Writer);
    add(&mut m, 0, 2, 2, Role::Writer);
    let mut late = start.clone();
    assert!(late.merge(&join(&m.records[2..])).is_err());
    assert_eq!(indexes(&late), [0]);
    assert_eq!(late.merge(&m.bytes()).unwrap(), 2);
    assert_eq!(late.merge(&m.bytes()).unwrap(), 0);
}

#[test]
fn another_founder_another_volume_and_a_second_first_record_are_refused() {
    let m = founded();
    assert!(Membership::open(VOLUME, key(101).public(), &m.bytes()).is_err());
    assert!(Membership::open(VolumeId([8; 16]), key(100).public(), &m.bytes()).is_err());
    assert!(Membership::open(VOLUME, key(100).public(), &[]).is_err());
    let other = Membership::found(VOLUME, &key(100), member(0, 50, Role::Admin), Time(1)).unwrap();
    assert!(m.clone().merge(&other.bytes()).is_err());
    assert!(Membership::found(VOLUME, &key(100), member(0, 0, Role::Writer), Time(1)).is_err());
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let mut m = founded();
    add(&mut m, 0, 1, 1, Role::Writer);
    let bytes = m.bytes();
    for at in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[at / 8] ^= 1 << (at % 8);
        assert!(Membership::open(VOLUME, key(100).public(), &bad).is_err(), "bit {at}");
    }
    let whole: Vec<usize> = vec![0, 4 + m.records[0].bytes.len(), bytes.len()];
    for cut in (0..bytes.len()).filter(|cut| !whole.contains(cut)) {
        assert!(Membership::open(VOLUME, key(100).public(), &bytes[..cut]).is_err());
    }
}

#[test]
fn pieces_hold_everything_in_order_within_the_limit() {
    let mut m = founded();
    (1..20).for_each(|n| add(&mut m, 0, u32::from(n), n, Role::Writer));
    let pieces = m.pieces(1000);
    assert!(pieces.len() > 3 && pieces.iter().all(|p| p.len() <= 1000));
    assert_eq!(pieces.concat(), m.bytes());
    let mut late = founded();
    for piece in &pieces {
        late.merge(piece).unwrap();
    }
    assert_eq!(late.digest(), m.digest());
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_are_no_membership(bytes: Vec<u8>) {
        assert!(Membership::open(VOLUME, [1; 32], &bytes).is_err());
        assert!(Record::open(VOLUME, &bytes).is_none());
    }

    /// Random edits on three replicas that exchange at random: all end with one table.
    #[test]
    fn replicas_that_exchanged_everything_agree(steps in proptest::collection::vec((0..3_usize, 0..3_usize, 0..5_u8), 0..24)) {
        let mut base = founded();
        add(&mut base, 0, 1, 1, Role::Admin);
        add(&mut base, 0, 2, 2, Role::Admin);
        let mut replicas = [base.clone(), base.clone(), base];
        let mut next = 10_u8;
        for (who, other, what) in steps {
            let by = u8::try_from(who).unwrap();
            let lane = u32::from(by);
            let entry = match what {
                0 => {
                    next += 1;
                    replicas[who].table().next_writer(lane).map(|w| Entry::Add(member(w, next, Role::Writer)))
                }
                1 => replicas[who].table().members().map(|m| m.writer).max().map(Entry::Remove),
                2 => Some(Entry::Role(u32::try_from(other).unwrap(), Role::Writer)),
                3 => replicas[who].table().next_epoch(lane).map(|epoch| Entry::Epoch { epoch, boxes: Vec::new() }),
                _ => None,
            };
            if let Some(entry) = entry {
                // An admin that is none any more is refused; that is fine here.
                drop(replicas[who].append(&key(by), vec![entry], Time(0)));
            } else {
                let theirs = replicas[other].bytes();
                replicas[who].merge(&theirs).unwrap();
            }
        }
        for _ in 0..2 {
            for (a, b) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
                let bytes = replicas[b].bytes();
                replicas[a].merge(&bytes).unwrap();
            }
        }
        for replica in &replicas[1..] {
            assert_eq!((replica.table(), replica.digest()), (replicas[0].table(), replicas[0].digest()));
        }
        assert_eq!(reopened(&replicas[0]).table(), replicas[1].table());
    }
}
