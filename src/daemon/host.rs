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
use super::exchange::NetChoice;
use super::home::Home;
use super::keys::PassphraseSource;
use super::mounts::MountOptions;
use super::service::Service;
use super::{harden, memory, server, socket};
use crate::base::{Context, Error, Kind, Result};

/// What to host, and how.
#[derive(Debug)]
pub struct HostOptions {
    /// The home.
    pub home: Home,
    /// What others are told about this process.
    pub purpose: &'static str,
    /// What the command line says about the network.
    pub net: NetChoice,
    /// Join by this link first; the volume it names is the one to mount.
    pub join: Option<String>,
    /// Mount this at once, and end when the last mount is gone.
    pub mount: Option<MountOptions>,
    /// Log to the home's file instead of stderr.
    pub log_to_file: bool,
    /// Where the passphrase comes from.
    pub keys: PassphraseSource,
}

/// How long answers under way may take when the daemon ends.
const GRACE: Duration = Duration::from_secs(5);

/// Host until SIGTERM, SIGINT or the end of the last mount. `up` runs once, when all is ready, with what
/// there is to tell about it.
pub fn host(options: HostOptions, ready: Ready, up: &dyn Fn(&Value)) -> std::result::Result<(), crate::wire::Failure> {
    match start(options) {
        Ok((hosted, value)) => {
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

fn start(options: HostOptions) -> Result<(Hosted, Value)> {
    harden::no_core_dumps()?;
    memory::prepare();
    let log = options.log_to_file.then(|| options.home.log());
    let service =
        Arc::new(Service::open(options.home, options.purpose, log.as_deref(), &options.keys, true, Some(options.net))?);
    let runtime = Builder::new_current_thread().enable_all().build().io("start the runtime", String::new)?;
    let inside = runtime.enter();
    let interrupt = signal(SignalKind::interrupt()).io("catch signals", String::new)?;
    let terminate = signal(SignalKind::terminate()).io("catch signals", String::new)?;
    let listener = socket::listen(&service.home.socket()).io("listen for commands", || service.home.to_string())?;
    listener.set_nonblocking(true).io("listen for commands", String::new)?;
    let listener = tokio::net::UnixListener::from_std(listener).io("listen for commands", String::new)?;
    runtime.spawn(server::serve(listener, Arc::clone(&service)));
    drop(inside);
    let hosted = Hosted { service, runtime, interrupt, terminate };
    match hosted.begin(options.mount, options.join.as_deref()) {
        Ok(value) => Ok((hosted, value)),
        Err(error) => {
            // The reason to end is the one to report.
            let _ = hosted.end();
            Err(error)
        }
    }
}

impl Hosted {
    /// Join and mount, as asked; what there is to tell about it.
    fn begin(&self, mount: Option<MountOptions>, join: Option<&str>) -> Result<Value> {
        self.service.exchange.keep()?;
        let joined = join.map(|link| self.service.join(link, mount.is_some(), None)).transpose()?;
        let mut value = if let Some(mut mount) = mount {
            if let Some(joined) = &joined {
                joined.expect_tree()?;
                mount.volume.clone_from(&joined.volume);
            }
            self.mount(&mount)?
        } else {
            self.share_all();
            json!({ "pid": std::process::id() })
        };
        if let (Some(joined), Some(value)) = (joined, value.as_object_mut()) {
            value.insert("joined".into(), json!(joined));
        }
        Ok(value)
    }

    /// A daemon without a mount serves what is shared.
    fn share_all(&self) {
        for known in self.service.volumes.list().unwrap_or_default() {
            let shared = self.service.volumes.membership_if_any(known.id);
            if matches!(shared, Ok(Some(_)))
                && let Err(error) = self.service.volumes.open(&known)
            {
                tracing::warn!(volume = known.name, error = %error.chain(), "could not open a shared volume");
            }
        }
    }

    fn mount(&self, options: &MountOptions) -> Result<Value> {
        let mounted = self.service.mount(options)?;
        self.service.only_for_mounts();
        serde_json::to_value(mounted).map_err(|e| Error::new(Kind::Other, "mount", "").with_source(e))
    }

    fn run(mut self) -> Result<()> {
        let service = Arc::clone(&self.service);
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => tracing::info!("interrupted: flushing and unmounting"),
                _ = self.terminate.recv() => tracing::info!("asked to end: flushing and unmounting"),
                () = service.finished() => tracing::info!("the last mount is gone: ending"),
            }
        });
        self.end()
    }

    fn end(self) -> Result<()> {
        self.service.begin_to_end();
        // Nobody new is answered from here on.
        let _ = std::fs::remove_file(self.service.home.socket());
        self.runtime.shutdown_timeout(GRACE);
        self.service.close()
    }
}
