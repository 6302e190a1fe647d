//! What this device must not rely on without asking: what stores that are collected may remove any moment.
//!
//! A device that said what it needs of a store's list may need more of it when it merges a head, from wherever that
//! came. It knows by a list of its own, kept over restarts, so that a merge asks no store unless it must. Must never let
//! a head be merged that needs what may be gone; must never forget a list while a merge is looking at it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::home::replace_file;
use super::{Exchange, Replica, settling};
use crate::base::sync::{Mutex, RwLock, RwLockReadGuard};
use crate::base::{Bid, Error, Result};
use crate::kv::collect::record::Bits;
use crate::kv::collect::{Doubts, List};
use crate::seal::Ref;

/// Names of files begin so; the store's name follows.
const FILE: &str = "doubts-";

/// See the module. Lock order: `merging`, then `stores`.
pub struct Reliance {
    dir: PathBuf,
    /// Held for reading from a look at the doubts to the end of the merge, for writing to begin or to end doubting.
    merging: RwLock<()>,
    stores: Mutex<BTreeMap<String, Told>>,
}

/// About one store.
struct Told {
    doubts: Doubts,
    /// The head up to which the word speaks.
    head: Arc<[u8]>,
}

impl Reliance {
    /// Of the volume with its files in `dir`.
    pub fn open(dir: PathBuf) -> Self {
        let mut stores = BTreeMap::new();
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(store) = name.strip_prefix(FILE).filter(|store| !store.contains('.')) else { continue };
            if let Some(told) = fs::read(entry.path()).ok().as_deref().and_then(decode) {
                stores.insert(store.to_owned(), told);
            } else {
                tracing::error!(store, "what was told to this store cannot be read; it is told anew");
            }
        }
        Self { dir, merging: RwLock::default(), stores: Mutex::new(stores) }
    }

    /// A merge begins: what it may rely on stays as it is.
    pub fn merging(&self) -> RwLockReadGuard<'_, ()> {
        self.merging.read()
    }

    /// A collection of this store asks: everything in its list is doubted until [`Self::tell`]. Waits for a merge.
    pub fn begin(&self, store: &str, list: &List) -> Result<()> {
        let _turn = self.merging.write();
        self.put(store, Told { doubts: Doubts::new(list), head: Arc::new([]) })
    }

    /// This is about to be said of the list, with what came to be needed since [`Self::begin`]: all that is to be said.
    pub fn tell(&self, store: &str, list: &List, needs: Bits, head: Arc<[u8]>) -> Result<Bits> {
        let mut stores = self.stores.lock();
        let told = stores.get_mut(store).filter(|told| told.doubts.id == list.id);
        let moved = || Error::new(crate::base::Kind::Busy, "tell what is needed", store);
        let told = told.ok_or_else(moved)?;
        let mut new = Told { doubts: told.doubts.clone(), head };
        let needs = new.doubts.told(list, needs);
        // Saved first: what is not remembered over a restart must not have been said.
        self.save(store, &encode(&new))?;
        *told = new;
        Ok(needs)
    }

    /// The word on this collection speaks of this head, too.
    pub fn covers(&self, store: &str, collection: &[u8; 16], head: Arc<[u8]>) {
        if let Some(told) = self.stores.lock().get_mut(store).filter(|told| told.doubts.id == *collection) {
            told.head = head;
        }
    }

    /// The head up to which the word on this collection speaks, if it was said.
    pub fn told_of(&self, store: &str, collection: &[u8; 16]) -> Option<Arc<[u8]>> {
        let stores = self.stores.lock();
        let told = stores.get(store).filter(|told| told.doubts.id == *collection && told.doubts.is_told());
        told.map(|told| Arc::clone(&told.head)).filter(|head| !head.is_empty())
    }

    /// Blocks that are relied upon from now on, while the word on this collection is not said yet.
    pub fn claim_early(&self, store: &str, collection: &[u8; 16], ids: &[Bid]) {
        if let Some(told) = self.stores.lock().get_mut(store).filter(|told| told.doubts.id == *collection) {
            told.doubts.claim(ids);
        }
    }

    /// The collection of this store has ended, and whatever waits to be merged was read after that. Waits for a merge.
    pub fn forget(&self, store: &str) -> Result<()> {
        if !self.stores.lock().contains_key(store) {
            return Ok(());
        }
        let _turn = self.merging.write();
        self.stores.lock().remove(store);
        match fs::remove_file(self.file(store)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("forget a collection", store, e)),
            _ => Ok(()),
        }
    }

    /// What was said to be needed of this list, if it was.
    pub fn said(&self, store: &str, list: &List) -> Option<Bits> {
        let stores = self.stores.lock();
        let told = stores.get(store).filter(|told| told.doubts.id == list.id && told.doubts.is_told())?;
        Some(told.doubts.needs(list))
    }

    /// By name: the collections that are not known to have ended.
    pub fn collections(&self) -> Vec<(String, [u8; 16])> {
        self.stores.lock().iter().map(|(name, told)| (name.clone(), told.doubts.id)).collect()
    }

    /// Whether this store may remove the block.
    pub fn doubts(&self, store: &str, id: &Bid) -> bool {
        self.stores.lock().get(store).is_some_and(|told| told.doubts.has(id))
    }

    fn is_doubted(&self, id: &Bid) -> bool {
        self.stores.lock().values().any(|told| told.doubts.has(id))
    }

    /// By store and collection: those that must not be relied upon without asking.
    fn claim(&self, ids: &[Bid]) -> Vec<(String, [u8; 16], Vec<Bid>)> {
        let mut stores = self.stores.lock();
        let claim = |(name, told): (&String, &mut Told)| (name.clone(), told.doubts.id, told.doubts.claim(ids));
        stores.iter_mut().map(claim).filter(|(_, _, left)| !left.is_empty()).collect()
    }

    fn put(&self, store: &str, told: Told) -> Result<()> {
        let bytes = encode(&told);
        self.stores.lock().insert(store.to_owned(), told);
        self.save(store, &bytes)
    }

    fn save(&self, store: &str, bytes: &[u8]) -> Result<()> {
        replace_file(&self.file(store), bytes)
    }

    fn file(&self, store: &str) -> PathBuf {
        self.dir.join(format!("{FILE}{store}"))
    }
}

fn encode(told: &Told) -> Vec<u8> {
    let len = u32::try_from(told.head.len()).unwrap_or(0);
    [&len.to_le_bytes()[..], &told.head, &told.doubts.encode()].concat()
}

fn decode(bytes: &[u8]) -> Option<Told> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (head, doubts) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    Some(Told { doubts: Doubts::decode(doubts)?, head: head.into() })
}

/// Before a head of `author` is merged: what it needs of what stores may remove is asked for, or brought here. An error
/// that passes means: later.
pub fn clear(replica: &Arc<Replica>, exchange: &Exchange, author: &[u8; 32], head: &[u8]) -> Result<()> {
    let reliance = &replica.reliance;
    if reliance.stores.lock().is_empty() {
        return Ok(());
    }
    let mut hits: Vec<Ref> = Vec::new();
    replica.volume.brings(author, head, &mut |block| {
        if reliance.is_doubted(&block.bid) {
            hits.push(*block);
        }
        Ok(true)
    })?;
    let ids: Vec<Bid> = hits.iter().map(|block| block.bid).collect();
    for (store, collection, left) in reliance.claim(&ids) {
        let asked = if settling::is_keeper(&store) {
            Ok(settling::rely(replica, exchange, &store, &left))
        } else {
            exchange.stores().rely(replica, &store, &collection, &left)
        };
        if asked.as_ref().is_ok_and(|may| *may) {
            continue;
        }
        tracing::debug!(store, blocks = left.len(), "a head needs what the store may remove: bringing it here");
        for block in hits.iter().filter(|block| left.contains(&block.bid)) {
            replica.volume.bring(block)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kv::collect::short;

    #[test]
    fn what_was_told_is_known_after_a_restart_and_forgotten_when_the_collection_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let ids = [1, 2, 3].map(|n| Bid([n; 32]));
        let list = List::new([7; 16], ids.iter().map(short).collect());
        let reliance = Reliance::open(dir.path().into());
        reliance.begin("box", &list).unwrap();
        assert_eq!(reliance.told_of("box", &list.id), None);
        assert!(reliance.claim(&ids[..1]).is_empty(), "nothing was said yet");
        let said = reliance.tell("box", &list, list.bits(&ids[1..2]), Arc::new([9])).unwrap();
        assert!(said.has(0) && said.has(1) && !said.has(2));
        let again = Reliance::open(dir.path().into());
        assert_eq!(again.claim(&ids), [("box".to_owned(), list.id, vec![ids[2]])]);
        assert_eq!(again.told_of("box", &list.id).as_deref(), Some(&[9][..]));
        assert_eq!(again.told_of("box", &[8; 16]), None);
        again.forget("box").unwrap();
        assert!(again.claim(&ids).is_empty());
        assert!(Reliance::open(dir.path().into()).claim(&ids).is_empty());
        assert!(reliance.tell("sack", &list, Bits::default(), Arc::new([])).is_err());
    }
}
