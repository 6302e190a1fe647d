//! Changes of one writer taken over by another: what a device does with those it made after it was set back.
//!
//! Others know, or will know, other changes under the old dots. Stamps stay: who was later stays later. Must never
//! move a dot that others have in common.

use super::clock::{Dot, Vector};
use super::state::{NodeState, Register};
use crate::base::WriterIndex;

/// The changes of `from` behind `since` become the first ones of `to`, which has none yet.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// Who made them.
    pub from: WriterIndex,
    /// The last change that stays.
    pub since: u64,
    /// Whose they become.
    pub to: WriterIndex,
}

impl Moved {
    /// A dot afterwards.
    pub fn dot(&self, dot: Dot) -> Dot {
        let moves = dot.writer == self.from && dot.seq > self.since;
        if moves { Dot { writer: self.to, seq: dot.seq - self.since } } else { dot }
    }

    /// What is known afterwards.
    pub fn vector(&self, vector: &mut Vector) {
        let reach = vector.get(self.from);
        if reach > self.since {
            vector.reset(self.from, self.since);
            vector.raise(Dot { writer: self.to, seq: reach - self.since });
        }
    }

    /// Whether anything of a node is moved.
    pub fn concerns(&self, node: &NodeState) -> bool {
        let links = node.links.iter().flat_map(|(_, register)| &register.0).map(|(dot, _)| *dot);
        let versions = node.content.0.iter().map(|(dot, _)| *dot);
        links.chain(versions).chain(node.attributes.iter().map(|a| a.dot)).any(|dot| self.dot(dot) != dot)
    }

    /// A node afterwards.
    pub fn node(&self, node: &mut NodeState) {
        node.links.iter_mut().for_each(|(_, register)| self.register(register));
        self.register(&mut node.content);
        node.attributes.iter_mut().for_each(|a| a.dot = self.dot(a.dot));
        node.attributes.sort_by(|a, b| (&a.field, a.stamp, a.dot).cmp(&(&b.field, b.stamp, b.dot)));
    }

    fn register<T>(&self, register: &mut Register<T>) {
        register.0.iter_mut().for_each(|(dot, _)| *dot = self.dot(*dot));
        register.0.sort_by_key(|(dot, _)| *dot);
    }
}
