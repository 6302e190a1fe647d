//! Bringing what a pin covers: lists of blocks first, then the data, asked for well ahead of what has come.
//!
//! Several questions of many blocks are under way at a time, so that a long way costs its bandwidth and not its round trips.
//! Must never have more under way than those, nor take a block for here that was not kept.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Exchange, Pin, PinState};
use crate::base::{Bid, Error, Kind, Result};
use crate::net::{Fetching, Waited, Wanted};
use crate::seal::{BlockType, Ref};
use crate::volume::Volume;
use crate::wire::peer::Class;

/// Most blocks, and about how many bytes, of one question.
const BATCH: usize = 512;
const BATCH_BYTES: u64 = 16 << 20;
/// Questions under way at a time.
const AHEAD: usize = 3;
/// What does not come within this is tried again later. Peers that are gone are noticed long before; a slow line is not
/// to blame.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often one that waits looks whether it is to go on.
const LOOK: Duration = Duration::from_millis(200);

/// Bring what `pin` covers and is not here, while `goes_on` says so; `report` hears the state as it goes, and may end it by
/// an error.
pub fn follow(
    volume: &Arc<Volume>,
    exchange: &Exchange,
    pin: &Pin,
    goes_on: &dyn Fn() -> bool,
    report: &mut dyn FnMut(PinState) -> Result<()>,
) -> Result<PinState> {
    loop {
        let (state, came) = pass(volume, exchange, pin, goes_on, report)?;
        // Lists that came say which data and which further lists there are.
        if came == 0 {
            report(state)?;
            return Ok(state);
        }
    }
}

/// Bring these blocks, while `goes_on` says so. Those that nobody has stay away.
pub fn bring(volume: &Volume, exchange: &Exchange, refs: &[Ref], goes_on: &dyn Fn() -> bool) -> Result<()> {
    let mut bringing = Bringing::new(volume, exchange, goes_on);
    for r in refs {
        bringing.want(*r)?;
    }
    bringing.finish()
}

/// Once through all of it: the state, and how many lists came.
fn pass(
    volume: &Arc<Volume>,
    exchange: &Exchange,
    pin: &Pin,
    goes_on: &dyn Fn() -> bool,
    report: &mut dyn FnMut(PinState) -> Result<()>,
) -> Result<(PinState, u64)> {
    let ino = volume.number_of(pin.id)?;
    let mut state = PinState::default();
    let new = || Bringing::new(volume, exchange, goes_on);
    let (mut data, mut lists) = (new(), new());
    volume.content_blocks(ino, pin.levels(), &mut |kind, _, r, local| {
        let is_data = kind == BlockType::Data;
        if is_data {
            state.bytes += u64::from(r.len);
        }
        if local {
            return Ok(true);
        }
        let bringing = if is_data { &mut data } else { &mut lists };
        if bringing.is_under_way(&r.bid) {
            return Ok(is_data);
        }
        state.missing += u64::from(r.len);
        if bringing.want(*r)? {
            let missing = state.missing - data.bytes - lists.bytes;
            report(PinState { missing, ..state })?;
        }
        // A list that is not here is not waited for now: it comes with others.
        Ok(is_data)
    })?;
    lists.finish()?;
    data.finish()?;
    state.missing -= data.bytes + lists.bytes;
    state.complete = state.missing == 0;
    Ok((state, lists.count))
}

/// Blocks under way from members, and from stores what those lack.
struct Bringing<'a> {
    volume: &'a Volume,
    exchange: &'a Exchange,
    goes_on: &'a dyn Fn() -> bool,
    next: Vec<Ref>,
    next_bytes: u64,
    under_way: VecDeque<(Vec<Ref>, Option<Fetching>)>,
    /// All of these, by id: content that repeats comes once.
    open: HashSet<Bid>,
    /// What came, and how much.
    count: u64,
    bytes: u64,
}

impl<'a> Bringing<'a> {
    fn new(volume: &'a Volume, exchange: &'a Exchange, goes_on: &'a dyn Fn() -> bool) -> Self {
        Self {
            volume,
            exchange,
            goes_on,
            next: Vec::new(),
            next_bytes: 0,
            under_way: VecDeque::new(),
            open: HashSet::new(),
            count: 0,
            bytes: 0,
        }
    }

    fn is_under_way(&self, bid: &Bid) -> bool {
        self.open.contains(bid)
    }

    /// One more. Whether that made others come.
    fn want(&mut self, r: Ref) -> Result<bool> {
        self.open.insert(r.bid);
        self.next.push(r);
        self.next_bytes += u64::from(r.len);
        if self.next.len() < BATCH && self.next_bytes < BATCH_BYTES {
            return Ok(false);
        }
        self.ask();
        if self.under_way.len() >= AHEAD { self.take().map(|()| true) } else { Ok(false) }
    }

    /// All of it.
    fn finish(&mut self) -> Result<()> {
        self.ask();
        while !self.under_way.is_empty() {
            self.take()?;
        }
        Ok(())
    }

    fn ask(&mut self) {
        let refs = std::mem::take(&mut self.next);
        self.next_bytes = 0;
        if refs.is_empty() {
            return;
        }
        let id = self.volume.id();
        let net = self.exchange.net().filter(|_| self.exchange.is_anyone_connected(id));
        let wanted = || refs.iter().map(|r| Wanted::sealed(r.bid, r.len)).collect::<Vec<_>>();
        let fetching = net.map(|net| net.fetch(id, &wanted(), Class::Pin, PATIENCE));
        self.under_way.push_back((refs, fetching));
    }

    /// Keep what the oldest question brings.
    fn take(&mut self) -> Result<()> {
        let Some((mut lacking, fetching)) = self.under_way.pop_front() else { return Ok(()) };
        for r in &lacking {
            self.open.remove(&r.bid);
        }
        if let Some(mut fetching) = fetching {
            let mut came = vec![false; lacking.len()];
            loop {
                let (index, block) = match fetching.next_within(LOOK) {
                    Waited::Block(index, block) => (index, block),
                    Waited::Over => break,
                    Waited::NotYet if (self.goes_on)() => continue,
                    Waited::NotYet => return Err(over()),
                };
                if !(self.goes_on)() {
                    return Err(over());
                }
                let (Ok(bytes), Some(r), Some(came)) = (block, lacking.get(index), came.get_mut(index)) else {
                    continue;
                };
                self.volume.blocks().keep(&r.bid, &bytes)?;
                (self.count, self.bytes) = (self.count + 1, self.bytes + u64::from(r.len));
                *came = true;
            }
            let mut came = came.into_iter();
            lacking.retain(|_| !came.next().unwrap_or(false));
        }
        let (volume, mut count, mut bytes) = (self.volume, 0, 0);
        let taken = self.exchange.stores().fetch_many(volume.id(), &lacking, &mut |r, sealed| {
            volume.blocks().accept(&r.bid, &sealed)?;
            (count, bytes) = (count + 1, bytes + u64::from(r.len));
            Ok(())
        });
        (self.count, self.bytes) = (self.count + count, self.bytes + bytes);
        taken
    }
}

fn over() -> Error {
    Error::new(Kind::Interrupted, "bring what is pinned", "the volume is being closed")
}
