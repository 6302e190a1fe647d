//! A node store in memory that records what is asked of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use crate::base::sync::Mutex;
use crate::base::{Bid, Error, Kind, Result, hash};
use crate::seal::Ref;
use crate::tree::{Edit, NodeStore, Root, Tree};

/// The logical key of all tests.
pub const KEY: [u8; 32] = [42; 32];

/// Blocks by id; `epoch` enters the id as sealing would.
#[derive(Default)]
pub struct Memory {
    pub blocks: Mutex<HashMap<Bid, (u8, Bytes)>>,
    /// The one right reference to each block, as sealing makes sure of.
    references: Mutex<HashMap<Bid, Ref>>,
    pub loads: Mutex<Vec<(Bid, u8)>>,
    pub saves: Mutex<Vec<(Bid, u8)>>,
    pub epoch: AtomicU32,
}

impl NodeStore for Memory {
    fn load(&self, reference: &Ref, level: u8) -> Result<Bytes> {
        self.loads.lock().push((reference.bid, level));
        if self.references.lock().get(&reference.bid).is_some_and(|right| right != reference) {
            return Err(Error::new(Kind::Corrupt, "load node", "wrong reference"));
        }
        match self.blocks.lock().get(&reference.bid) {
            Some((at, bytes)) if *at == level => Ok(bytes.clone()),
            _ => Err(Error::new(Kind::Unreachable, "load node", reference.bid.to_string())),
        }
    }

    fn save(&self, level: u8, plain: &[u8]) -> Result<Ref> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let bid = Bid(hash(&[&epoch.to_le_bytes(), &[level], plain]));
        self.saves.lock().push((bid, level));
        self.blocks.lock().insert(bid, (level, Bytes::copy_from_slice(plain)));
        let reference = Ref { bid, siv: hash(&[&bid.0]), epoch, len: u32::try_from(plain.len()).unwrap() };
        self.references.lock().insert(bid, reference);
        Ok(reference)
    }
}

impl Memory {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The same blocks in another store.
    pub fn copy(&self) -> Arc<Self> {
        let copy = Self::default();
        *copy.blocks.lock() = self.blocks.lock().clone();
        *copy.references.lock() = self.references.lock().clone();
        Arc::new(copy)
    }

    /// Forget what was recorded.
    pub fn reset(&self) {
        self.loads.lock().clear();
        self.saves.lock().clear();
    }

    /// Loads and saves since the last reset.
    pub fn io(&self) -> (usize, usize) {
        (self.loads.lock().len(), self.saves.lock().len())
    }
}

pub fn tree(store: &Arc<Memory>, cache: usize) -> Tree {
    Tree::new(store.clone(), KEY, cache)
}

pub type Model = BTreeMap<Vec<u8>, Vec<u8>>;

pub fn apply(model: &mut Model, edits: &[Edit]) {
    for (key, value) in edits {
        match value {
            Some(value) => drop(model.insert(key.clone(), value.clone())),
            None => drop(model.remove(key)),
        }
    }
}

pub fn build(tree: &Tree, model: &Model) -> Root {
    tree.build(model).unwrap()
}

/// `n` entries with keys like (parent id || name) and values of `size` bytes.
pub fn sample(n: u32, size: usize) -> Model {
    (0..n).map(|i| (sample_key(i), value(u64::from(i), size))).collect()
}

pub fn sample_key(i: u32) -> Vec<u8> {
    let mut key = hash(&[b"dir", &(i / 50).to_le_bytes()])[..16].to_vec();
    key.extend_from_slice(format!("file-{i:08}.txt").as_bytes());
    key
}

pub fn value(seed: u64, size: usize) -> Vec<u8> {
    let mut out = vec![0; size];
    crate::base::keyed_xof(&[9; 32], &[&seed.to_le_bytes()], &mut out);
    out
}

/// All entries, read through `range`.
pub fn dump(tree: &Tree, root: &Root) -> Model {
    tree.range(root, &[]).map(|e| e.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect()
}
