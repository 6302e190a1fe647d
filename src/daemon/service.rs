//! What requests act on: the open home with everything in it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use super::config::Config;
use super::dot::Shown;
use super::exchange::{Exchange, NetChoice, NetSettings};
use super::home::Home;
use super::keys::{self, PassphraseSource};
use super::lock::HomeLock;
use super::logging::Logging;
use super::mounts::{MountOptions, Mounts};
use super::place::{self, Place};
use super::volumes::Volumes;
use crate::base::sync::RwLock;
use crate::base::{Error, Kind, Result};
use crate::wire::control::{Mounted, PathArg};

/// A home held open by this process.
#[derive(Debug)]
pub struct Service {
    pub(super) home: Home,
    pub(super) logging: Logging,
    pub(super) started: Instant,
    pub(super) volumes: Arc<Volumes>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) mounts: Mounts,
    /// End when the last mount is gone.
    only_for_mounts: AtomicBool,
    /// This ends. Held for reading while something is being mounted: nothing is mounted on the way out.
    ended: RwLock<bool>,
    quit: Notify,
    _lock: HomeLock,
}

impl Service {
    /// Take the home, for as long as this lives. `purpose` is what others are told; `log` is where to log
    /// instead of stderr; `make` also makes what is not there yet.
    pub(super) fn open(
        home: Home,
        purpose: &str,
        log: Option<&Path>,
        keys: &PassphraseSource,
        make: bool,
        net: Option<NetChoice>,
    ) -> Result<Self> {
        if make {
            home.create()?;
        } else if !home.root().is_dir() {
            keys::open(&home, keys)?; // says what is missing
        }
        let lock = HomeLock::take(&home, purpose)?;
        let config = Config::load(&home.config())?;
        let level = if log.is_none() && !make { "warn" } else { &config.log_level };
        let logging = Logging::start(level, log)?;
        let keystore = if make { keys::open_or_create(&home, keys)? } else { keys::open(&home, keys)? };
        let exchange = Exchange::new(home.clone(), net.map_or_else(NetSettings::none, |net| net.with(&config)));
        Ok(Self {
            logging,
            started: Instant::now(),
            volumes: Volumes::new(home.clone(), config, keystore, Arc::clone(&exchange)),
            exchange,
            mounts: Mounts::new(home.clone()),
            only_for_mounts: AtomicBool::new(false),
            ended: RwLock::new(false),
            quit: Notify::new(),
            home,
            _lock: lock,
        })
    }

    /// Do one thing to a home that no daemon holds. `make` also makes a home that is not there yet; `net` lets it
    /// talk to others.
    pub fn here(home: Home, purpose: &str, keys: &PassphraseSource, make: bool, net: bool) -> Result<Self> {
        Self::open(home, purpose, None, keys, make, net.then(NetChoice::default))
    }

    /// Mount a volume. When this returns the mount works. [`Kind::Unreachable`] once this ends.
    pub fn mount(self: &Arc<Self>, options: &MountOptions) -> Result<Mounted> {
        let ended = self.ended.read();
        if *ended {
            return Err(Error::new(Kind::Unreachable, "mount", "this daemon is ending"));
        }
        let known = self.volumes.find_or_make_default(&options.volume)?;
        let volume = self.volumes.open(&known)?;
        let reads = self.exchange.replica(known.id).is_some_and(|replica| !replica.role().writes());
        let service = Arc::downgrade(self);
        let files = Shown::new(self, &known, Arc::clone(volume.volume()));
        let dir = self.mounts.add(&known, &volume, files, options, move || {
            if let Some(service) = service.upgrade() {
                service.mount_ended();
            }
        })?;
        tracing::info!(volume = known.name, dir = %dir.display(), "mounted");
        // The volume itself refuses what a reader may not: it may become a writer.
        let (pid, read_only, damage) = (std::process::id(), options.read_only || reads, volume.damage());
        Ok(Mounted { volume: known.name, dir: dir.into(), pid, read_only, damage })
    }

    /// Find what a path argument means.
    pub(super) fn place(&self, at: &PathArg) -> Result<Place> {
        place::find(&self.volumes, &self.mounts, at)
    }

    /// From now on, end with the last mount.
    pub(super) fn only_for_mounts(&self) {
        self.only_for_mounts.store(true, Ordering::Relaxed);
    }

    fn mount_ended(&self) {
        self.mounts.prune();
        let mut ended = self.ended.write();
        if self.only_for_mounts.load(Ordering::Relaxed) && self.mounts.is_empty() {
            *ended = true;
            self.quit.notify_one();
        }
    }

    /// From now on nothing is mounted and no question answered: whoever asks is to start another daemon.
    pub(super) fn begin_to_end(&self) {
        *self.ended.write() = true;
    }

    /// Whether this ends.
    pub(super) fn is_ending(&self) -> bool {
        *self.ended.read()
    }

    /// Resolves once there is nothing left to serve.
    pub(super) async fn finished(&self) {
        self.quit.notified().await;
    }

    /// Unmount and close everything; all that was written is durable when this returns `Ok`.
    pub fn close(&self) -> Result<()> {
        self.mounts.end();
        self.exchange.close();
        self.volumes.close()
    }
}
