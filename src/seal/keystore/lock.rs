//! The header of a keystore: how its key comes from the passphrase, and a commitment to that key.
//!
//! Must never run Argon2 with parameters outside the bounds of [`Cost`].

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::base::{Error, Kind, Result, hash, port::Entropy};
use crate::seal::context;
use crate::seal::cursor::Cursor;
use crate::seal::secret::Secret;

const MAGIC: &[u8; 8] = b"lvgkeys1";
const NONE: u8 = 0;
const ARGON2ID: u8 = 1;
const CHECKSUM: usize = 16;
/// Bytes of the header with its checksum.
pub const HEADER: usize = 8 + 4 + 12 + 16 + 32 + CHECKSUM;

/// A passphrase: bytes as typed, not normalised. Wiped when dropped, never printed.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Take the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes, to hand them to the process that opens the keystore.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(secret)")
    }
}

/// What one guess at the passphrase costs (Argon2id). The default is 64 MiB, 3 passes, 4 lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB: 19 MiB (OWASP's floor) to 256 MiB.
    pub memory_kib: u32,
    /// Passes over it: 2 to 16.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl Cost {
    /// The least that is accepted.
    pub const FLOOR: Self = Self { memory_kib: 19 << 10, passes: 2, lanes: 1 };
    /// The most that is accepted: a hostile header costs some seconds and 256 MiB at worst.
    pub const CEILING: Self = Self { memory_kib: 256 << 10, passes: 16, lanes: 16 };

    fn is_within_bounds(self) -> bool {
        let within = |low, value, high| (low..=high).contains(&value);
        within(Self::FLOOR.memory_kib, self.memory_kib, Self::CEILING.memory_kib)
            && within(Self::FLOOR.passes, self.passes, Self::CEILING.passes)
            && within(Self::FLOOR.lanes, self.lanes, Self::CEILING.lanes)
    }

    fn stretch(self, passphrase: &Passphrase, salt: &[u8; 16]) -> Result<Secret> {
        let failed = |e: argon2::Error| Error::new(Kind::Other, "derive keystore key", e.to_string());
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(failed)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = [0; 32];
        argon.hash_password_into(&passphrase.0, salt, &mut key).map_err(failed)?;
        Ok(Secret::take(&mut key))
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 4 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    None,
    Argon2id(Cost),
}

/// An unlocked lock: what is needed to save again without asking for the passphrase.
pub struct Lock {
    protection: Protection,
    salt: [u8; 16],
    master: Secret,
}

/// A parsed header.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    protection: Protection,
    salt: [u8; 16],
    commitment: [u8; 32],
}

impl Lock {
    /// A new lock with a new salt. [`Kind::Invalid`] for an empty passphrase or a cost out of bounds.
    pub fn new(passphrase: Option<&Passphrase>, cost: Cost, entropy: &dyn Entropy) -> Result<Self> {
        let invalid = |what: &str| Error::new(Kind::Invalid, "lock keystore", what);
        if passphrase.is_some_and(|p| p.0.is_empty()) {
            return Err(invalid("the passphrase is empty"));
        }
        if !cost.is_within_bounds() {
            return Err(invalid("cost out of bounds"));
        }
        let mut salt = [0; 16];
        entropy.fill(&mut salt);
        let protection = if passphrase.is_some() { Protection::Argon2id(cost) } else { Protection::None };
        Ok(Self { protection, salt, master: protection.master(passphrase, &salt)? })
    }

    /// The cost to use for the next passphrase.
    pub fn cost(&self) -> Cost {
        match self.protection {
            Protection::None => Cost::default(),
            Protection::Argon2id(cost) => cost,
        }
    }

    /// The key of the body.
    pub fn key(&self) -> Secret {
        self.master.derive(context::KEYSTORE_KEY, &[])
    }

    /// The header as stored.
    pub fn header(&self) -> Vec<u8> {
        let (kind, cost) = match self.protection {
            Protection::None => (NONE, [0; 3]),
            Protection::Argon2id(c) => (ARGON2ID, [c.memory_kib, c.passes, c.lanes]),
        };
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[kind, 0, 0, 0]);
        out.extend(cost.iter().flat_map(|n| n.to_le_bytes()));
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&commitment(&self.master));
        let sum = checksum(&out);
        out.extend_from_slice(&sum);
        out
    }
}

impl Header {
    /// Read the start of a keystore file. `None` if damaged, or if its cost is out of bounds.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_at_checked(HEADER)?;
        let (summed, sum) = header.split_last_chunk::<CHECKSUM>()?;
        let mut cursor = Cursor::new(summed);
        cursor.magic(MAGIC)?;
        let kind = cursor.array::<4>()?;
        let cost = Cost { memory_kib: cursor.number()?, passes: cursor.number()?, lanes: cursor.number()? };
        let protection = match kind {
            [NONE, 0, 0, 0] if cost == (Cost { memory_kib: 0, passes: 0, lanes: 0 }) => Protection::None,
            [ARGON2ID, 0, 0, 0] if cost.is_within_bounds() => Protection::Argon2id(cost),
            _ => return None,
        };
        let (salt, commitment) = (cursor.array()?, cursor.array()?);
        (checksum(summed) == *sum).then_some(Self { protection, salt, commitment })
    }

    /// Whether a passphrase is needed.
    pub fn needs_passphrase(&self) -> bool {
        self.protection != Protection::None
    }

    /// Derive the key and check it against the commitment, before anything is decrypted.
    /// [`Kind::Denied`] if the passphrase is wrong or missing.
    pub fn unlock(&self, passphrase: Option<&Passphrase>) -> Result<Lock> {
        let master = self.protection.master(passphrase, &self.salt)?;
        let right: bool = commitment(&master).ct_eq(&self.commitment).into();
        if !right {
            return Err(denied("wrong passphrase"));
        }
        Ok(Lock { protection: self.protection, salt: self.salt, master })
    }
}

impl Protection {
    fn master(self, passphrase: Option<&Passphrase>, salt: &[u8; 16]) -> Result<Secret> {
        match (self, passphrase) {
            (Self::None, _) => Ok(Secret::from_public(context::KEYSTORE_OPEN, salt)),
            (Self::Argon2id(cost), Some(passphrase)) => cost.stretch(passphrase, salt),
            (Self::Argon2id(_), None) => Err(denied("a passphrase is needed")),
        }
    }
}

fn commitment(master: &Secret) -> [u8; 32] {
    *master.derive(context::KEYSTORE_COMMIT, &[]).expose()
}

/// Tells damage from a wrong passphrase; no protection against intent, which the AEAD gives.
fn checksum(summed: &[u8]) -> [u8; CHECKSUM] {
    let digest = hash(&[summed]);
    digest.first_chunk().copied().unwrap_or_default()
}

fn denied(what: &'static str) -> Error {
    Error::new(Kind::Denied, "unlock keystore", what)
}
