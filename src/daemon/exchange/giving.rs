//! Giving blocks to a keeper: it is asked which of them it lacks, and offered those.

use std::time::Duration;

use super::Replica;
use crate::base::{Bid, Error, Kind, Result};
use crate::net::{Net, Peer};
use crate::seal::Sealer;

/// Bytes of one offer, but for a single larger block.
const OFFER: u64 = 1 << 20;
/// How long a keeper may take for one.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn gone(replica: &Replica, peer: &Peer) -> Error {
    Error::new(Kind::Unreachable, "ask a keeper", replica.name_of(peer)).with_source("it does not answer")
}

/// Have a keeper take those of `blocks` that it lacks.
pub(super) fn give(replica: &Replica, net: &Net, peer: &Peer, blocks: &[(Bid, u32)]) -> Result<()> {
    let ids: Vec<Bid> = blocks.iter().map(|(bid, _)| *bid).collect();
    if ids.is_empty() {
        return Ok(());
    }
    // Not as a promise: what is garbage here may go there. What a new head needs is asked for as one.
    let has = replica.holds.ask(net, replica, peer, &ids, false).ok_or_else(|| gone(replica, peer))?;
    let lacking: Vec<_> = blocks.iter().zip(has).filter(|(_, has)| !has).map(|(block, _)| *block).collect();
    offer(replica, net, peer, &lacking, &mut |bid| check_given(replica, peer, bid))
}

/// Offer blocks to a keeper, which fetches them from whoever has them. `left` is told of those that it has not afterwards,
/// and may end it by an error.
pub(super) fn offer(
    replica: &Replica,
    net: &Net,
    peer: &Peer,
    lacking: &[(Bid, u32)],
    left: &mut dyn FnMut(&Bid) -> Result<()>,
) -> Result<()> {
    let mut bytes = 0;
    let offers = lacking.chunk_by(|_, (_, size)| {
        bytes += u64::from(*size);
        let fits = bytes < OFFER;
        bytes = if fits { bytes } else { 0 };
        fits
    });
    for offer in offers {
        let taken = replica.holds.offer(net, replica, peer, offer, PATIENCE).ok_or_else(|| gone(replica, peer))?;
        offer.iter().zip(taken).filter(|(_, taken)| !taken).try_for_each(|((bid, _), _)| left(bid))?;
    }
    Ok(())
}

/// A keeper did not take a block: an error, unless there is none that it could take.
fn check_given(replica: &Replica, peer: &Peer, bid: &Bid) -> Result<()> {
    match replica.volume.blocks().log().get(bid) {
        Ok(Some(sealed)) if Sealer::verify_bid(bid, &sealed) => {
            let why = "it does not take what is offered now: its quota or its disk is full, or it is busy";
            Err(Error::new(Kind::Full, "give blocks", replica.name_of(peer)).with_source(why))
        }
        Ok(None) => Ok(()), // collected meanwhile
        Err(error) if error.kind() != Kind::Corrupt => Err(error),
        _ => {
            tracing::error!(block = %bid, "a damaged block is not given to keepers: see `lovage fsck --repair`");
            Ok(())
        }
    }
}
