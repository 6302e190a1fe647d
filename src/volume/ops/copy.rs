//! copy_file_range: the copy shares the source's blocks.

use std::sync::Arc;

use crate::base::{Error, Kind, Result, limits};
use crate::causal::Version;
use crate::volume::Volume;
use crate::volume::api::Ino;
use crate::volume::content::{File, Piece, Source};
use crate::volume::inode::Inode;

impl Volume {
    /// Copy `len` bytes (less only at the end of the source). Costs O(blocks in the range) and no data: what
    /// the source holds in memory is stored first. A range of one file onto itself must not overlap.
    pub(super) fn copy_content(&self, from: Ino, from_at: u64, to: Ino, to_at: u64, len: u64) -> Result<u64> {
        self.check_writable()?;
        let (source, target) = (self.file(from)?, self.file(to)?);
        self.own(&target)?;
        let size = source.inner.lock().size();
        let len = len.min(size.saturating_sub(from_at));
        let end = to_at.checked_add(len).filter(|end| *end <= limits::MAX_FILE);
        let end = end.ok_or_else(|| Error::new(Kind::TooBig, "copy range", ""))?;
        if from == to && from_at < end && to_at < from_at + len {
            return Err(Error::new(Kind::Invalid, "copy range", "the ranges overlap"));
        }
        if len == 0 {
            return Ok(0);
        }
        if self.copy_whole(&source, &target, (from_at, to_at, len, size))? {
            return Ok(len);
        }
        let pieces = self.range_pieces(&source, from_at, len)?;
        let now = self.clock.now();
        self.change(&target, |file| {
            file.pieces.punch(to_at..end);
            for (at, piece) in pieces {
                file.pieces.put(at - from_at + to_at, piece);
            }
            file.size = file.size.max(end);
            file.changed(to_at..end, now);
            Ok(())
        })?;
        Ok(len)
    }

    /// A whole file onto an empty one: the settled content is shared. Constant time once the source is settled.
    fn copy_whole(&self, source: &Arc<Inode>, target: &Arc<Inode>, what: (u64, u64, u64, u64)) -> Result<bool> {
        let (from_at, to_at, len, size) = what;
        if from_at != 0 || to_at != 0 || len != size || source.ino == target.ino {
            return Ok(false);
        }
        self.settle(source)?;
        let settled = {
            let inner = source.inner.lock();
            match (&inner.file, inner.state.shown()) {
                (None, Some((_, version))) if version.size == size => version.clone(),
                _ => return Ok(false),
            }
        };
        let mut ns = self.ns.lock();
        let mut inner = target.inner.lock();
        if inner.size() != 0 {
            return Ok(false);
        }
        self.discard_content(&mut inner);
        let (dot, stamp) = ns.tick(&*self.clock);
        let known: Vec<_> = inner.state.shown().map(|(dot, _)| *dot).into_iter().collect();
        inner.state.content.replace(&known, dot, Version { mtime: stamp.time, stamp, ..settled });
        inner.state.assert_places(dot);
        ns.touch(target, &mut inner);
        drop(inner);
        self.drop_twins(&mut ns, target)?;
        self.review(&mut ns, &[target.id], &[]);
        drop(ns);
        self.nudge();
        Ok(true)
    }

    /// What lies in a range of a file, as pieces that share its blocks.
    fn range_pieces(&self, source: &Arc<Inode>, at: u64, len: u64) -> Result<Vec<(u64, Piece)>> {
        loop {
            self.spill(source)?;
            let (base, below) = self.base_pieces(source, at..at + len)?;
            let inner = source.inner.lock();
            let scratch;
            let file = if let Some(file) = &inner.file {
                file
            } else {
                scratch = File::of(&inner.state)?;
                &scratch
            };
            if file.base == base {
                let all = below.under(&file.pieces);
                return Ok(all
                    .extract(at..at + len)
                    .into_iter()
                    .filter(|(_, p)| !matches!(p.source, Source::Hole))
                    .collect());
            }
        }
    }
}
