//! Parts of a block of data: verified by the groups they lie in, decrypted without the rest.
//!
//! The id of a block is the root of a BLAKE3 tree. Whoever saw the whole block writes an *aside*: a mark,
//! where the body starts, and the values of its groups. The values prove themselves, their root is the id.
//! That the body is raw does not follow from the id; the mark, made with a key of the epoch, says that the
//! block was opened under this very reference and was. Must never take an aside's word without both.

use std::ops::Range;

use subtle::ConstantTimeEq;

use super::padding::padded_len;
use super::reference::{BlockType, Codec, Ref};
use super::sealer::{Keys, MAGIC, Opened, Sealer, bid_of, corrupt, key_and_nonce};
use super::{aead, frame};
use crate::base::{Bid, Digest, GROUP, Result, group_value, keyed_hash, root_of_groups};

const MARK: usize = 16;
/// Blocks of fewer groups are always read whole, and get no aside.
const FEWEST: usize = 6;

/// A part that can be read: see [`Sealer::part`].
#[derive(Debug)]
pub struct Part {
    /// The sealed bytes to read: whole groups.
    pub sealed: Range<usize>,
    wanted: Range<usize>,
    first: usize,
    values: Vec<Digest>,
    siv: [u8; 32],
}

impl Sealer {
    /// As [`Sealer::seal`], for a block of data; also gives its aside, empty if it is to be read whole.
    pub fn seal_data(
        &self,
        codec: Codec,
        body: &[u8],
        plain_len: u32,
        salt: Option<[u8; frame::SALT]>,
        out: &mut Vec<u8>,
    ) -> Result<(Ref, Vec<u8>)> {
        let start = out.len();
        let (siv, epoch) = self.encrypt(BlockType::Data, 0, codec, body, plain_len, salt, out)?;
        let sealed = out.get(start..).unwrap_or_default();
        let values = values_of(sealed).filter(|_| codec == Codec::Raw).unwrap_or_default();
        let bid = root_of_groups(&values).map_or_else(|| bid_of(sealed), Bid);
        let r = Ref { bid, siv, epoch, len: plain_len };
        let keys = self.keys(r.epoch)?;
        Ok((r, aside(&keys, &r, frame::body_start(salt.is_some()), &values)))
    }

    /// As [`Sealer::reopen`]; also gives the block's aside, empty if it is to be read whole.
    pub fn reopen_noting(&self, r: &Ref, sealed: &mut Vec<u8>) -> Result<(Opened, Vec<u8>)> {
        let keys = self.keys(r.epoch)?;
        let Some(values) = values_of(sealed) else { return Ok((self.reopen(r, sealed)?, Vec::new())) };
        if root_of_groups(&values) != Some(r.bid.0) {
            return Err(corrupt(r, "the id does not match"));
        }
        let opened = Self::decrypt_known(r, sealed)?;
        let note = match opened.codec {
            Codec::Raw => aside(&keys, r, opened.body.start, &values),
            Codec::Zstd => Vec::new(),
        };
        Ok((opened, note))
    }

    /// What to read for `wanted` (plain bytes) of the block `r`. `None` unless `aside` shows that this can be
    /// done: then the block must be read whole.
    pub fn part(&self, r: &Ref, aside: &[u8], wanted: Range<usize>) -> Option<Part> {
        let keys = self.keys(r.epoch).ok()?;
        let (said, rest) = aside.split_first_chunk::<MARK>()?;
        let (&start, values) = rest.split_first()?;
        let marked: bool = mark(&keys, r, start).ct_eq(said).into();
        let len = usize::from(start) + padded_len(r.len as usize) + aead::TAG;
        let within = !wanted.is_empty() && wanted.end <= r.len as usize;
        if !marked || !within || values.len() != groups(len) * size_of::<Digest>() {
            return None;
        }
        let values: Vec<Digest> = values.chunks_exact(size_of::<Digest>()).filter_map(|v| v.try_into().ok()).collect();
        if root_of_groups(&values)? != r.bid.0 {
            return None;
        }
        let wanted = wanted.start + usize::from(start)..wanted.end + usize::from(start);
        let (first, last) = ((wanted.start + MAGIC.len()) / GROUP, (wanted.end + MAGIC.len() - 1) / GROUP);
        let sealed = (first * GROUP).saturating_sub(MAGIC.len())..((last + 1) * GROUP - MAGIC.len()).min(len);
        let values = values.get(first..=last)?.to_vec();
        Some(Part { sealed, wanted, first, values, siv: r.siv })
    }
}

impl Part {
    /// Verify the bytes at [`Part::sealed`] and decrypt what was wanted, in place; says where it is in
    /// `sealed`. `None` if they are not those of the block.
    pub fn open(&self, sealed: &mut [u8]) -> Option<Range<usize>> {
        let lead = if self.first == 0 { GROUP - MAGIC.len() } else { 0 };
        let (head, rest) = sealed.split_at_checked(lead)?;
        let found = (lead > 0).then(|| first_value(head));
        let rest = rest.chunks(GROUP).zip(self.first + usize::from(lead > 0)..);
        let found = found.into_iter().chain(rest.map(|(bytes, index)| group_value(index, bytes)));
        if !found.eq(self.values.iter().copied().map(Some)) || sealed.len() != self.sealed.len() {
            return None;
        }
        let range =
            self.wanted.start.checked_sub(self.sealed.start)?..self.wanted.end.checked_sub(self.sealed.start)?;
        let (key, nonce) = key_and_nonce(&self.siv);
        aead::decrypt_known_at(&key, nonce, self.wanted.start, sealed.get_mut(range.clone())?).ok()?;
        Some(range)
    }
}

/// Groups of a sealed block of `len` bytes.
fn groups(len: usize) -> usize {
    (len + MAGIC.len()).div_ceil(GROUP)
}

/// The values of all groups; `None` if there are few.
fn values_of(sealed: &[u8]) -> Option<Vec<Digest>> {
    if groups(sealed.len()) < FEWEST {
        return None;
    }
    let (head, rest) = sealed.split_at_checked(GROUP - MAGIC.len())?;
    let rest = rest.chunks(GROUP).zip(1..).map(|(bytes, index)| group_value(index, bytes));
    std::iter::once(first_value(head)).chain(rest).collect()
}

/// The value of the first group, which starts with the prefix of the id.
fn first_value(head: &[u8]) -> Option<Digest> {
    let mut group = [0; GROUP];
    let (prefix, room) = group.split_at_mut(MAGIC.len());
    prefix.copy_from_slice(MAGIC);
    (head.len() == room.len()).then(|| room.copy_from_slice(head))?;
    group_value(0, &group)
}

fn aside(keys: &Keys, r: &Ref, start: usize, values: &[Digest]) -> Vec<u8> {
    match u8::try_from(start) {
        Ok(start) if !values.is_empty() => [&mark(keys, r, start)[..], &[start], values.as_flattened()].concat(),
        _ => Vec::new(),
    }
}

/// Says "opened with this reference, raw, the body from `start` on".
fn mark(keys: &Keys, r: &Ref, start: u8) -> [u8; MARK] {
    let hash = keyed_hash(keys.parts.expose(), &[&r.to_bytes(), &[start]]);
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
