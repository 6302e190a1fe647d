//! Looking ahead of a reader whose file is not all here: what it will want next is asked for before it wants it.
//!
//! A file read from its beginning, or on where the last read ended, is taken for one read on; what is asked for ahead
//! doubles with each read. Must never wait, but for the list of blocks of a file that has none here, nor cost a file
//! that is here whole more than a look.

use std::collections::HashMap;
use std::ops::Range;

use crate::base::sync::Mutex;
use crate::cas::manifest::{Content, blocks_in};
use crate::seal::{BlockType, Ref};
use crate::volume::api::Ino;
use crate::volume::{Inode, Volume};

/// First and most bytes asked for ahead of a reader.
const FIRST: u64 = 512 << 10;
const MOST: u64 = 16 << 20;
/// The kernel reads ahead itself, in several threads: reads this near to each other are in order.
const NEAR: u64 = 2 << 20;
/// Files that are looked ahead in; beyond them all begin anew.
const FILES: usize = 64;

/// Files of which something was not here.
#[derive(Debug, Default)]
pub(in crate::volume) struct Readers(Mutex<HashMap<Ino, Reader>>);

/// How far a file was read.
#[derive(Debug, Clone, Copy, Default)]
struct Reader {
    /// Where the next read begins, if it goes on.
    next: u64,
    /// Up to where was asked.
    asked: u64,
    window: u64,
}

impl Reader {
    /// A read of `range` in a file of `size` bytes: what to ask for ahead of it.
    fn read(&mut self, range: &Range<u64>, size: u64) -> Range<u64> {
        let goes_on = range.start.abs_diff(self.next) <= NEAR;
        if goes_on {
            self.next = self.next.max(range.end);
        } else {
            *self = Self { next: range.end, asked: range.end, window: 0 };
            return range.end..range.end;
        }
        let from = self.asked.max(self.next).min(size);
        // Ask again when half of it was read, not for each read.
        if self.window > 0 && from.saturating_sub(self.next) >= self.window / 2 {
            return from..from;
        }
        self.window = (self.window * 2).clamp(FIRST, MOST);
        self.asked = self.next.saturating_add(self.window).min(size);
        from..self.asked.max(from)
    }
}

impl Volume {
    /// `range` of a file is about to be read.
    pub(super) fn look_ahead(&self, inode: &Inode, content: &Content, size: u64, range: Range<u64>) {
        let Content::Tree { root, level } = content else { return };
        if !self.has_others() {
            return;
        }
        let range = range.start..range.end.min(size);
        let root = (root, *level);
        let (mut now, whole) = self.absent(root, &range);
        if !whole {
            self.blocks.fetch_range(root, range.clone());
            now = self.absent(root, &range).0;
        }
        let ahead = {
            let mut readers = self.readers.0.lock();
            if now.is_empty() && whole && !readers.contains_key(&inode.ino) {
                return;
            }
            if readers.len() >= FILES && !readers.contains_key(&inode.ino) {
                readers.clear();
            }
            let ahead = readers.entry(inode.ino).or_default().read(&range, size);
            if range.end >= size {
                readers.remove(&inode.ino);
            }
            ahead
        };
        let later = if ahead.is_empty() { Vec::new() } else { self.absent(root, &ahead).0 };
        self.blocks.fetch_ahead(if now.len() > 1 { &now } else { &[] }, &later);
    }

    /// Blocks of data in `range` that are not here, each once, as far as the lists of them are; and whether those all are.
    fn absent(&self, root: (&Ref, u8), range: &Range<u64>) -> (Vec<Ref>, bool) {
        let (mut out, mut whole) = (Vec::new(), true);
        let looked = blocks_in(&self.blocks, root, range, |kind, _, r| {
            let here = self.blocks.contains(r);
            match kind {
                BlockType::Data if !here => out.push(*r),
                BlockType::Data => {}
                _ => whole &= here,
            }
            Ok(here) // what is not here is not waited for
        });
        out.dedup_by_key(|r| r.bid);
        (out, whole && looked.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_doubles_while_reading_goes_on_and_is_asked_for_once() {
        let (mut reader, size) = (Reader::default(), 1 << 30);
        let mut asked = 0..0;
        let (mut questions, step) = (0, 128 << 10);
        for at in (0..200_u64).map(|n| n * step) {
            let ahead = reader.read(&(at..at + step), size);
            if !ahead.is_empty() {
                assert!(ahead.start >= asked.end, "nothing twice");
                assert!(ahead.end - (at + step) <= MOST);
                asked = ahead;
                questions += 1;
            }
            assert!(asked.end > at + step, "always ahead");
        }
        assert!(questions < 12, "{questions}");
        assert_eq!(reader.window, MOST);
    }

    #[test]
    fn reads_here_and_there_ask_for_nothing_and_the_end_is_the_end() {
        let mut reader = Reader { next: 0, asked: 0, window: 0 };
        for at in [50 << 20, 10 << 20, 90 << 20, 30 << 20] {
            assert!(reader.read(&(at..at + 4096), 100 << 20).is_empty());
        }
        let ahead = reader.read(&((30 << 20) + 4096..(30 << 20) + 8192), (30 << 20) + 10_000);
        assert_eq!(ahead, (30 << 20) + 8192..(30 << 20) + 10_000);
        // Reads of a kernel that reads ahead come out of order.
        let mut reader = Reader::default();
        assert!(!reader.read(&(0..131_072), 1 << 30).is_empty());
        let _ = reader.read(&(262_144..393_216), 1 << 30);
        let _ = reader.read(&(131_072..262_144), 1 << 30);
        assert_eq!(reader.next, 393_216);
    }
}
