//! What another device's head offers, and the answer to its question for what it lacks.
//!
//! Questions name single trees, opaque to whoever carries them. Must never answer from anything but the log here:
//! a question may not make this device ask others.

use super::Volume;
use super::api::Ino;
use super::sealing::HeadBody;
use crate::base::{Error, Kind, NodeId, Result};
use crate::causal::Vector;
use crate::seal::head::open_head;
use crate::tree::Root;

/// What a head offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The index it was signed under.
    pub writer: crate::base::WriterIndex,
    /// Number of the head.
    pub seq: u64,
    /// What its author knows.
    pub vector: Vector,
    /// Nothing of it is news here.
    pub covered: bool,
    /// The trees it refers to, each an opaque name for [`Volume::answer`].
    pub trees: Vec<Vec<u8>>,
    /// Entries of the largest of them.
    pub entries: u64,
}

impl Volume {
    /// Look into a head of `author` without taking anything over. [`Kind::Corrupt`] if it does not verify.
    pub fn offered(&self, author: &[u8; 32], head: &[u8]) -> Result<Offer> {
        let opened = open_head(&self.sealer, author, head)?;
        let body: HeadBody = postcard::from_bytes(&opened.body)
            .map_err(|e| Error::new(Kind::Corrupt, "decode head", "").with_source(e))?;
        let trees = [&body.raw, &body.displaced, &body.index].map(encode).into_iter().collect::<Result<_>>()?;
        let covered = self.ns.lock().vector.includes(&body.vector);
        let entries = body.raw.count.max(body.index.count);
        Ok(Offer { writer: opened.writer, seq: opened.seq, vector: body.vector, covered, trees, entries })
    }

    /// The sealed blocks of the tree `want` that are not in `have`, parents first, until `visit` says false.
    /// [`Kind::Invalid`] for a name that is none, [`Kind::NotFound`] if a block of it is not here (any more).
    pub fn answer(&self, want: &[u8], have: Option<&[u8]>, visit: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<()> {
        let (want, have) = (decode(want)?, have.map(decode).transpose()?);
        let enough = || Error::new(Kind::Interrupted, "answer a question", "");
        let sent = self.missing_tree_blocks(&want, have.as_ref(), &mut |r, _| {
            let absent = || Error::new(Kind::NotFound, "answer a question", r.bid.to_string());
            let sealed = self.blocks.log().get(&r.bid)?.ok_or_else(absent)?;
            if visit(sealed) { Ok(()) } else { Err(enough()) }
        });
        match sent {
            Err(e) if e.kind() == Kind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// Where a node shows, from the root of the volume.
    pub fn path_shown(&self, id: NodeId) -> String {
        self.path_of(id)
    }

    /// The inode number of a node. [`Kind::NotFound`] or [`Kind::Stale`] if there is no such node.
    pub fn number_of(&self, id: NodeId) -> Result<Ino> {
        Ok(self.inode_of(id)?.ino)
    }
}

pub(super) fn encode(root: &Root) -> Result<Vec<u8>> {
    postcard::to_stdvec(root).map_err(|e| Error::new(Kind::Other, "name a tree", "").with_source(e))
}

pub(super) fn decode(name: &[u8]) -> Result<Root> {
    postcard::from_bytes(name).map_err(|e| Error::new(Kind::Invalid, "understand a question", "").with_source(e))
}
