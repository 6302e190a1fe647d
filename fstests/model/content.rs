//! The bytes of a file: pages that were written, everything else a hole that reads as zeros.

use std::collections::BTreeMap;

/// Bytes in a page; holes are seen at this granularity.
pub(super) const PAGE: u64 = 4096;

type Page = [u8; 4096];

/// Content of a regular file. Bytes past `size` in the last page are always zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) size: u64,
    pages: BTreeMap<u64, Box<Page>>,
}

/// The pieces of `[from, to)` page by page: page number, then the range within the page.
fn pieces(from: u64, to: u64) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let last = to.div_ceil(PAGE);
    (from / PAGE..last).filter(move |_| from < to).map(move |page| {
        let start = page * PAGE;
        let within = |at: u64| usize::try_from(at.clamp(start, start.saturating_add(PAGE)) - start).unwrap_or(0);
        (page, within(from)..within(to))
    })
}

impl Content {
    pub(super) fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.size);
        let mut out = Vec::with_capacity(usize::try_from(end.saturating_sub(offset)).unwrap_or(0));
        for (page, range) in pieces(offset, end) {
            match self.pages.get(&page) {
                Some(bytes) => out.extend_from_slice(&bytes[range]),
                None => out.resize(out.len() + range.len(), 0),
            }
        }
        out
    }

    pub(super) fn write(&mut self, offset: u64, mut data: &[u8]) {
        let end = offset + data.len() as u64;
        for (page, range) in pieces(offset, end) {
            let (piece, rest) = data.split_at(range.len());
            self.pages.entry(page).or_insert_with(|| Box::new([0; 4096]))[range].copy_from_slice(piece);
            data = rest;
        }
        self.size = self.size.max(end);
    }

    pub(super) fn resize(&mut self, size: u64) {
        if size < self.size {
            self.clear(size, self.size);
            self.pages.split_off(&size.div_ceil(PAGE));
        }
        self.size = size;
    }

    /// Make `[from, to)` read as zeros: whole pages become holes.
    pub(super) fn clear(&mut self, from: u64, to: u64) {
        let whole = from.div_ceil(PAGE)..(to / PAGE).max(from.div_ceil(PAGE));
        let gone: Vec<u64> = self.pages.range(whole).map(|(page, _)| *page).collect();
        for page in gone {
            self.pages.remove(&page);
        }
        let edges = [(from, to.min(from.next_multiple_of(PAGE))), (from.max(to / PAGE * PAGE), to)];
        for (page, range) in edges.into_iter().flat_map(|(from, to)| pieces(from, to)) {
            if let Some(bytes) = self.pages.get_mut(&page) {
                bytes[range].fill(0);
            }
        }
    }

    /// The first byte of data at or after `offset`; `None` if there is none before the end.
    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        let (page, _) = self.pages.range(offset / PAGE..).next()?;
        Some(offset.max(page * PAGE)).filter(|at| *at < self.size)
    }

    /// The first hole at or after `offset`; the end counts as one. `None` at or past the end.
    pub(super) fn next_hole(&self, offset: u64) -> Option<u64> {
        let mut page = offset / PAGE;
        while self.pages.contains_key(&page) {
            page += 1;
        }
        Some(offset.max(page * PAGE).min(self.size)).filter(|_| offset < self.size)
    }

    /// Allocated size in units of 512 bytes.
    pub(super) fn blocks(&self) -> u64 {
        self.pages.len() as u64 * (PAGE / 512)
    }
}
