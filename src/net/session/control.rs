//! The control stream: messages in, messages out.
//!
//! Must never read a frame beyond its limit, nor act on anything before HELLO.

use std::sync::Arc;

use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::answerer::Wanted;
use super::{Ending, HELLO_PATIENCE, Session, lost};
use crate::base::{Error, Kind, Result, VolumeId};
use crate::wire::peer::{MAX_CONTROL, Message, VERSION, decode};

/// Heads waiting for the daemon; then the stream waits.
const HEADS: usize = 64;
/// Bytes gathered before they are written.
const GATHER: usize = 64 << 10;

/// Send what comes, many frames at a time.
pub(super) async fn write(mut to: impl AsyncWrite + Unpin, mut outbox: mpsc::Receiver<Vec<u8>>) -> Ending {
    while let Some(mut frames) = outbox.recv().await {
        while frames.len() < GATHER
            && let Ok(more) = outbox.try_recv()
        {
            frames.extend_from_slice(&more);
        }
        let sent = async {
            to.write_all(&frames).await?;
            to.flush().await
        };
        if let Err(error) = sent.await {
            return lost(error);
        }
    }
    Ending::Lost(Error::new(Kind::Unreachable, "keep the session", ""))
}

/// Receive until the stream ends or the peer says something impossible.
pub(super) async fn read(
    session: Arc<Session>,
    mut from: impl AsyncRead + Unpin,
    ready: impl FnOnce() + Send + 'static,
) -> Ending {
    let hello = tokio::time::timeout(HELLO_PATIENCE, next(&mut from)).await;
    match hello.unwrap_or_else(|_| Err(Ending::Lost(Error::new(Kind::Timeout, "greet a peer", "")))) {
        Ok(Message::Hello { version: VERSION, .. }) => {}
        Ok(Message::Hello { version, .. }) => {
            return Ending::Lost(Error::new(Kind::Unsupported, "greet a peer", format!("it speaks version {version}")));
        }
        Ok(_) => return violation("no greeting"),
        Err(ending) => return ending,
    }
    let (heads, inbox) = mpsc::channel(HEADS);
    let mut deliveries = tokio::task::JoinSet::new();
    deliveries.spawn(deliver(Arc::clone(&session), inbox));
    ready();
    loop {
        let message = match next(&mut from).await {
            Ok(message) => message,
            Err(ending) => return ending,
        };
        if let Message::Head { volume, head } = message {
            if heads.send((volume, head)).await.is_err() {
                return Ending::Lost(Error::new(Kind::Other, "take heads", ""));
            }
        } else if let Err(error) = session.act(message) {
            return Ending::Violation(error);
        }
    }
}

/// Say our heads, then hand theirs to the daemon, one after the other.
async fn deliver(session: Arc<Session>, mut inbox: mpsc::Receiver<(VolumeId, Vec<u8>)>) {
    let ours = Arc::clone(&session);
    let told = tokio::task::spawn_blocking(move || {
        for (volume, head) in ours.serve.heads(&ours.peer) {
            if let Err(error) = ours.push_head(volume, head) {
                tracing::debug!(peer = %ours.peer, error = %error.chain(), "a head was not sent");
            }
        }
    });
    let _ = told.await;
    while let Some((volume, head)) = inbox.recv().await {
        let session = Arc::clone(&session);
        let handed = tokio::task::spawn_blocking(move || {
            if session.serve.shares(&session.peer, &volume) {
                session.serve.on_head(&session.peer, volume, head);
            }
        });
        let _ = handed.await;
    }
}

async fn next(from: &mut (impl AsyncRead + Unpin)) -> std::result::Result<Message, Ending> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await.map_err(lost)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_CONTROL {
        return Err(violation("a control frame too long"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await.map_err(lost)?;
    decode(&body).map_err(Ending::Violation)
}

fn violation(why: &str) -> Ending {
    Ending::Violation(Error::new(Kind::Corrupt, "follow the protocol", why))
}

impl Session {
    /// What a message asks of us. An error is a violation.
    fn act(&self, message: Message) -> Result<()> {
        match message {
            Message::Want { rid, volume, class, deadline_ms, credit, selector } => {
                let allowed = self.serve.shares(&self.peer, &volume);
                let wanted = Wanted { rid, volume, class, deadline_ms, credit, selector };
                self.state.lock().answerer.want(wanted, allowed, Self::now())?;
            }
            Message::Credit { rid, bytes } => self.state.lock().answerer.credit(rid, bytes),
            Message::Cancel { rid, from } => self.state.lock().answerer.cancel(rid, from),
            Message::Hello { .. } => return Err(Error::new(Kind::Corrupt, "follow the protocol", "greeted twice")),
            Message::Head { .. } => {}
        }
        self.wake_answers();
        Ok(())
    }
}
