//! Single versions of a file, and how much of a node's content is here: what is shown beside the files themselves.
//!
//! Read-only. Must never fetch anything in order to count.

use std::collections::HashSet;

use super::Volume;
use super::api::Ino;
use super::content::decode;
use crate::base::{Bid, Error, Kind, NodeId, Result};
use crate::cas::manifest;
use crate::causal::{Dot, NodeKind};
use crate::seal::BlockType;

/// Blocks looked at to say how much of a directory is here; beyond them nobody waits for the answer.
const MOST: u64 = 200_000;

/// How much of a node's content is on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presence {
    /// Bytes that can be read without anybody else, holes included.
    pub local: u64,
    /// Bytes in all.
    pub size: u64,
}

impl Volume {
    /// Up to `len` bytes at `offset` of one version of a file. [`Kind::NotFound`] when there is no such version (any
    /// more).
    pub fn read_version(&self, node: NodeId, version: Dot, offset: u64, len: u32) -> Result<Vec<u8>> {
        let inode = self.inode_of(node)?;
        let found = inode.inner.lock().state.content.0.iter().find(|(dot, _)| *dot == version).map(|(_, v)| v.clone());
        let found = found.ok_or_else(|| Error::new(Kind::NotFound, "read a version", node.to_string()))?;
        self.read_stored(&found.data, found.size, offset, len)
    }

    /// Bytes of a content that a version names.
    pub(super) fn read_stored(&self, data: &[u8], size: u64, offset: u64, len: u32) -> Result<Vec<u8>> {
        let left = u32::try_from(size.saturating_sub(offset)).unwrap_or(u32::MAX);
        let mut out = vec![0; len.min(left) as usize];
        let read = manifest::read_at(&self.blocks, &decode(data)?, size, offset, &mut out)?;
        out.truncate(read);
        Ok(out)
    }

    /// How much of a file, or of everything below a directory, is here. [`Kind::TooBig`] where counting would take
    /// long.
    pub fn presence(&self, ino: Ino) -> Result<Presence> {
        let inode = self.inode(ino)?;
        let size = match inode.kind {
            NodeKind::Directory => self.totals_of(inode.id)?.rbytes,
            NodeKind::File => inode.attr().size,
            _ => 0,
        };
        let (mut local, mut absent, mut unknown, mut looked) = (0_u64, 0_u64, false, 0_u64);
        if matches!(inode.kind, NodeKind::Directory | NodeKind::File) {
            self.content_blocks(ino, usize::MAX, &mut |t, _, r, here| {
                looked += 1;
                if looked > MOST {
                    return Err(Error::new(Kind::TooBig, "count what is here", inode.id.to_string()));
                }
                match t {
                    BlockType::Data if here => local = local.saturating_add(r.len.into()),
                    BlockType::Data => absent = absent.saturating_add(r.len.into()),
                    _ => unknown |= !here,
                }
                Ok(here)
            })?;
        }
        // What no block holds is a hole or in the tree itself, unless a list of blocks is missing too.
        let local = if unknown { local.min(size) } else { size.saturating_sub(absent) };
        Ok(Presence { local, size })
    }

    /// The blocks of data below `ino`, `depth` levels deep, as far as their lists are here.
    pub fn data_blocks(&self, ino: Ino, depth: usize, into: &mut HashSet<Bid>) -> Result<()> {
        self.content_blocks(ino, depth, &mut |t, _, r, here| {
            if t == BlockType::Data {
                into.insert(r.bid);
            }
            Ok(here)
        })
    }
}
