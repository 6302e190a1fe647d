//! Data frames coming in on one stream: admitted, read, verified, handed on.
//!
//! Must never make room for bytes that the header was not admitted for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use libp2p::futures::AsyncRead;

use super::asker::Accepted;
use super::frames::Incoming;
use super::{Arrived, Ending, Session, lost};
use crate::base::{Bid, Result};
use crate::seal::Sealer;
use crate::wire::peer::data::{Flag, HEADER, Header};

/// Receive until the stream ends or the peer sends what it must not.
pub(super) async fn run(session: Arc<Session>, from: impl AsyncRead + Unpin, interactive: bool) -> Ending {
    let mut from = Incoming::new(from);
    loop {
        let mut head = [0; HEADER];
        if let Err(error) = from.read_exact(&mut head).await {
            return lost(error);
        }
        let admitted = Header::decode(&head).and_then(|header| {
            session.state.lock().asker.admit(&header, interactive)?;
            Ok(header)
        });
        let header = match admitted {
            Ok(header) => header,
            Err(error) => return Ending::Violation(error),
        };
        let mut body = vec![0; header.length as usize];
        if let Err(error) = from.read_exact(&mut body).await {
            return lost(error);
        }
        if let Err(error) = session.arrived(&header, body) {
            return Ending::Violation(error);
        }
    }
}

impl Session {
    fn arrived(self: &Arc<Self>, header: &Header, body: Vec<u8>) -> Result<()> {
        let bid = if header.flag == Flag::Block { Sealer::bid(&body) } else { Bid([0; 32]) };
        let (what, receiver) = {
            let mut state = self.state.lock();
            let what = match state.asker.accept(header, &body, bid)? {
                Accepted::Block { index, bid } => Arrived::Block { index, bid, bytes: Bytes::from(body) },
                Accepted::Missing { index } => Arrived::Missing { index },
                Accepted::Ended(how) => Arrived::Ended(how),
                Accepted::Unwanted => return Ok(()),
            };
            let receiver = match what {
                Arrived::Ended(_) => state.receivers.remove(&header.rid),
                _ => state.receivers.get(&header.rid).cloned(),
            };
            (what, receiver)
        };
        self.traffic.received.fetch_add(u64::from(header.length), Ordering::Relaxed);
        if let Some(receiver) = receiver {
            receiver.receive(self, header.rid, what);
        }
        Ok(())
    }
}
