//! Golden vectors: every layout and derivation from fixed inputs, compared with
//! `fstests/format/vectors.json`, which `fstests/format/check_vectors.py` recomputes independently.
//!
//! A difference is a change of format: stores written before would not open. `LOVAGE_BLESS=1` rewrites the
//! file after a deliberate change.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::genesis::{Chunking, Dedup, Genesis};
use super::*;
use crate::base::port::{Entropy, Seeded, Time};
use crate::base::{VolumeId, limits};

const VOLUME: VolumeId = VolumeId(*b"a golden volume!");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").unwrap();
        text
    })
}

/// Byte `i` of a test body: `(31 i + 7) mod 251`.
fn body(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 31 + 7) % 251).unwrap()).collect()
}

fn secret(n: u8) -> [u8; 32] {
    std::array::from_fn(|i| u8::try_from(i).unwrap() ^ n)
}

fn sealer(epochs: &[u32]) -> Sealer {
    let secrets: Vec<_> = epochs.iter().map(|n| (*n, EpochSecret::new(secret(u8::try_from(*n).unwrap())))).collect();
    Sealer::new(VOLUME, &secrets).unwrap()
}

fn padding() -> Value {
    let lens = [0, 1, 2, 9, 100, 255, 1000, 4097, 70_000, 131_072, 131_073, 1_000_000, limits::MAX_BLOCK - 1];
    lens.iter().map(|n| json!({ "len": n, "padded": padded_len(*n) })).collect()
}

fn epochs() -> Value {
    let entry = |epochs: &[u32]| {
        let (s, newest) = (sealer(epochs), *epochs.last().unwrap());
        json!({
            "epoch": newest,
            "secret": hex(&secret(u8::try_from(newest).unwrap())),
            "epoch0_secret": hex(&secret(0)),
            "cut_key": hex(&s.cut_key()),
            "pack_key": hex(&s.pack_key()),
            "logical_key": hex(&s.logical_key()),
            "head_key": hex(s.head_key(newest).unwrap().expose()),
            "pid": { "type": 1, "level": 0, "body_len": 1000, "pid": hex(&s.pid(BlockType::Data, 0, &body(1000)).0) },
        })
    };
    json!([entry(&[0]), entry(&[0, 3])])
}

fn blocks() -> Value {
    type Case = (BlockType, u8, Codec, usize, u32, Option<[u8; 16]>);
    let cases: [Case; 8] = [
        (BlockType::Data, 0, Codec::Raw, 0, 0, None),
        (BlockType::Data, 0, Codec::Raw, 1, 1, None),
        (BlockType::Data, 0, Codec::Raw, 333, 333, None),
        (BlockType::Data, 0, Codec::Zstd, 333, 900, None),
        (BlockType::Data, 0, Codec::Raw, 333, 333, Some([0xa5; 16])),
        (BlockType::Manifest, 2, Codec::Zstd, 70, 1000, None),
        (BlockType::Tree, 255, Codec::Raw, 8191, 8191, None),
        (BlockType::Attachment, 0, Codec::Raw, 131_073, 131_073, None),
    ];
    let epochs = [&[0][..], &[0, 3]];
    epochs.iter().flat_map(|e| cases.iter().map(move |case| block(&sealer(e), case))).collect()
}

fn block(s: &Sealer, case: &(BlockType, u8, Codec, usize, u32, Option<[u8; 16]>)) -> Value {
    let (t, level, codec, len, plain_len, salt) = *case;
    let mut sealed = Vec::new();
    let r = s.seal(t, level, codec, &body(len), plain_len, salt, &mut sealed).unwrap();
    let value = json!({
        "epoch": s.epoch(),
        "secret": hex(&secret(u8::try_from(s.epoch()).unwrap())),
        "type": t.byte(),
        "level": level,
        "codec": codec.byte(),
        "body_len": len,
        "plain_len": plain_len,
        "salt": salt.map(|b| hex(&b)),
        "reference": hex(&r.to_bytes()),
        "sealed_len": sealed.len(),
        "sealed": (sealed.len() < 1000).then(|| hex(&sealed)),
    });
    assert_eq!(s.open(t, level, &r, &mut sealed).unwrap().plain_len, plain_len);
    value
}

fn device() -> Value {
    let root = DeviceRoot::new(secret(0x40));
    let nonce = secret(0x77);
    let author = |n: u32| json!({ "incarnation": n, "public": hex(&root.author_key(VOLUME, n).public()) });
    let authors = [0, 1, 70_000].map(author);
    json!({
        "root": hex(&secret(0x40)),
        "identity_seed": hex(root.identity_seed().expose()),
        "device_id": root.device_id().to_string(),
        "box_seed": hex(root.box_seed().expose()),
        "local_key": hex(&root.local_key(VOLUME)),
        "authors": authors,
        "admin": { "nonce": hex(&nonce), "public": hex(&root.admin_key(&nonce).public()) },
    })
}

fn local() -> Value {
    let entropy: Arc<dyn Entropy> = Arc::new(Seeded::new(5));
    let sealed = LocalSealer::new(secret(0x21), entropy).seal(b"journal", &body(300)).unwrap();
    json!({ "key": hex(&secret(0x21)), "purpose": hex(b"journal"), "body_len": 300, "sealed": hex(&sealed) })
}

fn heads() -> Value {
    let key = DeviceRoot::new(secret(0x40)).author_key(VOLUME, 1);
    let one = |epochs: &[u32], writer, seq, len| {
        let s = sealer(epochs);
        let bytes = head::seal_head(&s, &key, writer, seq, &body(len), &Seeded::new(seq)).unwrap();
        let opened = head::open_head(&s, &key.public(), &bytes).unwrap();
        json!({
            "root": hex(&secret(0x40)), "incarnation": 1,
            "epoch": s.epoch(), "secret": hex(&secret(u8::try_from(s.epoch()).unwrap())),
            "writer": writer, "seq": seq, "body_len": len, "bytes": hex(&bytes), "hash": hex(&opened.hash),
        })
    };
    json!([one(&[0], 0, 1, 0), one(&[0], 7, 1 << 40, 300), one(&[0, 3], 2, 9, 1001)])
}

fn geneses() -> Value {
    let one = |name: &str, chunking, dedup, created| {
        let nonce = secret(0x77);
        let key = DeviceRoot::new(secret(0x40)).admin_key(&nonce);
        let genesis =
            Genesis { admin: key.public(), nonce, name: name.into(), chunking, dedup, created: Time(created) };
        let (id, bytes) = genesis.sign(&key).unwrap();
        let sizes = match chunking {
            Chunking::Cdc { min, avg, max } => json!([min, avg, max]),
            Chunking::Fixed => Value::Null,
        };
        json!({
            "root": hex(&secret(0x40)), "nonce": hex(&nonce), "name": name, "cdc": sizes,
            "dedup": dedup == Dedup::On, "created": created, "id": id.to_string(), "bytes": hex(&bytes),
        })
    };
    json!([
        one("", Chunking::default(), Dedup::On, 1_767_225_600_000_000_000),
        one("h\u{f6}me", Chunking::Fixed, Dedup::Off, -1),
    ])
}

fn keystores() -> Value {
    let one = |passphrase: Option<&str>, cost: Cost| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let typed = passphrase.map(Passphrase::new);
        let mut store = Keystore::create_with(&path, typed.as_ref(), cost, Arc::new(Seeded::new(6))).unwrap();
        store.device = DeviceRoot::new(secret(0x40));
        let epochs = vec![(0, EpochSecret::new(secret(0))), (3, EpochSecret::new(secret(3)))];
        store.volumes = vec![
            VolumeSecrets {
                epochs,
                incarnation: 9,
                writer: 5,
                membership: body(30),
                addresses: vec![(secret(0x11), vec!["/ip4/192.0.2.1/tcp/1".to_owned()])],
                ..VolumeSecrets::founded(VOLUME, body(20), EpochSecret::new(secret(0)))
            },
            VolumeSecrets {
                epochs: vec![],
                ..VolumeSecrets::founded(VolumeId([1; 16]), vec![], EpochSecret::new(secret(0)))
            },
        ];
        store.save().unwrap();
        json!({
            "passphrase": passphrase, "memory_kib": cost.memory_kib, "passes": cost.passes, "lanes": cost.lanes,
            "root": hex(&secret(0x40)), "volume": hex(&VOLUME.0), "incarnation": 9,
            "epochs": [[0, hex(&secret(0))], [3, hex(&secret(3))]], "genesis_len": 20,
            "second_volume": hex(&[1; 16]),
            "writer": 5, "membership_len": 30, "peer": hex(&secret(0x11)), "address": "/ip4/192.0.2.1/tcp/1",
            "file": hex(&std::fs::read(&path).unwrap()),
        })
    };
    json!([one(None, Cost::FLOOR), one(Some("correct horse"), Cost::FLOOR), one(Some("p\u{e4}ss"), Cost::default())])
}

#[test]
fn every_format_is_byte_for_byte_what_it_was() {
    let now = json!({
        "volume": hex(&VOLUME.0),
        "padding": padding(), "epochs": epochs(), "blocks": blocks(), "device": device(), "local": local(),
        "heads": heads(), "geneses": geneses(), "keystores": keystores(),
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fstests/format/vectors.json");
    if std::env::var_os("LOVAGE_BLESS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (section, value) in now.as_object().unwrap() {
        assert_eq!(golden.get(section), Some(value), "the format of {section} drifted");
    }
}
