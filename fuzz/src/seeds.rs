//! Where fuzzing starts: for each target a few inputs that are right, made by the encoders themselves or
//! taken from the golden files. `LOVAGE_BLESS=1 cargo test` writes them to `corpus/NAME/seed-N`.

use lovage::base::port::{Seeded, Time};
use lovage::base::{Bid, VolumeId};
use lovage::seal::genesis::{Chunking, Dedup, Genesis};
use lovage::seal::head::seal_head;
use lovage::seal::{Codec, DeviceRoot, Ref};
use lovage::{kv, seal};

use crate::targets::sealer;

const GOLDEN: &str = include_str!("../../src/volume/golden.txt");

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "log" => vec![(0..=255).collect(), [[2, 20].as_slice(), &[1, 3, 60, 1, 9].repeat(40)].concat()],
        "disk" => vec![raw_log()],
        "index" => vec![vec![0; 8 + 8 + 40], [3; 400].to_vec()],
        "block" => vec![block(Codec::Raw), block(Codec::Zstd)],
        "head" => vec![head(), inside()],
        "genesis" => vec![genesis(Chunking::default()), genesis(Chunking::Fixed)],
        "keystore" => vec![keystore()],
        "manifest" => vec![manifest(0), manifest(1)],
        "codec" => codec(),
        "tree" => vec![leaf(), inner()],
        "state" => golden("state-"),
        "row" => golden("row-"),
        "journal" => golden("journal"),
        "checkpoint" => [golden("checkpoint"), golden("head-body")].concat(),
        "control" => control(),
        "config" => config(),
        "location" => ["memory:", "file:/mnt/stick", "arena:x", "sled:", "s3:bucket"].map(|s| s.into()).to_vec(),
        "packs" => vec![
            [[1, 1, 7, 2, 1, 9].as_slice(), &[1, 1, 0, 200, 3], &[2, 0, 5, 20, 0]].concat(),
            (0..=255).map(|n: u8| n % 11).collect(),
        ],
        "peer" => peer(),
        "access_list" => {
            vec![[2, 0, 0, 0, 1, 0, 7, 0, 0, 0, 0, 0, 4, 0, 5, 0, 0, 0, 0, 0, 32, 0, 4, 0, 0, 0, 0, 0].to_vec()]
        }
        _ => Vec::new(),
    }
}

/// Golden records whose names begin with `prefix`.
fn golden(prefix: &str) -> Vec<Vec<u8>> {
    let lines = GOLDEN.lines().filter(|line| line.starts_with(prefix)).filter_map(|line| line.split_once(": "));
    lines
        .map(|(_, hex)| {
            (0..hex.len() / 2).filter_map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()).collect()
        })
        .collect()
}

fn peer() -> Vec<Vec<u8>> {
    use lovage::wire::peer::data::{Flag, Header};
    use lovage::wire::peer::{Class, Message, Selector, encode};
    let volume = VolumeId([7; 16]);
    let want =
        |selector| Message::Want { rid: 1, volume, class: Class::Pin, deadline_ms: 9, credit: 1 << 20, selector };
    let messages = [
        Message::Hello { version: 1, features: 0 },
        Message::Head { volume, head: vec![1, 2, 3] },
        want(Selector::Ids(vec![Bid([1; 32]), Bid([2; 32])])),
        want(Selector::Diff { root: vec![1; 72], old: Some(vec![2; 72]) }),
        want(Selector::Range { manifest: vec![3; 72], from: 0, to: u64::MAX }),
        Message::Cancel { rid: 1, from: 0 },
    ];
    let header = Header { rid: 1, index: 2, flag: Flag::Block, length: 4096 }.encode().to_vec();
    messages.iter().filter_map(|message| encode(message).ok()).chain([header]).collect()
}

fn raw_log() -> Vec<u8> {
    let mut records = kv::arena::fuzzing::record(0, Bid([1; 32]), b"block", 0, [0; 8], 4096);
    records.extend(kv::arena::fuzzing::record(1, Bid([0; 32]), b"entry", 0, [0; 8], 4096 + records.len() as u64));
    records.resize(256, 0);
    let arena = [&[8], &records[..], &[0]].concat();
    let slot = kv::arena::fuzzing::locator_slot([1, 1 << 32 | 512, 0, 0]);
    [&arena[..], &[0, 1, 0, 1, 2], &slot].concat()
}

fn block(codec: Codec) -> Vec<u8> {
    let frame = seal::fuzzing::append_frame(codec, b"0123456789", 10).unwrap_or_default();
    [&[0; 11], &frame[..]].concat()
}

fn head() -> Vec<u8> {
    let key = DeviceRoot::new([5; 32]).author_key(VolumeId([7; 16]), 0);
    seal_head(&sealer(), &key, 3, 9, b"body", &Seeded::new(1)).unwrap_or_default()
}

fn inside() -> Vec<u8> {
    let fixed = [&[1; 32][..], &3_u32.to_le_bytes(), &9_u64.to_le_bytes(), &4_u32.to_le_bytes(), b"body"].concat();
    let mut padded = fixed;
    padded.resize(48 + seal::padded_len(4), 0);
    padded
}

fn genesis(chunking: Chunking) -> Vec<u8> {
    let key = DeviceRoot::new([5; 32]).admin_key(&[2; 32]);
    let (admin, nonce, created) = (key.public(), [2; 32], Time(7));
    let genesis = Genesis { admin, nonce, name: "home".into(), chunking, dedup: Dedup::On, created };
    let mut bytes = genesis.sign(&key).map(|(_, bytes)| bytes).unwrap_or_default();
    bytes.truncate(bytes.len().saturating_sub(64));
    bytes
}

fn keystore() -> Vec<u8> {
    let volume = [&[7; 16][..], &1_u32.to_le_bytes(), &1_u32.to_le_bytes(), &0_u32.to_le_bytes(), &[4; 32]].concat();
    [&[9; 32][..], &1_u32.to_le_bytes(), &volume, &3_u32.to_le_bytes(), b"gen"].concat()
}

fn reference() -> Ref {
    Ref { bid: Bid([1; 32]), siv: [2; 32], epoch: 0, len: 1000 }
}

fn manifest(level: u8) -> Vec<u8> {
    let mut entry = if level == 0 { vec![0] } else { 5000_u64.to_le_bytes().to_vec() };
    entry.extend_from_slice(&reference().to_bytes());
    [&[level, 1, level, 1, 0], &entry[..]].concat()
}

fn codec() -> Vec<Vec<u8>> {
    // A zstd frame of 32 zero bytes, as the reference tool writes it.
    vec![vec![32, 0, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 32, 0x45, 0, 0, 0x10, 0, 0, 1, 0, 0x13, 0x08, 0x40]]
}

fn entry(key: &[u8], value: &[u8]) -> Vec<u8> {
    let lens = [
        &u16::try_from(key.len()).unwrap_or(0).to_le_bytes()[..],
        &u32::try_from(value.len()).unwrap_or(0).to_le_bytes(),
    ];
    [&lens.concat(), key, value].concat()
}

fn leaf() -> Vec<u8> {
    [&[0, 1, 0, 2, 0, 0, 0], &entry(b"a", b"one")[..], &entry(b"bb", b"")].concat()
}

fn inner() -> Vec<u8> {
    let value = [&[3; 32][..], &7_u64.to_le_bytes(), &reference().to_bytes()].concat();
    [&[1, 1, 1, 2, 0, 0, 0], &entry(b"a", &value)[..], &entry(b"bb", &value)].concat()
}

fn control() -> Vec<Vec<u8>> {
    let text = br#"{"protocol":1,"request":{"list":{"path":{"typed":"a","absolute":{"hex":"2fff"}}}}}"#;
    let len = u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
    vec![[b"J", &len[..], text].concat(), text.to_vec(), br#""status""#.to_vec()]
}

fn config() -> Vec<Vec<u8>> {
    let whole =
        b"profile = \"low-mem\"\n[log]\nlevel = \"info\"\n[dirty]\nmax = \"256MiB\"\n[cache]\nmax = \"64MiB\"\n";
    vec![whole.to_vec(), b"256 MiB".to_vec(), b"dirty.max = 5\n".to_vec()]
}
