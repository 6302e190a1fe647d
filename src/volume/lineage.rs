//! What versions of a file were written over: from it the common base of a conflict.
//!
//! Local and forgetful: a base that is not known is no error, a wrong one would be. So a version counts as a base
//! only if one side replaced it here and the other side is known to have had it. Must never hold up a merge.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Volume;
use super::content::decode;
use super::copies::ConflictBase;
use crate::base::{Error, Kind, NodeId, Result};
use crate::cas::manifest::Content;
use crate::causal::{Dot, NodeState, Register, Vector, Version};

/// Replaced versions remembered at most.
const MOST: usize = 16_384;
/// Bases of conflicts remembered at most.
const MOST_BASES: usize = 4096;
/// Authors whose knowledge is remembered at most.
const MOST_AUTHORS: usize = 4096;
const PURPOSE: &[u8] = b"lovage lineage 1";
const FILE: &str = "lineage";

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Lineage {
    replaced: HashMap<(NodeId, Dot), (Dot, Version)>,
    order: VecDeque<(NodeId, Dot)>,
    bases: BTreeMap<NodeId, (Dot, Version)>,
    /// By author: what it was known to know when its newest head came.
    heard: BTreeMap<[u8; 32], Vector>,
    #[serde(skip)]
    changed: bool,
}

/// What a merge is about to do to one file.
pub(super) struct Meeting<'a> {
    pub node: NodeId,
    /// Before, with what this device knows.
    pub mine: Option<&'a NodeState>,
    /// After.
    pub state: &'a NodeState,
    /// What the other side knows.
    pub vector: &'a Vector,
    /// Who that is.
    pub author: &'a [u8; 32],
}

impl Lineage {
    /// `new` was written over `old`.
    pub fn wrote(&mut self, node: NodeId, new: Dot, old: (Dot, Version)) {
        if new == old.0 {
            return;
        }
        while self.order.len() >= MOST {
            let Some(oldest) = self.order.pop_front() else { break };
            self.replaced.remove(&oldest);
        }
        if self.replaced.insert((node, new), old).is_none() {
            self.order.push_back((node, new));
        }
    }

    /// A head of `author` was taken in.
    pub fn hear(&mut self, author: &[u8; 32], vector: &Vector) {
        if self.heard.len() < MOST_AUTHORS || self.heard.contains_key(author) {
            self.heard.insert(*author, vector.clone());
        }
    }

    /// Note what a merge replaces, and the base of the conflict it makes.
    pub fn meet(&mut self, meeting: &Meeting<'_>) {
        let none = Register(Vec::new());
        let (mine, after) = (meeting.mine.map_or(&none, |state| &state.content), &meeting.state.content);
        let has = |register: &Register<Version>, dot: Dot| register.0.iter().any(|(d, _)| *d == dot);
        let gone: Vec<_> = mine.0.iter().filter(|(dot, _)| !has(after, *dot)).collect();
        let new: Vec<Dot> = after.0.iter().map(|(dot, _)| *dot).filter(|dot| !has(mine, *dot)).collect();
        if let ([old], [new]) = (gone.as_slice(), new.as_slice()) {
            self.wrote(meeting.node, *new, (*old).clone());
        }
        if after.0.len() < 2 {
            self.changed |= self.bases.remove(&meeting.node).is_some();
        } else if after.0.len() > mine.0.len() {
            let base = self.base(meeting, mine).filter(|_| self.bases.len() < MOST_BASES);
            // A third version may have left earlier than the two before it: then nothing is known.
            let known = self.bases.get(&meeting.node).map(|(dot, _)| *dot);
            let agrees = mine.0.len() < 2 || known.is_some() && known == base.as_ref().map(|(dot, _)| *dot);
            self.changed = true;
            match base.filter(|_| agrees) {
                Some(base) => drop(self.bases.insert(meeting.node, base)),
                None => drop(self.bases.remove(&meeting.node)),
            }
        }
    }

    /// The newest version before one of ours that the other side had when it went its own way: what it knows now, if
    /// it does not know ours; else what it knew before.
    fn base(&self, meeting: &Meeting<'_>, mine: &Register<Version>) -> Option<(Dot, Version)> {
        let ours =
            mine.0.iter().map(|(dot, _)| *dot).find(|dot| meeting.state.content.0.iter().any(|(d, _)| d == dot))?;
        let known = if meeting.vector.covers(ours) { self.heard.get(meeting.author)? } else { meeting.vector };
        let mut at = ours;
        for _ in 0..MOST {
            let (dot, version) = self.replaced.get(&(meeting.node, at))?;
            if known.covers(*dot) {
                return Some((*dot, version.clone()));
            }
            at = *dot;
        }
        None
    }

    /// The content of bases: not garbage while their conflicts stand.
    pub fn contents(&self) -> Result<Vec<Content>> {
        self.bases.values().map(|(_, version)| decode(&version.data)).collect()
    }
}

impl Volume {
    /// The base of a conflict, if it is known.
    pub(super) fn base_of(&self, node: NodeId) -> Option<ConflictBase> {
        let lineage = self.lineage.lock();
        lineage.bases.get(&node).map(|(dot, v)| ConflictBase { dot: *dot, size: v.size, mtime: v.mtime })
    }

    /// Bytes of the common base of a conflict. [`Kind::NotFound`] when it is not known.
    pub fn read_base(&self, node: NodeId, offset: u64, len: u32) -> Result<Vec<u8>> {
        let found = self.lineage.lock().bases.get(&node).map(|(_, version)| version.clone());
        let found = found.ok_or_else(|| Error::new(Kind::NotFound, "read the common base", node.to_string()))?;
        self.read_stored(&found.data, found.size, offset, len)
    }

    /// What an earlier run remembered; nothing if it cannot be read.
    pub(super) fn load_lineage(&self) {
        let sealed = std::fs::read(self.dir.join(FILE)).ok();
        let plain = sealed.and_then(|sealed| self.local.open(PURPOSE, &sealed).ok());
        if let Some(lineage) = plain.and_then(|plain| postcard::from_bytes(&plain).ok()) {
            *self.lineage.lock() = lineage;
        }
    }

    /// Remember bases that are new. What cannot be written is only known until the end of this run.
    pub(super) fn save_lineage(&self, always: bool) {
        let plain = {
            let mut lineage = self.lineage.lock();
            if !std::mem::take(&mut lineage.changed) && (!always || lineage.order.is_empty()) || self.read_only {
                return;
            }
            postcard::to_stdvec(&*lineage).ok()
        };
        let sealed = plain.and_then(|plain| self.local.seal(PURPOSE, &plain).ok());
        let (path, new) = (self.dir.join(FILE), self.dir.join("lineage.new"));
        let written = sealed.map(|sealed| std::fs::write(&new, sealed).and_then(|()| std::fs::rename(&new, &path)));
        if !matches!(written, Some(Ok(()))) {
            tracing::debug!(volume = %self.id, "the bases of conflicts were not written");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::port::Time;
    use crate::causal::{NodeKind, Stamp};

    const NODE: NodeId = NodeId([9; 16]);

    fn dot(writer: u32, seq: u64) -> Dot {
        Dot { writer, seq }
    }

    fn version(writer: u32, seq: u64) -> (Dot, Version) {
        let stamp = Stamp { time: Time(0), writer };
        (dot(writer, seq), Version { data: Vec::new(), size: seq, mtime: Time(0), stamp })
    }

    fn state(versions: &[(u32, u64)]) -> NodeState {
        let content = Register(versions.iter().map(|(writer, seq)| version(*writer, *seq)).collect());
        NodeState { kind: NodeKind::File, born: Time(0), links: Vec::new(), content, attributes: Vec::new() }
    }

    fn knows(dots: &[(u32, u64)]) -> Vector {
        let mut vector = Vector::default();
        dots.iter().for_each(|(writer, seq)| vector.raise(dot(*writer, *seq)));
        vector
    }

    fn meet(lineage: &mut Lineage, mine: &[(u32, u64)], after: &[(u32, u64)], vector: &Vector) -> Option<Dot> {
        let (mine, state) = (state(mine), state(after));
        lineage.meet(&Meeting { node: NODE, mine: Some(&mine), state: &state, vector, author: &[1; 32] });
        lineage.bases.get(&NODE).map(|(dot, _)| *dot)
    }

    #[test]
    fn the_base_is_the_newest_version_that_both_had() {
        let mut lineage = Lineage::default();
        lineage.wrote(NODE, dot(0, 2), version(0, 1));
        lineage.wrote(NODE, dot(0, 3), version(0, 2));
        // The other had (0, 1) when it wrote (1, 1).
        assert_eq!(meet(&mut lineage, &[(0, 3)], &[(0, 3), (1, 1)], &knows(&[(0, 1), (1, 1)])), Some(dot(0, 1)));
        assert_eq!(meet(&mut lineage, &[(0, 3), (1, 1)], &[(0, 4)], &knows(&[(0, 4), (1, 1)])), None);
    }

    #[test]
    fn the_other_side_having_merged_first_its_earlier_knowledge_counts() {
        let mut lineage = Lineage::default();
        lineage.hear(&[1; 32], &knows(&[(0, 1)]));
        lineage.wrote(NODE, dot(0, 2), version(0, 1));
        lineage.wrote(NODE, dot(0, 3), version(0, 2));
        let both = knows(&[(0, 3), (1, 1)]);
        assert_eq!(meet(&mut lineage, &[(0, 3)], &[(0, 3), (1, 1)], &both), Some(dot(0, 1)));
        // Of somebody never heard of nothing can be said.
        let mut forgetful = Lineage::default();
        forgetful.wrote(NODE, dot(0, 3), version(0, 2));
        assert_eq!(meet(&mut forgetful, &[(0, 3)], &[(0, 3), (1, 1)], &both), None);
    }

    #[test]
    fn a_third_device_learns_it_from_what_merges_replace() {
        let mut lineage = Lineage::default();
        assert_eq!(meet(&mut lineage, &[(0, 1)], &[(0, 2)], &knows(&[(0, 2)])), None);
        assert_eq!(meet(&mut lineage, &[(0, 2)], &[(0, 2), (1, 1)], &knows(&[(0, 1), (1, 1)])), Some(dot(0, 1)));
        // A third version from before that: nothing is known of all three.
        let third = knows(&[(2, 1)]);
        assert_eq!(meet(&mut lineage, &[(0, 2), (1, 1)], &[(0, 2), (1, 1), (2, 1)], &third), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut lineage = Lineage::default();
        (1..=MOST as u64 + 10).for_each(|n| lineage.wrote(NODE, dot(0, n + 1), version(0, n)));
        assert_eq!((lineage.order.len(), lineage.replaced.len()), (MOST, MOST));
    }
}
