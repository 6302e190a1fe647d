//! One session with one peer: the three streams of a [`Link`] and the two cores over them, [`asker`] and
//! [`answerer`]. A session that breaks the protocol or loses a stream ends as a whole.
//!
//! Must never block the runtime: what reads disks runs on blocking threads. Must never queue without a bound.

mod answer;
pub(super) mod answerer;
pub(super) mod asker;
mod control;
mod frames;
mod receive;
mod silence;
#[cfg(test)]
mod tests;
mod walks;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::futures::AsyncReadExt;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::link::{Link, Transport};
use super::{Peer, Serve};
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Bid, Error, Kind, Result, VolumeId};
use crate::wire::peer::{Message, RequestId, VERSION, encode_frame};
use answerer::Answerer;
use asker::{Ask, Asker, Outcome};
use silence::Listened;
use walks::Turns;
pub(super) use walks::Walks;

/// Control frames waiting to be sent; a peer that does not read them is gone.
const CONTROL_QUEUE: usize = 2048;
/// For the other side's HELLO.
const HELLO_PATIENCE: Duration = Duration::from_secs(15);

/// Number of a session on this process; never used twice.
pub(super) type SessionId = u64;

/// What arrives for a request.
#[derive(Debug, Clone)]
pub(super) enum Arrived {
    /// A verified block.
    Block { index: u32, bid: Bid, bytes: Bytes },
    /// Not there.
    Missing { index: u32 },
    /// The last thing that arrives.
    Ended(Outcome),
}

/// Takes what arrives for one request. Called on the session's tasks: must be quick and not block.
pub(super) trait Receive: Send + Sync {
    /// Something arrived.
    fn receive(&self, session: &Arc<Session>, rid: RequestId, what: Arrived);
}

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The connection is gone, or one of the two wanted it to be.
    Lost(Error),
    /// The peer lied or broke the protocol.
    Violation(Error),
}

/// Counters of one session, in bytes of blocks.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

/// A live session. Shared by its tasks and by who asks.
pub(super) struct Session {
    pub id: SessionId,
    pub peer: Peer,
    pub transport: Transport,
    pub traffic: Traffic,
    serve: Arc<dyn Serve>,
    /// Taken alone, never across an await.
    state: Mutex<State>,
    /// Credit or cancellation came, or the session closed: for walks that wait on a thread.
    credit: Condvar,
    control: mpsc::Sender<Vec<u8>>,
    /// Work for the answering tasks: interactive, bulk.
    work: [Notify; 2],
    walks: Turns,
    rtt_micros: AtomicU64,
    ended: Notify,
    /// Something was asked.
    asked: Notify,
    doubted: Notify,
    /// Signs of life.
    heard: AtomicU64,
}

#[derive(Default)]
struct State {
    asker: Asker,
    answerer: Answerer,
    receivers: HashMap<RequestId, Arc<dyn Receive>>,
    closed: bool,
}

impl Session {
    /// A session that does nothing until [`Session::run`].
    pub fn new(id: SessionId, link: &Link, serve: Arc<dyn Serve>, walks: Turns) -> (Arc<Self>, Outbox) {
        let (control, outbox) = mpsc::channel(CONTROL_QUEUE);
        let session = Self {
            id,
            peer: link.peer,
            transport: link.transport,
            traffic: Traffic::default(),
            serve,
            state: Mutex::default(),
            credit: Condvar::new(),
            control,
            work: [Notify::new(), Notify::new()],
            walks,
            rtt_micros: AtomicU64::new(0),
            ended: Notify::new(),
            asked: Notify::new(),
            doubted: Notify::new(),
            heard: AtomicU64::new(0),
        };
        (Arc::new(session), Outbox(outbox))
    }

    /// Ask; what arrives goes to `receiver`, which hears [`Arrived::Ended`] exactly once, unless this fails:
    /// [`Kind::Busy`] when too much is in flight, [`Kind::Unreachable`] when the session is over.
    pub fn ask(&self, ask: Ask, receiver: Arc<dyn Receive>) -> Result<RequestId> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(self.gone());
        }
        let (rid, message) = state.asker.open(ask)?;
        state.receivers.insert(rid, receiver);
        let sent = self.send(&message);
        if sent.is_err() {
            state.receivers.remove(&rid);
            state.asker.forget(rid);
        }
        drop(state);
        self.asked.notify_one();
        sent.map(|()| rid)
    }

    /// Lose interest in what has an index of `from` or above.
    pub fn cancel(&self, rid: RequestId, from: u32) {
        let message = self.state.lock().asker.cancel(rid, from);
        self.send_or_drop(message);
    }

    /// A consumer of a walk took a block of this length.
    pub fn taken(&self, rid: RequestId, length: usize) {
        let message = self.state.lock().asker.taken(rid, length);
        self.send_or_drop(message);
    }

    /// Send a head. [`Kind::TooBig`] or [`Kind::Invalid`] beyond the limit, [`Kind::Busy`] when the peer does not read.
    pub fn push_head(&self, volume: VolumeId, head: Vec<u8>) -> Result<()> {
        self.send(&Message::Head { volume, head })
    }

    /// Bytes that this peer can still make us hold.
    pub fn in_flight(&self) -> u32 {
        self.state.lock().asker.in_flight()
    }

    /// Whether anything is asked or answered on it at the moment.
    pub fn is_busy(&self) -> bool {
        let state = self.state.lock();
        !state.receivers.is_empty() || state.answerer.is_busy()
    }

    /// The last round trip measured, if any was.
    pub fn rtt(&self) -> Option<Duration> {
        match self.rtt_micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// A round trip was measured.
    pub fn set_rtt(&self, rtt: Duration) {
        self.rtt_micros.store(u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// End it: tasks stop, receivers hear that they ended.
    pub fn close(&self) {
        self.ended.notify_one();
    }

    /// Run until the link is lost, someone closes, or the peer breaks the protocol. `ready` is called once, when the
    /// peer has said HELLO.
    pub async fn run(self: &Arc<Self>, link: Link, outbox: Outbox, ready: impl FnOnce() + Send + 'static) -> Ending {
        let guard = Guard(Arc::clone(self));
        let mut tasks: JoinSet<Ending> = JoinSet::new();
        let (control_in, control_out) = link.control.split();
        tasks.spawn(control::write(control_out, outbox.0));
        if let Err(error) = self.greet() {
            return self.over(Ending::Lost(error));
        }
        tasks.spawn(control::read(Arc::clone(self), Listened::new(control_in, self), ready));
        tasks.spawn(silence::watch(Arc::clone(self)));
        for (interactive, stream) in [(true, link.interactive), (false, link.bulk)] {
            let (from, to) = stream.split();
            tasks.spawn(receive::run(Arc::clone(self), Listened::new(from, self), interactive));
            tasks.spawn(answer::run(Arc::clone(self), Listened::new(to, self), interactive));
        }
        let closed = || Ending::Lost(Error::new(Kind::Unreachable, "keep the session", self.peer.to_string()));
        let ending = tokio::select! {
            first = tasks.join_next() => match first {
                Some(Ok(ending)) => ending,
                Some(Err(failed)) if failed.is_panic() => {
                    tracing::error!(peer = %self.peer, "a task of a session failed");
                    closed()
                }
                _ => closed(),
            },
            () = self.ended.notified() => closed(),
        };
        tasks.abort_all();
        let ending = self.over(ending);
        drop(guard);
        ending
    }

    fn greet(&self) -> Result<()> {
        self.send(&Message::Hello { version: VERSION, features: 0 })
    }

    fn over(self: &Arc<Self>, ending: Ending) -> Ending {
        let receivers = {
            let mut state = self.state.lock();
            state.closed = true;
            state.asker.drain();
            std::mem::take(&mut state.receivers)
        };
        self.credit.notify_all();
        let kind = if matches!(ending, Ending::Violation(_)) { Kind::Corrupt } else { Kind::Unreachable };
        for (rid, receiver) in receivers {
            receiver.receive(self, rid, Arrived::Ended(Err(kind)));
        }
        ending
    }

    fn send(&self, message: &Message) -> Result<()> {
        let frame = encode_frame(message)?;
        self.control.try_send(frame).map_err(|full| match full {
            mpsc::error::TrySendError::Full(_) => Error::new(Kind::Busy, "send to a peer", self.peer.to_string()),
            mpsc::error::TrySendError::Closed(_) => self.gone(),
        })
    }

    /// For messages without which the other side would wait for ever: if they cannot be sent the session is over.
    fn send_or_drop(&self, message: Option<Message>) {
        if message.is_some_and(|message| self.send(&message).is_err()) {
            self.close();
        }
    }

    fn gone(&self) -> Error {
        Error::new(Kind::Unreachable, "ask a peer", self.peer.to_string())
    }

    fn wake_answers(&self) {
        self.work.iter().for_each(Notify::notify_one);
        self.credit.notify_all();
    }

    fn now() -> Instant {
        Instant::now()
    }
}

/// Ends a session whose task is dropped, so that nobody waits for it for ever.
struct Guard(Arc<Session>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.over(Ending::Lost(self.0.gone()));
    }
}

/// The receiving end of a session's control queue; handed to [`Session::run`].
pub(super) struct Outbox(mpsc::Receiver<Vec<u8>>);

fn lost(error: std::io::Error) -> Ending {
    Ending::Lost(Error::io("talk to a peer", String::new(), error))
}
