//! What requests act on: the open home with everything in it.

use std::time::Instant;

use tokio::sync::Notify;

use super::config::Config;
use super::home::Home;
use super::lock::HomeLock;
use super::logging::Logging;
use crate::base::Result;

/// A home held open by this process.
#[derive(Debug)]
pub struct Service {
    pub(super) home: Home,
    pub(super) config: Config,
    pub(super) logging: Logging,
    pub(super) started: Instant,
    quit: Notify,
    _lock: HomeLock,
}

impl Service {
    /// Open a home this process holds the lock of.
    pub(super) fn new(home: Home, lock: HomeLock, config: Config, logging: Logging) -> Result<Self> {
        Ok(Self { home, config, logging, started: Instant::now(), quit: Notify::new(), _lock: lock })
    }

    /// Ask the daemon to end in good order.
    pub fn quit(&self) {
        self.quit.notify_one();
    }

    /// Resolves once [`Self::quit`] was called.
    pub(super) async fn quit_requested(&self) {
        self.quit.notified().await;
    }
}
