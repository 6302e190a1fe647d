//! Inode numbers: which node each stands for, how often the kernel holds it, and the resident nodes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::api::{Ino, MADE_UP, ROOT_INO};
use super::inode::Inode;
use crate::base::NodeId;

#[derive(Debug, Clone, Copy)]
struct Known {
    id: NodeId,
    references: u32,
}

/// Maps between inode numbers and nodes. An entry lives while the kernel holds references or the node
/// is resident; 32 bytes each when not resident.
#[derive(Debug)]
pub(super) struct Table {
    known: HashMap<Ino, Known, Spread>,
    resident: HashMap<Ino, Arc<Inode>, Spread>,
    /// Those that do not have the number they would have alone.
    clashed: HashMap<NodeId, Ino>,
    /// Sweep clean nodes out when this many are resident.
    capacity: usize,
    sweep_at: usize,
}

/// Inode numbers are random already: spread them with one multiplication.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread(u64);

impl std::hash::Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 29;
    }
}

impl std::hash::BuildHasher for Spread {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Table {
    /// Keep at most about `capacity` clean nodes resident.
    pub fn new(capacity: usize) -> Self {
        let (known, resident, clashed) = (HashMap::default(), HashMap::default(), HashMap::new());
        Self { known, resident, clashed, capacity, sweep_at: capacity }
    }

    /// The number of `id`: derived from its random part, so that it is the same after every mount. Two
    /// nodes with the same low 64 bits (one pair expected in four billion nodes) take neighbouring numbers.
    pub fn number(&self, id: NodeId) -> Ino {
        self.number_beside(id, &HashSet::new())
    }

    /// The same, and none of `taken`: numbers of others that are not known here yet. Whoever chooses ids can have as many
    /// clash as it likes.
    pub fn number_beside(&self, id: NodeId, taken: &HashSet<Ino>) -> Ino {
        if id == NodeId::ROOT {
            return ROOT_INO;
        }
        if let Some(ino) = self.clashed.get(&id) {
            return *ino;
        }
        let mut ino = own_number(id);
        while taken.contains(&ino) || self.known.get(&ino).is_some_and(|k| k.id != id) {
            ino = fitting(ino.wrapping_add(1));
        }
        ino
    }

    fn know(&mut self, ino: Ino, id: NodeId) -> &mut Known {
        if ino != own_number(id) && id != NodeId::ROOT {
            self.clashed.insert(id, ino); // also when what it clashed with is gone
        }
        self.known.entry(ino).or_insert(Known { id, references: 0 })
    }

    /// The node behind a number the kernel holds or that is resident.
    pub fn id(&self, ino: Ino) -> Option<NodeId> {
        if ino == ROOT_INO {
            return Some(NodeId::ROOT);
        }
        self.known.get(&ino).map(|k| k.id)
    }

    /// Count one more reference of the kernel to `id`; returns its number.
    pub fn reference(&mut self, id: NodeId) -> Ino {
        let ino = self.number(id);
        let known = self.know(ino, id);
        known.references = known.references.saturating_add(1);
        ino
    }

    /// Give back `count` references.
    pub fn forget(&mut self, ino: Ino, count: u64) {
        let Some(known) = self.known.get_mut(&ino) else { return };
        known.references = known.references.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        if known.references == 0 && !self.resident.contains_key(&ino) {
            self.clashed.remove(&known.id);
            self.known.remove(&ino);
        }
    }

    /// The node, if it is in memory.
    pub fn resident(&self, ino: Ino) -> Option<&Arc<Inode>> {
        self.resident.get(&ino)
    }

    /// Keep `inode` in memory; if another thread was faster, theirs is returned.
    pub fn admit(&mut self, inode: Arc<Inode>) -> Arc<Inode> {
        self.know(inode.ino, inode.id);
        let admitted = self.resident.entry(inode.ino).or_insert(inode).clone();
        if self.resident.len() >= self.sweep_at {
            self.sweep();
        }
        admitted
    }

    /// Drop nodes that are clean and unused. Amortised O(1) per admission.
    pub fn sweep(&mut self) {
        let (known, clashed) = (&mut self.known, &mut self.clashed);
        self.resident.retain(|ino, inode| {
            let keep = Arc::strong_count(inode) > 1
                || *ino == ROOT_INO
                || !inode.inner.try_lock().is_some_and(|inner| inner.is_evictable());
            if !keep && known.get(ino).is_some_and(|k| k.references == 0) {
                known.remove(ino);
                clashed.remove(&inode.id);
            }
            keep
        });
        if self.resident.len() * 4 < self.resident.capacity() {
            self.resident.shrink_to(self.resident.len() * 2);
        }
        self.sweep_at = self.resident.len().saturating_add(self.capacity);
    }

    /// All resident nodes.
    pub fn residents(&self) -> impl Iterator<Item = &Arc<Inode>> {
        self.resident.values()
    }
}

/// What `id` is called unless that is taken.
fn own_number(id: NodeId) -> Ino {
    let mut low = [0; 8];
    low.copy_from_slice(id.as_bytes().get(8..).unwrap_or(&[0; 8]));
    fitting(u64::from_le_bytes(low))
}

/// The number itself, unless it is kept for something else.
fn fitting(ino: Ino) -> Ino {
    if ino >= MADE_UP { ino - MADE_UP + 16 } else { ino.max(16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(low: u64) -> NodeId {
        let mut bytes = [9; 16];
        bytes[8..].copy_from_slice(&low.to_le_bytes());
        NodeId(bytes)
    }

    #[test]
    fn numbers_are_stable_and_never_shared() {
        let mut table = Table::new(10);
        let a = id(77);
        let mut b = id(77);
        b.0[0] = 1;
        assert_eq!(table.reference(a), 77);
        assert_eq!(table.reference(b), 78, "a clash takes the next number");
        assert_eq!(table.id(77), Some(a));
        let mut c = id(77);
        c.0[0] = 2;
        assert_eq!(table.number_beside(c, &HashSet::from([79])), 80, "of those that come at once, too");
        table.forget(77, 1);
        assert_eq!(table.id(77), None);
        assert_eq!(table.number(b), 78, "and keeps it when the other is gone");
        table.forget(78, 1);
        assert_eq!(table.number(b), 77);
        assert_eq!(table.number(NodeId::ROOT), ROOT_INO);
    }
}
