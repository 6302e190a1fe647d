//! The one task that owns the swarm: commands in, connection events to sessions.
//!
//! Must never wait for a peer or a disk: conversations run in tasks of their own.

mod connections;
mod events;
mod nearby;

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::futures::StreamExt;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, Swarm};
use libp2p::{Multiaddr, Stream};
use tokio::sync::{mpsc, oneshot};

use super::dialing;
use super::handle::Shared;
use super::join;
use super::session::{Ending, Walks};
use super::swarm::Behaviour;
use super::{Peer, Serve};
use crate::base::port::{Entropy, System};
use crate::base::{Error, Kind, Result};
use connections::Connections;
use nearby::Nearby;

/// After this the next group of addresses is tried beside the first.
const HEAD_START: Duration = Duration::from_millis(750);
/// For a join, from the first dial to the answer.
const JOIN_PATIENCE: Duration = Duration::from_secs(45);

/// For telling others that we end.
const PARTING: Duration = Duration::from_millis(300);

/// To the driver.
pub(super) enum Command {
    /// Members or addresses changed: look whom to dial, and whom to leave.
    Review { leave: Vec<Peer> },
    /// Ask a peer to let us join.
    Join { peer: Peer, addresses: Vec<Multiaddr>, question: Vec<u8>, reply: oneshot::Sender<Result<Vec<u8>>> },
    /// A session's peer has greeted.
    Ready(ConnectionId),
    /// Which of several connections with a peer are dead is known by now.
    Choose(Peer),
    /// A session is over.
    Over(ConnectionId, Ending),
    /// The local network may be less crowded by now.
    LookAround,
    /// The head start of a group of addresses is over.
    NextGroup(ConnectionId),
    /// A conversation on this connection is over.
    Done(ConnectionId),
    /// End.
    Shutdown(oneshot::Sender<()>),
}

struct Attempt {
    id: ConnectionId,
    peer: Peer,
    rest: Vec<Vec<Multiaddr>>,
    /// The next group is on its way already.
    passed_on: bool,
}

struct Join {
    peer: Peer,
    question: Vec<u8>,
    reply: oneshot::Sender<Result<Vec<u8>>>,
    asked_on: Option<ConnectionId>,
    until: Instant,
}

/// See the module.
pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    serve: Arc<dyn Serve>,
    commands: mpsc::UnboundedReceiver<Command>,
    connections: Connections,
    nearby: Nearby,
    attempts: Vec<Attempt>,
    joins: Vec<Join>,
    walks: Walks,
    ban: Duration,
}

impl Driver {
    pub fn new(
        swarm: Swarm<Behaviour>,
        shared: Arc<Shared>,
        serve: Arc<dyn Serve>,
        commands: mpsc::UnboundedReceiver<Command>,
        ban: Duration,
    ) -> Self {
        Self {
            swarm,
            shared,
            serve,
            commands,
            connections: Connections::default(),
            nearby: Nearby::default(),
            attempts: Vec::new(),
            joins: Vec::new(),
            walks: Walks::default(),
            ban,
        }
    }

    /// Until told to end, or nobody is left who could tell.
    pub async fn run(mut self) {
        loop {
            self.dial_who_is_due();
            let wake = self.next_wake();
            tokio::select! {
                event = self.swarm.select_next_some() => self.event(event),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown(done)) => return self.end(Some(done)).await,
                    Some(command) => self.command(command),
                    None => return self.end(None).await,
                },
                () = sleep_until(wake) => self.expire_joins(Instant::now()),
            }
        }
    }

    /// Others hear of it, as far as they listen.
    async fn end(mut self, done: Option<oneshot::Sender<()>>) {
        self.shared.close_sessions();
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let parting = async {
            while self.swarm.connected_peers().next().is_some() {
                let _ = self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(PARTING, parting).await;
        drop(self.swarm);
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Review { leave } => {
                for peer in leave {
                    let _ = self.swarm.disconnect_peer_id(peer.to_libp2p());
                }
                self.review_nearby();
            }
            Command::Join { peer, addresses, question, reply } => self.begin_join(peer, addresses, question, reply),
            Command::Ready(connection) => self.ready(connection),
            Command::Choose(peer) => self.choose(peer),
            Command::Over(connection, ending) => self.over(connection, ending),
            Command::NextGroup(attempt) => self.next_group(attempt, false),
            Command::Done(connection) => {
                self.talk_ended(connection);
                self.done_unless_talking(connection);
            }
            Command::LookAround => self.look_around(),
            Command::Shutdown(_) => {}
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let join = self.joins.iter().map(|join| join.until).min();
        [self.shared.redial.lock().next(), join].into_iter().flatten().min()
    }

    fn dial_who_is_due(&mut self) {
        let now = Instant::now();
        loop {
            let due = self.shared.redial.lock().due(now);
            let Some((peer, addresses)) = due else { return };
            self.dial(peer, dialing::groups(addresses));
        }
    }

    fn dial(&mut self, peer: Peer, mut groups: Vec<Vec<Multiaddr>>) {
        if groups.is_empty() {
            return self.attempt_failed(peer);
        }
        let rest = groups.split_off(1);
        let options = DialOpts::peer_id(peer.to_libp2p())
            .condition(PeerCondition::Always)
            .addresses(groups.into_iter().flatten().collect())
            .build();
        let id = options.connection_id();
        self.attempts.push(Attempt { id, peer, rest, passed_on: false });
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "a dial was not begun");
            return self.next_group(id, true);
        }
        let commands = self.shared.commands.clone();
        tokio::spawn(async move {
            tokio::time::sleep(HEAD_START).await;
            let _ = commands.send(Command::NextGroup(id));
        });
    }

    /// The attempt failed, or had its head start: go on with the next addresses unless a connection stands.
    fn next_group(&mut self, id: ConnectionId, failed: bool) {
        let Some(at) = self.attempts.iter().position(|attempt| attempt.id == id) else { return };
        let Some(attempt) = self.attempts.get_mut(at) else { return };
        let (peer, first, rest) = (attempt.peer, !attempt.passed_on, std::mem::take(&mut attempt.rest));
        attempt.passed_on |= !rest.is_empty();
        if failed {
            self.attempts.remove(at);
        }
        if self.connections.any(&peer) {
            return;
        }
        if first && !rest.is_empty() {
            self.dial(peer, rest);
        } else if failed && !self.attempts.iter().any(|attempt| attempt.peer == peer) {
            self.attempt_failed(peer);
        }
    }

    fn attempt_failed(&mut self, peer: Peer) {
        self.shared.redial.lock().lost(&peer, Instant::now(), chance());
        self.fail_joins(&peer);
    }

    fn begin_join(
        &mut self,
        peer: Peer,
        addresses: Vec<Multiaddr>,
        question: Vec<u8>,
        reply: oneshot::Sender<Result<Vec<u8>>>,
    ) {
        self.shared.gate.begin_join(peer);
        self.joins.push(Join { peer, question, reply, asked_on: None, until: Instant::now() + JOIN_PATIENCE });
        if let Some(connection) = self.connections.with_session(&peer) {
            self.open_join(&peer, connection);
        } else {
            self.dial(peer, dialing::groups(addresses));
        }
    }

    /// A connection with `peer` stands: ask on it what waits to be asked.
    fn open_join(&mut self, peer: &Peer, connection: ConnectionId) {
        let waiting = self.joins.iter_mut().find(|join| join.peer == *peer && join.asked_on.is_none());
        if let Some(join) = waiting {
            join.asked_on = Some(connection);
            self.connections.get_mut(connection).into_iter().for_each(|c| c.talks += 1);
            self.swarm.behaviour_mut().exchange.open_join(peer, connection);
        }
    }

    fn join_opened(&mut self, connection: ConnectionId, stream: Stream) {
        let Some(at) = self.joins.iter().position(|join| join.asked_on == Some(connection)) else { return };
        let Join { peer, question, reply, .. } = self.joins.swap_remove(at);
        let (commands, shared) = (self.shared.commands.clone(), Arc::clone(&self.shared));
        tokio::spawn(async move {
            let answer = join::ask(stream, &question).await;
            shared.gate.end_join(&peer);
            let _ = reply.send(answer);
            let _ = commands.send(Command::Done(connection));
        });
    }

    /// The peer cannot be reached to ask it.
    fn fail_joins(&mut self, peer: &Peer) {
        let hopeless = |join: &Join| join.peer == *peer && join.asked_on.is_none();
        let (failed, kept) = std::mem::take(&mut self.joins).into_iter().partition(hopeless);
        self.joins = kept;
        self.give_up(failed, Kind::Unreachable);
    }

    /// The connection on which a join was asked is gone.
    fn fail_joins_on(&mut self, connection: ConnectionId) {
        let on = Some(connection);
        let (failed, kept): (Vec<Join>, _) =
            std::mem::take(&mut self.joins).into_iter().partition(|join| join.asked_on == on);
        self.joins = kept;
        for _ in &failed {
            self.talk_ended(connection);
        }
        self.give_up(failed, Kind::Unreachable);
    }

    fn talk_ended(&mut self, connection: ConnectionId) {
        self.connections.get_mut(connection).into_iter().for_each(|c| c.talks = c.talks.saturating_sub(1));
    }

    fn expire_joins(&mut self, now: Instant) {
        let (late, kept) = std::mem::take(&mut self.joins).into_iter().partition(|join| join.until <= now);
        self.joins = kept;
        self.give_up(late, Kind::Timeout);
    }

    fn give_up(&mut self, joins: Vec<Join>, kind: Kind) {
        for join in joins {
            self.shared.gate.end_join(&join.peer);
            let _ = join.reply.send(Err(Error::new(kind, "ask to join", join.peer.to_string())));
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// One random byte, for jitter.
fn chance() -> u8 {
    let mut byte = [0];
    System.fill(&mut byte);
    let [byte] = byte;
    byte
}
