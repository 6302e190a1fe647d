//! The targets: one function for each decoder, any bytes in.

use lovage::base::VolumeId;
use lovage::base::port::Seeded;
use lovage::daemon::{Config, parse_size};
use lovage::kv::Location;
use lovage::seal::genesis::Genesis;
use lovage::seal::head::{MAX_BODY, open_head, seal_head, verify_envelope};
use lovage::seal::{BlockType, Codec, DeviceRoot, EpochSecret, Ref, Sealer};
use lovage::wire::control::{Envelope, Reply, Request};
use lovage::wire::{Frame, read_frame};
use lovage::{cas, kv, seal, tree, volume};

use crate::disk::Memory;
use crate::log::{Bytes, exercise, scripted, with_index};

/// The sealer of a volume whose keys everybody knows.
pub fn sealer() -> Sealer {
    match Sealer::new(VolumeId([7; 16]), &[(0, EpochSecret::new([1; 32]))]) {
        Ok(sealer) => sealer,
        Err(e) => unreachable!("fixed keys are valid: {e}"),
    }
}

/// Arenas whose checksums hold, with anything in and between the records.
pub fn log(data: &[u8]) {
    exercise(&scripted(&mut Bytes(data)));
}

/// Files of a log as they come: arenas, an index, a locator, of any bytes.
pub fn disk(data: &[u8]) {
    let disk = Memory::default();
    let mut from = Bytes(data);
    for name in ["00000001.arena", "00000002.arena", "00000001.index", "locator"] {
        let len = usize::from(from.byte()) << 5;
        let mut bytes = from.take(len).to_vec();
        if from.byte().is_multiple_of(2) && name.ends_with("arena") {
            bytes.splice(..0, kv::arena::fuzzing::page(u32::from(name == "00000002.arena") + 1, 0, 0, [0; 8]));
        }
        disk.insert(name, bytes);
    }
    exercise(&disk);
}

/// An index file whose checksums hold.
pub fn index(data: &[u8]) {
    exercise(&with_index(data));
}

/// Sealed blocks: what was sealed opens to the same, any change is refused; and the frame within.
pub fn block(data: &[u8]) {
    let mut from = Bytes(data);
    let (kind, level, flip, whole) = (from.byte(), from.byte(), from.long(), from.byte());
    if let Some((codec, plain_len, range)) = seal::fuzzing::frame(from.0) {
        let again = seal::fuzzing::append_frame(codec, &from.0[range], plain_len);
        assert!(from.0[2] != 0 || again.as_deref() == Some(from.0), "a block has one encoding");
    }
    let types = [BlockType::Data, BlockType::Manifest, BlockType::Tree];
    let kind = types[usize::from(kind) % types.len()];
    let sealer = sealer();
    let mut sealed = Vec::new();
    let len = u32::try_from(from.0.len()).unwrap_or(0);
    let Ok(r) = sealer.seal(kind, level, Codec::Raw, from.0, len, None, &mut sealed) else { return };
    let mut copy = sealed.clone();
    let opened = sealer.open(kind, level, &r, &mut copy);
    assert_eq!(opened.map(|o| copy[o.body].to_vec()).ok().as_deref(), Some(from.0), "what was sealed opens");
    let changed = usize::try_from(flip % sealed.len() as u64).unwrap_or(0);
    sealed[changed] ^= whole | 1;
    assert!(sealer.open(kind, level, &r, &mut sealed.clone()).is_err(), "a changed block is refused");
    let mut bytes = r.to_bytes();
    let at = usize::try_from(flip % bytes.len() as u64).unwrap_or(0);
    bytes[at] ^= whole | 1;
    sealed[changed] ^= whole | 1;
    if let Ok(other) = Ref::from_bytes(&bytes) {
        assert!(other == r || sealer.open(kind, level, &other, &mut sealed).is_err(), "another reference is refused");
    }
}

/// Heads: envelopes of anyone, the inside of a decrypted one, and changes of a right one.
pub fn head(data: &[u8]) {
    let sealer = sealer();
    let author: [u8; 32] = std::array::from_fn(|i| data.get(20 + i).copied().unwrap_or(0));
    let key = DeviceRoot::new([5; 32]).author_key(VolumeId([7; 16]), 0);
    assert!(open_head(&sealer, &author, data).is_err() || author == key.public(), "nobody guesses a signature");
    let _ = seal::fuzzing::head_inside(data);
    let mut from = Bytes(data);
    let (at, change, seq) = (from.long(), from.byte(), from.long());
    let body = from.take(MAX_BODY);
    let Ok(mut sealed) = seal_head(&sealer, &key, u32::from(change), seq, body, &Seeded::new(1)) else { return };
    let opened = open_head(&sealer, &key.public(), &sealed);
    assert_eq!(opened.map(|h| h.body).ok().as_deref(), Some(body), "a right head opens");
    let at = usize::try_from(at % sealed.len() as u64).unwrap_or(0);
    sealed[at] ^= change | 1;
    assert!(verify_envelope(&key.public(), &sealed).is_err(), "a changed head is refused");
}

/// Geneses: any bytes, and any bytes under a right signature.
pub fn genesis(data: &[u8]) {
    let _ = Genesis::open(data);
    let key = DeviceRoot::new([5; 32]).admin_key(&[2; 32]);
    let mut signed = data.to_vec();
    if signed.len() > 36 {
        signed[..4].copy_from_slice(b"gen1");
        signed[4..36].copy_from_slice(&key.public());
        let signature = key.sign(&signed);
        let bytes = [&signed[..], &signature].concat();
        if let Ok((id, genesis)) = Genesis::open(&bytes) {
            assert_eq!(genesis.sign(&key).ok(), Some((id, bytes)), "a genesis has one encoding");
        }
    }
}

/// Keystore files: the header, and the body behind the cipher.
pub fn keystore(data: &[u8]) {
    let _ = seal::fuzzing::keystore(data);
    let _ = seal::fuzzing::keystore(&[&[1], data].concat());
}

/// Manifest nodes.
pub fn manifest(data: &[u8]) {
    let Some((level, bytes)) = data.split_first() else { return };
    let level = level % 11;
    if let Ok((_, again)) = cas::fuzzing::manifest(bytes, level) {
        assert_eq!(again, bytes, "a node has one encoding");
    }
}

/// Compressed bodies.
pub fn codec(data: &[u8]) {
    let mut from = Bytes(data);
    let len = usize::from(from.byte()) << (from.byte() % 13);
    if let Ok(plain) = cas::fuzzing::decompress(from.0, len) {
        assert_eq!(plain.len(), len, "exactly what was declared");
    }
}

/// Tree nodes.
pub fn tree(data: &[u8]) {
    let Some((level, bytes)) = data.split_first() else { return };
    let _ = tree::fuzzing::node(bytes, level % 5);
}

/// Node states, as other members send them.
pub fn state(data: &[u8]) {
    let _ = volume::fuzzing::state(data);
}

/// Directory rows.
pub fn row(data: &[u8]) {
    let _ = volume::fuzzing::row(data);
}

/// Journal entries.
pub fn journal(data: &[u8]) {
    let _ = volume::fuzzing::journal(data);
}

/// Checkpoints and the bodies of heads.
pub fn checkpoint(data: &[u8]) {
    let _ = (volume::fuzzing::checkpoint(data), volume::fuzzing::head(data));
}

/// What programs send to the control socket, and what a daemon answers.
pub fn control(data: &[u8]) {
    let mut from = data;
    for _ in 0..16 {
        let Ok(Some(frame)) = read_frame(&mut from) else { break };
        if let Frame::Json(text) = frame {
            message(&text);
        }
    }
    message(data);
}

fn message(text: &[u8]) {
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(text) {
        let _ = serde_json::from_value::<Request>(envelope.request);
    }
    let _ = serde_json::from_slice::<Request>(text);
    let _ = serde_json::from_slice::<Reply>(text);
}

/// Configuration files, and sizes.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(config) = Config::parse(text, std::path::Path::new("config.toml")) {
        for setting in lovage::daemon::SETTINGS {
            assert!(config.get(setting.name).is_some(), "every setting has a value");
        }
    }
    let _ = parse_size(text);
}

/// Locations of stores. Nothing is opened.
pub fn location(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Location::parse(text);
}

/// What is remembered of a service's packs: sections whose checksums hold, then any bytes.
pub fn packs(data: &[u8]) {
    let (mut from, mut file) = (Bytes(data), Vec::new());
    while !from.0.is_empty() && from.byte() < 200 {
        let (there, hash, count) = (from.byte() % 4 > 0, [from.byte() % 4; 32], from.byte() % 16);
        let size = if from.byte() % 8 == 0 { from.long() } else { u64::from(from.byte()) << 16 };
        let mut block = || {
            let mut id = [from.byte() % 3; 32];
            id[31] = from.byte() % 4;
            (lovage::base::Bid(id), u32::from(from.byte()), u32::from(from.byte()) << (from.byte() % 18))
        };
        let blocks: Vec<_> = (0..count).map(|_| block()).collect();
        file.extend(kv::packs::section(hash, there.then_some(size), &blocks));
    }
    file.extend(from.0);
    kv::packs::exercise(&file);
    kv::packs::exercise(data);
}

/// Access lists, as programs set them.
pub fn access_list(data: &[u8]) {
    volume::fuzzing::access_list(data);
}

/// Messages and data headers of other devices: what is accepted is within the limits and comes back the same.
pub fn peer(data: &[u8]) {
    use lovage::wire::peer::data::{HEADER, Header};
    if let Ok(message) = lovage::wire::peer::decode(data) {
        let again = lovage::wire::peer::encode(&message).and_then(|bytes| lovage::wire::peer::decode(&bytes));
        assert!(again.is_ok_and(|again| again == message));
    }
    if let Some(Ok(header)) = data.first_chunk::<HEADER>().map(Header::decode) {
        assert_eq!(header.encode(), data[..HEADER]);
    }
}
