//! Collecting garbage: mark what the trees and memory reach, delete the rest, compact.
//!
//! Safe beside everything else: whatever is stored or found stored after the mark began is kept, what was
//! reachable then is marked. Memory: nine bytes a block. A block that cannot be read ends the collection
//! before anything is deleted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Volume;
use super::content::{Source, decode};
use super::inode::Inode;
use super::namespace::Roots;
use super::room::free_bytes;
use super::row::decode_state;
use crate::base::{Bid, Error, Kind, Result};
use crate::cas::Blocks;
use crate::cas::manifest::{self, Content};
use crate::seal::Ref;

/// Deleted at a time.
const BATCH: usize = 4096;

/// What a collection found and freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Blocks that are reachable.
    pub kept_blocks: u64,
    /// Bytes of what stays.
    pub kept_bytes: u64,
    /// Blocks that are not, and the bytes they took.
    pub freed_blocks: u64,
    /// See `freed_blocks`.
    pub freed_bytes: u64,
}

/// Told how far a long operation is: phase, done, out of how many. An error stops it.
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, u64, Option<u64>) -> Result<()>;

/// Every block there is, by the first eight bytes of its id, and whether it was met.
struct Marks {
    known: Vec<u64>,
    met: Vec<bool>,
    count: u64,
}

impl Marks {
    fn of(mut known: Vec<u64>) -> Self {
        known.sort_unstable();
        known.dedup();
        let met = vec![false; known.len()];
        Self { known, met, count: 0 }
    }

    /// Mark; true the first time.
    fn meet(&mut self, bid: &Bid) -> bool {
        let Ok(at) = self.known.binary_search(&short(bid)) else { return true };
        match self.met.get_mut(at) {
            Some(met) if !*met => {
                *met = true;
                self.count += 1;
                true
            }
            _ => false,
        }
    }

    /// Whether it was there when the mark began and never met.
    fn is_garbage(&self, bid: &Bid) -> bool {
        let at = self.known.binary_search(&short(bid));
        at.is_ok_and(|at| self.met.get(at) == Some(&false))
    }
}

fn short(bid: &Bid) -> u64 {
    u64::from_le_bytes(*bid.as_bytes().first_chunk::<8>().unwrap_or(&[0; 8]))
}

/// Told every block that is met; says whether to look below it.
pub(super) type Meet<'m> = &'m mut dyn FnMut(&Ref) -> Result<bool>;

/// Contents and blocks that only memory refers to.
pub(super) type Held = (Vec<Content>, Vec<Ref>);

/// Ends the mark, however the collection ends.
struct Marking<'b>(&'b Blocks);

impl Drop for Marking<'_> {
    fn drop(&mut self) {
        self.0.end_mark();
    }
}

impl Volume {
    /// Free what nothing reaches; with `dry_run` only say how much that is.
    pub fn collect(&self, dry_run: bool, progress: Progress<'_>) -> Result<Collected> {
        let Some(_one) = self.collecting.try_lock() else {
            return Err(Error::new(Kind::Busy, "collect garbage", "a collection is running already"));
        };
        if !self.read_only {
            match self.settle_all() {
                // What waits for room stays in memory, and keeps the blocks under it.
                Err(e) if e.kind() == Kind::Full => {}
                other => other?,
            }
            self.seal()?;
        }
        let (marking, roots, held) = {
            let _sealing = self.sealing.lock();
            let _storing = self.storing.write();
            self.blocks.begin_mark();
            let roots = self.ns.lock().roots.clone();
            let mut held = self.held_blocks()?;
            held.0.extend(self.lineage.lock().contents()?);
            (Marking(&self.blocks), roots, held)
        };
        let before = self.garbage_bytes();
        let mut known = Vec::new();
        self.blocks.log().for_each(|bid, _| known.push(short(&bid)))?;
        let mut marks = Marks::of(known);
        let mut meet = |block: &Ref| Ok(marks.meet(&block.bid) && self.is_here(block));
        self.mark(&mut meet, &roots, &held, progress)?;
        let promised = self.promises.lock().standing(Instant::now());
        let mut dead = Vec::new();
        let mut done = Collected { kept_blocks: marks.count, ..Collected::default() };
        self.blocks.log().for_each(|bid, len| {
            if marks.is_garbage(&bid) && !promised.contains(&bid) {
                dead.push(bid);
                done.freed_bytes += u64::from(len);
            } else {
                done.kept_bytes += u64::from(len);
            }
        })?;
        done.freed_blocks = dead.len() as u64;
        if dry_run || self.read_only {
            return Ok(done);
        }
        (done.freed_blocks, done.freed_bytes) = (0, 0);
        self.sweeps.fetch_add(1, Ordering::AcqRel);
        for (n, batch) in dead.chunks(BATCH).enumerate() {
            done.freed_bytes += self.blocks.sweep(batch)?;
            done.freed_blocks += batch.len() as u64;
            progress("freeing", ((n + 1) * BATCH) as u64, Some(dead.len() as u64))?;
        }
        drop(marking);
        self.forgive_garbage(before);
        self.blocks.log().compact()?;
        Ok(done)
    }

    /// Contents and blocks that only memory refers to.
    pub(super) fn held_blocks(&self) -> Result<Held> {
        let residents: Vec<Arc<Inode>> = self.ns.lock().table.residents().cloned().collect();
        let (mut contents, mut blocks) = (Vec::new(), Vec::new());
        for inode in residents {
            let inner = inode.inner.lock();
            if inner.gone && inner.opens == 0 {
                continue; // only the kernel's memory of a number: nobody can read it any more
            }
            if inode.kind == crate::causal::NodeKind::File {
                for (_, version) in &inner.state.content.0 {
                    contents.push(decode(&version.data)?);
                }
            }
            if let Some(file) = &inner.file {
                contents.push(file.base.clone());
                blocks.extend(file.pieces.iter().filter_map(|(_, piece)| match piece.source {
                    Source::Block { block, .. } => Some(block),
                    _ => None,
                }));
            }
        }
        Ok((contents, blocks))
    }

    /// Meet everything that the trees and memory reach.
    pub(super) fn mark(&self, meet: Meet<'_>, roots: &Roots, held: &Held, progress: Progress<'_>) -> Result<()> {
        for block in &held.1 {
            meet(block)?;
        }
        for content in &held.0 {
            self.mark_content(meet, content)?;
        }
        for root in [&roots.index, &roots.displaced] {
            self.tree.blocks(root, |block, _| meet(block))?;
        }
        let total = roots.raw.count + roots.local.count;
        let mut nodes = 0;
        let meet = std::cell::RefCell::new(meet);
        for root in [&roots.raw, &roots.local] {
            self.tree.walk(
                root,
                |block, _| (meet.borrow_mut())(block),
                |_, value| {
                    self.mark_state(&mut **meet.borrow_mut(), value)?;
                    nodes += 1;
                    if nodes % 4096 == 0 { progress("marking", nodes, Some(total)) } else { Ok(()) }
                },
            )?;
        }
        Ok(())
    }

    /// Meet the contents of a node.
    pub(super) fn mark_state(&self, meet: Meet<'_>, value: &[u8]) -> Result<()> {
        let state = decode_state(value)?;
        if state.kind == crate::causal::NodeKind::File {
            for (_, version) in &state.content.0 {
                self.mark_content(meet, &decode(&version.data)?)?;
            }
        }
        Ok(())
    }

    /// Whether to look below a block: where blocks may be elsewhere, what is not here has nothing below it here.
    pub(super) fn is_here(&self, block: &Ref) -> bool {
        !self.is_lazy() || self.blocks.contains(block)
    }

    pub(super) fn mark_content(&self, meet: Meet<'_>, content: &Content) -> Result<()> {
        manifest::blocks(&self.blocks, content, |_, _, block| meet(block))
    }

    /// Collect if much of what is stored has become garbage, or as much as the disk has left.
    pub(super) fn collect_if_due(&self) -> Result<()> {
        const LEAST: u64 = 256 << 20;
        let live = self.blocks.log().stat().live_bytes;
        let garbage = self.garbage_bytes();
        let short = || free_bytes(&self.dir).is_ok_and(|free| garbage > free);
        if garbage > LEAST.max(live / 3) || garbage > worth_it(live) && short() {
            let done = self.collect(false, &mut |_, _, _| Ok(()))?;
            tracing::info!("collected {} blocks, {} bytes", done.freed_blocks, done.freed_bytes);
        }
        Ok(())
    }

    /// The disk is full: free what is garbage, if that is worth the work. Whoever comes while another
    /// collects waits for it. True: there may be room now.
    pub(super) fn collect_for_room(&self) -> bool {
        if self.garbage_bytes() < worth_it(self.blocks.log().stat().live_bytes) {
            return false;
        }
        match self.collect(false, &mut |_, _, _| Ok(())) {
            Ok(done) => {
                tracing::info!("the disk is full: collected {} blocks, {} bytes", done.freed_blocks, done.freed_bytes);
                done.freed_bytes > 0
            }
            Err(e) if e.kind() == Kind::Busy => {
                drop(self.collecting.lock());
                true
            }
            Err(e) => {
                tracing::warn!("the disk is full and garbage cannot be freed: {}", e.chain());
                false
            }
        }
    }
}

/// Garbage worth a collection on a disk that is short of space, of `live` bytes stored.
fn worth_it(live: u64) -> u64 {
    const LEAST: u64 = 4 << 20;
    LEAST.max(live / 256)
}
