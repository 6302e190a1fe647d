//! `explain`: which device or store would serve each block of a file, and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::exchange::MOST_IDS;
use super::super::service::Service;
use super::super::volumes::Known;
use crate::base::{Bid, Error, Kind, Result};
use crate::net::{Peer, PeerFacts, Wanted};
use crate::volume::api::FileKind;
use crate::wire::control::{BlockStat, Explained, ExplainedBlock, PathArg};

/// Blocks explained one by one; a terabyte has millions.
const MOST_BLOCKS: usize = 10_000;

/// Ask everyone who is connected, and the volume's stores, for what is not here.
pub fn run(service: &Arc<Service>, at: &PathArg) -> Result<Explained> {
    let place = service.place(at)?;
    let node = place.node()?;
    if node.attr()?.kind != FileKind::File {
        return Err(Error::new(Kind::IsDirectory, "explain", place.shown()).with_source("only a file has blocks"));
    }
    let (blocks, more_blocks) = place.volume.blocks(node.ino, MOST_BLOCKS)?;
    let holders = holders(service, &place.known, &blocks);
    let boxes = boxes(service, &place.known, &blocks);
    let shown = blocks.into_iter().map(|block| {
        let bid = Bid::from_hex(&block.id);
        let found = bid.and_then(|bid| holders.get(&bid)).map_or(&[][..], Vec::as_slice);
        let (due, kept) = bid.and_then(|bid| boxes.get(&bid)).cloned().unwrap_or_default();
        ExplainedBlock { boxes: due, kept_by: kept, ..explained(block, found) }
    });
    Ok(Explained { path: place.shown(), blocks: shown.collect(), more_blocks })
}

/// By block that is not here: who has it, the nearest first.
fn holders(service: &Service, known: &Known, blocks: &[BlockStat]) -> BTreeMap<Bid, Vec<(String, Duration)>> {
    let mut found: BTreeMap<Bid, Vec<(String, Duration)>> = BTreeMap::new();
    let absent: Vec<(Bid, u64)> =
        blocks.iter().filter(|b| !b.local).filter_map(|b| Some((Bid::from_hex(&b.id)?, b.bytes))).collect();
    let (absent, sizes): (Vec<Bid>, Vec<u64>) = absent.into_iter().unzip();
    for ((bid, bytes), stores) in absent.iter().zip(sizes).zip(service.exchange.stores().holders(known.id, &absent)) {
        let len = usize::try_from(bytes).unwrap_or(usize::MAX);
        let stores = stores.iter().map(|a| (format!("store {}", a.name), a.store.expected(len)));
        found.entry(*bid).or_default().extend(stores);
    }
    let (Some(net), Some(replica)) = (service.exchange.net(), service.exchange.replica(known.id)) else { return found };
    let facts: BTreeMap<Peer, PeerFacts> = net.peers().into_iter().map(|f| (f.peer, f)).collect();
    for peer in service.exchange.connected(&replica) {
        let rtt = facts.get(&peer).and_then(|f| f.rtt).unwrap_or(Duration::MAX);
        for ids in absent.chunks(MOST_IDS) {
            let bits = replica.holds.ask(&net, &replica, &peer, ids, false).unwrap_or_default();
            for (bid, _) in ids.iter().zip(bits).filter(|(_, has)| *has) {
                found.entry(*bid).or_default().push((replica.name_of(&peer), rtt));
            }
        }
    }
    for list in found.values_mut() {
        list.sort_by_key(|(_, rtt)| *rtt);
    }
    found
}

/// By block: the boxes that should have it, and those that say they do.
type Boxes = BTreeMap<Bid, (Vec<String>, Vec<String>)>;

fn boxes(service: &Service, known: &Known, blocks: &[BlockStat]) -> Boxes {
    let (mut found, exchange) = (Boxes::new(), &service.exchange);
    let Some(replica) = exchange.replica(known.id) else { return found };
    let placement = exchange.placement(&replica);
    let sized: Vec<(Bid, u64)> = blocks.iter().filter_map(|b| Some((Bid::from_hex(&b.id)?, b.bytes))).collect();
    for keeper in replica.keepers() {
        let due = |(bid, bytes): &&(Bid, u64)| {
            let sealed = Wanted::sealed(*bid, u32::try_from(*bytes).unwrap_or(u32::MAX)).at_most;
            placement.share(&keeper.peer).is_some_and(|share| share.has(bid, sealed.into()))
        };
        for (bid, _) in sized.iter().filter(due) {
            found.entry(*bid).or_default().0.push(keeper.name.clone());
        }
        let peer = Peer(keeper.peer);
        let Some(net) = exchange.net().filter(|net| net.is_connected(&peer)) else { continue };
        for page in sized.chunks(MOST_IDS) {
            let ids: Vec<Bid> = page.iter().map(|(bid, _)| *bid).collect();
            let bits = replica.holds.ask(&net, &replica, &peer, &ids, false).unwrap_or_default();
            for (bid, _) in ids.iter().zip(bits).filter(|(_, has)| *has) {
                found.entry(*bid).or_default().1.push(keeper.name.clone());
            }
        }
    }
    for (due, kept) in found.values_mut() {
        // Content that repeats within the file is one block.
        due.dedup();
        kept.dedup();
    }
    found
}

fn explained(block: BlockStat, holders: &[(String, Duration)]) -> ExplainedBlock {
    let BlockStat { id, offset, bytes, local } = block;
    let (from, why) = match holders {
        _ if local => (String::new(), "it is here".to_owned()),
        [] => (String::new(), "no store and nobody who is connected has it".to_owned()),
        [(only, _)] => (only.clone(), "the only one that has it and can be reached".to_owned()),
        [(first, rtt), ..] => {
            let away = if *rtt == Duration::MAX { String::new() } else { format!(", {:.1} ms away", ms(*rtt)) };
            (first.clone(), format!("the nearest of {} that have it{away}", holders.len()))
        }
    };
    let peers = holders.iter().map(|(name, _)| name.clone()).collect();
    ExplainedBlock { id, offset, bytes, local, from, why, peers, ..ExplainedBlock::default() }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_explained_by_where_it_is_and_who_is_nearest() {
        let block = |local| BlockStat { id: "x".into(), offset: 0, bytes: 1, local };
        assert_eq!(explained(block(true), &[]).why, "it is here");
        assert_eq!(explained(block(false), &[]).from, "");
        let (near, far) = (("b".to_owned(), Duration::from_millis(2)), ("a".to_owned(), Duration::MAX));
        assert_eq!(explained(block(false), std::slice::from_ref(&far)).from, "a");
        let two = explained(block(false), &[near, far]);
        assert_eq!((two.from.as_str(), two.peers.len()), ("b", 2));
        assert!(two.why.contains("nearest of 2") && two.why.contains("2.0 ms"), "{}", two.why);
    }
}
