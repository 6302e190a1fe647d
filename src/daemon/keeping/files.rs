//! What a collection leaves on the disk of a keeper: the list, words, marks, which one ended last.
//!
//! Layout: `docs/keeping.md`. Each has a check value: what is misread would be removed. Must never take part of one for the
//! whole.

use std::collections::BTreeSet;

use super::collection::{Author, CollectionId};
use crate::base::hash;
use crate::base::port::Time;
use crate::kv::collect::List;
use crate::kv::collect::record::Bits;

const LIST: &[u8] = b"kcl1";
const WORD: &[u8] = b"kcw1";
const ENDED: &[u8] = b"kce1";
/// Bytes of a check value.
const CHECK: usize = 8;

fn check(bytes: &[u8]) -> [u8; CHECK] {
    hash(&[b"lovage collecting", bytes]).first_chunk().copied().unwrap_or_default()
}

fn checked(bytes: &[u8]) -> Vec<u8> {
    [bytes, &check(bytes)].concat()
}

fn opened<'b>(magic: &[u8], bytes: &'b [u8]) -> Option<&'b [u8]> {
    let (body, found) = bytes.split_last_chunk::<CHECK>()?;
    if *found == check(body) { body.strip_prefix(magic) } else { None }
}

fn put_keys(out: &mut Vec<u8>, keys: &BTreeSet<Author>) {
    out.extend_from_slice(&u32::try_from(keys.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(keys.iter().flatten());
}

fn keys(bytes: &[u8]) -> Option<(BTreeSet<Author>, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let (keys, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(32)?)?;
    Some((keys.as_chunks::<32>().0.iter().copied().collect(), rest))
}

/// The list, and who could write when it was made.
pub fn encode_list(list: &List, known: &BTreeSet<Author>) -> Vec<u8> {
    let mut bytes = [LIST, &list.id].concat();
    put_keys(&mut bytes, known);
    bytes.extend(list.ids().iter().flat_map(|id| id.to_be_bytes()));
    checked(&bytes)
}

/// `None` if it is none.
pub fn decode_list(bytes: &[u8]) -> Option<(List, BTreeSet<Author>)> {
    let (id, rest) = opened(LIST, bytes)?.split_first_chunk::<16>()?;
    let (known, ids) = keys(rest)?;
    let (ids, rest) = ids.as_chunks::<8>();
    let ids: Vec<u64> = ids.iter().map(|id| u64::from_be_bytes(*id)).collect();
    (rest.is_empty() && ids.is_sorted()).then(|| (List::new(*id, ids), known))
}

/// What a device needs, and the keys it had when it said so.
pub fn encode_word(of: &BTreeSet<Author>, needs: &Bits) -> Vec<u8> {
    let mut bytes = WORD.to_vec();
    put_keys(&mut bytes, of);
    bytes.extend_from_slice(needs.bytes());
    checked(&bytes)
}

/// `None` if it is none.
pub fn decode_word(bytes: &[u8]) -> Option<(BTreeSet<Author>, Bits)> {
    let (of, bits) = keys(opened(WORD, bytes)?)?;
    Some((of, Bits::from_bytes(bits.to_vec())))
}

/// Places that came to be relied upon at once, to be appended.
pub fn encode_marks(places: &BTreeSet<usize>) -> Vec<u8> {
    let mut bytes = u32::try_from(places.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    bytes.extend(places.iter().flat_map(|at| u32::try_from(*at).unwrap_or(u32::MAX).to_le_bytes()));
    checked(&bytes)
}

/// All places that were appended, and the length of what is whole: an end that is too short was being written. `None` if
/// anything else is wrong.
pub fn decode_marks(bytes: &[u8]) -> Option<(Vec<usize>, usize)> {
    let (mut places, mut at) = (Vec::new(), 0_usize);
    while let Some(count) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let len = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?.checked_add(4 + CHECK)?;
        let Some(batch) = bytes.get(at..at.checked_add(len)?) else { break };
        let (marks, rest) = opened(count, batch)?.as_chunks::<4>();
        places.extend(marks.iter().filter_map(|place| usize::try_from(u32::from_le_bytes(*place)).ok()));
        at = if rest.is_empty() { at + len } else { return None };
    }
    Some((places, at))
}

/// Which collection ended last, and when.
pub fn encode_ended(id: CollectionId, at: Time) -> Vec<u8> {
    checked(&[ENDED, &id, &at.0.to_le_bytes()].concat())
}

/// `None` if it is none.
pub fn decode_ended(bytes: &[u8]) -> Option<(CollectionId, Time)> {
    let (id, time) = opened(ENDED, bytes)?.split_first_chunk::<16>()?;
    Some((*id, Time(i64::from_le_bytes(time.try_into().ok()?))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_part_or_change_of_it() {
        let (list, known) = (List::new([7; 16], vec![1, 258]), BTreeSet::from([[3; 32], [4; 32]]));
        let mut needs = Bits::default();
        needs.set(9);
        let files = [encode_list(&list, &known), encode_word(&known, &needs), encode_ended([7; 16], Time(-1))];
        let reads = |n: usize, bytes: &[u8]| match n {
            0 => decode_list(bytes).is_some_and(|read| read == (List::new([7; 16], vec![1, 258]), known.clone())),
            1 => decode_word(bytes).is_some_and(|read| read == (known.clone(), needs.clone())),
            _ => decode_ended(bytes).is_some_and(|read| read == ([7; 16], Time(-1))),
        };
        assert_eq!(files[0][..24], [&b"kcl1"[..], &[7; 16], &[2, 0, 0, 0]].concat());
        for (n, file) in files.iter().enumerate() {
            assert!(reads(n, file));
            for at in 0..file.len() {
                let mut bent = file.clone();
                bent[at] ^= 1;
                assert!(!reads(n, &file[..at]) && !reads(n, &bent), "{n} {at}");
            }
        }
    }

    #[test]
    fn marks_are_read_up_to_a_torn_end_and_not_at_all_when_they_are_damaged() {
        let batches = [encode_marks(&BTreeSet::from([1, 5])), encode_marks(&BTreeSet::from([9]))];
        let all = batches.concat();
        assert_eq!(decode_marks(&all), Some((vec![1, 5, 9], all.len())));
        let first = batches[0].len();
        for at in first..all.len() {
            assert_eq!(decode_marks(&all[..at]), Some((vec![1, 5], first)));
        }
        let mut bent = all;
        bent[5] ^= 1;
        assert_eq!(decode_marks(&bent), None);
    }
}
