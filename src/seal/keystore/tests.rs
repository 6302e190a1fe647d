//! Tests of the keystore: round trips, refusals, damage, hostile headers, file handling.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::base::{hash, port::Seeded};

fn entropy() -> Arc<dyn port::Entropy> {
    Arc::new(Seeded::new(1))
}

fn secrets(n: u8) -> VolumeSecrets {
    let epochs = (0..u32::from(n)).map(|e| (e, EpochSecret::new([n; 32]))).collect();
    VolumeSecrets {
        id: VolumeId([n; 16]),
        epochs,
        incarnation: u32::from(n) * 7,
        genesis: vec![n; usize::from(n) * 9],
        writer: u32::from(n) * 3,
        membership: vec![n; usize::from(n) * 5],
        addresses: vec![([n; 32], vec!["a".repeat(n.into()), String::new()]); usize::from(n % 3)],
    }
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    (dir, path)
}

fn kind(result: Result<Keystore>) -> Kind {
    result.unwrap_err().kind()
}

fn same(a: &Keystore, b: &Keystore) -> bool {
    let plain = |k: &Keystore| body::encode(&k.device, &k.volumes).unwrap();
    *plain(a) == *plain(b)
}

#[test]
fn without_a_passphrase_it_opens_again_and_only_the_owner_may_read_it() {
    let (_dir, path) = directory();
    let mut store = Keystore::create(&path, None, entropy()).unwrap();
    store.volumes = vec![secrets(1), secrets(3)];
    store.save().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!Keystore::needs_passphrase(&path).unwrap());
    let again = Keystore::open(&path, None).unwrap();
    assert!(same(&store, &again));
    assert_eq!(again.volume(VolumeId([3; 16])).unwrap().sealer().unwrap().epoch(), 2);
    assert!(again.volume(VolumeId([4; 16])).is_none());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(kind(Keystore::open(&path, None)), Kind::NotPermitted);
}

#[test]
fn with_a_passphrase_only_that_passphrase_opens_it() {
    let (_dir, path) = directory();
    let right = Passphrase::new("right");
    let store = Keystore::create_with(&path, Some(&right), Cost::FLOOR, entropy()).unwrap();
    assert!(Keystore::needs_passphrase(&path).unwrap());
    assert!(same(&store, &Keystore::open(&path, Some(&right)).unwrap()));
    assert_eq!(kind(Keystore::open(&path, None)), Kind::Denied);
    assert_eq!(kind(Keystore::open(&path, Some(&Passphrase::new("wrong")))), Kind::Denied);
    assert_eq!(kind(Keystore::open(&path, Some(&Passphrase::new("")))), Kind::Denied);
}

#[test]
fn saving_needs_no_passphrase_and_repeats_no_nonce() {
    let (_dir, path) = directory();
    let right = Passphrase::new("right");
    let mut store = Keystore::create_with(&path, Some(&right), Cost::FLOOR, entropy()).unwrap();
    let nonce = |bytes: &[u8]| bytes[lock::HEADER..lock::HEADER + aead::XNONCE].to_vec();
    let before = fs::read(&path).unwrap();
    store.volumes.push(secrets(2));
    store.save().unwrap();
    let after = fs::read(&path).unwrap();
    assert_eq!(before[..lock::HEADER], after[..lock::HEADER]);
    assert_ne!(nonce(&before), nonce(&after));
    assert!(same(&store, &Keystore::open(&path, Some(&right)).unwrap()));
}

#[test]
fn a_passphrase_can_be_set_changed_and_dropped() {
    let (_dir, path) = directory();
    let (one, two) = (Passphrase::new("one"), Passphrase::new("two"));
    let mut store = Keystore::create_with(&path, Some(&one), Cost::FLOOR, entropy()).unwrap();
    store.change_passphrase(Some(&two)).unwrap();
    assert_eq!(kind(Keystore::open(&path, Some(&one))), Kind::Denied);
    assert!(same(&store, &Keystore::open(&path, Some(&two)).unwrap()));
    assert_eq!(store.change_passphrase(Some(&Passphrase::new(""))).unwrap_err().kind(), Kind::Invalid);
    store.save().unwrap();
    assert!(Keystore::open(&path, Some(&two)).is_ok(), "the refused change left the lock alone");
    store.change_passphrase(None).unwrap();
    assert!(same(&store, &Keystore::open(&path, None).unwrap()));
}

#[test]
fn an_existing_file_is_never_replaced_by_create() {
    let (_dir, path) = directory();
    fs::write(&path, b"precious").unwrap();
    assert_eq!(kind(Keystore::create(&path, None, entropy())), Kind::Exists);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_missing_file_and_a_missing_directory_are_not_found() {
    let (_dir, path) = directory();
    assert_eq!(kind(Keystore::open(&path, None)), Kind::NotFound);
    assert_eq!(Keystore::needs_passphrase(&path).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(kind(Keystore::create(&path.join("deeper"), None, entropy())), Kind::NotFound);
}

#[test]
fn a_leftover_temporary_file_or_symlink_does_not_stop_or_mislead_a_save() {
    let (dir, path) = directory();
    let target = dir.path().join("target");
    fs::write(&target, b"untouched").unwrap();
    std::os::unix::fs::symlink(&target, dir.path().join(".keys.new")).unwrap();
    let store = Keystore::create(&path, None, entropy()).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"untouched");
    fs::write(dir.path().join(".keys.new"), b"leftover").unwrap();
    store.save().unwrap();
    assert!(same(&store, &Keystore::open(&path, None).unwrap()));
    assert!(!dir.path().join(".keys.new").exists());
}

#[test]
fn every_damaged_byte_and_every_truncation_is_corrupt() {
    let (_dir, path) = directory();
    let mut store = Keystore::create(&path, None, entropy()).unwrap();
    store.volumes = vec![secrets(2)];
    store.save().unwrap();
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        assert_eq!(kind(Keystore::open(&path, None)), Kind::Corrupt, "byte {at}");
        fs::write(&path, &good[..at]).unwrap();
        assert_eq!(kind(Keystore::open(&path, None)), Kind::Corrupt, "cut at {at}");
    }
}

/// The directory refuses the new file: the old one must stay as it is, and open.
#[test]
fn a_failed_save_leaves_the_old_file_whole() {
    let (dir, path) = directory();
    let mut store = Keystore::create(&path, None, entropy()).unwrap();
    let before = fs::read(&path).unwrap();
    store.volumes.push(secrets(1));
    let blocker = dir.path().join(".keys.new");
    fs::create_dir(&blocker).unwrap();
    assert_eq!(store.save().unwrap_err().kind(), Kind::IsDirectory);
    assert!(store.change_passphrase(Some(&Passphrase::new("p"))).is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::remove_dir(&blocker).unwrap();
    store.save().unwrap();
    assert!(same(&store, &Keystore::open(&path, None).unwrap()), "without passphrase still");
}

#[test]
fn a_file_beyond_the_limit_is_refused_before_it_is_read_whole() {
    let (_dir, path) = directory();
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(kind(Keystore::open(&path, None)), Kind::Corrupt);
}

proptest::proptest! {
    #[test]
    fn any_body_round_trips_and_no_prefix_of_it_decodes(
        root: [u8; 32], incarnation: u32, epochs: Vec<(u32, [u8; 32])>, genesis: Vec<u8>,
        writer: u32, membership: Vec<u8>, addresses in proptest::collection::vec(proptest::prelude::any::<([u8; 32], Vec<String>)>(), 0..3)
    ) {
        let epochs = epochs.into_iter().map(|(n, bytes)| (n, EpochSecret::new(bytes))).collect();
        let volume = VolumeSecrets { id: VolumeId([1; 16]), epochs, incarnation, genesis, writer, membership, addresses };
        let plain = body::encode(&DeviceRoot::new(root), &[volume, secrets(2)]).unwrap();
        let (device, volumes) = body::decode(&plain).unwrap();
        assert_eq!(*body::encode(&device, &volumes).unwrap(), *plain);
        assert!((0..plain.len()).all(|n| body::decode(&plain[..n]).is_none()));
        assert!(body::decode(&[plain.as_slice(), &[0]].concat()).is_none());
    }

    #[test]
    fn arbitrary_headers_and_bodies_never_panic(bytes: Vec<u8>) {
        let _ = Header::parse(&[b"lvgkeys1".as_slice(), &bytes].concat());
        let _ = body::decode(&[&[1], bytes.as_slice()].concat());
        let _ = body::decode(&[&[2], bytes.as_slice()].concat());
    }
}

/// The damage is in the body, the passphrase is right: that is Corrupt, not Denied.
#[test]
fn damage_is_told_from_a_wrong_passphrase() {
    let (_dir, path) = directory();
    let right = Passphrase::new("right");
    Keystore::create_with(&path, Some(&right), Cost::FLOOR, entropy()).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(kind(Keystore::open(&path, Some(&right))), Kind::Corrupt);
    assert_eq!(kind(Keystore::open(&path, Some(&Passphrase::new("wrong")))), Kind::Denied);
}

/// An attacker recomputes the checksum; the bounds must still hold, and no time be spent.
#[test]
fn a_hostile_cost_is_refused_before_any_work() {
    let (_dir, path) = directory();
    Keystore::create_with(&path, Some(&Passphrase::new("p")), Cost::FLOOR, entropy()).unwrap();
    let good = fs::read(&path).unwrap();
    let hostile = |at: usize, value: u32| {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let sum = hash(&[&bad[..72]]);
        bad[72..88].copy_from_slice(&sum[..16]);
        Header::parse(&bad).is_none()
    };
    for (at, value) in [(12, u32::MAX), (12, (256 << 10) + 1), (12, (19 << 10) - 1), (12, 0)] {
        assert!(hostile(at, value), "memory {value}");
    }
    assert!([0, 1, 17, u32::MAX].into_iter().all(|n| hostile(16, n)), "passes");
    assert!([0, 17, u32::MAX].into_iter().all(|n| hostile(20, n)), "lanes");
    assert!(!hostile(16, 3), "a cost within bounds parses");
    assert!(hostile(8, 0) && hostile(8, 2) && hostile(8, 257), "kinds and reserved bytes");
}

#[test]
fn costs_out_of_bounds_cannot_be_chosen() {
    let (_dir, path) = directory();
    let p = Passphrase::new("p");
    for cost in [
        Cost { memory_kib: 1024, ..Cost::FLOOR },
        Cost { passes: 1, ..Cost::FLOOR },
        Cost { lanes: 0, ..Cost::FLOOR },
        Cost { memory_kib: 1 << 30, ..Cost::FLOOR },
    ] {
        assert_eq!(kind(Keystore::create_with(&path, Some(&p), cost, entropy())), Kind::Invalid);
    }
    assert_eq!(kind(Keystore::create(&path, Some(&Passphrase::new("")), entropy())), Kind::Invalid);
    assert!(!path.exists());
}

#[test]
fn hostile_counts_in_the_body_allocate_nothing() {
    let mut plain = vec![1];
    plain.extend_from_slice(&[7; 32]);
    plain.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(body::decode(&plain).is_none());
    plain.extend_from_slice(&[0; 20]);
    plain.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(body::decode(&plain).is_none());
}

/// Written before volumes were shared: the same device and keys, nobody else.
#[test]
fn a_store_of_the_first_version_opens_and_is_saved_as_the_second() {
    let (_dir, path) = directory();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fstests/format/keystore-1.hex")).unwrap();
    let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
    let bytes: Vec<u8> = text.trim().as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let store = Keystore::open(&path, None).unwrap();
    let [first, second] = store.volumes.as_slice() else { panic!("two volumes") };
    assert_eq!((first.incarnation, first.writer, first.genesis.len(), first.epochs.len()), (9, 0, 20, 2));
    assert!(first.membership.is_empty() && first.addresses.is_empty() && second.epochs.is_empty());
    store.save().unwrap();
    assert!(same(&store, &Keystore::open(&path, None).unwrap()));
}

#[test]
fn nothing_secret_is_in_the_file_or_in_debug() {
    let (_dir, path) = directory();
    let mut store = Keystore::create(&path, None, entropy()).unwrap();
    store.volumes = vec![secrets(0xab)];
    store.save().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(8).any(|w| w == [0xab; 8]));
    let shown = format!("{store:?} {:?} {:?} {:?}", store.device, store.volumes, Passphrase::new("hunter2"));
    assert!(!shown.contains("hunter2") && !shown.contains("171, 171"));
    assert!(shown.contains("1 volumes"));
}
