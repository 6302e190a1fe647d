//! Sealing and opening of blocks under a volume's keys.
//!
//! Key and nonce are a function of the exact bytes encrypted (through the siv), so no (key, nonce) ever
//! meets two inputs. Must never derive them from the plaintext before compression.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::lead::{hash_behind, keyed_hash_behind};
use super::reference::{BlockType, Codec, Pid, Ref};
use super::secret::{EpochSecret, Secret};
use super::{aead, context, frame};
use crate::base::sync::RwLock;
use crate::base::{Bid, Derive, Error, Kind, Result, VolumeId};

pub(super) const MAGIC: &[u8; 4] = b"blk1";

/// The keys of a volume, every epoch of it. The newest epoch seals, any opens. Cheap to clone; all clones learn new
/// epochs together.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    volume: VolumeId,
    ring: RwLock<Ring>,
    logical: Secret,
}

struct Ring {
    /// Sorted by epoch, starting with epoch 0.
    epochs: Vec<Arc<Keys>>,
    newest: Arc<Keys>,
}

pub(super) struct Keys {
    epoch: u32,
    pid: Secret,
    siv: Secret,
    pub(super) parts: Secret,
    head: Secret,
    cut: Secret,
    pack: Secret,
}

/// An opened block: the buffer given to [`Sealer::open`] now holds the encoded body at `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// How the body is encoded.
    pub codec: Codec,
    /// Where the body is in the buffer.
    pub body: Range<usize>,
    /// What it must decode to, in bytes; at most `limits::MAX_BLOCK`.
    pub plain_len: u32,
}

impl Keys {
    fn new(epoch: u32, secret: &Secret) -> Self {
        let key = |context| secret.derive(context, &[]);
        Self {
            epoch,
            pid: key(context::BLOCK_PID),
            siv: key(context::BLOCK_SIV),
            parts: key(context::PARTS),
            head: key(context::HEAD),
            cut: key(context::CUT),
            pack: key(context::PACK),
        }
    }
}

impl Sealer {
    /// The keys of `volume`. `epochs` in any order; [`Kind::Invalid`] if empty, if an epoch is there twice,
    /// or without epoch 0 (every reader can unwrap it, and logical ids need it).
    pub fn new(volume: VolumeId, epochs: &[(u32, EpochSecret)]) -> Result<Self> {
        let invalid = |why: &str| Error::new(Kind::Invalid, "load volume keys", why);
        let mut keys: Vec<Arc<Keys>> =
            epochs.iter().map(|(n, secret)| Arc::new(Keys::new(*n, secret.secret()))).collect();
        keys.sort_by_key(|k| k.epoch);
        if keys.windows(2).any(|pair| matches!(pair, [a, b] if a.epoch == b.epoch)) {
            return Err(invalid("an epoch is there twice"));
        }
        let first = epochs.iter().find(|(n, _)| *n == 0).ok_or_else(|| invalid("epoch 0 is missing"))?;
        let newest = keys.last().cloned().ok_or_else(|| invalid("no epoch"))?;
        let logical = first.1.secret().derive(context::LOGICAL, &[]);
        let ring = RwLock::new(Ring { epochs: keys, newest });
        Ok(Self(Arc::new(Inner { volume, ring, logical })))
    }

    /// Take a further epoch into use; the newest seals from now on. False if it was known already.
    pub fn learn(&self, epoch: u32, secret: &EpochSecret) -> bool {
        let keys = Arc::new(Keys::new(epoch, secret.secret()));
        let mut ring = self.0.ring.write();
        let Err(at) = ring.epochs.binary_search_by_key(&epoch, |k| k.epoch) else { return false };
        ring.epochs.insert(at, keys);
        if let Some(newest) = ring.epochs.last().cloned() {
            ring.newest = newest;
        }
        true
    }

    fn newest(&self) -> Arc<Keys> {
        Arc::clone(&self.0.ring.read().newest)
    }

    /// The volume these keys belong to.
    pub fn volume(&self) -> VolumeId {
        self.0.volume
    }

    /// The epoch that seals.
    pub fn epoch(&self) -> u32 {
        self.0.ring.read().newest.epoch
    }

    /// The private id of a plaintext, for the local dedup index. One pass of keyed BLAKE3.
    pub fn pid(&self, t: BlockType, level: u8, plain: &[u8]) -> Pid {
        let mut prefix = [0; 10];
        let (kind, len) = prefix.split_at_mut(2);
        kind.copy_from_slice(&[t.byte(), level]);
        len.copy_from_slice(&(plain.len() as u64).to_le_bytes());
        Pid(keyed_hash_behind(self.newest().pid.expose(), &prefix, plain))
    }

    /// Seal `body` (a plaintext of `plain_len` bytes, encoded with `codec`), appending the sealed bytes to
    /// `out`. Equal inputs give equal bytes; a random `salt` (deduplication off) makes them differ.
    ///
    /// One copy of the body, then in place: siv hash, encryption, bid hash. [`Kind::TooBig`] beyond a block,
    /// [`Kind::Invalid`] if a raw body is not `plain_len` long; `out` is then unchanged.
    // The argument list is the format's; a struct would only rename it.
    #[allow(clippy::too_many_arguments)]
    pub fn seal(
        &self,
        t: BlockType,
        level: u8,
        codec: Codec,
        body: &[u8],
        plain_len: u32,
        salt: Option<[u8; frame::SALT]>,
        out: &mut Vec<u8>,
    ) -> Result<Ref> {
        let start = out.len();
        let (siv, epoch) = self.encrypt(t, level, codec, body, plain_len, salt, out)?;
        let bid = bid_of(out.get(start..).unwrap_or_default());
        Ok(Ref { bid, siv, epoch, len: plain_len })
    }

    /// All of [`Self::seal`] but the id; returns the siv and the epoch.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn encrypt(
        &self,
        t: BlockType,
        level: u8,
        codec: Codec,
        body: &[u8],
        plain_len: u32,
        salt: Option<[u8; frame::SALT]>,
        out: &mut Vec<u8>,
    ) -> Result<([u8; 32], u32)> {
        let keys = &*self.newest(); // once: another epoch may begin at any time
        let start = out.len();
        frame::append(codec, body, plain_len, salt, out)?;
        let text = out.get_mut(start..).unwrap_or_default();
        let siv = self.siv(keys, t, level, text);
        let (key, nonce) = key_and_nonce(&siv);
        let tag = aead::encrypt(&key, nonce, &self.associated(keys.epoch, t, level), text)?;
        out.extend_from_slice(&tag);
        Ok((siv, keys.epoch))
    }

    /// Verify `sealed` against `r` and decrypt it in place: bid, AEAD, siv (constant time), lengths, padding.
    ///
    /// [`Kind::Corrupt`] if anything does not agree, [`Kind::Denied`] if the epoch's key is not here. After
    /// an error the content of `sealed` is unspecified (never unverified plaintext).
    pub fn open(&self, t: BlockType, level: u8, r: &Ref, sealed: &mut Vec<u8>) -> Result<Opened> {
        let keys = self.keys(r.epoch)?;
        if !Self::verify_bid(&r.bid, sealed) {
            return Err(corrupt(r, "the id does not match"));
        }
        let (text, tag) = sealed.split_last_chunk_mut().ok_or_else(|| corrupt(r, "too short"))?;
        let (key, nonce) = key_and_nonce(&r.siv);
        aead::decrypt(&key, nonce, &self.associated(r.epoch, t, level), text, *tag)
            .map_err(|e| corrupt(r, "decryption").with_source(e))?;
        let committed: bool = self.siv(&keys, t, level, text).ct_eq(&r.siv).into();
        let Some(frame) = frame::parse(text).filter(|f| committed && f.plain_len == r.len) else {
            sealed.zeroize();
            return Err(corrupt(r, "the content does not match"));
        };
        Ok(Opened { codec: frame.codec, body: frame.body, plain_len: frame.plain_len })
    }

    /// The name of these sealed bytes. Needs no key.
    pub fn bid(sealed: &[u8]) -> Bid {
        bid_of(sealed)
    }

    /// As [`Self::open`], for a block of data out of our own log. `bid`, a hash of the ciphertext that the signed tree
    /// vouches for, shows that these are the bytes that were sealed; tag and siv would show it again at twice the
    /// price (docs/decisions/0006). Same errors.
    pub fn reopen(&self, r: &Ref, sealed: &mut Vec<u8>) -> Result<Opened> {
        self.keys(r.epoch)?;
        if !Self::verify_bid(&r.bid, sealed) {
            return Err(corrupt(r, "the id does not match"));
        }
        Self::decrypt_known(r, sealed)
    }

    /// Decrypt sealed bytes whose id was checked.
    pub(super) fn decrypt_known(r: &Ref, sealed: &mut Vec<u8>) -> Result<Opened> {
        let (text, _) = sealed.split_last_chunk_mut::<{ aead::TAG }>().ok_or_else(|| corrupt(r, "too short"))?;
        let (key, nonce) = key_and_nonce(&r.siv);
        aead::decrypt_known(&key, nonce, text)?;
        let Some(frame) = frame::parse(text).filter(|f| f.plain_len == r.len) else {
            sealed.zeroize();
            return Err(corrupt(r, "the content does not match"));
        };
        Ok(Opened { codec: frame.codec, body: frame.body, plain_len: frame.plain_len })
    }

    /// Whether `bid` names these sealed bytes. Needs no key: stores and peers use it too.
    pub fn verify_bid(bid: &Bid, sealed: &[u8]) -> bool {
        bid_of(sealed) == *bid
    }

    /// The chunker's key for the newest epoch. It unlocks nothing.
    pub fn cut_key(&self) -> [u8; 32] {
        *self.newest().cut.expose()
    }

    /// The tree's key for logical ids: from epoch 0, so that they survive a change of epoch.
    pub fn logical_key(&self) -> [u8; 32] {
        *self.0.logical.expose()
    }

    /// The key that shuffles blocks within packs on object stores. It unlocks nothing.
    pub fn pack_key(&self) -> [u8; 32] {
        *self.newest().pack.expose()
    }

    /// The head key of an epoch; [`Kind::Denied`] without that epoch.
    pub(super) fn head_key(&self, epoch: u32) -> Result<Secret> {
        self.keys(epoch).map(|k| k.head.clone())
    }

    pub(super) fn keys(&self, epoch: u32) -> Result<Arc<Keys>> {
        let ring = self.0.ring.read();
        if epoch == ring.newest.epoch {
            return Ok(Arc::clone(&ring.newest));
        }
        let at = ring.epochs.binary_search_by_key(&epoch, |k| k.epoch).ok();
        let denied = || Error::new(Kind::Denied, "read", format!("no key for epoch {epoch}"));
        at.and_then(|i| ring.epochs.get(i)).cloned().ok_or_else(denied)
    }

    fn siv(&self, keys: &Keys, t: BlockType, level: u8, text: &[u8]) -> [u8; 32] {
        let mut prefix = [0; 18];
        let (volume, kind) = prefix.split_at_mut(16);
        volume.copy_from_slice(&self.0.volume.0);
        kind.copy_from_slice(&[t.byte(), level]);
        keyed_hash_behind(keys.siv.expose(), &prefix, text)
    }

    /// `"blk1" || volume || epoch || type || level`
    fn associated(&self, epoch: u32, t: BlockType, level: u8) -> [u8; 26] {
        let mut out = [0; 26];
        let (magic, rest) = out.split_at_mut(4);
        let (volume, rest) = rest.split_at_mut(16);
        let (number, kind) = rest.split_at_mut(4);
        magic.copy_from_slice(MAGIC);
        volume.copy_from_slice(&self.0.volume.0);
        number.copy_from_slice(&epoch.to_le_bytes());
        kind.copy_from_slice(&[t.byte(), level]);
        out
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({}, epoch {})", self.0.volume, self.epoch())
    }
}

pub(super) fn bid_of(sealed: &[u8]) -> Bid {
    Bid(hash_behind(MAGIC, sealed))
}

/// Key and nonce of a block: 44 bytes derived from its siv.
pub(super) fn key_and_nonce(siv: &[u8; 32]) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
    let mut stream = Zeroizing::new([0; 44]);
    Derive::fill(context::BLOCK_KEY, siv, stream.as_mut_slice());
    let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 12]);
    let (left, right) = stream.split_at(32);
    key.copy_from_slice(left);
    nonce.copy_from_slice(right);
    (key, nonce)
}

pub(super) fn corrupt(r: &Ref, what: &'static str) -> Error {
    Error::new(Kind::Corrupt, "open block", format!("{}: {what}", r.bid))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
