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

use libp2p::futures::{AsyncRead, AsyncWrite};

use super::asker::Ask;
use super::{Ending, Session};
use crate::base::{Bid, Error, Kind, VolumeId};
use crate::wire::peer::{Class, Selector};

/// Nothing heard for so long while something was asked: is the peer still there?
const QUIET: u32 = 5;
/// No sign of life for so long after that: it is gone.
const GONE: u32 = 10;
/// The same where there is another reason to think so.
const DOUBTED: u32 = 3;
/// All of these are counted in steps, so that a machine that was stopped does not think that it waited.
const STEP: Duration = Duration::from_secs(1);

/// Until the peer shows no sign of life when one is due.
pub(super) async fn watch(session: Arc<Session>) -> Ending {
    loop {
        let patience = tokio::select! {
            () = session.doubted.notified() => DOUBTED,
            () = quiet(&session) => GONE,
        };
        let before = session.heard();
        session.ask_nothing();
        if is_silent(&session, before, patience).await {
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
        if is_silent(session, before, QUIET).await && session.is_owed() {
            return;
        }
    }
}

/// Whether so many steps pass without a sign of life.
async fn is_silent(session: &Session, before: u64, steps: u32) -> bool {
    for _ in 0..steps {
        tokio::time::sleep(STEP).await;
        if session.heard() != before {
            return false;
        }
    }
    true
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

/// A stream that notes each sign of life: what arrives and, for data, what is taken. When a link is dead that ends as
/// soon as the buffers are full; on one that is slow a question may wait behind what is being sent.
pub(super) struct Listened<S> {
    stream: S,
    session: Arc<Session>,
}

impl<S> Listened<S> {
    pub fn new(stream: S, session: &Arc<Session>) -> Self {
        Self { stream, session: Arc::clone(session) }
    }

    fn note(&self, moved: &Poll<io::Result<usize>>) {
        if matches!(moved, Poll::Ready(Ok(1..))) {
            self.session.heard.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listened<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, out);
        self.note(&read);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listened<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
