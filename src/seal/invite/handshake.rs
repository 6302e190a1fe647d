//! Joining: one request, one answer, over a channel on which both peers have proven their identity.
//!
//! The request proves the link's secret by a MAC that also covers both identities, so that neither half can be
//! used between other peers. The answer is sealed under a key of the same secret. Must never say more to
//! somebody without the secret than that it is refused and why.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::code;
use super::link::Verifier;
use crate::base::port::Entropy;
use crate::base::{Error, Kind, Result, VolumeId, WriterIndex, hash, keyed_hash};
use crate::seal::cursor::Cursor;
use crate::seal::membership::{Role, name, put_name};
use crate::seal::secret::{EpochSecret, Secret};
use crate::seal::{aead, context};

const REQUEST: &[u8; 4] = b"joi1";
const ANSWER: &[u8; 4] = b"joi2";
/// Longest request in bytes.
pub const MAX_REQUEST: usize = 512;
/// Longest answer in bytes.
pub const MAX_ANSWER: usize = 1 << 20;

/// What a newcomer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which invite; see [`Verifier::id`].
    pub invite: [u8; 8],
    /// The volume.
    pub volume: VolumeId,
    /// Will sign its heads.
    pub author: [u8; 32],
    /// To which epoch secrets are sealed for it.
    pub box_key: [u8; 32],
    /// What people call it.
    pub name: String,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such invite, or not for this volume.
    Unknown,
    /// Too late.
    Expired,
    /// Another device used it.
    Used,
    /// The proof is wrong.
    Proof,
    /// Too many wrong proofs.
    Exhausted,
    /// The inviter cannot at the moment.
    Failed,
}

impl Refusal {
    const ALL: [Self; 6] = [Self::Unknown, Self::Expired, Self::Used, Self::Proof, Self::Exhausted, Self::Failed];

    /// The refusal in words, for the newcomer.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unknown => "the inviter does not know this invite (any more)",
            Self::Expired => "the invite has expired",
            Self::Used => "the invite has been used by another device",
            Self::Proof => "the inviter does not accept the proof of this link",
            Self::Exhausted => "too many wrong attempts were made with this invite",
            Self::Failed => "the inviter could not let this device in; its log says why",
        }
    }
}

/// Everything a newcomer needs.
pub struct Welcome {
    /// Its index.
    pub writer: WriterIndex,
    /// What it may do.
    pub role: Role,
    /// The signed genesis.
    pub genesis: Vec<u8>,
    /// The membership with the newcomer in it.
    pub membership: Vec<u8>,
    /// Epoch secrets; none for storage.
    pub epochs: Vec<(u32, EpochSecret)>,
    /// The newest heads the inviter knows, its own first.
    pub heads: Vec<Vec<u8>>,
    /// What the inviter calls the volume.
    pub name: String,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Welcome(writer {}, {})", self.writer, self.role.name())
    }
}

impl Request {
    /// The bytes to send from `joiner` to `inviter`. [`Kind::Invalid`] for a name that is too long.
    pub fn encode(&self, verifier: &Verifier, joiner: &[u8; 32], inviter: &[u8; 32]) -> Result<Vec<u8>> {
        let mut out = REQUEST.to_vec();
        out.extend_from_slice(&self.invite);
        out.extend_from_slice(&self.volume.0);
        out.extend_from_slice(&self.author);
        out.extend_from_slice(&self.box_key);
        put_name(&mut out, &self.name).ok_or_else(|| Error::new(Kind::Invalid, "ask to join", &self.name))?;
        let mac = proof(verifier, &out, joiner, inviter);
        out.extend_from_slice(&mac);
        Ok(out)
    }

    /// Decode without checking the proof; `None` if malformed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, _) = bytes.split_last_chunk::<32>().filter(|_| bytes.len() <= MAX_REQUEST)?;
        let mut cursor = Cursor::new(body);
        cursor.magic(REQUEST)?;
        let (invite, volume) = (cursor.array()?, VolumeId(cursor.array()?));
        let (author, box_key, name) = (cursor.array()?, cursor.array()?, name(&mut cursor)?);
        cursor.end()?;
        Some(Self { invite, volume, author, box_key, name })
    }

    /// Whether `bytes`, sent by `joiner` to `inviter`, prove the secret. Constant time.
    pub fn is_proven(bytes: &[u8], verifier: &Verifier, joiner: &[u8; 32], inviter: &[u8; 32]) -> bool {
        let Some((body, mac)) = bytes.split_last_chunk::<32>() else { return false };
        proof(verifier, body, joiner, inviter).ct_eq(mac).into()
    }
}

fn proof(verifier: &Verifier, body: &[u8], joiner: &[u8; 32], inviter: &[u8; 32]) -> [u8; 32] {
    keyed_hash(&verifier.0, &[b"lovage join proof", joiner, inviter, body])
}

impl Welcome {
    /// The answer to `request`, readable with the invite's secret only. [`Kind::TooBig`] beyond [`MAX_ANSWER`].
    pub fn encode(&self, verifier: &Verifier, request: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>> {
        let plain = self.plain().ok_or_else(|| Error::new(Kind::TooBig, "answer a newcomer", ""))?;
        let mut nonce = [0; aead::XNONCE];
        entropy.fill(&mut nonce);
        let mut out = [&ANSWER[..], &[ACCEPTED]].concat();
        aead::xseal(reply_key(verifier).expose(), nonce, &hash(&[request]), &plain, &mut out)?;
        if out.len() > MAX_ANSWER {
            return Err(Error::new(Kind::TooBig, "answer a newcomer", format!("{} bytes", out.len())));
        }
        Ok(out)
    }

    fn plain(&self) -> Option<Zeroizing<Vec<u8>>> {
        let size = 64 + self.genesis.len() + self.membership.len() + self.epochs.len() * 36 + self.name.len();
        let size = size + self.heads.iter().map(|h| h.len() + 4).sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        out.extend_from_slice(&self.writer.to_le_bytes());
        out.push(self.role.byte());
        put_name(&mut out, &self.name)?;
        put_bytes(&mut out, &self.genesis)?;
        put_bytes(&mut out, &self.membership)?;
        out.extend_from_slice(&u32::try_from(self.epochs.len()).ok()?.to_le_bytes());
        for (epoch, secret) in &self.epochs {
            out.extend_from_slice(&epoch.to_le_bytes());
            out.extend_from_slice(secret.secret().expose());
        }
        out.extend_from_slice(&u32::try_from(self.heads.len()).ok()?.to_le_bytes());
        self.heads.iter().try_for_each(|head| put_bytes(&mut out, head))?;
        Some(out)
    }

    /// Open the answer to `request`. [`Kind::Corrupt`] if it is none; a refusal is the inner error.
    pub fn open(answer: &[u8], verifier: &Verifier, request: &[u8]) -> Result<std::result::Result<Self, Refusal>> {
        let corrupt = || Error::new(Kind::Corrupt, "understand the inviter", "");
        let (&tag, rest) = answer.strip_prefix(ANSWER).and_then(<[u8]>::split_first).ok_or_else(corrupt)?;
        if tag != ACCEPTED {
            let at = usize::from(tag).checked_sub(1).filter(|_| rest.is_empty());
            return at.and_then(|at| Refusal::ALL.get(at)).map(|refusal| Err(*refusal)).ok_or_else(corrupt);
        }
        let plain = Zeroizing::new(aead::xopen(reply_key(verifier).expose(), &hash(&[request]), rest)?);
        Self::from_plain(&plain).map(Ok).ok_or_else(corrupt)
    }

    fn from_plain(plain: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(plain);
        let (writer, role, name) = (cursor.number()?, Role::from_byte(cursor.byte()?)?, name(&mut cursor)?);
        let (genesis, membership) = (bytes(&mut cursor)?, bytes(&mut cursor)?);
        let count = cursor.number()?;
        let epoch = |c: &mut Cursor<'_>| Some((c.number()?, EpochSecret::new(c.array()?)));
        let epochs = (0..count).map(|_| epoch(&mut cursor)).collect::<Option<_>>()?;
        let count = cursor.number()?;
        let heads = (0..count).map(|_| bytes(&mut cursor)).collect::<Option<_>>()?;
        cursor.end()?;
        Some(Self { writer, role, genesis, membership, epochs, heads, name })
    }
}

const ACCEPTED: u8 = 0;

/// The answer that refuses.
pub fn refuse(refusal: Refusal) -> Vec<u8> {
    let at = Refusal::ALL.iter().position(|r| *r == refusal).and_then(|at| u8::try_from(at + 1).ok());
    [&ANSWER[..], &[at.unwrap_or(6)]].concat()
}

/// The six words that a newcomer and its inviter both show: they stand for the volume, both identities and the
/// newcomer's author key.
pub fn check_words(volume: VolumeId, inviter: &[u8; 32], joiner: &[u8; 32], author: &[u8; 32]) -> String {
    let digest = hash(&[b"lovage check words", &volume.0, inviter, joiner, author]);
    code::words(&digest.first_chunk().copied().unwrap_or_default())
}

fn reply_key(verifier: &Verifier) -> Secret {
    let mut bytes = verifier.0;
    Secret::take(&mut bytes).derive(context::INVITE_REPLY, &[])
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

fn bytes(cursor: &mut Cursor<'_>) -> Option<Vec<u8>> {
    let len = usize::try_from(cursor.number()?).ok()?;
    cursor.bytes(len).map(<[u8]>::to_vec)
}
