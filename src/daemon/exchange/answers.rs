//! What this device answers to others: the network's port over the replicas and the invites.
//!
//! Must never answer about a volume to a peer its membership does not name, and never merge, seal or ask others
//! in turn: all of that is the replica's thread's.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::super::keeping::Kept;
use super::word::Word;
use super::{Exchange, Replica};
use crate::base::{Bid, Error, Kind, Result, VolumeId};
use crate::net::{Emit, Peer, Serve, Walk};
use crate::seal::Sealer;

/// See the module.
pub struct Answers {
    exchange: Weak<Exchange>,
}

impl Answers {
    /// For this exchange.
    pub fn new(exchange: &Arc<Exchange>) -> Self {
        Self { exchange: Arc::downgrade(exchange) }
    }

    fn replica(&self, volume: &VolumeId) -> Result<Arc<Replica>> {
        let gone = || Error::new(Kind::NotFound, "answer a peer", volume.to_string());
        self.exchange.upgrade().and_then(|exchange| exchange.replica(*volume)).ok_or_else(gone)
    }

    fn kept(&self, volume: &VolumeId) -> Option<Arc<Kept>> {
        self.exchange.upgrade()?.keeps().find(volume)
    }

    fn all_kept(&self, peer: &Peer) -> Vec<Arc<Kept>> {
        let all = self.exchange.upgrade().map(|exchange| exchange.keeps().all()).unwrap_or_default();
        all.into_iter().filter(|kept| kept.has(peer)).collect()
    }

    fn all(&self) -> Vec<Arc<Replica>> {
        self.exchange.upgrade().map(|exchange| exchange.all()).unwrap_or_default()
    }
}

impl Serve for Answers {
    fn shares(&self, peer: &Peer, volume: &VolumeId) -> bool {
        let kept = || self.kept(volume).is_some_and(|kept| kept.has(peer));
        self.replica(volume).is_ok_and(|replica| replica.has(peer)) || kept()
    }

    fn heads(&self, peer: &Peer) -> Vec<(VolumeId, Vec<u8>)> {
        let shared = self.all().into_iter().filter(|replica| replica.has(peer));
        let words = shared.flat_map(|replica| {
            let head = replica.said().map(|head| Word::Head(head.to_vec()));
            // Its own newest head as it is known here: who was set back finds out by it.
            let own = replica.heads_of(peer).into_iter().map(Word::Head);
            let words = replica.membership_words().into_iter().chain(own).chain(head);
            words.map(|word| (replica.known.id, word.encode())).collect::<Vec<_>>()
        });
        let kept = self.all_kept(peer).into_iter().flat_map(|kept| {
            let words = Exchange::words_of_kept(&kept);
            words.into_iter().map(|word| (kept.id, word.encode())).collect::<Vec<_>>()
        });
        words.chain(kept).collect()
    }

    fn on_head(&self, peer: &Peer, volume: VolumeId, head: Vec<u8>) {
        let Ok(replica) = self.replica(&volume) else {
            if let (Some(kept), Some(word)) = (self.kept(&volume), Word::decode(&head))
                && let Some(exchange) = self.exchange.upgrade()
            {
                exchange.on_word_of_kept(&kept, peer, word);
            }
            return;
        };
        match Word::decode(&head) {
            Some(Word::Head(head)) => replica.heard(*peer, head),
            Some(Word::Members(records)) => replica.records(*peer, records),
            Some(Word::Renew(author, proof)) => replica.renew(*peer, author, proof),
            Some(Word::Room(room)) => replica.told_room(*peer, room),
            Some(Word::Addresses(list)) => {
                let Some(net) = self.exchange.upgrade().and_then(|exchange| exchange.net()) else { return };
                for (member, addresses) in list.into_iter().filter(|(member, _)| replica.has(member)) {
                    for address in addresses {
                        // A peer that names nonsense helps nobody and hurts nobody.
                        let _ = net.hear_address(member, &address);
                    }
                }
            }
            Some(Word::Ask { number, promise, ids }) => {
                let bits = replica.volume.holds(&ids, promise);
                let Some(net) = self.exchange.upgrade().and_then(|exchange| exchange.net()) else { return };
                // Whoever left meanwhile asks again.
                let _ = net.push_head_to(peer, volume, &Word::Holds { number, bits }.encode());
            }
            Some(Word::Holds { number, bits }) => replica.holds.answered(peer, number, bits),
            Some(Word::Listed { number, ids }) => replica.holds.listed(peer, number, ids),
            Some(Word::Era(era, told)) => replica.feeding.heard_era(peer, (era, told)),
            Some(Word::Offer { .. } | Word::Keep { .. } | Word::List { .. } | Word::Needs { .. }) => {
                tracing::debug!(%peer, "only a keeper takes what is offered, and collects");
            }
            None => tracing::debug!(%peer, "a message that is none"),
        }
    }

    fn block(&self, volume: &VolumeId, bid: &Bid) -> Result<Option<Bytes>> {
        let sealed = match self.replica(volume) {
            Ok(replica) => replica.volume.blocks().log().get(bid)?.map(Bytes::from),
            Err(gone) => self.kept(volume).ok_or(gone)?.block(bid)?,
        };
        // What is damaged here would pass for a lie there.
        let intact = sealed.filter(|sealed| Sealer::verify_bid(bid, sealed));
        Ok(intact)
    }

    fn walk(&self, volume: &VolumeId, walk: &Walk, emit: &mut Emit<'_>) -> Result<()> {
        match walk {
            Walk::Diff { .. } if self.replica(volume).is_err() && self.kept(volume).is_some() => {
                Err(Error::new(Kind::Unsupported, "answer a peer", "what differs in a tree that cannot be read"))
            }
            Walk::Diff { root, old } => {
                let mut visit = |sealed: Vec<u8>| emit(Bytes::from(sealed)) == ControlFlow::Continue(());
                self.replica(volume)?.volume.answer(root, old.as_deref(), &mut visit)
            }
            Walk::Range { .. } if self.replica(volume).is_err() && self.kept(volume).is_some() => {
                Err(Error::new(Kind::Unsupported, "answer a peer", "a stretch of a file that cannot be read"))
            }
            Walk::Range { manifest, from, to } => {
                let mut visit = |sealed: Vec<u8>| emit(Bytes::from(sealed)) == ControlFlow::Continue(());
                self.replica(volume)?.volume.answer_range(manifest, &(*from..*to), &mut visit)
            }
        }
    }

    fn inviting(&self) -> bool {
        self.exchange.upgrade().is_some_and(|exchange| exchange.invites.is_open())
    }

    fn join(&self, peer: &Peer, request: &[u8]) -> Result<Vec<u8>> {
        let gone = || Error::new(Kind::Unreachable, "answer a newcomer", "the daemon is ending");
        self.exchange.upgrade().ok_or_else(gone)?.let_in(peer, request)
    }

    fn shaken(&self, peer: &Peer) {
        for replica in self.all().into_iter().filter(|replica| replica.has(peer)) {
            replica.shaken(*peer);
        }
        for kept in self.all_kept(peer) {
            if let Some(exchange) = self.exchange.upgrade() {
                exchange.keeps().came(&kept.id, *peer);
            }
        }
    }

    fn presence(&self, peer: &Peer, connected: bool) {
        for replica in self.all().into_iter().filter(|replica| replica.has(peer)) {
            let device = replica.name_of(peer);
            if connected {
                tracing::info!(volume = replica.known.name, %device, %peer, "connected");
                replica.came(*peer);
            } else {
                tracing::info!(volume = replica.known.name, %device, %peer, "disconnected");
                replica.went(peer);
            }
        }
        for kept in self.all_kept(peer) {
            let (volume, device) = (kept.name(), kept.name_of(peer));
            tracing::info!(volume, device, %peer, connected, "a member of a kept volume");
            if connected && let Some(exchange) = self.exchange.upgrade() {
                exchange.keeps().came(&kept.id, *peer);
            }
        }
    }
}
