//! What the exchange between devices asks of a volume: heads to announce, blocks that others lack, blocks that
//! others brought.
//!
//! Must never give out a block that is not the volume's, nor keep one that does not verify.

use std::sync::Arc;

use super::Volume;
use super::api::Ino;
use super::content::decode;
use crate::base::{NodeId, Result, WriterIndex};
use crate::cas::manifest;
use crate::causal::{NodeKind, Vector};
use crate::seal::{BlockType, EpochSecret, Ref};
use crate::tree::Root;

/// What this device has to say of the volume.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// This device's place in the writer table.
    pub writer: WriterIndex,
    /// Number of the head.
    pub seq: u64,
    /// What it knows.
    pub vector: Vector,
    /// The head, signed and sealed, as others take it.
    pub head: Arc<[u8]>,
    /// The replicated state.
    pub raw: Root,
    /// What lists directories, derived from `raw`.
    pub index: Root,
    /// What shows otherwise than it says, derived from `raw`.
    pub displaced: Root,
}

impl Volume {
    /// Seal what changed, files being written included, and say what there is. Cheap if nothing changed.
    pub fn announce(&self) -> Result<Announcement> {
        if !self.read_only {
            self.settle_all()?;
            self.seal()?;
        }
        let ns = self.ns.lock();
        Ok(Announcement {
            writer: ns.writer,
            seq: ns.roots.seq,
            vector: ns.sealed.clone(),
            head: self.announced.lock().clone(),
            raw: ns.roots.raw.clone(),
            index: ns.roots.index.clone(),
            displaced: ns.roots.displaced.clone(),
        })
    }

    /// The head announced last.
    pub fn announced(&self) -> Arc<[u8]> {
        self.announced.lock().clone()
    }

    /// Take epochs into use that are not in use yet; the newest seals what is written from now on.
    pub fn learn_epochs(&self, epochs: &[(u32, EpochSecret)]) {
        for (epoch, secret) in epochs {
            if self.sealer.learn(*epoch, secret) {
                tracing::info!(volume = %self.id, epoch, "a new epoch begins");
            }
        }
    }

    /// Public key of this device as an author of the volume.
    pub fn author(&self) -> [u8; 32] {
        *self.public.read()
    }

    /// The tree blocks of `want` that are not in `have` (`None`: an empty tree), parents before children: reference and
    /// level. Work is proportional to what differs; a few shared blocks on the way may be among them.
    pub fn missing_tree_blocks(
        &self,
        want: &Root,
        have: Option<&Root>,
        visit: &mut dyn FnMut(&Ref, u8) -> Result<()>,
    ) -> Result<()> {
        let empty = self.tree.empty();
        self.tree.missing(have.unwrap_or(&empty), want, visit)
    }

    /// The blocks that hold the content of `ino`, or (a directory) of everything below it down to `depth` levels:
    /// type, level, reference, whether it is here. Manifests come before what they refer to and are fetched if
    /// `visit` says true and they are not here. Every name of a file counts.
    pub fn content_blocks(
        &self,
        ino: Ino,
        depth: usize,
        visit: &mut dyn FnMut(BlockType, u8, &Ref, bool) -> Result<bool>,
    ) -> Result<()> {
        let inode = self.inode(ino)?;
        let mut open = vec![(inode.id, inode.kind, depth)];
        while let Some((id, kind, depth)) = open.pop() {
            match kind {
                NodeKind::File => self.file_blocks(id, visit)?,
                NodeKind::Directory if depth > 0 => {
                    let mut after = None;
                    loop {
                        let batch = self.batch(id, after.as_ref())?;
                        let Some((last, ..)) = batch.last() else { break };
                        after = Some(last.clone());
                        open.extend(batch.into_iter().map(|(_, target, _)| (target.id, target.kind, depth - 1)));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file_blocks(&self, id: NodeId, visit: &mut dyn FnMut(BlockType, u8, &Ref, bool) -> Result<bool>) -> Result<()> {
        let inode = self.inode_of(id)?;
        let versions: Vec<_> = inode.inner.lock().state.content.0.iter().map(|(_, v)| v.data.clone()).collect();
        for data in versions {
            let content = decode(&data)?;
            manifest::blocks(&self.blocks, &content, |t, level, r| visit(t, level, r, self.blocks.contains(r)))?;
        }
        Ok(())
    }
}
