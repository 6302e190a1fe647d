//! Sharing: the network of this device, and for each shared volume what keeps it and its peers alike.
//!
//! The network starts with the first volume that has another member or an open invite, or when it is told where
//! to listen; a home that shares nothing opens no socket. Lock order: keystore, replicas, then one replica's own.
//! Must never merge or seal on a thread of the network, and never let a peer fill memory.

mod ahead;
mod answers;
mod belonging;
mod bringing;
mod epochs;
mod evict;
mod feeding;
mod feeding_status;
mod following;
mod giving;
mod holds;
mod inbox;
mod invites;
mod keeping;
mod members;
mod mending;
mod parting;
mod pins;
mod placing;
mod rebirth;
mod reliance;
mod remembered;
mod remote;
mod replica;
mod replicator;
mod settling;
mod word;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::config::Config;
use super::home::Home;
use super::stores::Stores;
use super::volumes::{Known, Volumes};
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Context, DeviceId, Error, Kind, Result, VolumeId};
use crate::net::{Net, NetSetup, Peer, PeerFacts};
use crate::seal::DeviceRoot;
use crate::volume::Volume;
use crate::wire::Advice;

pub use epochs::opened as opened_epochs;
pub use evict::{Evicted, evict};
pub use feeding_status::status as keepers;
pub use following::follow;
pub use holds::MOST_IDS;
pub use invites::{Invites, incarnation, now};
pub use keeping::Keeps;
pub use pins::{Pin, PinState};
pub use remote::Remote;
pub use replica::Replica;
pub use settling::forget_garbage;

/// How to reach others.
#[derive(Debug, Clone)]
pub struct NetSettings {
    /// Multiaddresses to listen on; empty: all interfaces, at a port that belongs to the device.
    pub listen: Vec<String>,
    /// Open no socket at all.
    pub offline: bool,
    /// Find members on the local network.
    pub mdns: bool,
    /// How long a read waits for a block.
    pub patience: Duration,
    /// How many others must hold what is evicted here.
    pub replicas_min: usize,
    /// Names come when they are looked at, in volumes that say nothing else.
    pub lazy: bool,
    /// After how long a storage member that is not heard of counts as gone.
    pub gone_after: Duration,
}

impl NetSettings {
    /// Not talking to anyone.
    pub fn none() -> Self {
        let (patience, gone_after) = (Duration::ZERO, Duration::MAX);
        Self { listen: Vec::new(), offline: true, mdns: false, patience, replicas_min: 1, lazy: false, gone_after }
    }
}

/// What the command line says about the network; the configuration says the rest.
#[derive(Debug, Clone, Default)]
pub struct NetChoice {
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Open no socket at all.
    pub offline: bool,
}

impl NetChoice {
    /// Both together.
    pub fn with(self, config: &Config) -> NetSettings {
        let listen = if self.listen.is_empty() { config.listen.clone() } else { self.listen };
        NetSettings {
            listen,
            offline: self.offline,
            mdns: config.mdns,
            patience: config.fetch_timeout,
            replicas_min: config.replicas_min,
            lazy: config.lazy,
            gone_after: config.gone_after,
        }
    }
}

/// See the module.
pub struct Exchange {
    home: Home,
    settings: NetSettings,
    volumes: OnceLock<Weak<Volumes>>,
    /// Held while starting and ending.
    running: Mutex<Option<Runtime>>,
    net: RwLock<Option<Arc<Net>>>,
    replicas: RwLock<BTreeMap<VolumeId, Arc<Replica>>>,
    invites: Invites,
    stores: Stores,
    keeps: Keeps,
    me: OnceLock<Peer>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exchange")
    }
}

impl Exchange {
    /// Nothing shared yet.
    pub fn new(home: Home, settings: NetSettings) -> Arc<Self> {
        Arc::new(Self {
            invites: Invites::new(home.clone()),
            stores: Stores::new(home.clone(), settings.offline, settings.patience),
            keeps: Keeps::new(home.clone()),
            home,
            settings,
            volumes: OnceLock::new(),
            running: Mutex::new(None),
            net: RwLock::new(None),
            replicas: RwLock::default(),
            me: OnceLock::new(),
        })
    }

    /// Tell where volumes and keys are. Once.
    pub fn serve(&self, volumes: &Arc<Volumes>) {
        let _ = self.volumes.set(Arc::downgrade(volumes));
        let _ = self.me.set(identity(&volumes.device()));
    }

    /// This device, as others name it.
    pub fn me(&self) -> Peer {
        self.me.get().copied().unwrap_or(Peer([0; 32]))
    }

    /// The stores of all open volumes.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// The volumes that are kept here for others.
    pub fn keeps(&self) -> &Keeps {
        &self.keeps
    }

    /// Open what is kept for others, and let them reach it.
    pub fn keep(self: &Arc<Self>) -> Result<()> {
        self.keeps.open(self)?;
        if !self.settings.offline && !self.keeps.all().is_empty() {
            self.start()?;
        }
        self.review();
        Ok(())
    }

    /// The network, if it runs.
    pub fn net(&self) -> Option<Arc<Net>> {
        self.net.read().clone()
    }

    /// The network, started if it does not run. [`Kind::Unreachable`] if this daemon is offline.
    pub fn start(self: &Arc<Self>) -> Result<Arc<Net>> {
        let mut running = self.running.lock();
        if let Some(net) = self.net() {
            return Ok(net);
        }
        if self.settings.offline {
            let advice = Advice::new("this daemon was started with --offline", "Start it without --offline.");
            return Err(Error::new(Kind::Unreachable, "reach other devices", "").with_source(advice));
        }
        let volumes = self.volumes()?;
        let device = volumes.device();
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("lovage-net").enable_all().build();
        let runtime = runtime.io("start the network", String::new)?;
        let net = Arc::new(self.listen(&device, &runtime)?);
        *self.net.write() = Some(Arc::clone(&net));
        *running = Some(runtime);
        drop(running);
        tracing::info!(peer = %net.peer_id(), "the network is up");
        self.review();
        Ok(net)
    }

    /// Where we are told to listen; else at the device's own port, and at any port if that is taken.
    fn listen(self: &Arc<Self>, device: &DeviceRoot, runtime: &Runtime) -> Result<Net> {
        let setup = |listen: Vec<String>| {
            let answers = Arc::new(answers::Answers::new(self));
            let mut setup = NetSetup::new(*device.identity_seed().expose(), answers);
            setup.mdns = self.settings.mdns;
            if !listen.is_empty() {
                setup.listen = listen;
            }
            setup
        };
        if !self.settings.listen.is_empty() {
            return Net::start(setup(self.settings.listen.clone()), runtime.handle());
        }
        let port = own_port(&device.device_id());
        let own = ["/ip4/0.0.0.0/tcp/", "/ip6/::/tcp/"].map(|at| format!("{at}{port}"));
        let quic = ["/ip4/0.0.0.0/udp/", "/ip6/::/udp/"].map(|at| format!("{at}{port}/quic-v1"));
        Net::start(setup(own.into_iter().chain(quic).collect()), runtime.handle()).or_else(|error| {
            tracing::info!(error = %error.chain(), "listening at a port the system chooses");
            Net::start(setup(Vec::new()), runtime.handle())
        })
    }

    /// Keep an open volume and its peers alike from now on, if it has any. Starts the network when needed.
    pub fn add(self: &Arc<Self>, known: &Known, volume: &Arc<Volume>) -> Result<()> {
        let volumes = self.volumes()?;
        volumes.follow_writer(known, volume.writes_as())?;
        let shared = volumes.membership_if_any(known.id)?;
        self.invites.load(known.id, &volumes.device())?;
        let told = !self.settings.listen.is_empty();
        let Some(membership) = shared else {
            if told && !self.settings.offline {
                self.start()?;
            }
            return Ok(());
        };
        let replica = Replica::new(known.clone(), Arc::clone(volume), membership, &self.home);
        replica.set_policy(volumes.policy(known)?);
        if self.replicas.write().insert(known.id, Arc::clone(&replica)).is_some() {
            return Ok(());
        }
        replica.run(Arc::downgrade(self))?;
        self.stores.open(&replica, self)?;
        let others = replica.peers(&self.me()).next().is_some() || self.invites.is_open();
        if !self.settings.offline && (others || told) {
            self.start()?;
        }
        self.review();
        Ok(())
    }

    /// A volume is about to close.
    pub fn remove(&self, id: VolumeId) {
        self.stores.close_volume(id);
        let replica = self.replicas.write().remove(&id);
        if let Some(replica) = replica {
            replica.close();
        }
        self.review();
    }

    /// The replica of an open shared volume.
    pub fn replica(&self, id: VolumeId) -> Option<Arc<Replica>> {
        self.replicas.read().get(&id).cloned()
    }

    /// Let in whom the memberships name, and remember where they may be found.
    pub fn review(&self) {
        let Some(net) = self.net() else { return };
        let replicas: Vec<_> = self.replicas.read().values().cloned().collect();
        let me = self.me();
        let kept = self.keeps.all();
        let of_kept = kept.iter().flat_map(|kept| kept.peers(&me));
        let peers: std::collections::BTreeSet<Peer> =
            replicas.iter().flat_map(|r| r.peers(&me).collect::<Vec<_>>()).chain(of_kept).collect();
        net.allow(peers.iter().copied());
        let Ok(volumes) = self.volumes() else { return };
        let known = replicas.iter().flat_map(|r| volumes.addresses(r.known.id)).map(|(peer, at)| (Peer(peer), at));
        for (peer, addresses) in known.chain(kept.iter().flat_map(|kept| kept.addresses())) {
            for address in addresses.iter().filter(|_| peers.contains(&peer)) {
                // One that is no address any more is of no use, and no harm.
                let _ = net.add_address(peer, address);
            }
        }
    }

    /// Whether a member of the volume is connected.
    pub fn is_anyone_connected(&self, id: VolumeId) -> bool {
        let (Some(net), Some(replica)) = (self.net(), self.replica(id)) else { return false };
        let me = self.me();
        replica.peers(&me).any(|peer| net.is_connected(&peer))
    }

    /// What there is to know about each member of any volume.
    pub fn facts(&self) -> Vec<PeerFacts> {
        self.net().map(|net| net.peers()).unwrap_or_default()
    }

    /// All replicas.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.replicas.read().values().cloned().collect()
    }

    /// End all replication and the network.
    pub fn close(&self) {
        self.stores.close();
        let replicas = std::mem::take(&mut *self.replicas.write());
        for replica in replicas.into_values() {
            replica.close();
        }
        self.keeps.close();
        let runtime = self.running.lock().take();
        let net = self.net.write().take();
        if let Some(runtime) = runtime {
            if let Some(net) = net {
                let ended =
                    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(2), net.shutdown()).await });
                drop(ended);
            }
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }

    fn volumes(&self) -> Result<Arc<Volumes>> {
        let gone = || Error::new(Kind::Stale, "reach the volumes", "the daemon is ending");
        self.volumes.get().and_then(Weak::upgrade).ok_or_else(gone)
    }
}

/// The peer that a device is.
pub fn identity(device: &DeviceRoot) -> Peer {
    Peer(crate::seal::AuthorKey::from_seed(&device.identity_seed()).public())
}

/// A port that stays the same, so that others find this device again: 20000 to 59999, by its id.
fn own_port(device: &DeviceId) -> u16 {
    let [a, b, ..] = device.0;
    20_000 + u16::from_le_bytes([a, b]) % 40_000
}
