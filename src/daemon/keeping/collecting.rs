//! Collecting what is kept: begun here, answered by those who may write, swept here.
//!
//! Must never sweep before each of them has said what it needs, and never fail to say whom it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Kept;
use super::collection::{Author, CollectionId, Era};
use crate::base::Result;
use crate::base::port::{Clock, System, Time};
use crate::base::{Bid, WriterIndex};
use crate::kv::collect::short;
use crate::net::Peer;
use crate::seal::membership::Member;
use crate::wire::control::KeepCollection;

/// By itself so often.
const OFTEN: Duration = Duration::from_secs(30 * 86_400);
/// When there is no room, at most so often.
const FULL: Duration = Duration::from_secs(86_400);
/// Blocks removed at once: meanwhile nobody comes to rely on others.
const BATCH: usize = 256;

/// One device, however often it was set back.
struct Device {
    name: String,
    peer: [u8; 32],
    keys: BTreeSet<Author>,
}

impl Kept {
    /// Who may write, each device once.
    fn writers(&self) -> BTreeMap<WriterIndex, Device> {
        let membership = self.membership();
        let table = membership.table();
        let mut devices = BTreeMap::<WriterIndex, Device>::new();
        for member in table.members().filter(|m| m.role.writes()) {
            let device = || Device { name: member.name.clone(), peer: member.peer, keys: BTreeSet::new() };
            let keys = &mut devices.entry(table.first(member.writer)).or_insert_with(device).keys;
            keys.extend(table.same(member.writer).map(|m| m.author));
        }
        devices
    }

    /// What is to be done ends as soon as it may.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Ask everybody which of the blocks that are here now it needs. False if that is being asked already.
    pub fn collect(&self) -> Result<bool> {
        let mut ids = Vec::new();
        self.log().for_each(|bid, _| ids.push(short(&bid)))?;
        ids.sort_unstable();
        let known = self.writers().into_values().flat_map(|device| device.keys).collect();
        self.collection.begin(ids, known)
    }

    /// Whether it is time for one: now and then, and when there is no room.
    pub fn is_due(&self, now: Time) -> bool {
        let since = now.0.checked_sub(self.collection.ended_at().0).and_then(|nanos| u64::try_from(nanos).ok());
        // A clock that was set back tells nothing: a collection too many does no harm.
        let since = since.map_or(Duration::MAX, Duration::from_nanos);
        self.collection.era().open == CollectionId::default() && (since > OFTEN || since > FULL && self.lacks_room())
    }

    /// Where collections stand.
    pub fn era(&self) -> Era {
        self.collection.era()
    }

    /// What a member is told, and whether it has said its word on what is asked.
    pub fn era_for(&self, peer: &Peer) -> (Era, bool) {
        let devices = self.writers().into_values().filter(|device| device.peer == peer.0);
        let (era, owing) = self.collection.owing(devices.map(|device| ((), device.keys)));
        (era, owing.is_none_or(|owing| owing.is_empty()))
    }

    /// A page of the list that is asked about.
    pub fn list_page(&self, id: &CollectionId, from: u32) -> Vec<u64> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        self.collection.page(id, from).unwrap_or_default()
    }

    /// A member says what it needs of it, as one who writes under this key. Whether that is taken.
    pub fn hear_needs(
        &self,
        (peer, author): (&Peer, &Author),
        id: &CollectionId,
        (from, bits, last): (u32, &[u8], bool),
    ) -> Result<bool> {
        let writes = |m: &Member| m.author == *author && m.peer == peer.0 && m.role.writes();
        if !self.membership().table().members().any(writes) {
            return Ok(false);
        }
        // A key that it was given and never used says nothing; one that it gets later speaks for itself.
        let device = self.writers().into_values().find(|device| device.keys.contains(author));
        let keys = device.map(|device| device.keys).unwrap_or_default();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        self.collection.hear((author, &keys), id, (from, bits, last))
    }

    /// Names of those who have not said what they need; `None` if nothing is asked.
    pub fn owing(&self) -> Option<Vec<String>> {
        self.collection.owing(self.writers().into_values().map(|device| (device.name, device.keys))).1
    }

    /// Whether everybody has answered what is asked.
    fn is_answered(&self) -> bool {
        self.owing().is_some_and(|owing| owing.is_empty())
    }

    /// Remove what nobody needs, if everybody has answered: bytes freed. `None` if it is not time. Goes on where a kill
    /// ended it.
    pub fn sweep(&self) -> Result<Option<u64>> {
        if !self.is_answered() {
            return Ok(None);
        }
        let mut freed = 0;
        for (number, _) in self.log().arenas_from(0) {
            let mut doomed: Vec<Bid> = self.log().listing_of(number)?.into_iter().map(|(bid, _)| bid).collect();
            doomed.retain(|bid| self.collection.condemns(bid));
            for batch in doomed.chunks(BATCH) {
                if self.is_ending() || !self.is_answered() {
                    return Ok(None); // gone on with later
                }
                freed += self.collection.remove(batch, |ids| self.log().delete(ids))?;
            }
        }
        self.collection.finish()?;
        self.count();
        if let Err(error) = self.log().compact() {
            tracing::warn!(volume = self.name(), error = %error.chain(), "what is left is not moved together");
        }
        Ok(Some(freed))
    }

    /// What there is to tell of a collection.
    pub fn collection_status(&self) -> Option<KeepCollection> {
        let waiting_for = self.owing()?;
        Some(KeepCollection { blocks: u64::from(self.collection.era().blocks), waiting_for })
    }

    /// Whether a collection began by itself.
    pub fn collect_if_due(&self) -> Result<bool> {
        if self.is_due(System.now()) { self.collect() } else { Ok(false) }
    }
}
