//! What there is to tell about each box: what it should have, what it has, and why not.
//!
//! Must never wait: it is looked at while feeding and mending go on.

use super::invites::now;
use super::mending::Progress;
use super::placing::Standing;
use super::{Exchange, Replica};
use crate::net::Peer;
use crate::seal::membership::{Member, Share};
use crate::wire::control::KeeperStatus;

/// Of all boxes of the volume.
pub fn status(replica: &Replica, exchange: &Exchange) -> Vec<KeeperStatus> {
    let (net, placement) = (exchange.net(), exchange.placement(replica));
    let tell = |keeper: Member| {
        let peer = Peer(keeper.peer);
        let connected = net.as_ref().is_some_and(|net| net.is_connected(&peer));
        let share = placement.share(&keeper.peer).copied().unwrap_or(Share::NONE);
        let standing = replica.placing.standing(&peer).unwrap_or_default();
        let state = if connected { state(replica, &keeper, &share) } else { away(&standing) };
        let queued = replica.feeding.inner.lock().queued.get(&keeper.writer).copied();
        KeeperStatus {
            device: keeper.name,
            connected,
            queue_bytes: queued.unwrap_or(0),
            state,
            share_percent: share.percent(),
            room_bytes: standing.room.map(|room| room.size),
            used_bytes: standing.room.map(|room| room.used),
            blocks: standing.room.map(|room| room.blocks),
        }
    };
    replica.keepers().into_iter().map(tell).collect()
}

fn away(standing: &Standing) -> String {
    if !standing.gone {
        return "not connected".to_owned();
    }
    let hours = now().saturating_sub(standing.heard) / 3600;
    format!("gone: not heard of for {hours} h, others get its share")
}

fn state(replica: &Replica, keeper: &Member, share: &Share) -> String {
    let newest = replica.volume.announced();
    let given = {
        let inner = replica.feeding.inner.lock();
        let given = inner.given.get(&keeper.writer).filter(|given| share.is_within(&given.share));
        given.map(|given| (given.trouble.clone(), given.head.clone()))
    };
    let writes = replica.role().writes();
    match given {
        Some((trouble, _)) if !trouble.is_empty() => trouble,
        Some((_, head)) if !writes || head.as_ref() == Some(&newest) => {
            let unmended = writes && replica.placing.is_unmended(&Peer(keeper.peer), share);
            if unmended { mending(&replica.mending.progress()) } else { "ok".to_owned() }
        }
        _ => "being given".to_owned(),
    }
}

fn mending(progress: &Progress) -> String {
    match progress {
        Progress { trouble, .. } if !trouble.is_empty() => trouble.clone(),
        Progress { looked, given, .. } => {
            format!("being given what is not here: {looked} blocks looked at, {given} given")
        }
    }
}
