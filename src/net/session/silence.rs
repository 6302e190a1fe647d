//! Noticing that a peer is gone although nothing says so: a cut link, a machine without power, another network.
//!
//! Must never end a session whose peer is only slow: a question for nothing tells one from the other. Costs nothing
//! while nobody waits for an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::futures::AsyncRead;

use super::asker::Ask;
use super::{Ending, Session};
use crate::base::{Bid, Error, Kind, VolumeId};
use crate::wire::peer::{Class, Selector};

/// Nothing heard for so long while something was asked: is the peer still there?
const QUIET: Duration = Duration::from_secs(5);
/// No sign of life for so long after that: it is gone.
const GONE: Duration = Duration::from_secs(10);
/// The same where there is another reason to think so.
const DOUBTED: Duration = Duration::from_secs(3);

/// Until the peer shows no sign of life when one is due.
pub(super) async fn watch(session: Arc<Session>) -> Ending {
    loop {
        let patience = tokio::select! {
            () = session.doubted.notified() => DOUBTED,
            () = quiet(&session) => GONE,
        };
        let before = session.heard();
        session.ask_nothing();
        tokio::time::sleep(patience).await;
        if session.heard() == before {
            return Ending::Lost(Error::new(Kind::Timeout, "hear of a peer", session.peer.to_string()));
        }
    }
}

async fn quiet(session: &Session) {
    loop {
        if !session.is_owed() {
            session.asked.notified().await;
        }
        let before = session.heard();
        tokio::time::sleep(QUIET).await;
        if session.is_owed() && session.heard() == before {
            return;
        }
    }
}

impl Session {
    /// There is reason to think that the peer is gone: find out, within seconds.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Grows with whatever arrives.
    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether the peer owes an answer.
    fn is_owed(&self) -> bool {
        !self.state.lock().receivers.is_empty()
    }

    /// Of a volume that nobody has: every peer refuses that at once, without looking anywhere. With no room for the question so many wait
    /// already that none is needed.
    fn ask_nothing(&self) {
        let (selector, class) = (Selector::Ids(vec![Bid([0; 32])]), Class::Interactive);
        let ask = Ask { volume: VolumeId([0; 16]), class, deadline_ms: 0, selector, credit: 0 };
        let mut state = self.state.lock();
        if let Ok((rid, message)) = state.asker.open(ask)
            && self.send(&message).is_err()
        {
            state.asker.forget(rid);
        }
    }
}

/// A stream that notes each sign of life.
pub(super) struct Listened<S> {
    from: S,
    session: Arc<Session>,
}

impl<S> Listened<S> {
    pub fn new(from: S, session: &Arc<Session>) -> Self {
        Self { from, session: Arc::clone(session) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listened<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.from).poll_read(cx, out);
        if matches!(read, Poll::Ready(Ok(1..))) {
            self.session.heard.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}
