//! Blocks that are not here, from members that are connected and from the volume's stores: the block store's port.
//!
//! Must never be called on a thread of the network, nor wait when nobody can answer.

use std::ops::Range;
use std::sync::Weak;
use std::time::Duration;

use super::Exchange;
use crate::base::{Error, Kind, Result, VolumeId};
use crate::cas::Fetch;
use crate::net::{Net, Walk, Wanted};
use crate::seal::{BlockType, Ref};
use crate::volume::Volume;
use crate::wire::peer::Class;

/// Nothing of an answer for so long: block by block, then.
const PATIENCE: Duration = Duration::from_secs(2);

/// The others that have a volume.
pub struct Remote {
    exchange: Weak<Exchange>,
    volume: VolumeId,
}

impl Remote {
    /// Those that have `volume`.
    pub fn new(exchange: Weak<Exchange>, volume: VolumeId) -> Self {
        Self { exchange, volume }
    }
}

impl Fetch for Remote {
    fn fetch(&self, t: BlockType, _level: u8, r: &Ref) -> Result<Vec<u8>> {
        let nobody = || {
            Error::new(Kind::Unreachable, "fetch a block", r.bid.to_string())
                .with_source("no device or store that has it can be reached")
        };
        let exchange = self.exchange.upgrade().ok_or_else(nobody)?;
        let patience = exchange.settings.patience;
        let stored = || match exchange.stores().fetch(self.volume, r, patience) {
            Ok(found) => found.ok_or_else(nobody),
            Err(error) => Err(error),
        };
        let connected = exchange.net().filter(|_| exchange.is_anyone_connected(self.volume));
        let Some(net) = connected else { return stored() };
        if exchange.stores().is_nearer(self.volume, r, nearest(&net))
            && let Ok(found) = stored()
        {
            return Ok(found);
        }
        let class = match t {
            BlockType::Data => Class::Interactive,
            _ => Class::Metadata,
        };
        let wanted = [Wanted::sealed(r.bid, r.len)];
        let fetched = net.fetch_blocking(self.volume, &wanted, class, patience);
        let brought = fetched.into_iter().next().unwrap_or_else(|| Err(nobody())).map(|bytes| bytes.to_vec());
        if brought.is_err() && exchange.stores().any(self.volume) { stored() } else { brought }
    }

    fn fetch_ahead(&self, now: &[Ref], later: &[Ref]) {
        let Some(exchange) = self.exchange.upgrade() else { return };
        let Some(replica) = exchange.replica(self.volume) else { return };
        for (class, refs) in [(Class::Interactive, now), (Class::Readahead, later)] {
            replica.ahead.ask(&exchange, &replica.volume, class, refs);
        }
    }

    fn fetch_range(&self, root: (&Ref, u8), range: Range<u64>) {
        let Some(exchange) = self.exchange.upgrade() else { return };
        let (Some(net), Some(replica)) = (exchange.net(), exchange.replica(self.volume)) else { return };
        // Of those who can read a list the nearest: another is asked block by block, should it have nothing.
        let facts = net.peers().into_iter().filter(|facts| facts.transport.is_some() && replica.reads(&facts.peer));
        let Some(nearest) = facts.min_by_key(|facts| facts.rtt.unwrap_or(Duration::MAX)) else { return };
        let asked = Volume::name_list(root).and_then(|manifest| {
            let question = Walk::Range { manifest, from: range.start, to: range.end };
            let mut walking = net.walk(&nearest.peer, self.volume, question, Class::Interactive, PATIENCE)?;
            replica.volume.take_range(root, &range, &mut || walking.next_blocking())
        });
        if let Err(error) = asked {
            tracing::debug!(error = %error.chain(), "a stretch of a file did not come in one answer");
        }
    }
}

/// Round trip to the nearest member, as far as known.
fn nearest(net: &Net) -> Option<Duration> {
    net.peers().into_iter().filter(|facts| facts.transport.is_some()).filter_map(|facts| facts.rtt).min()
}
