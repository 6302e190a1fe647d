//! What a keeper that collects is told by a device that writes: which blocks of its list are needed.
//!
//! The keeper waits for that, so nothing else has to. What was said not to be needed is doubted from then on, as with
//! stores (docs/decisions/0011, 0015). Must never give a keeper a head that needs what it may remove, nor say less than
//! the head that it has refers to.

use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;

use super::super::keeping::{CollectionId, Era, MOST};
use super::feeding::Feeding;
use super::giving::{PATIENCE, gone};
use super::{Exchange, MOST_IDS, Replica};
use crate::base::{Bid, Context, Error, Kind, Result, WriterIndex};
use crate::kv::collect::List;
use crate::kv::collect::record::Bits;
use crate::net::{Net, Peer};
use crate::seal::Ref;
use crate::seal::membership::Member;

/// Where a store has its name a keeper has this, and its index: no store is called so.
const KEEPER: char = '@';

/// What is to be said, before the newest head was given.
#[derive(Debug)]
pub struct Answer {
    list: List,
    needs: Bits,
    /// Up to this head; none: it was said before, and perhaps not heard.
    head: Option<Arc<[u8]>>,
}

/// What is to be said to a keeper.
#[derive(Debug)]
pub enum Answering {
    /// About which collection, and who finds it out.
    Walk(CollectionId, JoinHandle<Result<Answer>>),
    /// Found, and not said yet.
    Found(Box<Answer>),
}

impl Feeding {
    /// A keeper says where its collections stand.
    pub fn heard_era(&self, peer: &Peer, era: (Era, bool)) {
        self.inner.lock().eras.insert(*peer, era);
        self.ring();
    }

    /// What it said last.
    pub fn era_of(&self, peer: &Peer) -> Option<(Era, bool)> {
        self.inner.lock().eras.get(peer).copied()
    }

    /// What is to be said of what a keeper asks about, when that is found out: beside everything else, which goes on.
    pub fn answer(
        &self,
        replica: &Arc<Replica>,
        net: &Arc<Net>,
        keeper: &Member,
        era: (Era, bool),
    ) -> Result<Option<Answer>> {
        let mut walks = self.answers.lock();
        match walks.remove(&keeper.writer) {
            Some(Answering::Found(answer)) if answer.list.id == era.0.open => return Ok(Some(*answer)),
            // One at a time: what nobody asks about any more notices that.
            Some(Answering::Walk(id, walk)) if !walk.is_finished() => {
                walks.insert(keeper.writer, Answering::Walk(id, walk));
                return Ok(None);
            }
            Some(Answering::Walk(id, walk)) if id == era.0.open => {
                let lost = || Error::new(Kind::Other, "find out what is needed", &keeper.name);
                return walk.join().map_err(|_| lost())?.map(Some);
            }
            _ => {}
        }
        if is_owed(replica, keeper, era) {
            let (of, net, keeper, writer) = (Arc::clone(replica), Arc::clone(net), keeper.clone(), keeper.writer);
            let work = move || {
                let answer = begin(&of, &net, &keeper, &era.0);
                of.feeding.ring();
                answer
            };
            let walk = std::thread::Builder::new().name("lovage-answer".into()).spawn(work);
            let walk = walk.io("start a thread", || "lovage-answer".to_owned())?;
            walks.insert(writer, Answering::Walk(era.0.open, walk));
        }
        Ok(None)
    }

    /// Until it can be said.
    pub fn keep_answer(&self, keeper: &Member, answer: Answer) {
        self.answers.lock().entry(keeper.writer).or_insert(Answering::Found(Box::new(answer)));
    }

    /// This device's head as a keeper says that it has it.
    pub fn heard_head(&self, peer: &Peer, head: &[u8]) {
        self.inner.lock().heads.insert(*peer, head.into());
    }

    /// The same, if it was heard.
    pub fn told_head(&self, peer: &Peer) -> Option<Arc<[u8]>> {
        self.inner.lock().heads.get(peer).cloned()
    }

    /// Wait for who finds out what is needed: they notice that the replica is closed.
    pub fn end_answers(&self) {
        let answers = std::mem::take(&mut *self.answers.lock());
        for answering in answers.into_values() {
            if let Answering::Walk(_, walk) = answering
                && walk.join().is_err()
            {
                tracing::error!("a thread that finds out what is needed panicked");
            }
        }
    }

    /// The word on what it asks about is said.
    pub fn told(&self, peer: &Peer, id: &CollectionId) {
        if let Some((era, told)) = self.inner.lock().eras.get_mut(peer) {
            *told |= era.open == *id;
        }
    }
}

fn name(keeper: &Member) -> String {
    format!("{KEEPER}{}", keeper.writer)
}

/// The keeper whose collections are remembered under this name, if it still belongs.
pub fn keeper(replica: &Replica, name: &str) -> Option<Member> {
    let writer: WriterIndex = name.strip_prefix(KEEPER)?.parse().ok()?;
    replica.keepers().into_iter().find(|keeper| keeper.writer == writer)
}

/// Whether collections of a keeper are remembered under this name.
pub fn is_keeper(name: &str) -> bool {
    name.starts_with(KEEPER)
}

/// Collections of keepers that do not belong any more are forgotten: nothing there is relied upon.
pub fn tidy(replica: &Replica) {
    for (name, _) in replica.reliance.collections() {
        if is_keeper(&name)
            && keeper(replica, &name).is_none()
            && let Err(error) = replica.reliance.forget(&name)
        {
            tracing::warn!(error = %error.chain(), "a collection cannot be forgotten");
        }
    }
}

/// Whether the collection that this device answered has ended: then what the keeper has must be asked anew.
pub fn has_ended(replica: &Replica, keeper: &Member, era: &Era) -> Result<bool> {
    let name = name(keeper);
    // Another that is open means nothing: what a keeper says may come late, from a connection that was slow.
    let ended = replica.reliance.collections().iter().any(|(store, id)| *store == name && *id == era.ended);
    // Heads that were read before are merged first.
    if ended && replica.bringing.is_idle() {
        replica.reliance.forget(&name)?;
    }
    Ok(ended)
}

/// Whether a word is owed: also one that the keeper has, and this device has forgotten.
pub fn is_owed(replica: &Replica, keeper: &Member, (era, told): (Era, bool)) -> bool {
    let remembered = || replica.reliance.told_of(&name(keeper), &era.open).is_some();
    let asked = era.open != CollectionId::default() && !(told && remembered());
    asked && replica.role().writes() && !replica.volume.is_set_back()
}

/// Doubt everything, then look at everything. What is garbage here goes first, or it would be given again.
pub fn begin(replica: &Replica, net: &Net, keeper: &Member, era: &Era) -> Result<Answer> {
    let name = name(keeper);
    let list = fetch_list(replica, net, keeper, era)?;
    if let Some(needs) = replica.reliance.said(&name, &list) {
        return Ok(Answer { list, needs, head: None });
    }
    let asked = || replica.feeding.era_of(&Peer(keeper.peer)).is_some_and(|(now, _)| now.open == era.open);
    let over = || Error::new(Kind::Interrupted, "find out what is needed", &keeper.name);
    if !asked() {
        return Err(over());
    }
    replica.reliance.begin(&name, &list)?;
    forget_garbage(replica);
    replica.volume.announce()?;
    let mut needs = Bits::default();
    let head = replica.volume.reach(&mut |block| {
        if replica.is_closed() || !asked() {
            return Err(over());
        }
        list.places(&block.bid).for_each(|at| needs.set(at));
        Ok(true)
    })?;
    Ok(Answer { list, needs, head: Some(head) })
}

fn fetch_list(replica: &Replica, net: &Net, keeper: &Member, era: &Era) -> Result<List> {
    let (peer, blocks) = (Peer(keeper.peer), usize::try_from(era.blocks).unwrap_or(usize::MAX));
    let mut ids: Vec<u64> = Vec::new();
    while ids.len() < blocks {
        if replica.is_closed() || blocks > MOST {
            return Err(Error::new(Kind::Interrupted, "ask a keeper", &keeper.name).with_source("its list is too long"));
        }
        let from = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let page = replica.holds.list(net, replica, &peer, era.open, from).ok_or_else(|| gone(replica, &peer))?;
        if page.is_empty() || ids.len() + page.len() > blocks {
            let why = "the list of its collection is not what it said";
            return Err(Error::new(Kind::Busy, "ask a keeper", &keeper.name).with_source(why));
        }
        ids.extend(page);
    }
    if !ids.is_sorted() {
        return Err(Error::new(Kind::Corrupt, "ask a keeper", &keeper.name).with_source("its list is in disorder"));
    }
    Ok(List::new(era.open, ids))
}

/// Say what is needed: the keeper has `published` now.
pub fn tell(replica: &Replica, net: &Net, keeper: &Member, answer: &Answer, published: &Arc<[u8]>) -> Result<()> {
    let Answer { list, head, .. } = answer;
    let mut needs = answer.needs.clone();
    if let Some(head) = head {
        replica.volume.news(head, published, &mut |block| {
            list.places(&block.bid).for_each(|at| needs.set(at));
            Ok(true)
        })?;
        needs = replica.reliance.tell(&name(keeper), list, needs, Arc::clone(published))?;
    }
    let peer = Peer(keeper.peer);
    if !replica.holds.needs(net, replica, &peer, list.id, needs.bytes()) {
        let why = "it does not take what this device says that it needs";
        return Err(Error::new(Kind::Busy, "answer a keeper", &keeper.name).with_source(why));
    }
    replica.feeding.told(&peer, &list.id);
    tracing::info!(
        volume = replica.known.name,
        device = keeper.name,
        "said what this device needs of what is kept there: it is being collected"
    );
    Ok(())
}

/// Before a keeper is given `head`: what that needs beyond what was said, and the keeper may remove, it is to keep.
pub fn cover(replica: &Replica, net: &Net, keeper: &Member, head: &Arc<[u8]>) -> Result<()> {
    let name = name(keeper);
    let open = replica.reliance.collections().into_iter().find(|(store, _)| *store == name);
    let Some((id, known)) = open.and_then(|(_, id)| Some((id, replica.reliance.told_of(&name, &id)?))) else {
        return Ok(());
    };
    let mut hits: Vec<Ref> = Vec::new();
    let mut meet = |block: &Ref| {
        if replica.reliance.doubts(&name, &block.bid) {
            hits.push(*block);
        }
        Ok(true)
    };
    if let Err(error) = replica.volume.news(&known, head, &mut meet) {
        tracing::debug!(error = %error.chain(), "what is new is not known: everything is looked at");
        let walked = replica.volume.reach(&mut meet)?;
        replica.volume.news(&walked, head, &mut meet)?;
    }
    for hits in hits.chunks(MOST_IDS) {
        have_kept(replica, net, keeper, hits)?;
    }
    replica.reliance.covers(&name, &id, Arc::clone(head));
    Ok(())
}

/// Have these kept, whether they are still there or not.
fn have_kept(replica: &Replica, net: &Net, keeper: &Member, blocks: &[Ref]) -> Result<()> {
    let peer = Peer(keeper.peer);
    let ids: Vec<Bid> = blocks.iter().map(|block| block.bid).collect();
    let has = replica.holds.ask(net, replica, &peer, &ids, true).ok_or_else(|| gone(replica, &peer))?;
    for (block, _) in blocks.iter().zip(has).filter(|(_, has)| !has) {
        replica.volume.bring(block)?;
        let sealed = replica.volume.blocks().log().get(&block.bid)?.map(Bytes::from).unwrap_or_default();
        let offer = [(block.bid, u32::try_from(sealed.len()).unwrap_or(u32::MAX))];
        let taken = replica.holds.offer(net, replica, &peer, &offer, PATIENCE).ok_or_else(|| gone(replica, &peer))?;
        if taken.first() != Some(&true) {
            let why = "it does not take again what it removed: its quota or its disk is full, or it is busy";
            return Err(Error::new(Kind::Full, "give blocks", &keeper.name).with_source(why));
        }
    }
    Ok(())
}

/// Whether a keeper has these blocks, and goes on keeping them.
pub fn rely(replica: &Replica, exchange: &Exchange, name: &str, ids: &[Bid]) -> bool {
    let (Some(net), Some(keeper)) = (exchange.net(), keeper(replica, name)) else { return false };
    let asked = |ids: &[Bid]| replica.holds.ask(&net, replica, &Peer(keeper.peer), ids, true);
    ids.chunks(MOST_IDS).all(|ids| asked(ids).is_some_and(|has| has.iter().take(ids.len()).all(|has| *has)))
}

/// Collect this device's own log. That it cannot be done now is no harm.
pub fn forget_garbage(replica: &Replica) {
    let stop = || Error::new(Kind::Interrupted, "collect garbage", &replica.known.name);
    let done = replica.volume.collect(false, &mut |_, _, _| if replica.is_closed() { Err(stop()) } else { Ok(()) });
    if let Err(error) = done {
        tracing::debug!(volume = replica.known.name, error = %error.chain(), "could not collect before somebody else does");
    }
}
