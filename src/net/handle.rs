//! The handle to the network that the daemon holds: everything but answering.
//!
//! Must never be called under a lock of the caller's that answering needs too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use libp2p::Multiaddr;
use libp2p::swarm::Swarm;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::dialing;
use super::driver::{Command, Driver};
use super::fetch::{Fetcher, Fetching, Wanted};
use super::gate::Gate;
use super::redial::Redial;
use super::session::{Session, SessionId};
use super::swarm::{self, Behaviour};
use super::{NetSetup, Peer, Serve, Transport, Walk, Walking};
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Error, Kind, Result, VolumeId};
use crate::wire::peer::Class;

/// What there is to know about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFacts {
    /// Who.
    pub peer: Peer,
    /// Where it may be found, as multiaddresses.
    pub addresses: Vec<String>,
    /// How it is connected, if it is.
    pub transport: Option<Transport>,
    /// The last round trip measured.
    pub rtt: Option<Duration>,
    /// Bytes of blocks sent to it since the network started.
    pub sent: u64,
    /// Bytes of blocks received from it.
    pub received: u64,
    /// Bytes asked of it and not arrived.
    pub in_flight: u64,
}

/// What the driver, the sessions and the handle share.
pub(super) struct Shared {
    pub local: Peer,
    pub gate: Arc<Gate>,
    pub serve: Arc<dyn Serve>,
    pub commands: mpsc::UnboundedSender<Command>,
    pub redial: Mutex<Redial>,
    pub fetcher: Arc<Fetcher>,
    sessions: RwLock<BTreeMap<Peer, Vec<Arc<Session>>>>,
    /// Bytes sent and received in sessions that are over.
    past: Mutex<BTreeMap<Peer, (u64, u64)>>,
    listening: Mutex<BTreeSet<Multiaddr>>,
    last_session: AtomicU64,
}

impl Shared {
    pub fn next_session(&self) -> SessionId {
        self.last_session.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn listening(&self, address: Multiaddr, now: bool) {
        let mut listening = self.listening.lock();
        if now {
            listening.insert(address);
        } else {
            listening.remove(&address);
        }
    }

    pub fn session_ready(&self, session: &Arc<Session>) {
        let first = {
            let mut sessions = self.sessions.write();
            let of_peer = sessions.entry(session.peer).or_default();
            of_peer.push(Arc::clone(session));
            of_peer.len() == 1
        };
        self.fetcher.session_up(session);
        if first {
            self.serve.presence(&session.peer, true);
        }
    }

    pub fn session_over(&self, session: &Arc<Session>) {
        let (was, last) = {
            let mut sessions = self.sessions.write();
            let of_peer = sessions.entry(session.peer).or_default();
            let before = of_peer.len();
            of_peer.retain(|s| s.id != session.id);
            let (was, last) = (before > of_peer.len(), of_peer.is_empty());
            if last {
                sessions.remove(&session.peer);
            }
            (was, last)
        };
        self.fetcher.session_down(session.id);
        let mut past = self.past.lock();
        let (sent, received) = past.entry(session.peer).or_default();
        *sent += session.traffic.sent.load(Ordering::Relaxed);
        *received += session.traffic.received.load(Ordering::Relaxed);
        drop(past);
        if was && last {
            self.serve.presence(&session.peer, false);
        } else if was {
            self.serve.shaken(&session.peer);
        }
    }

    pub fn close_sessions(&self) {
        self.sessions.read().values().flatten().for_each(|session| session.close());
        self.fetcher.stop();
    }

    fn session(&self, peer: &Peer) -> Option<Arc<Session>> {
        self.sessions.read().get(peer).and_then(|list| list.last().cloned())
    }
}

/// The network of this device. Dropping it ends it; [`Net::shutdown`] also waits.
pub struct Net {
    shared: Arc<Shared>,
    runtime: Handle,
    offline: bool,
}

impl Net {
    /// Start on `runtime`. [`Kind::Invalid`] for an address that is none, what the system says when it cannot listen.
    pub fn start(setup: NetSetup, runtime: &Handle) -> Result<Self> {
        let _inside = runtime.enter();
        let mut seed = setup.identity_seed;
        let keys = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed);
        let keys = keys.map_err(|e| Error::new(Kind::Invalid, "start the network", "identity").with_source(e))?;
        let local = Peer::from_libp2p(&keys.public().to_peer_id())
            .ok_or_else(|| Error::new(Kind::Invalid, "start the network", "identity"))?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            local,
            gate: Arc::new(Gate::default()),
            serve: Arc::clone(&setup.serve),
            commands,
            redial: Mutex::default(),
            fetcher: Fetcher::new(Arc::clone(&setup.serve)),
            sessions: RwLock::default(),
            past: Mutex::default(),
            listening: Mutex::default(),
            last_session: AtomicU64::new(0),
        });
        if !setup.offline {
            let mut swarm = swarm::build(&setup, Arc::clone(&shared.gate), Arc::clone(&setup.serve))?;
            listen(&mut swarm, &setup.listen, &shared.gate)?;
            let driver = Driver::new(swarm, Arc::clone(&shared), setup.serve, inbox, setup.ban);
            runtime.spawn(driver.run());
            runtime.spawn(Fetcher::keep_time(Arc::clone(&shared.fetcher)));
        }
        Ok(Self { shared, runtime: runtime.clone(), offline: setup.offline })
    }

    /// Our own name.
    pub fn peer_id(&self) -> Peer {
        self.shared.local
    }

    /// Where we listen at the moment, with the ports the system chose, e.g. `/ip4/10.0.0.5/tcp/41234`.
    pub fn listen_addresses(&self) -> Vec<String> {
        self.shared.listening.lock().iter().map(Multiaddr::to_string).collect()
    }

    /// Replace the members: those who may connect, and whom we keep connected. Others are left at once.
    pub fn allow(&self, members: impl IntoIterator<Item = Peer>) {
        let members: BTreeSet<Peer> = members.into_iter().filter(|peer| *peer != self.shared.local).collect();
        let leave = self.shared.gate.set_members(members.clone());
        {
            let mut redial = self.shared.redial.lock();
            for peer in &leave {
                redial.unwanted(peer);
            }
            for peer in members {
                redial.wanted(peer);
            }
        }
        self.command(Command::Review { leave });
    }

    /// Remember an address of a peer and try it. [`Kind::Invalid`] when it is none, or names another peer.
    pub fn add_address(&self, peer: Peer, address: &str) -> Result<()> {
        let address = parse(address, &peer)?;
        if !self.shared.redial.lock().give(peer, address) {
            return Err(Error::new(Kind::Full, "remember an address", peer.to_string()));
        }
        self.command(Command::Review { leave: Vec::new() });
        Ok(())
    }

    /// Try an address that another member told of: such ones are few, and never push out what a person gave.
    pub fn hear_address(&self, peer: Peer, address: &str) -> Result<()> {
        let address = parse(address, &peer)?;
        if dialing::is_dialable(&address) {
            self.shared.redial.lock().hear(peer, address);
            self.command(Command::Review { leave: Vec::new() });
        }
        Ok(())
    }

    /// Forget an address of a peer.
    pub fn remove_address(&self, peer: Peer, address: &str) -> Result<()> {
        self.shared.redial.lock().forget(&peer, &parse(address, &peer)?);
        Ok(())
    }

    /// Dial everyone who is missing now: the machine woke up, or the network changed.
    pub fn wake(&self) {
        self.shared.redial.lock().wake();
        self.command(Command::Review { leave: Vec::new() });
    }

    /// Every member, connected or not.
    pub fn peers(&self) -> Vec<PeerFacts> {
        self.shared.gate.members().into_iter().map(|peer| self.facts(peer)).collect()
    }

    /// Whether `peer` has a session with us.
    pub fn is_connected(&self, peer: &Peer) -> bool {
        self.shared.session(peer).is_some()
    }

    /// Send a head to each connected member with whom the volume is shared; how many there are. Does not wait.
    pub fn push_head(&self, volume: VolumeId, head: &[u8]) -> usize {
        let sessions: Vec<_> = self.shared.sessions.read().values().filter_map(|list| list.last().cloned()).collect();
        let shares = |s: &&Arc<Session>| self.shared.serve.shares(&s.peer, &volume);
        sessions.iter().filter(shares).filter(|s| s.push_head(volume, head.to_vec()).is_ok()).count()
    }

    /// Send a head to one peer. [`Kind::Unreachable`] when it is not connected. Does not wait.
    pub fn push_head_to(&self, peer: &Peer, volume: VolumeId, head: &[u8]) -> Result<()> {
        self.reach(peer)?.push_head(volume, head.to_vec())
    }

    /// Fetch blocks from whoever of the connected members has them, in any order. At most a few thousand at once; what
    /// the caller does not take holds back the rest. After `patience` what is left fails with [`Kind::Timeout`].
    /// Every block is verified against its id. Two who want one block share it.
    pub fn fetch(&self, volume: VolumeId, wanted: &[Wanted], class: Class, patience: Duration) -> Fetching {
        self.shared.fetcher.fetch(volume, wanted, class, patience, &self.runtime)
    }

    /// [`Net::fetch`] for threads that want all: the blocks in the order of the question. Must not be called on a thread
    /// of the runtime.
    pub fn fetch_blocking(
        &self,
        volume: VolumeId,
        wanted: &[Wanted],
        class: Class,
        patience: Duration,
    ) -> Vec<Result<Bytes>> {
        let mut fetching = self.fetch(volume, wanted, class, patience);
        let mut blocks: Vec<Option<Result<Bytes>>> = wanted.iter().map(|_| None).collect();
        while let Some((index, block)) = fetching.next_blocking() {
            if let Some(slot) = blocks.get_mut(index) {
                *slot = Some(block);
            }
        }
        let ended = || Error::new(Kind::Unreachable, "fetch a block", "the network ended");
        blocks.into_iter().map(|block| block.unwrap_or_else(|| Err(ended()))).collect()
    }

    /// Bytes of blocks that arrived although somebody else had brought them already.
    pub fn duplicate_bytes(&self) -> u64 {
        self.shared.fetcher.duplicates()
    }

    /// Ask `peer` to walk a tree or a file of its own and send the blocks: one round trip. [`Kind::Unreachable`] when
    /// it is not connected, [`Kind::Busy`] when too much is in flight; nothing for `patience` ends it with
    /// [`Kind::Timeout`].
    pub fn walk(&self, peer: &Peer, volume: VolumeId, walk: Walk, class: Class, patience: Duration) -> Result<Walking> {
        Walking::begin(self.reach(peer)?, volume, class, walk, patience, &self.runtime)
    }

    /// Ask a peer, who need not be a member, to let us in: one question, one answer, both opaque. Who answers is
    /// proven to be `peer`. `addresses` are tried together with those known.
    pub async fn join(&self, peer: Peer, addresses: &[String], question: Vec<u8>) -> Result<Vec<u8>> {
        let mut all = self.shared.redial.lock().addresses(&peer);
        for address in addresses {
            all.push(parse(address, &peer)?);
        }
        if self.offline {
            return Err(self.unreachable(&peer));
        }
        let (reply, answer) = oneshot::channel();
        self.command(Command::Join { peer, addresses: all, question, reply });
        answer.await.unwrap_or_else(|_| Err(self.unreachable(&peer)))
    }

    /// [`Net::join`] for threads. Must not be called on a thread of the runtime.
    pub fn join_blocking(&self, peer: Peer, addresses: &[String], question: Vec<u8>) -> Result<Vec<u8>> {
        self.runtime.block_on(self.join(peer, addresses, question))
    }

    /// End all sessions and close all sockets.
    pub async fn shutdown(&self) {
        let (done, ended) = oneshot::channel();
        self.command(Command::Shutdown(done));
        let _ = ended.await;
    }

    fn facts(&self, peer: Peer) -> PeerFacts {
        let session = self.shared.session(&peer);
        let (sent, received) = self.shared.past.lock().get(&peer).copied().unwrap_or_default();
        let load = |counter: fn(&Session) -> &AtomicU64| {
            session.as_ref().map_or(0, |session| counter(session).load(Ordering::Relaxed))
        };
        PeerFacts {
            peer,
            addresses: self.shared.redial.lock().addresses(&peer).iter().map(Multiaddr::to_string).collect(),
            transport: session.as_ref().map(|s| s.transport),
            rtt: session.as_ref().and_then(|s| s.rtt()),
            sent: sent + load(|s| &s.traffic.sent),
            received: received + load(|s| &s.traffic.received),
            in_flight: session.as_ref().map_or(0, |s| u64::from(s.in_flight())),
        }
    }

    fn reach(&self, peer: &Peer) -> Result<Arc<Session>> {
        self.shared.session(peer).ok_or_else(|| self.unreachable(peer))
    }

    fn unreachable(&self, peer: &Peer) -> Error {
        let what = if self.offline { "reach a peer while offline" } else { "reach a peer" };
        Error::new(Kind::Unreachable, what, peer.to_string())
    }

    fn command(&self, command: Command) {
        let _ = self.shared.commands.send(command);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let (done, _) = oneshot::channel();
        self.command(Command::Shutdown(done));
    }
}

fn parse(text: &str, peer: &Peer) -> Result<Multiaddr> {
    let invalid = || Error::new(Kind::Invalid, "read an address", text.to_owned());
    let address: Multiaddr = text.parse().map_err(|e: libp2p::multiaddr::Error| invalid().with_source(e))?;
    dialing::without_peer(address, peer).ok_or_else(invalid)
}

fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[String], gate: &Gate) -> Result<()> {
    for text in addresses {
        let invalid = || Error::new(Kind::Invalid, "listen", text.clone());
        let address: Multiaddr = text.parse().map_err(|e: libp2p::multiaddr::Error| invalid().with_source(e))?;
        if let Some(relay) = dialing::relay_of(&address) {
            gate.add_relay(relay);
        }
        let heard = swarm.listen_on(address);
        heard.map_err(|e| Error::new(Kind::Unreachable, "listen", text.clone()).with_source(e))?;
    }
    Ok(())
}
