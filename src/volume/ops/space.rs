//! fallocate and seek: holes and data.

use std::ops::Range;
use std::sync::Arc;

use crate::base::{Error, Kind, Result, limits};
use crate::cas::manifest::{self, Content, Extent};
use crate::volume::Volume;
use crate::volume::api::{FallocMode, Ino, SeekWhence};
use crate::volume::content::{File, Piece, Pieces, Segment, Source};
use crate::volume::inode::Inode;

impl Volume {
    /// See fallocate(2). Space is never reserved: blocks are stored as data comes.
    pub(super) fn allocate(&self, ino: Ino, offset: u64, len: u64, mode: FallocMode) -> Result<()> {
        self.check_writable()?;
        let inode = self.file(ino)?;
        let end = offset.checked_add(len).filter(|end| *end <= limits::MAX_FILE && len > 0);
        let end = end.ok_or_else(|| Error::new(if len == 0 { Kind::Invalid } else { Kind::TooBig }, "allocate", ""))?;
        if mode.collapse || mode.insert {
            return self.shift(&inode, offset, len, mode.insert);
        }
        let now = self.clock.now();
        self.change(&inode, |file| {
            let old = file.size;
            if mode.punch || mode.zero {
                file.pieces.punch(offset..end.min(old.max(offset)));
                file.changed(offset..end.min(old.max(offset)), now);
            }
            if !mode.keep_size && end > old {
                file.size = end;
                file.changed(old..end, now);
            }
            Ok(())
        })
    }

    /// Take a range out, or insert one.
    fn shift(&self, inode: &Arc<Inode>, offset: u64, len: u64, insert: bool) -> Result<()> {
        let now = self.clock.now();
        let mut done = false;
        while !done {
            let (base, below) = self.base_pieces(inode, 0..u64::MAX)?;
            self.change(inode, |file| {
                let outside = if insert { offset >= file.size } else { offset + len >= file.size };
                if outside || (insert && file.size.saturating_add(len) > limits::MAX_FILE) {
                    return Err(Error::new(Kind::Invalid, "shift content", "the range is not inside the file"));
                }
                if file.base != base {
                    return Ok(()); // settled meanwhile: look again
                }
                file.pieces = below.under(&file.pieces);
                if insert {
                    file.pieces.insert_gap(offset, len);
                    file.size += len;
                } else {
                    file.pieces.collapse(offset..offset + len);
                    file.size -= len;
                }
                file.frontier = None;
                file.passed.take();
                file.shifted();
                file.restate_all();
                file.changed(offset..file.size, now);
                done = true;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The settled content of a file, and what of it lies in `range` as pieces. Reads manifests without a
    /// lock: the caller checks afterwards that this content is still the file's base.
    pub(super) fn base_pieces(&self, inode: &Arc<Inode>, range: Range<u64>) -> Result<(Content, Pieces)> {
        let (base, size) = {
            let inner = inode.inner.lock();
            match &inner.file {
                Some(file) => (file.base.clone(), file.base_size),
                None => File::of(&inner.state).map(|file| (file.base.clone(), file.base_size))?,
            }
        };
        let pieces = pieces_of(self, &base, size, range)?;
        Ok((base, pieces))
    }

    /// See lseek(2). [`Kind::NotFound`] past the end (the adapter's ENXIO).
    pub(super) fn seek_file(&self, ino: Ino, offset: u64, whence: SeekWhence) -> Result<u64> {
        let inode = self.file(ino)?;
        let (size, base, base_size, parts) = {
            let inner = inode.inner.lock();
            let scratch;
            let file = if let Some(file) = &inner.file {
                file
            } else {
                scratch = File::of(&inner.state)?;
                &scratch
            };
            let parts: Vec<_> = file
                .pieces
                .segments(offset.min(file.size)..file.size)
                .into_iter()
                .map(|(at, len, segment)| (at, len, classify(&segment)))
                .collect();
            (file.size, file.base.clone(), file.base_size, parts)
        };
        if offset >= size {
            return Err(Error::new(Kind::NotFound, "seek", "past the end"));
        }
        for (at, len, what) in parts {
            let found = match (what, whence) {
                (What::Data, SeekWhence::Data) | (What::Hole, SeekWhence::Hole) => Some(at),
                (What::Base, _) => self.seek_base(&base, base_size, at, at + len, whence)?,
                _ => None,
            };
            if let Some(found) = found {
                return Ok(found.max(offset));
            }
        }
        match whence {
            SeekWhence::Hole => Ok(size),
            SeekWhence::Data => Err(Error::new(Kind::NotFound, "seek", "no more data")),
        }
    }

    fn seek_base(&self, base: &Content, size: u64, from: u64, to: u64, whence: SeekWhence) -> Result<Option<u64>> {
        if let Content::Inline(bytes) = base {
            let end = bytes.len() as u64;
            let hole = end.max(from);
            return Ok(match whence {
                SeekWhence::Data => (from < end).then_some(from),
                SeekWhence::Hole => (hole < to).then_some(hole),
            });
        }
        for span in manifest::extents(&self.blocks, base, size, from) {
            let span = span?;
            if span.start >= to {
                break;
            }
            if matches!(span.extent, Extent::Data(_)) == (whence == SeekWhence::Data) {
                return Ok(Some(span.start.max(from)));
            }
        }
        Ok(None)
    }
}

#[derive(Clone, Copy)]
enum What {
    Base,
    Data,
    Hole,
}

fn classify(segment: &Segment<'_>) -> What {
    match segment {
        Segment::Base => What::Base,
        Segment::Hole => What::Hole,
        Segment::Piece { piece, .. } if matches!(piece.source, Source::Hole) => What::Hole,
        Segment::Piece { .. } => What::Data,
    }
}

/// Settled content in `range` as pieces.
fn pieces_of(volume: &Volume, base: &Content, size: u64, range: Range<u64>) -> Result<Pieces> {
    let mut out = Pieces::over(0);
    if let Content::Inline(bytes) = base {
        out.write(0, bytes);
        return Ok(out);
    }
    let mut extents = manifest::extents(&volume.blocks, base, size, range.start).peekable();
    while let Some(span) = extents.next() {
        let span = span?;
        if span.start >= range.end {
            break;
        }
        if let Extent::Data(block) = span.extent {
            let cut = matches!(extents.peek(), Some(Ok(next)) if matches!(next.extent, Extent::Data(_)));
            out.put(span.start, Piece { len: span.extent.len(), source: Source::Block { block, skip: 0, cut } });
        }
    }
    Ok(out)
}
