//! Index files for the fuzz targets. Compiled only with the feature `fuzzing`; must never be called by the program.

use super::records::Records;
use super::sections::{self, Header};
use super::{Index, MOST_RECORDS, number};
use crate::base::Bid;
use crate::kv::object::pack::{PackName, Span};

/// A section whose checksums hold: of a pack that is there, with these blocks, or of one that is gone.
pub fn section(hash: [u8; 32], size: Option<u64>, blocks: &[(Bid, u32, u32)]) -> Vec<u8> {
    let mut name = [0; 36];
    name[..32].copy_from_slice(&hash);
    name[32..].copy_from_slice(&u32::try_from(blocks.len()).unwrap_or(0).to_le_bytes());
    let Some(name) = PackName::from_bytes(&name) else { return Vec::new() };
    let spans: Vec<(Bid, Span)> =
        blocks.iter().map(|(id, offset, len)| (*id, Span { offset: *offset, len: *len })).collect();
    match size {
        Some(size) => sections::there(name, size.saturating_add(name.index_len()), &spans),
        None => Header { name, size: None }.encode().to_vec(),
    }
}

/// Open any sections as a file: everything that is listed is found, and what is written again says the same.
///
/// # Panics
/// If not.
pub fn exercise(sections: &[u8]) {
    let bytes = [&sections::MAGIC[..], sections].concat();
    let Ok(mut index) = Index::load(Records::memory(bytes), None) else { return };
    let listed = index.list(None, usize::MAX).unwrap_or_default();
    assert_eq!(listed.len() as u64, index.totals().0, "every block is listed once");
    assert!(listed.is_sorted(), "in order");
    let found = |index: &Index| listed.iter().map(|id| index.copies(id).unwrap_or_default()).collect::<Vec<_>>();
    let before = found(&index);
    assert!(before.iter().all(|copies| !copies.is_empty()), "what is listed is found");
    assert!(index.entries.range(0..=u64::MAX).all(|entry| number(entry) < index.next && index.next <= MOST_RECORDS));
    index.settle();
    assert!(index.compact().is_ok());
    assert_eq!(found(&index), before, "the same after it was written anew");
    let names: Vec<PackName> = index.packs.iter().map(|pack| pack.name).collect();
    for name in names {
        assert!(index.remove(&name).is_ok());
    }
    assert_eq!(index.totals(), (0, 0), "nothing without packs");
}
