//! Heads: what an author says the volume is now. Encrypted body, signed envelope.
//!
//! A store checks author and sequence without reading; a reader finds author, writer and sequence repeated
//! inside, so an envelope cannot be put around another's body. Layout: `docs/format-seal.md`.
//! Must never accept a head whose inside and outside disagree.

use zeroize::Zeroizing;

use super::aead;
use super::author::{self, AuthorKey, SIGNATURE};
use super::cursor::Cursor;
use super::padding::padded_len;
use super::sealer::Sealer;
use crate::base::{Digest, Error, Kind, Result, VolumeId, WriterIndex, hash, limits, port::Entropy};

const MAGIC: &[u8; 4] = b"hed1";
/// magic, volume, author, writer, seq, epoch.
const PREFIX: usize = 4 + 16 + 32 + 4 + 8 + 4;
/// author, writer, seq, body length.
const INNER: usize = 32 + 4 + 8 + 4;
/// Longest body: whatever its size class, the head stays within `limits::MAX_HEAD`.
pub const MAX_BODY: usize = 60 << 10;

/// What anyone can read of a head whose signature verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The volume it is of.
    pub volume: VolumeId,
    /// Public key of who signed it.
    pub author: [u8; 32],
    /// The author's place in the volume's writer table.
    pub writer: WriterIndex,
    /// Grows by at least one with each head of this author.
    pub seq: u64,
    /// The epoch whose key reads the body.
    pub epoch: u32,
    /// BLAKE3 of everything signed: two hashes under one `seq` prove equivocation.
    pub hash: Digest,
}

/// A verified and decrypted head.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenedHead {
    /// The author's place in the volume's writer table.
    pub writer: WriterIndex,
    /// Grows by at least one with each head of this author.
    pub seq: u64,
    /// What the author said; the layers above define it.
    pub body: Vec<u8>,
    /// [`Envelope::hash`].
    pub hash: Digest,
}

/// Seal and sign a head. A new random nonce each time: seal one `seq` once and keep the bytes.
/// [`Kind::TooBig`] beyond [`MAX_BODY`].
pub fn seal_head(
    sealer: &Sealer,
    key: &AuthorKey,
    writer: WriterIndex,
    seq: u64,
    body: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    let mut nonce = [0; aead::XNONCE];
    entropy.fill(&mut nonce);
    let mut out = Vec::with_capacity(body.len().min(MAX_BODY) + (body.len().min(MAX_BODY) >> 3) + 256);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&sealer.volume().0);
    out.extend_from_slice(&key.public());
    out.extend_from_slice(&writer.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    let epoch = sealer.epoch(); // once: another may begin at any time
    out.extend_from_slice(&epoch.to_le_bytes());
    let associated = out.clone();
    let inner = inner(&key.public(), writer, seq, body)?;
    aead::xseal(sealer.head_key(epoch)?.expose(), nonce, &associated, &inner, &mut out)?;
    let signature = key.sign(&out);
    out.extend_from_slice(&signature);
    Ok(out)
}

/// The author a head names, before anything of it is checked; `None` if it is no head.
pub fn author_of(bytes: &[u8]) -> Option<[u8; 32]> {
    split(bytes).map(|(envelope, _, _)| envelope.author)
}

/// Check layout, size and signature of a head by `author`, without reading it; [`Kind::Corrupt`] otherwise.
pub fn verify_envelope(author: &[u8; 32], bytes: &[u8]) -> Result<Envelope> {
    let (envelope, _, _) = split(bytes).ok_or_else(|| corrupt("malformed"))?;
    let (signed, signature) = bytes.split_last_chunk::<SIGNATURE>().ok_or_else(|| corrupt("malformed"))?;
    if envelope.author != *author || !author::verify(author, signed, signature) {
        return Err(corrupt("not signed by this author"));
    }
    Ok(envelope)
}

/// Verify and decrypt a head by `author` in `sealer`'s volume. [`Kind::Corrupt`] if anything disagrees,
/// [`Kind::Denied`] without the epoch's key.
pub fn open_head(sealer: &Sealer, author: &[u8; 32], bytes: &[u8]) -> Result<OpenedHead> {
    let envelope = verify_envelope(author, bytes)?;
    if envelope.volume != sealer.volume() {
        return Err(corrupt("of another volume"));
    }
    let (_, prefix, sealed) = split(bytes).ok_or_else(|| corrupt("malformed"))?;
    let key = sealer.head_key(envelope.epoch)?;
    let inner = Zeroizing::new(aead::xopen(key.expose(), prefix, sealed)?);
    let body = inside(&envelope, &inner).ok_or_else(|| corrupt("inside and outside disagree"))?;
    Ok(OpenedHead { writer: envelope.writer, seq: envelope.seq, body: body.to_vec(), hash: envelope.hash })
}

impl std::fmt::Debug for OpenedHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenedHead(writer {}, seq {}, {} B)", self.writer, self.seq, self.body.len())
    }
}

/// `author || writer || seq || body length || body || zeros` up to the size class of the body.
fn inner(author: &[u8; 32], writer: WriterIndex, seq: u64, body: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let too_big = || Error::new(Kind::TooBig, "seal head", format!("{} bytes", body.len()));
    let len = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY).ok_or_else(too_big)?;
    let size = INNER + padded_len(body.len());
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    out.extend_from_slice(author);
    out.extend_from_slice(&writer.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(body);
    out.resize(size, 0);
    Ok(out)
}

fn inside<'a>(envelope: &Envelope, inner: &'a [u8]) -> Option<&'a [u8]> {
    body_within(envelope.author, envelope.writer, envelope.seq, inner)
}

/// The body within a decrypted head, if all else there is as its envelope says.
pub(super) fn body_within(author: [u8; 32], writer: WriterIndex, seq: u64, inner: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(inner);
    let repeated = (cursor.array()?, cursor.number()?, cursor.array().map(u64::from_le_bytes)?);
    let len = usize::try_from(cursor.number()?).ok()?;
    let body = cursor.bytes(len)?;
    let exact = inner.len() == INNER.checked_add(padded_len(len))? && cursor.rest().iter().all(|b| *b == 0);
    (exact && repeated == (author, writer, seq)).then_some(body)
}

/// Envelope (signature not yet checked), associated data, sealed body.
fn split(bytes: &[u8]) -> Option<(Envelope, &[u8], &[u8])> {
    let (signed, _) = bytes.split_last_chunk::<SIGNATURE>()?;
    let (prefix, sealed) = signed.split_at_checked(PREFIX).filter(|_| bytes.len() <= limits::MAX_HEAD)?;
    let mut cursor = Cursor::new(prefix);
    cursor.magic(MAGIC)?;
    let envelope = Envelope {
        volume: VolumeId(cursor.array()?),
        author: cursor.array()?,
        writer: cursor.number()?,
        seq: cursor.array().map(u64::from_le_bytes)?,
        epoch: cursor.number()?,
        hash: hash(&[signed]),
    };
    Some((envelope, prefix, sealed))
}

fn corrupt(what: &'static str) -> Error {
    Error::new(Kind::Corrupt, "open head", what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
