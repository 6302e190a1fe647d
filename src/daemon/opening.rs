//! The one place that knows how a volume is made and opened: keys and settings in, [`Hosted`] out.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::config::{Config, Profile};
use super::exchange::{Exchange, Remote};
use super::hosted::{Hosted, Report};
use super::scars::Scars;
use super::{memory, sharing};
use crate::base::port::{Clock, Entropy, System};
use crate::base::{Context, DeviceId, Error, Kind, NodeId, Result, WriterIndex};
use crate::cas::Fetch;
use crate::fuse::KernelClock;
use crate::seal::genesis::{self, Genesis};
use crate::seal::{DeviceRoot, EpochSecret, Ref, VolumeSecrets};
use crate::volume::api::Ino;
use crate::volume::{FileSystem, Hit, Invalidate, Label, Options, Setup, Volume};
use crate::wire::RawPath;
use crate::wire::control::{
    BlockStat, Chunking, ContentId, Damage, Dedup, FsckReport, GcReport, HeadStatus, Progress, VolumeStatus,
};

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
    Ok(VolumeSecrets::founded(id, bytes, EpochSecret::generate(&System)))
}

/// Make the empty volume in `dir`; durable when this returns.
pub fn make(dir: &Path, device: &DeviceRoot, secrets: &VolumeSecrets, config: &Config) -> Result<()> {
    start(dir, device, secrets, config, None)?.close()
}

/// Open the volume in `dir`, recovering what a crash left. [`Kind::Corrupt`] if its log is gone.
pub fn open(
    dir: &Path,
    device: &DeviceRoot,
    secrets: &VolumeSecrets,
    config: &Config,
    others: Others,
) -> Result<Arc<dyn Hosted>> {
    start(dir, device, secrets, config, Some(others))
}

/// What a volume needs of those who share it.
pub struct Others {
    fetch: Arc<dyn Fetch>,
    label: Label,
    shared: bool,
}

/// Those who share the volume of `secrets`.
pub fn others(exchange: &Arc<Exchange>, secrets: &VolumeSecrets) -> Others {
    let id = secrets.id;
    let names = sharing::label(sharing::opened(secrets).ok().as_ref());
    let exchange = Arc::downgrade(exchange);
    let fetch = Arc::new(Remote::new(exchange.clone(), id));
    let label: Label = Arc::new(move |writer| {
        let replica = exchange.upgrade().and_then(|exchange| exchange.replica(id));
        replica.map_or_else(|| names(writer), |replica| replica.writer_name(writer))
    });
    Others { fetch, label, shared: !secrets.membership.is_empty() }
}

/// A writer nobody told the name of.
pub fn nameless(writer: WriterIndex) -> String {
    format!("device {writer}")
}

fn start(
    dir: &Path,
    device: &DeviceRoot,
    secrets: &VolumeSecrets,
    config: &Config,
    others: Option<Others>,
) -> Result<Arc<dyn Hosted>> {
    let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let clock = Arc::new(KernelClock); // file times must agree with those the kernel sets
    let mut setup = Setup {
        make: others.is_none(),
        joined: secrets.writer != 0,
        options: options(config),
        clock,
        ..Setup::new(dir.to_owned(), device, secrets, owner)
    };
    if let Some(others) = others {
        (setup.fetch, setup.label, setup.shared) = (Some(others.fetch), others.label, others.shared);
    }
    let (volume, found) = Volume::open(setup)?;
    let id = volume.id();
    if found.unclean && !found.created {
        tracing::info!(volume = %id, replayed = found.replayed, "it was not closed properly; recovered from the journal");
    }
    for damage in &found.damaged {
        tracing::error!(volume = %id, "damage in the log: {damage}; run `lovage fsck`");
    }
    let scars = Scars::of(dir);
    if let Err(error) = scars.add(&found.damaged) {
        tracing::warn!(volume = %id, "cannot remember the damage for `lovage fsck`: {}", error.chain());
    }
    Ok(Arc::new(Live { volume, device: device.device_id(), scars }))
}

fn options(config: &Config) -> Options {
    let mut options = match config.profile {
        Profile::Default => Options::default(),
        Profile::LowMem => Options::low_mem(),
    };
    options.dirty_max = config.dirty_max.unwrap_or(options.dirty_max);
    options.cache = config.cache_max.unwrap_or(options.cache);
    options.trim = Some(memory::trim);
    options
}

#[derive(Debug)]
struct Live {
    volume: Arc<Volume>,
    device: DeviceId,
    scars: Scars,
}

impl Live {
    /// The volume reports in phases; whether they count bytes is told by their names.
    fn phases(report: Report<'_>) -> impl FnMut(&'static str, u64, Option<u64>) -> Result<()> {
        move |stage, done, total| report(Progress { stage: stage.into(), done, total, bytes: stage == READING })
    }

    fn block(&self, (offset, block): (u64, Ref)) -> BlockStat {
        let local = self.volume.blocks().contains(&block);
        BlockStat { id: block.bid.to_string(), offset, bytes: block.len.into(), local }
    }
}

/// The phase of a check that counts bytes.
const READING: &str = "reading blocks";

impl Hosted for Live {
    fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    fn files(&self) -> Arc<dyn FileSystem> {
        Arc::clone(&self.volume) as Arc<dyn FileSystem>
    }

    fn attach(&self, mount: &Arc<dyn Invalidate>) {
        self.volume.attach(mount);
    }

    fn figures(&self, exact: bool, status: &mut VolumeStatus) -> Result<()> {
        status.dirty_bytes = self.volume.figures().dirty_bytes;
        if exact {
            self.volume.totals_of(NodeId::ROOT)?;
        }
        let figures = self.volume.figures();
        status.files = figures.files;
        status.bytes = figures.bytes;
        status.local_bytes = figures.local_bytes;
        status.garbage_bytes = figures.garbage_bytes;
        status.full = figures.full;
        status.damage = self.damage();
        status.root = hex(&figures.root);
        status.vector = figures.vector.iter().map(|(writer, seq)| (writer.to_string(), seq)).collect();
        let device = self.device.to_string();
        status.heads = vec![HeadStatus { writer: figures.writer, device, seq: figures.seq, heard_s_ago: 0 }];
        Ok(())
    }

    fn blocks(&self, ino: Ino, most: usize) -> Result<(Vec<BlockStat>, u64)> {
        let (blocks, more) = self.volume.blocks_of(ino, most)?;
        Ok((blocks.into_iter().map(|found| self.block(found)).collect(), more))
    }

    fn content_id(&self, path: &RawPath) -> Result<ContentId> {
        let name = || path.to_string();
        let mut file = File::open(path.as_path()).io("hash", name)?;
        if file.metadata().io("hash", name)?.is_dir() {
            return Err(Error::new(Kind::IsDirectory, "hash", name()));
        }
        let (id, bytes, blocks) = self.volume.content_id(&mut file)?;
        Ok(ContentId { path: path.clone(), id: hex(&id), bytes, blocks })
    }

    fn collect(&self, dry_run: bool, report: Report<'_>) -> Result<GcReport> {
        let done = self.volume.collect(dry_run, &mut Self::phases(report))?;
        Ok(GcReport {
            volume: String::new(),
            dry_run,
            kept_blocks: done.kept_blocks,
            kept_bytes: done.kept_bytes,
            freed_blocks: done.freed_blocks,
            freed_bytes: done.freed_bytes,
        })
    }

    fn verify(&self, repair: bool, read_data: bool, report: Report<'_>) -> Result<FsckReport> {
        let found = self.volume.verify(repair, read_data, &mut Self::phases(report))?;
        let damage = |hit: Hit| Damage { path: RawPath::new(hit.path), block: hit.block, reason: hit.reason };
        let mut unrepairable: Vec<Damage> = found.unrepairable.into_iter().map(damage).collect();
        let scars = self.scars.list()?;
        let bad = found.bad.saturating_add(scars.len() as u64);
        let told = |reason| Damage { path: RawPath::new(b"(the log)".to_vec()), block: String::new(), reason };
        unrepairable.extend(scars.into_iter().map(told));
        if repair {
            self.scars.forget()?;
        }
        Ok(FsckReport { checked: found.checked, bad, repaired: found.repaired, unrepairable })
    }

    fn damage(&self) -> u64 {
        self.scars.list().map_or(0, |all| all.len() as u64)
    }

    fn close(&self) -> Result<()> {
        self.volume.close()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).filter_map(|d| char::from_digit(d.into(), 16)).collect()
}
