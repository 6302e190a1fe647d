//! Directory listings that stay correct while entries change.
//!
//! Entries come in name order. A cookie is a position in one listing; the handle remembers which name
//! stood there, so that an unchanged entry is listed exactly once whatever happens to the others.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::sync::Mutex;
use crate::base::{Error, Kind, Name, NodeId, Result};
use crate::volume::Volume;
use crate::volume::api::{Attr, DirEntry, EntryName, Fh, FileKind, Ino};
use crate::volume::filesystem::Filler;
use crate::volume::names::{changed_after, name_in};
use crate::volume::namespace::{Namespace, Roots, Target};
use crate::volume::row::{Row, index_key};
use crate::volume::stat::file_kind;

/// Sealed rows read at a time.
const BATCH: usize = 512;
/// Names whose cookies are remembered exactly; of older ones every [`MARK`]th is.
const WINDOW: usize = 4096;
const MARK: u64 = 256;

/// An open directory.
#[derive(Debug)]
pub(in crate::volume) struct Listing {
    id: NodeId,
    ino: Ino,
    positions: Mutex<Positions>,
}

/// Which name stood at which cookie. Cookies 1 and 2 are `.` and `..`.
#[derive(Debug, Default)]
struct Positions {
    recent: VecDeque<(u64, Name)>,
    marks: BTreeMap<u64, Name>,
}

/// Open directories by handle.
#[derive(Debug, Default)]
pub(in crate::volume) struct Listings {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Listing>>>,
}

impl Listings {
    fn insert(&self, listing: Listing) -> Fh {
        let fh = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(fh, Arc::new(listing));
        Fh(fh)
    }

    fn get(&self, fh: Fh) -> Result<Arc<Listing>> {
        self.open.lock().get(&fh.0).cloned().ok_or_else(|| Error::new(Kind::Stale, "use directory handle", ""))
    }
}

impl Positions {
    fn note(&mut self, cookie: u64, name: &Name) {
        if self.recent.back().is_some_and(|(last, _)| *last >= cookie) {
            self.recent.clear();
        }
        if self.recent.len() >= WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back((cookie, name.clone()));
        if cookie.is_multiple_of(MARK) {
            self.marks.insert(cookie, name.clone());
        }
    }

    /// The name at `cookie`, or the nearest remembered one before it.
    fn at(&self, cookie: u64) -> Option<(u64, Name)> {
        let at = self.recent.partition_point(|(c, _)| *c < cookie);
        match self.recent.get(at) {
            Some((c, name)) if *c == cookie => Some((*c, name.clone())),
            _ => self.marks.range(..=cookie).next_back().map(|(c, name)| (*c, name.clone())),
        }
    }
}

impl Volume {
    pub(super) fn open_dir(&self, ino: Ino) -> Result<Fh> {
        let inode = self.directory(ino)?;
        Ok(self.listings.insert(Listing { id: inode.id, ino, positions: Mutex::default() }))
    }

    pub(super) fn close_dir(&self, fh: Fh) {
        self.listings.open.lock().remove(&fh.0);
    }

    /// Hand out entries after `cookie` until `fill` is full. With `plus`, attributes come along and every
    /// entry taken counts one reference.
    pub(super) fn list(&self, fh: Fh, cookie: u64, plus: bool, fill: Filler<'_>) -> Result<()> {
        let listing = self.listings.get(fh)?;
        let listed = self.list_after(&listing, cookie, plus, fill);
        listed.inspect_err(|error| self.tell_damage(listing.ino, None, error))
    }

    fn list_after(&self, listing: &Listing, cookie: u64, plus: bool, fill: Filler<'_>) -> Result<()> {
        if !self.list_dots(listing, cookie, fill)? {
            return Ok(());
        }
        let (mut at, mut after) = match listing.positions.lock().at(cookie) {
            Some((at, name)) => (at, Some(name)),
            None => (2, None),
        };
        loop {
            let batch = self.batch(listing.id, after.as_ref())?;
            if batch.is_empty() {
                return Ok(());
            }
            for (name, target, row) in batch {
                at += 1;
                after = Some(name.clone());
                if at <= cookie {
                    continue;
                }
                if !self.offer(listing, at, &name, target, row.as_ref(), plus, fill)? {
                    return Ok(());
                }
            }
        }
    }

    /// `.` and `..`; false when the reply is full.
    fn list_dots(&self, listing: &Listing, cookie: u64, fill: Filler<'_>) -> Result<bool> {
        let kind = FileKind::Directory;
        if cookie < 1 && !fill(DirEntry { ino: listing.ino, kind, name: EntryName::Itself, cookie: 1 }, None) {
            return Ok(false);
        }
        if cookie < 2 {
            let ino = self.parent_of(listing.ino)?;
            return Ok(fill(DirEntry { ino, kind, name: EntryName::Parent, cookie: 2 }, None));
        }
        Ok(true)
    }

    #[allow(clippy::too_many_arguments)] // one call site, one entry
    fn offer(
        &self,
        listing: &Listing,
        cookie: u64,
        name: &Name,
        target: Target,
        row: Option<&Row>,
        plus: bool,
        fill: Filler<'_>,
    ) -> Result<bool> {
        let ino = if plus { self.ns.lock().table.reference(target.id) } else { self.ns.lock().table.number(target.id) };
        let attr = if plus { Some(self.attr_of(ino, row)) } else { None };
        let attr = match attr.transpose() {
            Ok(attr) => attr,
            // Removed between listing and looking: not an entry any more.
            Err(e) if e.kind() == Kind::Stale => {
                self.ns.lock().table.forget(ino, 1);
                return Ok(true);
            }
            Err(e) => return Err(e),
        };
        let entry = DirEntry { ino, kind: file_kind(target.kind).0, name: EntryName::Child(name.clone()), cookie };
        let taken = fill(entry, attr);
        if taken {
            listing.positions.lock().note(cookie, name);
        } else if plus {
            self.ns.lock().table.forget(ino, 1);
        }
        Ok(taken)
    }

    /// Attributes of a listed node, from memory or its row where that is enough.
    fn attr_of(&self, ino: Ino, row: Option<&Row>) -> Result<Attr> {
        if let Some(inode) = self.ns.lock().table.resident(ino).cloned() {
            return Ok(inode.attr());
        }
        match row {
            Some(row) if !row.is_shared() => Ok(row.attr(ino)),
            _ => Ok(self.inode(ino)?.attr()),
        }
    }

    /// The next entries of `dir` after a name: sealed rows merged with what changed since. Empty at the end.
    pub(in crate::volume) fn batch(
        &self,
        dir: NodeId,
        after: Option<&Name>,
    ) -> Result<Vec<(Name, Target, Option<Row>)>> {
        loop {
            let roots = self.ns.lock().roots.clone();
            let (rows, complete) = self.sealed_batch(&roots, dir, after)?;
            let ns = self.ns.lock();
            if Arc::ptr_eq(&roots, &ns.roots) {
                let merged = merge(&ns, dir, after, rows, complete);
                drop(ns);
                if merged.is_empty() && !complete {
                    // Everything in this batch was removed since: go on behind it.
                    return self.batch_behind(&roots, dir, after);
                }
                return Ok(merged);
            }
        }
    }

    fn batch_behind(
        &self,
        roots: &Roots,
        dir: NodeId,
        after: Option<&Name>,
    ) -> Result<Vec<(Name, Target, Option<Row>)>> {
        let (rows, _) = self.sealed_batch(roots, dir, after)?;
        match rows.last() {
            Some((last, _)) => self.batch(dir, Some(&last.clone())),
            None => Ok(Vec::new()),
        }
    }

    /// Up to [`BATCH`] sealed rows of `dir` after a name, and whether these are the last.
    fn sealed_batch(&self, roots: &Roots, dir: NodeId, after: Option<&Name>) -> Result<(Vec<(Name, Row)>, bool)> {
        let mut from = index_key(dir, after.map_or(&[], |n| n.as_bytes()));
        if after.is_some() {
            from.push(0); // names hold no NUL: the very next possible key
        }
        let mut rows = Vec::new();
        for entry in self.tree.range(&roots.index, &from) {
            let (key, value) = entry?;
            let Some(name) = name_in(&key, dir) else { return Ok((rows, true)) };
            let row = Row::decode(&value)?;
            if self.is_foreign(roots, &row)? {
                continue;
            }
            rows.push((Name::new(name)?, row));
            if rows.len() == BATCH {
                return Ok((rows, false));
            }
        }
        Ok((rows, true))
    }
}

/// Merge sealed rows with changed names; beyond the last row of an incomplete batch nothing is known yet.
fn merge(
    ns: &Namespace,
    dir: NodeId,
    after: Option<&Name>,
    rows: Vec<(Name, Row)>,
    complete: bool,
) -> Vec<(Name, Target, Option<Row>)> {
    let target = |r: &Row| Target { id: r.node, link: r.link, kind: r.kind };
    let Some(changed) = changed_after(ns, dir, after) else {
        return rows.into_iter().map(|(name, row)| (name, target(&row), Some(row))).collect();
    };
    let limit = if complete { None } else { rows.last().map(|(name, _)| name.clone()) };
    let mut out = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    let mut changed = changed.take_while(|(name, _)| limit.as_ref().is_none_or(|l| *name <= l)).peekable();
    while out.len() < 2 * BATCH {
        let take_row = match (rows.peek(), changed.peek()) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((sealed, _)), Some((name, _))) => sealed < *name,
        };
        if take_row {
            out.extend(rows.next().map(|(name, row)| (name, target(&row), Some(row))));
        } else if let Some((name, entry)) = changed.next() {
            rows.next_if(|(sealed, _)| sealed == name);
            out.extend(entry.target.map(|t| (name.clone(), t, None)));
        }
    }
    out
}
