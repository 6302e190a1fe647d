//! The one place that knows how a volume is made and opened: keys and settings in, [`Hosted`] out.

use std::path::Path;
use std::sync::Arc;

use super::config::{Config, Profile};
use super::hosted::{Hosted, Report};
use crate::base::port::{Clock, Entropy, System};
use crate::base::{Error, Kind, Result};
use crate::seal::genesis::{self, Genesis};
use crate::seal::{DeviceRoot, EpochSecret, VolumeSecrets};
use crate::volume::api::{Ino, ROOT_INO};
use crate::volume::{FileSystem, Options, Setup, Volume};
use crate::wire::RawPath;
use crate::wire::control::{BlockStat, Chunking, ContentId, Dedup, FsckReport, GcReport, VolumeStatus};

/// Keys and genesis of a new volume. Writes nothing.
pub fn new_volume(device: &DeviceRoot, dedup: Dedup, chunking: Chunking) -> Result<VolumeSecrets> {
    let mut nonce = [0; 32];
    System.fill(&mut nonce);
    let key = device.admin_key(&nonce);
    let genesis = Genesis {
        admin: key.public(),
        nonce,
        name: String::new(), // readable by storage: the name stays on this device
        chunking: match chunking {
            Chunking::Cdc => genesis::Chunking::default(),
            Chunking::Fixed => genesis::Chunking::Fixed,
        },
        dedup: match dedup {
            Dedup::Volume => genesis::Dedup::On,
            Dedup::Off => genesis::Dedup::Off,
        },
        created: System.now(),
    };
    let (id, bytes) = genesis.sign(&key)?;
    Ok(VolumeSecrets { id, epochs: vec![(0, EpochSecret::generate(&System))], incarnation: 0, genesis: bytes })
}

/// Open the volume in `dir`, recovering what a crash left.
pub fn open(dir: &Path, device: &DeviceRoot, secrets: &VolumeSecrets, config: &Config) -> Result<Arc<dyn Hosted>> {
    let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let setup = Setup { options: options(config), ..Setup::new(dir.to_owned(), device, secrets, owner) };
    let (volume, found) = Volume::open(setup)?;
    let id = volume.id();
    if found.unclean && !found.created {
        tracing::info!(volume = %id, replayed = found.replayed, "it was not closed properly; recovered from the journal");
    }
    for damage in &found.damaged {
        tracing::error!(volume = %id, "damage in the log: {damage}; run `lovage fsck`");
    }
    Ok(Arc::new(Live { volume }))
}

fn options(config: &Config) -> Options {
    let mut options = match config.profile {
        Profile::Default => Options::default(),
        Profile::LowMem => Options::low_mem(),
    };
    options.dirty_max = config.dirty_max.unwrap_or(options.dirty_max);
    options.cache = config.cache_max.unwrap_or(options.cache);
    options
}

#[derive(Debug)]
struct Live {
    volume: Arc<Volume>,
}

impl Live {
    fn total(&self, name: &str) -> Result<u64> {
        let value = self.volume.getxattr(ROOT_INO, name.as_bytes())?;
        Ok(String::from_utf8_lossy(&value).trim().parse().unwrap_or_default())
    }
}

impl Hosted for Live {
    fn files(&self) -> Arc<dyn FileSystem> {
        Arc::clone(&self.volume) as Arc<dyn FileSystem>
    }

    fn figures(&self, status: &mut VolumeStatus) -> Result<()> {
        status.files = self.total("lovage.dir.rfiles")?;
        status.bytes = self.total("lovage.dir.rbytes")?;
        status.local_bytes = self.volume.blocks().log().stat().disk_bytes;
        Ok(())
    }

    fn blocks(&self, _ino: Ino, _most: usize) -> Result<(Vec<BlockStat>, u64)> {
        Ok((Vec::new(), 0))
    }

    fn content_id(&self, path: &RawPath) -> Result<ContentId> {
        Err(Error::new(Kind::Unsupported, "hash", path.to_string()))
    }

    fn collect(&self, _dry_run: bool, _report: Report<'_>) -> Result<GcReport> {
        Err(Error::new(Kind::Unsupported, "collect garbage", self.volume.id().to_string()))
    }

    fn verify(&self, _repair: bool, _read_data: bool, _report: Report<'_>) -> Result<FsckReport> {
        Err(Error::new(Kind::Unsupported, "verify", self.volume.id().to_string()))
    }

    fn close(&self) -> Result<()> {
        self.volume.close()
    }
}
