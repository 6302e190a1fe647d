//! What is lost to this device with a member that keeps the volume, when that is put out.
//!
//! Must never take a block for safe that nobody who can be asked now says to have.

use std::collections::HashSet;

use super::super::volumes::Known;
use super::evict::held;
use super::holds::MOST_IDS;
use super::{Exchange, Replica};
use crate::base::{Bid, Error, Kind, Result, WriterIndex};
use crate::net::Peer;
use crate::wire::Advice;

impl Exchange {
    /// [`Kind::NotPermitted`] if the member with this index keeps what nobody else says to have, or that cannot be told.
    pub(super) fn spare(&self, known: &Known, writer: WriterIndex) -> Result<()> {
        let Some(replica) = self.replica(known.id) else { return Ok(()) };
        let Some(keeper) = replica.keepers().into_iter().find(|keeper| keeper.writer == writer) else { return Ok(()) };
        let why = match only_at(self, &replica, &Peer(keeper.peer)) {
            Ok(0) => return Ok(()),
            Ok(only) => format!("{only} blocks are neither here nor with a store or device that can be asked now"),
            Err(error) => format!("what only it has cannot be told: {}", error.chain()),
        };
        let next = "Wait until others have them (`lovage status`), or bring them here with `lovage get`; --force removes it all the same.";
        Err(Error::new(Kind::NotPermitted, "remove the device", keeper.name).with_source(Advice::new(why, next)))
    }
}

/// How many blocks that the volume refers to are neither here nor in a store, nor with a connected member other than
/// `keeper`. [`Kind::Unreachable`] and the like if lists of blocks cannot be had to tell. O(all trees), 32 bytes for each
/// block that is not here.
fn only_at(exchange: &Exchange, replica: &Replica, keeper: &Peer) -> Result<usize> {
    let others: Vec<Peer> = exchange.connected(replica).into_iter().filter(|peer| peer != keeper).collect();
    let (mut met, mut page, mut only) = (HashSet::new(), Vec::new(), 0);
    let mut look = |page: &mut Vec<Bid>| {
        let counts = held(exchange, replica, &others, page, (1, false));
        only += counts.into_iter().filter(|count| *count == 0).count();
        page.clear();
    };
    replica.volume.reach(&mut |block| {
        if replica.is_closed() {
            return Err(Error::new(Kind::Interrupted, "see what only a device has", &replica.known.name));
        }
        if !replica.volume.blocks().contains(block) && met.insert(block.bid) {
            page.push(block.bid);
            if page.len() == MOST_IDS {
                look(&mut page);
            }
        }
        Ok(true)
    })?;
    look(&mut page);
    Ok(only)
}
