//! The invites that one device has given out for one volume, and the judgement over who comes with one.
//!
//! Pure: the caller stores [`Book::bytes`] before it answers. Must never hold what a link is made of, and never
//! let two devices in with one invite.

use super::handshake::{Refusal, Request};
use super::link::Verifier;
use crate::seal::cursor::Cursor;
use crate::seal::membership::Role;

const VERSION: u8 = 1;
/// Wrong proofs an invite survives, less one.
const ATTEMPTS: u8 = 5;
/// Most invites kept for one volume.
const MOST: usize = 256;

/// One invite given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Checks the proof.
    pub verifier: Verifier,
    /// What the newcomer may do.
    pub role: Role,
    /// Until when, in seconds since 1970.
    pub expires: u64,
    /// Wrong proofs it still survives.
    attempts: u8,
    /// The device that used it: identity and author key.
    used: Option<([u8; 32], [u8; 32])>,
}

/// All invites of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    pending: Vec<Pending>,
}

impl Book {
    /// Remember an invite. Expired ones are forgotten a day later, the oldest when there are too many.
    pub fn add(&mut self, verifier: Verifier, role: Role, expires: u64, now: u64) {
        self.pending.retain(|p| p.expires.saturating_add(86_400) > now);
        if self.pending.len() >= MOST {
            self.pending.remove(0);
        }
        self.pending.push(Pending { verifier, role, expires, attempts: ATTEMPTS, used: None });
    }

    /// Whether an invite of that id was given out and not forgotten.
    pub fn has(&self, invite: &[u8; 8]) -> bool {
        self.pending.iter().any(|p| p.verifier.id() == *invite)
    }

    /// Whether anybody could come with one now, be it only to be told that it was used.
    pub fn is_open(&self, now: u64) -> bool {
        self.pending.iter().any(|p| p.expires > now && p.attempts > 0)
    }

    /// Judge a request by `joiner`. An accepted invite is used up, a wrong proof costs an attempt: store the
    /// book before answering. The device that used an invite may ask again, for its answer may have been lost.
    pub fn judge(
        &mut self,
        bytes: &[u8],
        joiner: &[u8; 32],
        inviter: &[u8; 32],
        now: u64,
    ) -> Result<(Request, Pending), Refusal> {
        let request = Request::decode(bytes).ok_or(Refusal::Unknown)?;
        let found = self.pending.iter_mut().find(|p| p.verifier.id() == request.invite);
        let pending = found.ok_or(Refusal::Unknown)?;
        if pending.attempts == 0 {
            return Err(Refusal::Exhausted);
        }
        if !Request::is_proven(bytes, &pending.verifier, joiner, inviter) {
            pending.attempts = pending.attempts.saturating_sub(1);
            return Err(Refusal::Proof);
        }
        if pending.expires <= now {
            return Err(Refusal::Expired);
        }
        let who = (*joiner, request.author);
        if *pending.used.get_or_insert(who) != who {
            return Err(Refusal::Used);
        }
        Ok((request, pending.clone()))
    }

    /// Let the invite be used again: the newcomer was accepted but could not be let in.
    pub fn release(&mut self, verifier: &Verifier) {
        self.pending.iter_mut().filter(|p| p.verifier == *verifier).for_each(|p| p.used = None);
    }

    /// As stored; secret from others, since it checks proofs.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for p in &self.pending {
            out.extend_from_slice(&p.verifier.0);
            out.push(p.role.byte());
            out.extend_from_slice(&p.expires.to_le_bytes());
            out.push(p.attempts);
            out.push(u8::from(p.used.is_some()));
            let (peer, author) = p.used.unwrap_or_default();
            out.extend_from_slice(&peer);
            out.extend_from_slice(&author);
        }
        out
    }

    /// From what is stored; `None` if malformed.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        cursor.magic(&[VERSION])?;
        let mut pending = Vec::new();
        while !cursor.is_empty() {
            pending.push(Pending {
                verifier: Verifier(cursor.array()?),
                role: Role::from_byte(cursor.byte()?)?,
                expires: u64::from_le_bytes(cursor.array()?),
                attempts: cursor.byte()?,
                used: {
                    let used = cursor.byte()? == 1;
                    let who = (cursor.array()?, cursor.array()?);
                    used.then_some(who)
                },
            });
        }
        (pending.len() <= MOST).then_some(Self { pending })
    }
}
