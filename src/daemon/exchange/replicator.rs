//! The thread of a replica: what changed here goes out, what others did comes in, one thing at a time.
//!
//! Must never run on a thread of the network or of a mount, and never end because a peer sent nonsense.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::bringing::{self, Brought};
use super::inbox::Task;
use super::reliance::clear;
use super::word::Word;
use super::{Exchange, Replica};
use crate::base::{Error, Kind, Result};
use crate::net::{Net, Peer, Walk};
use crate::volume::{Merged, Offer};
use crate::wire::peer::Class;

/// Nothing of a walk for so long ends it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whole trees of at most so many entries are brought here at once, some 80 bytes each; larger ones as they are looked at.
const FULL: u64 = 4_000_000;

/// Work until the replica is closed or the daemon ends.
pub fn run(replica: &Arc<Replica>, exchange: &Weak<Exchange>) {
    while let Some((task, pause)) = replica.next() {
        let (weak, Some(exchange)) = (exchange, exchange.upgrade()) else { return };
        let net = exchange.net();
        match task {
            Task::Announce => net.iter().for_each(|net| announce(replica, &exchange, net)),
            Task::Greet(peer) => {
                if let Some(net) = &net {
                    greet(replica, &exchange, net, &peer);
                }
                exchange.go_on(replica);
                bring_names(replica, &exchange);
            }
            Task::Names => bring_names(replica, &exchange),
            Task::Records(from, records) => take_records(replica, &exchange, &from, &records),
            Task::Renew(peer, author, proof) => renew(replica, &exchange, &peer, (author, proof)),
            Task::Room(peer, bytes) => {
                if let Err(error) = exchange.note_room(replica, &peer, bytes) {
                    let device = replica.name_of(&peer);
                    tracing::warn!(volume = replica.known.name, device, error = %error.chain(), "its room is not known");
                }
            }
            Task::Head(author, from, head, seq) => {
                let brought = Brought { author, from, head, seq, pause };
                let taken = look(replica, &exchange, &brought).and_then(|offer| match offer {
                    Some(offer) if !is_here(replica, &brought, &offer) => {
                        bringing::begin(replica, weak, &brought, offer)
                    }
                    Some(offer) => merge(replica, &exchange, net.as_deref(), &brought, offer),
                    None => Ok(()),
                });
                judge(replica, taken, brought);
            }
            // What was read before may need what is not relied upon any more: the newer one is merged, as with those that wait.
            Task::Merge(brought) if replica.inbox().has_newer(&brought.author, brought.seq) => {}
            Task::Merge(brought) => {
                let merged = look(replica, &exchange, &brought).and_then(|offer| {
                    offer.map_or(Ok(()), |offer| merge(replica, &exchange, net.as_deref(), &brought, offer))
                });
                judge(replica, merged, brought);
            }
        }
    }
}

/// What could not be taken in now is tried again; what is wrong is not.
pub(super) fn judge(replica: &Replica, taken: Result<()>, brought: Brought) {
    let Err(error) = taken else { return };
    let (volume, Brought { author, from, head, seq, pause }) = (&replica.known.name, brought);
    if is_passing(error.kind()) {
        tracing::debug!(volume, %from, error = %error.chain(), "a head waits");
        replica.inbox().again(author, from, (head, seq), pause, Instant::now());
    } else {
        tracing::warn!(volume, device = replica.name_of(&from), error = %error.chain(), "a head was refused");
    }
}

fn is_passing(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Unreachable | Kind::Timeout | Kind::Busy | Kind::Full | Kind::NotFound | Kind::Io | Kind::Denied
    )
}

/// Seal what changed and tell the members that are connected. Without any, it waits for the first.
fn announce(replica: &Arc<Replica>, exchange: &Exchange, net: &Net) {
    if !exchange.is_anyone_connected(replica.known.id) || replica.volume.is_set_back() {
        return;
    }
    let begin = Instant::now();
    match replica.volume.announce() {
        Ok(announcement) => {
            // Nobody takes a head of who may not write.
            if replica.role().writes() && replica.say(&announcement.head) {
                let told = net.push_head(replica.known.id, &Word::Head(announcement.head.to_vec()).encode());
                replica.volume.told(&announcement.raw);
                tracing::debug!(volume = replica.known.name, seq = announcement.seq, told, "announced");
            }
        }
        Err(error) => tracing::warn!(volume = replica.known.name, error = %error.chain(), "could not announce"),
    }
    replica.inbox().announced(Instant::now(), begin.elapsed());
}

/// Tell a member that has just come where the others are, and remember where it is.
fn greet(replica: &Arc<Replica>, exchange: &Exchange, net: &Net, peer: &Peer) {
    let others = net.peers().into_iter().filter(|f| f.peer != *peer && replica.has(&f.peer) && !f.addresses.is_empty());
    let list: Vec<_> = others.map(|f| (f.peer, f.addresses)).collect();
    if !list.is_empty() {
        // It left again: it will be greeted when it comes back.
        let _ = net.push_head_to(peer, replica.known.id, &Word::Addresses(list).encode());
    }
    let addresses = net.peers().into_iter().find(|f| f.peer == *peer).map(|f| f.addresses).unwrap_or_default();
    if let Err(error) = exchange.remember_addresses(replica.known.id, peer, addresses) {
        tracing::debug!(error = %error.chain(), "could not remember where a peer is");
    }
    replica.changed();
}

/// A member was set back and asks for another index.
fn renew(replica: &Arc<Replica>, exchange: &Arc<Exchange>, peer: &Peer, key: ([u8; 32], [u8; 64])) {
    let (volume, device) = (&replica.known.name, replica.name_of(peer));
    match exchange.give_index(replica, peer, key) {
        Ok(()) => tracing::info!(volume, device, "{device} was set back or copied: it goes on as another writer"),
        Err(error) => {
            tracing::warn!(volume, device, error = %error.chain(), "{device} was set back or copied and cannot go on");
        }
    }
}

fn take_records(replica: &Arc<Replica>, exchange: &Arc<Exchange>, from: &Peer, records: &[u8]) {
    match exchange.take_records(replica, records) {
        Ok(0) => {}
        Ok(new) => {
            tracing::info!(volume = replica.known.name, new, device = replica.name_of(from), "the members changed");
            exchange.go_on(replica);
        }
        Err(error) => {
            tracing::warn!(volume = replica.known.name, %from, error = %error.chain(), "records were refused");
        }
    }
}

/// What a head offers; none if there is nothing to merge by it.
fn look(replica: &Arc<Replica>, exchange: &Arc<Exchange>, brought: &Brought) -> Result<Option<Offer>> {
    let Brought { author, head, .. } = brought;
    let Some(writer) = replica.writer(author) else { return Ok(None) };
    let volume = &replica.volume;
    if *author == volume.author() {
        if let Some(since) = volume.recall(head)? {
            exchange.set_back(replica, since);
        }
        return Ok(None);
    }
    let offer = volume.offered(author, head)?;
    if !replica.is_same(offer.writer, writer.writer) {
        let why = "it names another writer's index";
        return Err(Error::new(Kind::Corrupt, "merge a head", &writer.name).with_source(why));
    }
    Ok(Some(offer))
}

/// Whether a merge of what a head offers has no need to wait for anybody.
fn is_here(replica: &Replica, brought: &Brought, offer: &Offer) -> bool {
    // A device that knows nothing takes the trees as they are.
    let fresh = replica.volume.vector() == crate::causal::Vector::default();
    let settled = || replica.volume.is_settled(&brought.author, &brought.head).unwrap_or(true);
    offer.covered || fresh || settled() || is_foretold(replica, brought, offer)
}

/// Whether the head says itself all that changed in its trees since the one of its author merged before.
fn is_foretold(replica: &Replica, Brought { author, head, .. }: &Brought, offer: &Offer) -> bool {
    let before = replica.learned.lock().get(author).cloned();
    let ([raw, displaced, ..], Some([before_raw, before_displaced, ..])) = (&offer.trees[..], before.as_deref()) else {
        return false;
    };
    // The third tree, the index, is derived here.
    let foretold = displaced == before_displaced
        && (raw == before_raw || replica.volume.foretell(author, head, before_raw).unwrap_or(false));
    if foretold {
        tracing::debug!(volume = replica.known.name, "the head said all that changed");
    }
    foretold
}

/// Take in what a head refers to: its tree is here, or nearly.
fn merge(
    replica: &Arc<Replica>,
    exchange: &Arc<Exchange>,
    net: Option<&Net>,
    Brought { author, from, head, .. }: &Brought,
    offer: Offer,
) -> Result<()> {
    let Some(writer) = replica.writer(author) else { return Ok(()) };
    let volume = &replica.volume;
    let net = net.filter(|net| net.is_connected(from));
    let merged = {
        let _merging = replica.reliance.merging();
        clear(replica, exchange, author, head)?;
        volume.merge(author, head)?
    };
    if let Some(since) = merged.common {
        exchange.set_back(replica, since);
    }
    if merged.set_back {
        // It may not know: it is told by the head that is known of it.
        push_back(replica, net, author, from);
    }
    past_differs(&merged, &writer.name)?;
    if !(merged.rolled_back || merged.equivocated) {
        replica.remembered.put(author, head);
    }
    replica.note(writer.writer, offer.seq);
    tell(replica, &writer.name, &merged);
    let lazy = replica.policy().lazy.unwrap_or(exchange.settings.lazy);
    if merged.adopted && offer.entries <= FULL && !lazy {
        replica.names.lock().clone_from(&offer.trees);
        bring_names(replica, exchange);
    }
    replica.learned.lock().insert(*author, offer.trees);
    if merged.touched > 0 || merged.adopted {
        replica.changed();
        replica.pins.ring();
    }
    Ok(())
}

/// Nothing was merged, since one of the two was set back or copied: again, once it has become another writer.
fn past_differs(merged: &Merged, device: &str) -> Result<()> {
    let why = match merged {
        Merged { set_back: true, .. } => "its device was set back or copied, and has not become another writer yet",
        Merged { own_future: true, .. } => "it knows changes of this device that this device does not",
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Busy, "merge a head", device).with_source(why))
}

/// All of the trees that were taken over, from any member that is connected; what is not brought now is brought when the next
/// one comes.
fn bring_names(replica: &Arc<Replica>, exchange: &Exchange) {
    let (Some(net), me) = (exchange.net(), exchange.me()) else { return };
    let mut trees = std::mem::take(&mut *replica.names.lock());
    for peer in replica.peers(&me).filter(|peer| replica.reads(peer) && net.is_connected(peer)) {
        trees.retain(|tree| !walk(replica, &net, &peer, tree, None));
    }
    *replica.names.lock() = trees;
}

/// Send the newest head known of `author` to its device, if that is who brought another.
fn push_back(replica: &Replica, net: Option<&Net>, author: &[u8; 32], from: &Peer) {
    let own = replica.writer(author).is_some_and(|m| m.peer == from.0);
    if let (Some(net), Some(head), true) = (net, replica.remembered.of(author), own) {
        // It left again: it is told when it comes back.
        let _ = net.push_head_to(from, replica.known.id, &Word::Head(head).encode());
    }
}

/// Ask the peer that brought a head for the blocks in which its trees differ from those merged from its author before. What
/// does not come is fetched one by one.
pub(super) fn bring(replica: &Replica, net: &Net, author: &[u8; 32], from: &Peer, offer: &Offer) {
    let before = replica.learned.lock().get(author).cloned();
    let Some(before) = before else { return };
    // The first two are what a merge reads; the third, the index, is derived here.
    for (tree, old) in offer.trees.iter().zip(&before).take(2).filter(|(tree, old)| tree != old) {
        walk(replica, net, from, tree, Some(old.clone()));
    }
}

/// Bring blocks of a tree, each only if the tree refers to it; whoever sends another is asked no further. Whether all came.
fn walk(replica: &Replica, net: &Net, from: &Peer, tree: &[u8], old: Option<Vec<u8>>) -> bool {
    let question = Walk::Diff { root: tree.to_vec(), old };
    let walking = net.walk(from, replica.known.id, question, Class::Metadata, PATIENCE);
    let volume = &replica.volume;
    let brought = walking.and_then(|mut walking| {
        let mut expected = volume.expecting(tree)?;
        let mut count = 0_u64;
        while let Some(block) = walking.next_blocking() {
            let (bid, bytes) = block?;
            volume.take_expected(&mut expected, &bid, &bytes)?;
            count += 1;
            if replica.is_closed() {
                break;
            }
        }
        Ok(count)
    });
    let whole = brought.is_ok();
    match brought {
        Ok(count) => tracing::debug!(volume = replica.known.name, count, "tree blocks came"),
        Err(error) if error.kind() == Kind::Corrupt => {
            let device = replica.name_of(from);
            tracing::warn!(volume = replica.known.name, device, error = %error.chain(), "a peer sent what is no part of the tree");
        }
        Err(error) => tracing::debug!(volume = replica.known.name, error = %error.chain(), "a walk ended early"),
    }
    whole
}

/// A line a person understands.
fn tell(replica: &Replica, device: &str, merged: &Merged) {
    let volume = &replica.known.name;
    if merged.conflicts > 0 {
        let many = merged.conflicts;
        tracing::warn!(volume, device, "{many} conflict(s) after changes on {device}: see `lovage conflicts {volume}`");
    } else if merged.touched > 0 || merged.adopted {
        tracing::info!(volume, device, touched = merged.touched, "merged");
    }
    if merged.rolled_back {
        tracing::debug!(volume, device, "an older head than seen before");
    }
    if merged.equivocated {
        tracing::error!(volume, device, "{device} signed two histories: nothing of it is merged any more");
    }
    if merged.diverged {
        tracing::error!(volume, device, "equal knowledge, different trees: run `lovage fsck` on both devices");
    }
}
