//! The invite link: what one person gives another so that a second device comes in.
//!
//! Holds a one-time secret, no key of the volume. Must never be logged.

use std::fmt;

use super::code;
use crate::base::port::Entropy;
use crate::base::{Error, Kind, Result, VolumeId, hash};
use crate::seal::context;
use crate::seal::cursor::Cursor;
use crate::seal::membership::Role;
use crate::seal::secret::Secret;

/// How a link begins.
pub const SCHEME: &str = "lovage://join/";
const VERSION: u8 = 1;
/// Longest link in characters, and most addresses in it.
const LONGEST: usize = 4096;
const MOST_ADDRESSES: usize = 8;

/// What the inviter keeps of an invite's secret: enough to check a proof, not to make the link again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Verifier(pub [u8; 32]);

impl Verifier {
    /// What requests name the invite by.
    pub fn id(&self) -> [u8; 8] {
        hash(&[b"lovage invite id", &self.0]).first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(secret)")
    }
}

/// A link, taken apart.
#[derive(Clone)]
pub struct Link {
    /// The volume it is for.
    pub volume: VolumeId,
    /// The inviter's identity: the Ed25519 public key behind its peer id.
    pub inviter: [u8; 32],
    /// Where the inviter may be reached: locations of stores, then multiaddresses, which begin with a slash.
    pub addresses: Vec<String>,
    /// What the newcomer may do.
    pub role: Role,
    /// Until when, in seconds since 1970.
    pub expires: u64,
    secret: Secret,
}

impl Link {
    /// A link with a new secret. Addresses beyond the eighth are left out.
    pub fn new(
        volume: VolumeId,
        inviter: [u8; 32],
        mut addresses: Vec<String>,
        role: Role,
        expires: u64,
        entropy: &dyn Entropy,
    ) -> Self {
        addresses.retain(|a| a.len() <= 255);
        addresses.truncate(MOST_ADDRESSES);
        Self { volume, inviter, addresses, role, expires, secret: Secret::generate(entropy) }
    }

    /// Where the inviter listens.
    pub fn listens(&self) -> Vec<String> {
        self.addresses.iter().filter(|address| address.starts_with('/')).cloned().collect()
    }

    /// Stores that it looks into.
    pub fn stores(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().map(String::as_str).filter(|address| !address.starts_with('/'))
    }

    /// What the inviter keeps.
    pub fn verifier(&self) -> Verifier {
        Verifier(*self.secret.derive(context::INVITE_VERIFIER, &[]).expose())
    }

    /// As text.
    pub fn text(&self) -> String {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.volume.0);
        out.extend_from_slice(&self.inviter);
        out.extend_from_slice(self.secret.expose());
        out.push(self.role.byte());
        out.extend_from_slice(&self.expires.to_le_bytes());
        for address in &self.addresses {
            out.push(u8::try_from(address.len()).unwrap_or(0));
            out.extend_from_slice(address.as_bytes());
        }
        format!("{SCHEME}{}", code::encode(&out))
    }

    /// From text. [`Kind::Invalid`] when a character is wrong or missing, [`Kind::Unsupported`] for a link of a
    /// later version. Whether it has expired is the caller's to ask.
    pub fn parse(text: &str) -> Result<Self> {
        let mistyped = || {
            Error::new(Kind::Invalid, "read the invite", "")
                .with_source("the link is mistyped or cut off: copy it whole")
        };
        let text = text.trim();
        let body =
            text.get(..SCHEME.len()).filter(|s| s.eq_ignore_ascii_case(SCHEME)).and_then(|_| text.get(SCHEME.len()..));
        let bytes = body.filter(|b| b.len() <= LONGEST).and_then(code::decode).ok_or_else(mistyped)?;
        if bytes.first() != Some(&VERSION) {
            let why = "the link is of a later version of lovage: update this one";
            return Err(Error::new(Kind::Unsupported, "read the invite", "").with_source(why));
        }
        Self::decode(&bytes).ok_or_else(mistyped)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        cursor.magic(&[VERSION])?;
        let (volume, inviter) = (VolumeId(cursor.array()?), cursor.array()?);
        let secret = Secret::take(&mut cursor.array()?);
        let role = Role::from_byte(cursor.byte()?)?;
        let expires = u64::from_le_bytes(cursor.array()?);
        let mut addresses = Vec::new();
        while !cursor.is_empty() && addresses.len() < MOST_ADDRESSES {
            let len = usize::from(cursor.byte()?);
            addresses.push(std::str::from_utf8(cursor.bytes(len)?).ok()?.to_owned());
        }
        cursor.end()?;
        Some(Self { volume, inviter, addresses, role, expires, secret })
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}, {}, {:?})", self.volume, self.role.name(), self.addresses)
    }
}
