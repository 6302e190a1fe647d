//! This device's own newest head as a store has it: looked at before it is replaced in a run, since it may tell that the
//! device was set back.
//!
//! Must never let a head be replaced that could not be understood yet.

use std::sync::Arc;

use super::super::exchange::Replica;
use crate::base::{Kind, Result};
use crate::kv::{Kv, blocking};
use crate::net::Peer;

/// Objects with records of this device, at most, and the longest of them and of a head.
const MOST: usize = 4096;
const LONGEST: usize = 64 << 10;

/// Whether the head of the author `me` in `kv` tells that this device was set back. What it knew of the members then is
/// taken over first: it may need a key that it does not have any more.
pub async fn was_set_back(kv: &dyn Kv, replica: &Replica, me: &str) -> Result<bool> {
    for n in 0..MOST {
        let Some(records) = kv.get_head(&format!("m.{me}.{n}")).await?.filter(|r| r.len() <= LONGEST) else { break };
        replica.records(Peer([0; 32]), records.to_vec());
    }
    let Some(head) = kv.get_head(&format!("h.{me}")).await?.filter(|head| head.len() <= LONGEST) else {
        return Ok(false);
    };
    let (volume, said) = (Arc::clone(&replica.volume), head.clone());
    match blocking(move || volume.recall(&said)).await {
        Ok(None) => Ok(false),
        Ok(Some(_)) => {
            replica.heard(Peer([0; 32]), head.to_vec());
            Ok(true)
        }
        // Nobody but this device can have signed it: what does not verify is of no use to anybody.
        Err(error) if error.kind() == Kind::Corrupt => Ok(false),
        Err(error) => Err(error),
    }
}
