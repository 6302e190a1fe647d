//! BLAKE3 as a tree over groups of 8 KiB, so that a part of a message can be checked without the rest.
//!
//! A group's *value* is the chaining value of the subtree over it; the values of all groups give the hash of
//! the whole message, and each group's bytes give its value. Must never take a value for checked that was
//! not combined with all the others up to a hash that is known.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::hash::Digest;

/// Bytes of a group; the last one of a message may be shorter. As many chunks as AVX2 hashes at once: with
/// smaller groups hashing a whole message by its groups would cost more than hashing it.
pub const GROUP: usize = 8 << 10;

/// The value of group number `index` of a message of several groups. `None` if `bytes` is no group.
pub fn group_value(index: usize, bytes: &[u8]) -> Option<Digest> {
    let offset = (index as u64).checked_mul(GROUP as u64)?;
    let possible = !bytes.is_empty() && bytes.len() <= GROUP;
    possible.then(|| Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root())
}

/// The hash of the message whose groups have these values. `None` for fewer than two groups: those of a
/// single one say nothing (the root of a tree is marked).
pub fn root_of_groups(values: &[Digest]) -> Option<Digest> {
    let (left, right) = halves(values)?;
    let root = merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
    Some(*root.as_bytes())
}

fn subtree(values: &[Digest]) -> Digest {
    match (halves(values), values) {
        (Some((left, right)), _) => merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash),
        (None, [one]) => *one,
        (None, _) => [0; 32], // `halves` never gives an empty side
    }
}

/// Two or more groups as BLAKE3 divides them: the left side is the largest power of two that leaves some.
fn halves(values: &[Digest]) -> Option<(&[Digest], &[Digest])> {
    let left = values.len().next_power_of_two() / 2;
    if values.len() < 2 { None } else { values.split_at_checked(left) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::hash::hash;
    use super::*;

    fn message(len: usize) -> Vec<u8> {
        (0..len).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1].wrapping_mul(31)).collect()
    }

    fn values(message: &[u8]) -> Vec<Digest> {
        message.chunks(GROUP).enumerate().map(|(n, bytes)| group_value(n, bytes).unwrap()).collect()
    }

    #[test]
    fn the_values_of_all_groups_give_the_hash_at_every_boundary() {
        for groups in 1..=17 {
            for len in [groups * GROUP + 1, groups * GROUP + 1024, (groups + 1) * GROUP - 1, (groups + 1) * GROUP] {
                let message = message(len);
                assert_eq!(root_of_groups(&values(&message)).unwrap(), hash(&[&message]), "{len}");
            }
        }
    }

    #[test]
    fn a_changed_missing_or_moved_value_gives_another_hash() {
        let good = values(&message(5 * GROUP + 7));
        let root = root_of_groups(&good);
        for bit in 0..good.len() * 256 {
            let mut bad = good.clone();
            bad[bit / 256][bit / 8 % 32] ^= 1 << (bit % 8);
            assert_ne!(root_of_groups(&bad), root);
        }
        assert_ne!(root_of_groups(&good[..5]), root);
        let mut moved = good;
        moved.swap(0, 1);
        assert_ne!(root_of_groups(&moved), root);
    }

    #[test]
    fn a_group_has_another_value_in_another_place() {
        let bytes = message(GROUP);
        assert_ne!(group_value(0, &bytes), group_value(1, &bytes));
        assert_eq!(group_value(0, &[]), None);
        assert_eq!(group_value(0, &[0; GROUP + 1]), None);
        assert_eq!(group_value(usize::MAX, &bytes), None);
        assert_eq!(root_of_groups(&[]), None);
        assert_eq!(root_of_groups(&[[1; 32]]), None);
    }
}
