//! Blocks that are not here, from members that are connected and from the volume's stores: the block store's port.
//!
//! Must never be called on a thread of the network, nor wait when nobody can answer.

use std::sync::Weak;
use std::time::Duration;

use super::Exchange;
use crate::base::{Error, Kind, Result, VolumeId};
use crate::cas::Fetch;
use crate::net::{Net, Wanted};
use crate::seal::{BlockType, Ref};
use crate::wire::peer::Class;

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
}

/// Round trip to the nearest member, as far as known.
fn nearest(net: &Net) -> Option<Duration> {
    net.peers().into_iter().filter(|facts| facts.transport.is_some()).filter_map(|facts| facts.rtt).min()
}
