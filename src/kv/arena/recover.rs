//! Opening a log: find the arenas, replay the tail, cut what was torn, report what is damaged.
//!
//! Must never cut in front of a record that was acknowledged, never fail on damage that leaves the
//! rest readable, and never depend on the locator or an index being there.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::Lsn;
use super::append::Appender;
use super::arena_file::Arena;
use super::commit::Commit;
use super::delete::{Tombstone, tombstones};
use super::disk::{Disk, DiskFile};
use super::finding::{Damage, Finding};
use super::header::{ArenaHeader, FIRST, parse_arena_name};
use super::heal::Doubt;
use super::index::MAX_OFFSET;
use super::locator::Locator;
use super::log::{Arenas, Log, Options};
use super::record::Type;
use super::scan::{Deleted, Depth, Scanner, Step};
use super::staged::Staged;
use super::table::Place;
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Context, Error, Kind, Result};

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last checkpoint's payload.
    pub checkpoint: Option<Vec<u8>>,
    /// Journal entries it does not cover, in the order they were appended.
    pub journal: Vec<Vec<u8>>,
    /// The log was not closed properly.
    pub unclean: bool,
    /// Damage in what was once acknowledged. Nothing of it is deleted.
    pub quarantined: Vec<Finding>,
}

impl Log {
    /// Open the log on `disk`, creating it if the disk is empty. Cost: the journal tail since the
    /// last checkpoint, and the headers of the active arena.
    pub fn open(disk: Arc<dyn Disk>, mut options: Options) -> Result<(Self, Recovery)> {
        options.arena_size = options.arena_size.min(MAX_OFFSET / 2);
        let (mut locator, _) = Locator::open(&*disk)?;
        let hint = locator.hint();
        // Up to here all was durable at an earlier open or close.
        let settled = hint.clean_end.max(hint.suspect_before).max(hint.settled);
        let (mut found, mut start, mut replay) = Found::replayed(&*disk, hint.scan_from, settled)?;
        if replay.checkpoint.is_none() && start != Lsn::ZERO {
            // The one the hint led to is damaged: an older one and the journal since say the same.
            (found, start, replay) = Found::replayed(&*disk, Lsn::ZERO, settled)?;
        }
        let end = found.end();
        if end < settled && !found.damaged.contains(&settled.arena()) {
            replay.findings.push(Finding { arena: end.arena(), offset: end.offset(), damage: Damage::End });
        }
        let unclean = !found.arenas.is_empty() && hint.clean_end == Lsn::ZERO;
        found.settle(start)?;
        replay.apply_tombstones(&found.arenas);
        locator.store(|h| {
            (h.clean_end, h.settled) = (Lsn::ZERO, end);
            h.suspect_before = if unclean { end } else { h.suspect_before.min(end) };
        })?;
        let journal_bytes = replay.journal_bytes();
        let suspect_before = locator.hint().suspect_before;
        let recovery = replay.finish(unclean, &found.damaged);
        let appender = found.appender()?;
        let commit = Commit::default();
        commit.advance(end);
        let log = Self {
            disk,
            options,
            arenas: RwLock::new(Arc::new(found.arenas)),
            append: Mutex::new(appender),
            commit,
            locator: Mutex::new(locator),
            end: AtomicU64::new(end.0),
            journal_bytes: AtomicU64::new(journal_bytes),
            doubt: Mutex::new(Doubt::before(suspect_before)),
            upkeep: Mutex::new(()),
            late: AtomicUsize::new(0),
        };
        // Rebuilds what is missing; if that fails now, the next checkpoint tries again.
        let _ = log.settle_indexes();
        Ok((log, recovery))
    }
}

/// The arenas on the disk.
struct Found {
    arenas: Arenas,
    /// Numbers of arenas whose header is unreadable.
    damaged: Vec<u32>,
}

impl Found {
    /// The arenas and what they say from `hint` on, or from the beginning if no record stands there; also from where.
    fn replayed(disk: &dyn Disk, hint: Lsn, settled: Lsn) -> Result<(Self, Lsn, Replay)> {
        let found = Self::list(disk)?;
        let mut replay = Replay::default();
        let start = if found.is_record(hint) { hint } else { Lsn::ZERO };
        found.replay(disk, start, settled, &mut replay)?;
        Ok((found, start, replay))
    }

    fn list(disk: &dyn Disk) -> Result<Self> {
        let names = disk.list().io("list arenas", String::new)?;
        let mut numbers: Vec<(u32, String)> =
            names.into_iter().filter_map(|n| Some((parse_arena_name(&n)?, n))).collect();
        numbers.sort_unstable();
        let mut found = Self { arenas: BTreeMap::new(), damaged: Vec::new() };
        for (number, name) in numbers {
            let file = disk.open(&name).io("open arena", || name.clone())?;
            let file: Arc<dyn DiskFile> = Arc::new(Staged::new(file, disk.couriers()));
            let mut page = vec![0; usize::try_from(FIRST).unwrap_or(4096)];
            let n = file.read_at(&mut page, 0).io("read arena header", || name.clone())?;
            page.truncate(n);
            match ArenaHeader::parse(&page).filter(|h| h.number == number) {
                Some(header) => {
                    // A crash can leave one sector of the first page, and the file no longer than that.
                    let end = file.len().io("measure arena", || name.clone())?.max(FIRST);
                    found.arenas.insert(number, Arc::new(Arena::new(header, file, end)));
                }
                // Never came to count: its creation was cut short.
                None if page.iter().all(|b| *b == 0) => {
                    disk.remove(&name).io("remove unfinished arena", || name.clone())?;
                }
                None => found.damaged.push(number),
            }
        }
        found.apply_limits();
        Ok(found)
    }

    /// Each arena ends where its successor says.
    fn apply_limits(&self) {
        for next in self.arenas.values() {
            if let Some(arena) = self.arenas.get(&next.header.previous) {
                arena.set_end(arena.end().min(next.header.previous_end).max(FIRST));
            }
        }
    }

    /// Whether scanning can start at `lsn`: a record stands there.
    fn is_record(&self, lsn: Lsn) -> bool {
        let Some(arena) = self.arenas.get(&lsn.arena()) else { return false };
        let at = lsn.offset();
        at == arena.end() || at < arena.end() && arena.header_at(at).is_ok_and(|h| h.is_some())
    }

    fn last_number(&self) -> u32 {
        self.arenas.keys().next_back().copied().unwrap_or(0)
    }

    fn end(&self) -> Lsn {
        self.arenas.values().next_back().map_or(Lsn::ZERO, |a| a.lsn(a.end()))
    }

    fn replay(&self, disk: &dyn Disk, start: Lsn, settled: Lsn, replay: &mut Replay) -> Result<()> {
        let last = self.last_number();
        // Without its index an arena's deletions are known only from the tombstones behind it.
        let mut missing = false;
        for (number, arena) in &self.arenas {
            let known = arena.load_index(disk, *number < last).unwrap_or(FIRST).max(FIRST);
            let from = match number.cmp(&start.arena()) {
                std::cmp::Ordering::Less => arena.end(),
                std::cmp::Ordering::Equal => start.offset().max(FIRST),
                std::cmp::Ordering::Greater => FIRST,
            };
            missing |= known < from;
            let first = if missing { FIRST } else { known };
            let mut pass = Pass { arena, acknowledged: u64::MAX, tail: false, index_from: known };
            if first < from {
                pass.run(first, from, Depth::Headers, replay)?;
            }
            if *number == last {
                pass.acknowledged = offset_in(settled, *number);
            }
            pass.tail = true;
            pass.run(from, arena.end(), Depth::Payloads, replay)?;
        }
        Ok(())
    }

    /// Cut torn bytes off the last arena and make all that was recovered durable, before anything
    /// is built on it.
    fn settle(&self, start: Lsn) -> Result<()> {
        if let Some(last) = self.arenas.values().next_back() {
            let len = last.file.len().io("measure arena", || last.name())?;
            if len > last.end() {
                last.file.truncate(last.end()).io("cut torn tail", || last.name())?;
            }
        }
        for arena in self.arenas.range(start.arena()..).map(|(_, a)| a) {
            arena.sync()?;
        }
        Ok(())
    }

    fn appender(&self) -> Result<Appender> {
        let highest = self.last_number().max(self.damaged.last().copied().unwrap_or(0));
        let next = highest.checked_add(1).ok_or_else(|| Error::new(Kind::TooBig, "number arena", "2^32 used"))?;
        let last = self.arenas.values().next_back();
        let previous = last.map_or((0, 0), |a| (a.header.number, a.end()));
        // Behind an unreadable arena nothing is appended to an older one.
        let active = last.filter(|a| a.header.number == highest).cloned();
        let allocated = active.as_ref().map_or(0, |a| a.end());
        Ok(Appender::new(active, previous, next, allocated))
    }
}

fn offset_in(lsn: Lsn, number: u32) -> u64 {
    if lsn.arena() == number { lsn.offset() } else { 0 }
}

/// One walk over a part of an arena.
struct Pass<'a> {
    arena: &'a Arena,
    /// Everything before this offset was durable once: bad bytes there are damage, not a torn tail.
    acknowledged: u64,
    /// Journal and checkpoints count.
    tail: bool,
    /// Blocks before this offset are indexed already.
    index_from: u64,
}

impl Pass<'_> {
    fn run(&self, from: u64, to: u64, depth: Depth, replay: &mut Replay) -> Result<()> {
        let name = || self.arena.name();
        let mut scanner = Scanner::new(&*self.arena.file, self.arena.header.salt, from, to, depth);
        loop {
            match scanner.step().io("scan arena", name)? {
                Step::End => return Ok(()),
                Step::Record { offset, header, payload } => match header.kind {
                    Type::Block if offset >= self.index_from => self.arena.add(&header.id, Place::new(offset, &header)),
                    Type::Tombstone => replay.tombstones.extend(tombstones(&payload)),
                    kind if self.tail => replay.take(kind, self.arena.lsn(offset), payload),
                    _ => {}
                },
                Step::Damaged { offset, header } => {
                    let next = scanner.position();
                    if self.is_torn(&mut scanner, offset, next, true)? {
                        self.arena.set_end(offset);
                        return Ok(());
                    }
                    replay.damaged(self.arena, offset, header.kind, header.id);
                }
                Step::Broken { offset } => {
                    if self.is_torn(&mut scanner, offset, offset + 8, false)? {
                        self.arena.set_end(offset);
                        return Ok(());
                    }
                    replay.findings.push(Finding { arena: self.arena.header.number, offset, damage: Damage::Unknown });
                    scanner.resync(offset + 8).io("scan arena", name)?;
                }
            }
        }
    }

    /// Whether bad bytes at `offset` are the end of the log. Leaves the scanner behind them if not.
    /// `header`: the record's header is good, as it stays when its payload is punched out.
    fn is_torn(&self, scanner: &mut Scanner<'_>, offset: u64, next: u64, header: bool) -> Result<bool> {
        if offset < self.acknowledged {
            return Ok(false);
        }
        let number = self.arena.header.number;
        let named =
            |payload: &[u8]| tombstones(payload).filter(|t| t.arena == number).map(|t| t.place.offset).collect();
        let deleted: Deleted<'_> = if header { Some(&named) } else { None };
        let durable = scanner.was_durable(offset, next, deleted).io("scan arena", || self.arena.name())?;
        scanner.seek(next);
        Ok(!durable)
    }
}

/// What the tail holds, gathered in log order.
#[derive(Default)]
struct Replay {
    checkpoint: Option<(Lsn, Vec<u8>)>,
    journal: Vec<(Lsn, Vec<u8>)>,
    findings: Vec<Finding>,
    tombstones: Vec<Tombstone>,
}

impl Replay {
    fn take(&mut self, kind: Type, lsn: Lsn, mut payload: Vec<u8>) {
        match kind {
            Type::Journal => self.journal.push((lsn, payload)),
            Type::Checkpoint if payload.len() >= 8 => {
                let rest = payload.split_off(8);
                let covers = payload.try_into().map_or(0, u64::from_le_bytes);
                self.checkpoint = Some((Lsn(covers), rest));
            }
            _ => {}
        }
    }

    fn damaged(&mut self, arena: &Arena, offset: u64, kind: Type, id: Bid) {
        let damage = match kind {
            Type::Block => Damage::Block(id),
            Type::Journal => Damage::Journal { index: 0 },
            Type::Checkpoint | Type::Tombstone => Damage::Unknown,
        };
        self.findings.push(Finding { arena: arena.header.number, offset, damage });
    }

    /// Forget what was deleted; its payload may be punched out, which is no damage.
    fn apply_tombstones(&mut self, arenas: &Arenas) {
        for dead in &self.tombstones {
            if let Some(arena) = arenas.get(&dead.arena) {
                arena.forget(&dead.id, dead.place);
            }
        }
        let gone: HashSet<(u32, u64)> = self.tombstones.iter().map(|t| (t.arena, t.place.offset)).collect();
        self.findings.retain(|f| !matches!(f.damage, Damage::Block(_)) || !gone.contains(&(f.arena, f.offset)));
    }

    fn journal_bytes(&self) -> u64 {
        let covers = self.checkpoint.as_ref().map_or(Lsn::ZERO, |c| c.0);
        self.journal.iter().filter(|(lsn, _)| *lsn >= covers).map(|(_, p)| p.len() as u64).sum()
    }

    fn finish(mut self, unclean: bool, damaged_arenas: &[u32]) -> Recovery {
        let (covers, checkpoint) = self.checkpoint.map_or((Lsn::ZERO, None), |(lsn, payload)| (lsn, Some(payload)));
        self.journal.retain(|(lsn, _)| *lsn >= covers);
        for finding in &mut self.findings {
            if let Damage::Journal { index } = &mut finding.damage {
                let gap = Lsn::new(finding.arena, finding.offset);
                *index = self.journal.iter().take_while(|(at, _)| *at < gap).count();
            }
        }
        let whole = |number: &u32| Finding { arena: *number, offset: 0, damage: Damage::Arena };
        self.findings.extend(damaged_arenas.iter().map(whole));
        let journal = self.journal.into_iter().map(|(_, payload)| payload).collect();
        Recovery { checkpoint, journal, unclean, quarantined: self.findings }
    }
}
