//! Settling: a file's live content becomes a new version of its replicated state.
//!
//! The pieces are frozen under the file's lock, cut and stored without it. What was written meanwhile stays
//! as pieces over the result.

use std::sync::Arc;

use bytes::Bytes;

use super::assemble::Assembler;
use super::file::{File, encode};
use super::pieces::{Segment, Source};
use super::since::Since;
use crate::base::port::Time;
use crate::base::{Kind, Result, limits};
use crate::cas::manifest::{self, Content, Extent};
use crate::causal::Version;
use crate::seal::Ref;
use crate::volume::Volume;
use crate::volume::inode::{Inner, Inode};

/// What lies at one place of the file, detached from the file's lock.
enum Item {
    Base { from: u64, len: u64 },
    Hole(u64),
    Bytes(Bytes),
    Cut(Bytes),
    Chunk { block: Ref, cut: bool },
    Slice { block: Ref, skip: u32, len: u64 },
}

/// A frozen view of a file.
struct Plan {
    base: Content,
    base_size: u64,
    size: u64,
    mtime: Time,
    number: u64,
    items: Vec<Item>,
}

impl Volume {
    /// Make the live content of `inode` its settled content. False: it changed meanwhile, and what changed is
    /// still unsettled.
    pub(in crate::volume) fn settle(&self, inode: &Arc<Inode>) -> Result<bool> {
        self.settle_unless(inode, || false)
    }

    /// As [`Self::settle`]; given up (false) between two pieces once `given_up` says so.
    pub(in crate::volume) fn settle_unless(&self, inode: &Arc<Inode>, given_up: impl Fn() -> bool) -> Result<bool> {
        let _alone = inode.settling.lock();
        let _storing = self.storing.read();
        let Some(plan) = self.freeze(inode) else { return Ok(true) };
        let content = match self.build(&plan, given_up) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.background_failed(inode, &error);
                return Err(error);
            }
        };
        self.gauge.report(None);
        self.adopt(inode, &plan, &content)
    }

    /// Take a frozen view; `None` if nothing is unsettled.
    fn freeze(&self, inode: &Arc<Inode>) -> Option<Plan> {
        let mut guard = inode.inner.lock();
        let inner = &mut *guard;
        let Some(file) = inner.file.as_mut() else {
            inner.ordered = false;
            return None;
        };
        let Some((mtime, _)) = file.touched else {
            inner.ordered = false;
            self.forget_file(inner);
            return None;
        };
        if inner.hidden {
            // Nobody will ever see it settled.
            if inner.opens == 0 {
                self.discard_content(inner);
            }
            return None;
        }
        file.pieces.freeze(|| self.next_piece());
        let number = self.next_piece();
        file.since = Some(Since::new(number, file.size));
        Some(Plan {
            base: file.base.clone(),
            base_size: file.base_size,
            size: file.size,
            mtime,
            number,
            items: items(file),
        })
    }

    /// The content of a plan, and how many bytes of it are not holes; `None` when given up.
    fn build(&self, plan: &Plan, given_up: impl Fn() -> bool) -> Result<Option<(Content, u64)>> {
        if let [Item::Bytes(data)] = plan.items.as_slice()
            && data.len() <= limits::MAX_INLINE
        {
            return Ok(Some((Content::inline(data)?, data.len() as u64)));
        }
        let mut feed = Feed { to: Assembler::new(&self.blocks, &self.chunker), held: None };
        for item in &plan.items {
            if given_up() {
                return Ok(None);
            }
            match item {
                Item::Base { from, len } => self.feed_base(&mut feed, plan, *from, *len)?,
                Item::Hole(len) => feed.hole(*len)?,
                Item::Bytes(data) => feed.then(|to| to.bytes(data))?,
                Item::Cut(data) => feed.then(|to| to.cut_bytes(data))?,
                Item::Chunk { block, cut } => feed.chunk(*block, *cut)?,
                Item::Slice { block, skip, len } => feed.then(|to| to.slice(block, *skip, *len))?,
            }
        }
        feed.release(true)?;
        feed.to.finish(plan.size).map(Some)
    }

    fn feed_base(&self, feed: &mut Feed<'_>, plan: &Plan, from: u64, len: u64) -> Result<()> {
        if let Content::Inline(bytes) = &plan.base {
            let at = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
            let end = at.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
            let there = bytes.get(at..end.min(bytes.len())).unwrap_or_default();
            feed.then(|to| to.bytes(there))?;
            let rest = len - there.len() as u64;
            return if rest > 0 { feed.hole(rest) } else { Ok(()) };
        }
        let end = from + len;
        let mut extents = manifest::extents(&self.blocks, &plan.base, plan.base_size, from).peekable();
        while let Some(span) = extents.next() {
            let span = span?;
            if span.start >= end {
                break;
            }
            let (start, stop) = (span.start.max(from), span.end().min(end));
            let whole = start == span.start && stop == span.end();
            let followed = matches!(extents.peek(), Some(Ok(next)) if matches!(next.extent, Extent::Data(_)));
            match span.extent {
                Extent::Hole(_) => feed.hole(stop - start)?,
                Extent::Data(block) if whole => feed.chunk(block, followed)?,
                Extent::Data(block) => {
                    let skip = u32::try_from(start - span.start).unwrap_or(u32::MAX);
                    feed.then(|to| to.slice(&block, skip, stop - start))?;
                }
            }
        }
        Ok(())
    }

    /// Put the new version in place; what changed since the plan was made stays as pieces over it.
    fn adopt(&self, inode: &Arc<Inode>, plan: &Plan, content: &(Content, u64)) -> Result<bool> {
        let data = encode(&content.0, content.1)?;
        let mut ns = self.ns.lock();
        let mut guard = inode.inner.lock();
        let inner = &mut *guard;
        let Some(file) = inner.file.as_mut() else { return Ok(true) };
        // Another plan was made since, or nothing of this one holds.
        let Some(since) = file.since.take_if(|since| since.plan == plan.number) else { return Ok(false) };
        if since.void || inner.hidden {
            return Ok(false);
        }
        let done = since.is_nothing(plan.size, file.size);
        let mtime = if done { file.touched.map_or(plan.mtime, |(mtime, _)| mtime) } else { plan.mtime };
        let (dot, stamp) = ns.tick(&*self.clock);
        self.note_replaced(&inner.state);
        let known = std::mem::replace(&mut file.over, vec![dot]);
        let old = inner.state.content.0.iter().find(|(dot, _)| known.contains(dot)).cloned();
        if let Some(old) = old.filter(|_| ns.shared) {
            self.lineage.lock().wrote(inode.id, dot, old);
        }
        inner.state.content.replace(&known, dot, Version { data, size: plan.size, mtime, stamp });
        inner.state.assert_places(dot);
        let several = inner.state.content.0.len() > 1;
        if done {
            inner.ordered = false;
            self.forget_file(inner);
        } else {
            file.rebase(content, plan.size, &since);
            file.detached = inner.state.shown().is_none_or(|(shown, _)| *shown != dot);
            self.gauge.add(file.held_change());
        }
        ns.touch(inode, inner);
        drop(guard);
        self.drop_twins(&mut ns, inode)?;
        if several {
            ns.view.doubt(inode.id);
        }
        self.review(&mut ns, &[inode.id], &[]);
        Ok(done)
    }

    /// Drop the live view of a file whose settled state says it all.
    fn forget_file(&self, inner: &mut Inner) {
        if let Some(mut file) = inner.file.take() {
            file.pieces.truncate(0);
            self.gauge.add(file.held_change());
        }
    }

    /// A background write failed: whoever waits for room or syncs must hear of it.
    pub(in crate::volume) fn background_failed(&self, inode: &Arc<Inode>, error: &crate::base::Error) {
        let kind = if error.kind() == Kind::Full { Kind::Full } else { Kind::Io };
        tracing::warn!(node = %inode.id, "cannot store file content: {}", error.chain());
        self.gauge.report(Some(kind));
        if let Some(file) = inode.inner.lock().file.as_mut() {
            file.failed = Some(kind);
        }
    }
}

fn items(file: &File) -> Vec<Item> {
    let segments = file.pieces.segments(0..file.size);
    let mut items = Vec::with_capacity(segments.len());
    for (from, len, segment) in segments {
        items.push(match segment {
            Segment::Base => Item::Base { from, len },
            Segment::Hole => Item::Hole(len),
            Segment::Piece { piece, .. } => match &piece.source {
                Source::Sealing { data, cut: true, .. } => Item::Cut(data.clone()),
                Source::Sealing { data, .. } => Item::Bytes(data.clone()),
                Source::Dirty(data) => Item::Bytes(Bytes::copy_from_slice(data)),
                Source::Block { block, skip: 0, cut } if u64::from(block.len) == len => {
                    if *cut {
                        Item::Chunk { block: *block, cut: true }
                    } else {
                        Item::Slice { block: *block, skip: 0, len }
                    }
                }
                Source::Block { block, skip, .. } => Item::Slice { block: *block, skip: *skip, len },
                Source::Hole => Item::Hole(len),
            },
        });
    }
    items
}

/// Holds a chunk back until it is known what follows it.
struct Feed<'a> {
    to: Assembler<'a>,
    held: Option<(Ref, bool)>,
}

impl<'a> Feed<'a> {
    fn release(&mut self, last: bool) -> Result<()> {
        match self.held.take() {
            Some((block, cut)) => self.to.chunk(block, cut, last),
            None => Ok(()),
        }
    }

    fn chunk(&mut self, block: Ref, cut: bool) -> Result<()> {
        self.release(false)?;
        self.held = Some((block, cut));
        Ok(())
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        self.release(true)?;
        self.to.hole(len)
    }

    fn then(&mut self, act: impl FnOnce(&mut Assembler<'a>) -> Result<()>) -> Result<()> {
        self.release(false)?;
        act(&mut self.to)
    }
}
