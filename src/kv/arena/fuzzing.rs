//! Well-formed bytes around any content, for the fuzz targets: without right checksums they would see
//! nothing but refusals. Compiled only with the feature `fuzzing`; must never be called by the program.

use super::header::ArenaHeader;
use super::record::{self, Header, Salt, Type};
use crate::base::Bid;

/// The first page of an arena.
pub fn page(number: u32, previous: u32, previous_end: u64, salt: Salt) -> Vec<u8> {
    ArenaHeader { number, previous, previous_end, salt }.page()
}

/// A whole record for `offset`: any `kind` becomes one of the four types.
pub fn record(kind: u8, id: Bid, payload: &[u8], durable: u32, salt: Salt, offset: u64) -> Vec<u8> {
    let kind = match kind % 4 {
        0 => Type::Block,
        1 => Type::Journal,
        2 => Type::Checkpoint,
        _ => Type::Tombstone,
    };
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let header = Header { kind, len, payload_crc: crc32c::crc32c(payload), id, durable };
    let mut out = header.encode(salt, offset).to_vec();
    out.extend_from_slice(payload);
    out.resize(usize::try_from(header.size()).unwrap_or(out.len()), 0);
    out
}

/// Make `bytes` pass as the index of arena `number` wherever its length allows.
pub fn mend_index(bytes: &mut [u8], number: u32, salt: Salt) {
    if bytes.len() < 72 {
        return;
    }
    bytes[..8].copy_from_slice(b"LvIndex1");
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    bytes[16..24].copy_from_slice(&salt);
    // As many entries as there is room for: 4 bytes a bucket of eight, 8 an entry, 32 an id.
    let count = (bytes.len() - 64 - 4) / 40;
    let (count, ids_at) = (0..=count)
        .rev()
        .map(|n| (n, 64 + (n.div_ceil(8).max(1) + 1) * 4 + n * 8))
        .find(|(n, at)| at + n * 32 <= bytes.len())
        .unwrap_or((0, 64));
    bytes[12..16].copy_from_slice(&u32::try_from(count).unwrap_or(0).to_le_bytes());
    let hot = crc32c::crc32c(bytes.get(64..ids_at).unwrap_or(&[]));
    let ids = crc32c::crc32c(bytes.get(ids_at..).unwrap_or(&[]));
    bytes[40..44].copy_from_slice(&hot.to_le_bytes());
    bytes[44..48].copy_from_slice(&ids.to_le_bytes());
    let head = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&head.to_le_bytes());
}

/// How many bytes of a mended index count: the file must end there.
pub fn index_len(bytes: &[u8]) -> usize {
    let count = bytes.get(12..16).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
    64 + (count.div_ceil(8).max(1) + 1) * 4 + count * 40
}

/// A slot of the locator that says `words`.
pub fn locator_slot(words: [u64; 4]) -> Vec<u8> {
    let mut out = b"LvLocat1".to_vec();
    out.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    out.resize(60, 0);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Bytes a record with a payload of `len` bytes takes.
pub fn record_size(len: usize) -> u64 {
    record::size(len)
}
