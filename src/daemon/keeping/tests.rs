//! What a keeper takes and what it refuses, without a network.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;

use super::{About, Fresh, Kept};
use crate::base::Kind;
use crate::base::VolumeId;
use crate::base::port::{Seeded, Time};
use crate::net::Peer;
use crate::seal::genesis::{Chunking, Dedup, Genesis};
use crate::seal::head::seal_head;
use crate::seal::membership::{Entry, Member, Membership, Role};
use crate::seal::{DeviceRoot, EpochSecret, Sealer, VolumeSecrets, box_key};

const ADMIN: Peer = Peer([0; 32]);
const READER: Peer = Peer([1; 32]);

/// A volume of two devices, kept in `dir`.
struct World {
    dir: tempfile::TempDir,
    id: VolumeId,
    devices: Vec<DeviceRoot>,
    sealer: Sealer,
    membership: Membership,
}

impl World {
    fn new() -> Self {
        let devices: Vec<_> = (1..=3).map(|n| DeviceRoot::new([n; 32])).collect();
        let nonce = [9; 32];
        let key = devices[0].admin_key(&nonce);
        let (name, created) = (String::new(), Time(0));
        let (chunking, dedup) = (Chunking::Fixed, Dedup::On);
        let genesis = Genesis { admin: key.public(), nonce, name, chunking, dedup, created };
        let (id, genesis) = genesis.sign(&key).unwrap();
        let secrets = VolumeSecrets::founded(id, genesis.clone(), EpochSecret::new([7; 32]));
        let mut membership = Membership::found(id, &key, member(id, &devices, 0, Role::Admin), Time(0)).unwrap();
        let reader = Entry::Add(member(id, &devices, 1, Role::Reader));
        membership.append(&key, vec![reader], Time(1)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let about = About { name: "kept".into(), quota: Some(1000), addresses: Vec::new() };
        let fresh = Fresh { about, genesis, membership: membership.bytes() };
        Kept::make(&dir.path().join("kept"), &fresh).unwrap();
        Self { dir, id, devices, sealer: secrets.sealer().unwrap(), membership }
    }

    fn open(&self) -> Kept {
        Kept::open(&self.dir.path().join("kept")).unwrap()
    }

    fn head(&self, writer: u32, seq: u64) -> Vec<u8> {
        let key = self.devices[writer as usize].author_key(self.id, 0);
        seal_head(&self.sealer, &key, writer, seq, b"body", &Seeded::new(seq)).unwrap()
    }
}

fn member(id: VolumeId, devices: &[DeviceRoot], writer: u32, role: Role) -> Member {
    let device = &devices[writer as usize];
    let (author, name) = (device.author_key(id, 0).public(), format!("d{writer}"));
    Member { writer, peer: [u8::try_from(writer).unwrap(); 32], author, box_key: box_key(device), role, name }
}

#[test]
fn only_the_newest_head_of_who_may_write_is_kept_and_only_from_its_author() {
    let world = World::new();
    let kept = world.open();
    let (old, new) = (world.head(0, 4), world.head(0, 5));
    assert!(kept.take_head(&ADMIN, &new).unwrap());
    assert!(!kept.take_head(&ADMIN, &new).unwrap(), "no news");
    assert!(!kept.take_head(&ADMIN, &old).unwrap(), "an older one gives no way");
    assert_eq!(kept.heads().unwrap(), std::slice::from_ref(&new));
    let kind = |from: &Peer, head: &[u8]| kept.take_head(from, head).unwrap_err().kind();
    assert_eq!(kind(&READER, &world.head(0, 6)), Kind::Denied, "the reader has no say in what the admin is up to");
    assert_eq!(kind(&READER, &world.head(1, 1)), Kind::Denied);
    assert_eq!(kind(&Peer([2; 32]), &world.head(2, 1)), Kind::Denied, "a stranger");
    let mut bent = world.head(0, 7);
    bent[100] ^= 1;
    assert_eq!(kind(&ADMIN, &bent), Kind::Corrupt);
    assert_eq!(kind(&ADMIN, b"nonsense"), Kind::Corrupt);
    let forked = seal_head(&world.sealer, &world.devices[0].author_key(world.id, 0), 0, 5, b"other", &Seeded::new(1));
    assert_eq!(kind(&ADMIN, &forked.unwrap()), Kind::Corrupt, "two under one number");
    drop(kept);
    assert_eq!(world.open().heads().unwrap(), [new]);
}

#[test]
fn members_change_by_records_that_verify_and_stay_changed() {
    let mut world = World::new();
    let kept = world.open();
    let stranger = Peer([2; 32]);
    assert!(kept.has(&ADMIN) && kept.is_reader(&READER) && !kept.has(&stranger));
    let before = world.membership.bytes();
    assert!(!kept.take_records(&before).unwrap(), "no news");
    let key = world.devices[0].admin_key(&[9; 32]);
    let added = Entry::Add(member(world.id, &world.devices, 2, Role::Storage));
    world.membership.append(&key, vec![added, Entry::Remove(1)], Time(2)).unwrap();
    let mut news = world.membership.bytes();
    assert!(kept.take_records(&news).unwrap());
    assert!(!kept.has(&READER) && kept.has(&stranger) && !kept.is_reader(&stranger));
    drop(kept);
    let kept = world.open();
    assert!(!kept.has(&READER) && kept.has(&stranger));
    *news.last_mut().unwrap() ^= 1;
    assert_eq!(kept.take_records(&news).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_block_that_is_found_damaged_counts_as_absent_and_can_be_given_again() {
    let world = World::new();
    let kept = world.open();
    let block = Bytes::from(vec![5; 5000]);
    let id = Sealer::bid(&block);
    kept.store.store(&[(id, block.clone())]).unwrap();
    assert_eq!(kept.holds(&[id]), [true]);
    assert_eq!(kept.block(&id).unwrap(), Some(block.clone()));
    // The same place with other bytes, as a bad disk would have it.
    kept.log().repair(&id, &[6; 5000]).unwrap();
    assert_eq!(kept.holds(&[id]), [true], "nobody has looked yet");
    assert_eq!(kept.block(&id).unwrap(), None);
    assert_eq!(kept.holds(&[id]), [false]);
    kept.keep_blocks(&[(id, block.clone())]).unwrap();
    assert_eq!(kept.holds(&[id]), [true]);
    assert_eq!(kept.block(&id).unwrap(), Some(block));
}
