//! Hosting: open the home, serve until told to stop, leave everything flushed and unmounted.
//!
//! Order of starting: lock, configuration, log, socket, mount, ready. Ending is the reverse. Must never
//! report ready before commands are answered and the mount is there.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::background::Ready;
use super::config::Config;
use super::home::Home;
use super::lock::HomeLock;
use super::logging::Logging;
use super::service::Service;
use super::{harden, server, socket};
use crate::base::{Context, Result};

/// What to host, and how.
#[derive(Debug)]
pub struct HostOptions {
    /// The home.
    pub home: Home,
    /// What others are told about this process.
    pub purpose: &'static str,
    /// Mount this at once, and end when the last mount is gone.
    pub mount: Option<MountOptions>,
    /// Log to the home's file instead of stderr.
    pub log_to_file: bool,
}

/// What to mount where.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// Name of the volume.
    pub volume: String,
    /// The mountpoint.
    pub dir: std::path::PathBuf,
    /// Refuse writes.
    pub read_only: bool,
    /// Let other users in.
    pub allow_other: bool,
}

/// How long answers under way may take when the daemon ends.
const GRACE: Duration = Duration::from_secs(5);

/// Host until SIGTERM, SIGINT or the end of the last mount. `up` runs once, when all is ready.
pub fn host(options: HostOptions, ready: Ready, up: &dyn Fn(&Value)) -> std::result::Result<(), crate::wire::Failure> {
    match start(options) {
        Ok(hosted) => {
            let value = json!({ "pid": std::process::id() });
            up(&value);
            ready.ready(value);
            hosted.run().map_err(Into::into)
        }
        Err(error) => {
            let failure = error.into();
            ready.failed(&failure);
            Err(failure)
        }
    }
}

struct Hosted {
    service: Arc<Service>,
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

fn start(options: HostOptions) -> Result<Hosted> {
    harden::no_core_dumps()?;
    options.home.create()?;
    let lock = HomeLock::take(&options.home, options.purpose)?;
    let config = Config::load(&options.home.config())?;
    let log = options.log_to_file.then(|| options.home.log());
    let logging = Logging::start(&config.log_level, log.as_deref())?;
    let service = Arc::new(Service::new(options.home, lock, config, logging)?);
    let runtime = Builder::new_current_thread().enable_all().build().io("start the runtime", String::new)?;
    let inside = runtime.enter();
    let interrupt = signal(SignalKind::interrupt()).io("catch signals", String::new)?;
    let terminate = signal(SignalKind::terminate()).io("catch signals", String::new)?;
    let listener = socket::listen(&service.home.socket()).io("listen for commands", || service.home.to_string())?;
    listener.set_nonblocking(true).io("listen for commands", String::new)?;
    let listener = tokio::net::UnixListener::from_std(listener).io("listen for commands", String::new)?;
    runtime.spawn(server::serve(listener, Arc::clone(&service)));
    drop(inside);
    Ok(Hosted { service, runtime, interrupt, terminate })
}

impl Hosted {
    fn run(mut self) -> Result<()> {
        let service = Arc::clone(&self.service);
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => tracing::info!("interrupted: ending"),
                _ = self.terminate.recv() => tracing::info!("asked to end"),
                () = service.quit_requested() => tracing::info!("nothing left to do: ending"),
            }
        });
        // Nobody new is answered from here on.
        let _ = std::fs::remove_file(service.home.socket());
        self.runtime.shutdown_timeout(GRACE);
        Ok(())
    }
}
