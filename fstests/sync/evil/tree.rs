//! Trees and heads as a member could make them that wrote its own program: sealed and signed as they should be, and wrong inside.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lovage::base::port::{Clock, System, Time};
use lovage::base::{Bid, Digest, Name, NodeId, Result, VolumeId};
use lovage::causal::{Dot, Lived, Lives, NodeKind, NodeState, Place, Register, Stamp, Vector, Version};
use lovage::seal::head::seal_head;
use lovage::seal::{BlockType, Codec, Ref, Sealer};
use lovage::tree::{NodeStore, Root, Tree};
use lovage::volume::Totals;
use serde::Serialize;

use super::stage::Foe;

/// Sealed blocks by id.
pub type Shelf = Arc<Mutex<HashMap<Bid, Vec<u8>>>>;

/// States of nodes, encoded; none for one that is gone.
pub type States = BTreeMap<NodeId, Option<Vec<u8>>>;

/// What a head says, field by field as `volume` writes it.
#[derive(Clone, Serialize)]
pub struct Body {
    pub vector: Vector,
    pub raw: Root,
    pub index: Root,
    pub displaced: Root,
    pub root_subdirs: u32,
    pub totals: Totals,
    pub previous: Digest,
    pub time: Time,
    pub lives: Lives,
    pub lived: Lived,
    pub news: Option<(Root, States)>,
}

/// A foe that makes heads.
pub struct Forger {
    pub foe: Foe,
    pub shelf: Shelf,
    /// Changes it has made up.
    pub seq: u64,
}

struct Nodes {
    sealer: Sealer,
    shelf: Shelf,
}

impl NodeStore for Nodes {
    fn load(&self, _: &Ref, _: u8) -> Result<Bytes> {
        unreachable!("trees are only built here")
    }

    fn save(&self, level: u8, plain: &[u8]) -> Result<Ref> {
        Ok(seal(&self.sealer, &self.shelf, (level, Codec::Raw), plain, plain.len()))
    }
}

/// A block of a tree with this body, said to be `len` bytes long.
pub fn seal(sealer: &Sealer, shelf: &Shelf, (level, codec): (u8, Codec), body: &[u8], len: usize) -> Ref {
    let mut sealed = Vec::new();
    let len = u32::try_from(len).unwrap();
    let reference = sealer.seal(BlockType::Tree, level, codec, body, len, None, &mut sealed).unwrap();
    shelf.lock().unwrap().insert(reference.bid, sealed);
    reference
}

impl Forger {
    pub fn new(foe: Foe) -> Self {
        Self { foe, shelf: Shelf::default(), seq: 0 }
    }

    fn tree(&self) -> Tree {
        let nodes = Nodes { sealer: self.foe.sealer.clone(), shelf: Arc::clone(&self.shelf) };
        Tree::new(Arc::new(nodes), self.foe.sealer.logical_key(), 1 << 20)
    }

    /// A tree of these entries, or the empty one.
    pub fn build(&self, entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Root {
        let mut sorted: Vec<_> = entries.into_iter().collect();
        sorted.sort();
        self.tree().build(sorted).unwrap()
    }

    /// A tree whose one block is this, whatever it says.
    pub fn block(&self, codec: Codec, body: &[u8], len: usize) -> Root {
        let reference = Some(seal(&self.foe.sealer, &self.shelf, (0, codec), body, len));
        Root { reference, level: 0, logical: [7; 32], count: 1 }
    }

    /// The next change of this foe.
    pub fn dot(&self) -> Dot {
        Dot { writer: self.foe.writer, seq: self.seq + 1 }
    }

    pub fn stamp(&self) -> Stamp {
        Stamp { time: System.now(), writer: self.foe.writer }
    }

    /// A file of two bytes called `name` in the root.
    pub fn file(&self, name: &str) -> NodeState {
        let (dot, stamp) = (self.dot(), self.stamp());
        let place = Place { parent: NodeId::ROOT, name: Name::new(name.as_bytes()).unwrap(), stamp, from: None };
        let version = Version { data: inline(b"hi"), size: 2, mtime: System.now(), stamp };
        NodeState {
            kind: NodeKind::File,
            born: System.now(),
            links: vec![(0, Register(vec![(dot, place)]))],
            content: Register(vec![(dot, version)]),
            attributes: Vec::new(),
        }
    }

    /// A head that names `raw`, with changes of this foe only.
    pub fn body(&self, raw: Root) -> Body {
        let mut vector = Vector::default();
        vector.raise(self.dot());
        let (mut lives, mut lived) = (Lives::default(), Lived::default());
        lives.begin([5; 8], 0, 1_700_000_000);
        lived.set(self.foe.writer, Some(([5; 8], 1_700_000_000)));
        let empty = self.tree().empty();
        Body {
            vector,
            raw,
            index: empty.clone(),
            displaced: empty,
            root_subdirs: 0,
            totals: Totals::default(),
            previous: [0; 32],
            time: System.now(),
            lives,
            lived,
            news: None,
        }
    }

    /// Signed and sealed, under this number.
    pub fn head(&self, body: &Body, number: u64) -> Vec<u8> {
        let body = postcard::to_stdvec(body).unwrap();
        seal_head(&self.foe.sealer, &self.foe.key, self.foe.writer, number, &body, &System).unwrap()
    }

    /// A head whose tree has these states, encoded, under ids of their own.
    pub fn of_states(&self, states: Vec<Vec<u8>>) -> Vec<u8> {
        let entries = states.into_iter().enumerate().map(|(n, state)| (self.id(n).0.to_vec(), state));
        let raw = self.build(entries);
        self.head(&self.body(raw), self.seq + 1)
    }

    /// The id of the n-th node of this foe's.
    pub fn id(&self, n: usize) -> NodeId {
        let mut random = [0xab; 10];
        random[0] = u8::try_from(n).unwrap();
        random[1..5].copy_from_slice(&self.foe.writer.to_le_bytes());
        NodeId::born_in(NodeId::ROOT, random)
    }
}

/// Content that lies in the tree itself.
pub fn inline(bytes: &[u8]) -> Vec<u8> {
    let content = lovage::cas::manifest::Content::Inline(bytes.to_vec());
    postcard::to_stdvec(&(content, bytes.len() as u64)).unwrap()
}

/// As it is written.
pub fn encoded(state: &NodeState) -> Vec<u8> {
    postcard::to_stdvec(state).unwrap()
}

/// A head with another volume's name, signed anew.
pub fn of_another_volume(foe: &Foe, body: &[u8]) -> Vec<u8> {
    let other = VolumeId([0x11; 16]);
    let sealer = Sealer::new(other, &[(0, lovage::seal::EpochSecret::new([1; 32]))]).unwrap();
    seal_head(&sealer, &foe.key, foe.writer, 1, body, &System).unwrap()
}
