//! Reading live content: from memory under the file's lock, from blocks without it.

use crate::base::{Error, Kind, Result};
use crate::cas::manifest::{self, Content};
use crate::seal::Ref;
use crate::volume::Volume;
use crate::volume::content::{Segment, Source, decode};
use crate::volume::inode::{Inner, Inode};

/// A part of a read that needs blocks.
enum Later {
    Base { at: usize, len: usize, offset: u64 },
    Block { at: usize, len: usize, block: Ref, skip: u32 },
}

impl Volume {
    /// Up to `len` bytes at `offset`; short only at the end of the file.
    pub(in crate::volume) fn read_content(&self, inode: &Inode, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut out;
        let (base, base_size, later) = {
            let inner = inode.inner.lock();
            let left = usize::try_from(inner.size().saturating_sub(offset)).unwrap_or(usize::MAX);
            out = vec![0; len.min(left)];
            if out.is_empty() {
                return Ok(out);
            }
            plan(&inner, offset, &mut out)?
        };
        for part in later {
            match part {
                Later::Base { at, len, offset } => {
                    self.look_ahead(inode, &base, base_size, offset..offset.saturating_add(len as u64));
                    let slot = out.get_mut(at..at + len).unwrap_or_default();
                    manifest::read_at(&self.blocks, &base, base_size, offset, slot)?;
                }
                Later::Block { at, len, block, skip } => {
                    let slot = out.get_mut(at..at + len).unwrap_or_default();
                    self.blocks.read(&block, skip as usize, slot)?;
                }
            }
        }
        Ok(out)
    }
}

/// Copy what is in memory into `out`; say what must be read from blocks.
fn plan(inner: &Inner, offset: u64, out: &mut [u8]) -> Result<(Content, u64, Vec<Later>)> {
    let Some(file) = &inner.file else {
        let Some((_, version)) = inner.state.shown() else { return Ok((Content::Empty, 0, Vec::new())) };
        let all = Later::Base { at: 0, len: out.len(), offset };
        return Ok((decode(&version.data)?, version.size, vec![all]));
    };
    let mut later = Vec::new();
    for (start, len, segment) in file.pieces.segments(offset..offset + out.len() as u64) {
        let (at, len) = (to_usize(start - offset), to_usize(len));
        match segment {
            Segment::Base => later.push(Later::Base { at, len, offset: start }),
            Segment::Hole => {}
            Segment::Piece { piece, skip } => {
                let from = to_usize(skip);
                match &piece.source {
                    Source::Dirty(data) => copy(out.get_mut(at..at + len), data.get(from..from + len))?,
                    Source::Sealing { data, .. } => copy(out.get_mut(at..at + len), data.get(from..from + len))?,
                    Source::Block { block, skip: inside, .. } => {
                        let skip = inside.saturating_add(u32::try_from(skip).unwrap_or(u32::MAX));
                        later.push(Later::Block { at, len, block: *block, skip });
                    }
                    Source::Hole => {}
                }
            }
        }
    }
    Ok((file.base.clone(), file.base_size, later))
}

fn copy(to: Option<&mut [u8]>, from: Option<&[u8]>) -> Result<()> {
    match (to, from) {
        (Some(to), Some(from)) => to.copy_from_slice(from),
        _ => return Err(Error::new(Kind::Corrupt, "read content", "a block is shorter than its reference says")),
    }
    Ok(())
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
