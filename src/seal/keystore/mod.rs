//! The keystore: one file with the device's root and the secrets of its volumes.
//!
//! Locked by a passphrase (Argon2id) or, without one, by mode 0600 alone. Saved whole and atomically; one
//! process owns it at a time. Layout: `docs/format-seal.md`.
//! Must never write a secret in the clear, spend memory a hostile header asks for, or leave half a file.

mod body;
mod file;
mod lock;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::lock::{Cost, Passphrase};
use self::lock::{Header, Lock};
use super::aead;
use super::device::DeviceRoot;
use super::sealer::Sealer;
use super::secret::EpochSecret;
use crate::base::{Error, Kind, Result, VolumeId, WriterIndex, port};

/// What the device knows of one volume.
#[derive(Clone)]
pub struct VolumeSecrets {
    /// The volume.
    pub id: VolumeId,
    /// Epoch secrets, epoch 0 first. None at all on a device that keeps but cannot read.
    pub epochs: Vec<(u32, EpochSecret)>,
    /// Which incarnation of this device writes; raised when the device may have forgotten what it signed.
    pub incarnation: u32,
    /// The signed genesis; see `genesis::Genesis::open`.
    pub genesis: Vec<u8>,
    /// This device's index in the volume's writer table; 0 for its founder.
    pub writer: WriterIndex,
    /// Who belongs, as stored; see `membership::Membership`. Empty in stores written before there was one.
    pub membership: Vec<u8>,
    /// Other devices of the volume and where they were reached last: identity and multiaddresses.
    pub addresses: Vec<(PeerKey, Vec<String>)>,
}

/// The Ed25519 public key behind a peer id.
pub type PeerKey = [u8; 32];

impl VolumeSecrets {
    /// The keys of a volume that this device founds: nobody else belongs yet.
    pub fn founded(id: VolumeId, genesis: Vec<u8>, first: EpochSecret) -> Self {
        let (membership, addresses) = (Vec::new(), Vec::new());
        Self { id, epochs: vec![(0, first)], incarnation: 0, genesis, writer: 0, membership, addresses }
    }

    /// The volume's sealer; [`Kind::Invalid`] on a device without its epochs.
    pub fn sealer(&self) -> Result<Sealer> {
        Sealer::new(self.id, &self.epochs)
    }
}

impl fmt::Debug for VolumeSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VolumeSecrets({}, {} epochs, incarnation {})", self.id, self.epochs.len(), self.incarnation)
    }
}

/// An open keystore. Changes are in memory until [`Keystore::save`].
pub struct Keystore {
    /// The device's own secret.
    pub device: DeviceRoot,
    /// The volumes it belongs to.
    pub volumes: Vec<VolumeSecrets>,
    path: PathBuf,
    lock: Lock,
    entropy: Arc<dyn port::Entropy>,
}

impl Keystore {
    /// A new device in a new file at `path`, whose directory must exist. [`Kind::Exists`] if something is
    /// there, [`Kind::Invalid`] for an empty passphrase. Costs [`Cost::default`] with a passphrase.
    pub fn create(path: &Path, passphrase: Option<&Passphrase>, entropy: Arc<dyn port::Entropy>) -> Result<Self> {
        Self::create_with(path, passphrase, Cost::default(), entropy)
    }

    /// [`Keystore::create`] at a chosen cost, within [`Cost`]'s bounds.
    pub fn create_with(
        path: &Path,
        passphrase: Option<&Passphrase>,
        cost: Cost,
        entropy: Arc<dyn port::Entropy>,
    ) -> Result<Self> {
        let device = DeviceRoot::generate(&*entropy);
        let lock = Lock::new(passphrase, cost, &*entropy)?;
        let store = Self { device, volumes: Vec::new(), path: path.to_owned(), lock, entropy };
        file::create(path, &store.encode(&store.lock)?)?;
        Ok(store)
    }

    /// Open the keystore at `path`.
    ///
    /// [`Kind::NotFound`] without a file; [`Kind::Denied`] if the passphrase is wrong or missing;
    /// [`Kind::Corrupt`] if the file is damaged; [`Kind::NotPermitted`] if it has no passphrase and others
    /// may read it. Spends the time and memory its header asks for, up to [`Cost`]'s bounds.
    pub fn open(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self> {
        let bytes = file::read(path)?;
        let header = Header::parse(&bytes).ok_or_else(|| corrupt(path))?;
        if !header.needs_passphrase() {
            file::refuse_if_shared(path)?;
        }
        let lock = header.unlock(passphrase)?;
        let (device, volumes) = decode(&lock, &bytes).ok_or_else(|| corrupt(path))?;
        Ok(Self { device, volumes, path: path.to_owned(), lock, entropy: Arc::new(port::System) })
    }

    /// Whether opening `path` takes a passphrase. Reads the header only; kinds as for [`Keystore::open`].
    pub fn needs_passphrase(path: &Path) -> Result<bool> {
        let header = Header::parse(&file::read(path)?).ok_or_else(|| corrupt(path))?;
        Ok(header.needs_passphrase())
    }

    /// Replace the file: durable when it returns, and either the old or the new content after a crash.
    pub fn save(&self) -> Result<()> {
        file::replace(&self.path, &self.encode(&self.lock)?)
    }

    /// Set, change or (with `None`) drop the passphrase, and save. On error the old one stays in force.
    pub fn change_passphrase(&mut self, passphrase: Option<&Passphrase>) -> Result<()> {
        let lock = Lock::new(passphrase, self.lock.cost(), &*self.entropy)?;
        file::replace(&self.path, &self.encode(&lock)?)?;
        self.lock = lock;
        Ok(())
    }

    /// The secrets of one volume.
    pub fn volume(&self, id: VolumeId) -> Option<&VolumeSecrets> {
        self.volumes.iter().find(|v| v.id == id)
    }

    fn encode(&self, lock: &Lock) -> Result<Vec<u8>> {
        let mut nonce = [0; aead::XNONCE];
        self.entropy.fill(&mut nonce);
        encode(lock, nonce, &self.device, &self.volumes)
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({}, {} volumes)", self.path.display(), self.volumes.len())
    }
}

/// `header || nonce || ciphertext || tag`, the header as associated data.
fn encode(lock: &Lock, nonce: [u8; 24], device: &DeviceRoot, volumes: &[VolumeSecrets]) -> Result<Vec<u8>> {
    let header = lock.header();
    let mut out = header.clone();
    aead::xseal(lock.key().expose(), nonce, &header, &body::encode(device, volumes)?, &mut out)?;
    if out.len() > file::MAX {
        return Err(Error::new(Kind::TooBig, "save keystore", format!("{} bytes", out.len())));
    }
    Ok(out)
}

fn decode(lock: &Lock, bytes: &[u8]) -> Option<(DeviceRoot, Vec<VolumeSecrets>)> {
    let (header, sealed) = bytes.split_at_checked(lock::HEADER)?;
    let plain = Zeroizing::new(aead::xopen(lock.key().expose(), header, sealed).ok()?);
    body::decode(&plain)
}

/// Whether `bytes` read as a header, and as a decrypted body: for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(super) fn readable(bytes: &[u8]) -> (bool, bool) {
    (Header::parse(bytes).is_some(), body::decode(bytes).is_some())
}

fn corrupt(path: &Path) -> Error {
    Error::new(Kind::Corrupt, "open keystore", path.display().to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(super) mod tests;
