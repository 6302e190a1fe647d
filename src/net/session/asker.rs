//! The asking side of a session, sans-IO: which requests are open, what each may still send us, and whether
//! a frame may be believed.
//!
//! Invariant: credit given and not yet used, plus walk blocks not yet taken, never exceeds [`MAX_IN_FLIGHT`].
//! Must never let a frame through that was not asked for, exceeds its credit, or carries bytes other than
//! those of its id.

use std::collections::BTreeMap;

use crate::base::{Bid, Error, Kind, Result, VolumeId};
use crate::wire::peer::data::{Flag, Header, Reason, cost};
use crate::wire::peer::{Class, Message, RequestId, Selector};

/// Most bytes a peer can make us hold, in all its streams.
pub(in crate::net) const MAX_IN_FLIGHT: u32 = 16 << 20;
/// What requests nobody waits for may take of it.
pub(in crate::net) const BULK_IN_FLIGHT: u32 = 12 << 20;
/// What a walk gets at first, and is filled up to.
pub(in crate::net) const WALK_CREDIT: u32 = (4 << 20) + (128 << 10);
/// Most requests open at once on a session.
pub(in crate::net) const MOST_OPEN: usize = 256;

/// A request to open.
#[derive(Debug, Clone)]
pub(in crate::net) struct Ask {
    /// The volume.
    pub volume: VolumeId,
    /// Urgency; decides the stream.
    pub class: Class,
    /// Milliseconds until we lose interest; 0: never.
    pub deadline_ms: u32,
    /// What.
    pub selector: Selector,
    /// Bytes it may send at once: the sum of the blocks' possible costs for ids, [`WALK_CREDIT`] for walks.
    pub credit: u32,
}

/// How a request ended: well, or what was the matter.
pub(in crate::net) type Outcome = std::result::Result<(), Kind>;

/// What an accepted frame says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::net) enum Accepted {
    /// A verified block.
    Block { index: u32, bid: Bid },
    /// Not there.
    Missing { index: u32 },
    /// A frame of a request we cancelled: drop it.
    Unwanted,
    /// The request is over, well or with an error.
    Ended(Outcome),
}

#[derive(Debug)]
struct Open {
    interactive: bool,
    ids: Option<Vec<Bid>>,
    answered: Vec<bool>,
    /// Given and not used.
    credit: u32,
    /// Received and not taken by the consumer; walks only.
    untaken: u32,
    frames: u32,
    wanted_below: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::net) struct Asker {
    last: RequestId,
    open: BTreeMap<RequestId, Open>,
    in_flight: u32,
}

impl Asker {
    /// Bytes that may still arrive or wait to be taken.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether a request of this credit fits now.
    pub fn fits(&self, class: Class, credit: u32) -> bool {
        let most = if class.is_interactive() { MAX_IN_FLIGHT } else { BULK_IN_FLIGHT };
        let reserve = if class == Class::Interactive { 0 } else { MOST_OPEN / 4 };
        self.open.len() + reserve < MOST_OPEN && self.in_flight.checked_add(credit).is_some_and(|sum| sum <= most)
    }

    /// Open a request. [`Kind::Busy`] when it does not fit.
    pub fn open(&mut self, ask: Ask) -> Result<(RequestId, Message)> {
        if !self.fits(ask.class, ask.credit) {
            return Err(Error::new(Kind::Busy, "ask a peer", "too much in flight"));
        }
        let rid = self.free_id();
        let ids = match &ask.selector {
            Selector::Ids(ids) => Some(ids.clone()),
            Selector::Diff { .. } | Selector::Range { .. } => None,
        };
        let answered = vec![false; ids.as_ref().map_or(0, Vec::len)];
        let interactive = ask.class.is_interactive();
        let open =
            Open { interactive, ids, answered, credit: ask.credit, untaken: 0, frames: 0, wanted_below: u32::MAX };
        self.open.insert(rid, open);
        self.in_flight += ask.credit;
        let Ask { volume, class, deadline_ms, selector, credit } = ask;
        Ok((rid, Message::Want { rid, volume, class, deadline_ms, credit, selector }))
    }

    /// Judge a header before its bytes are read or room is made for them. An error ends the session.
    pub fn admit(&self, header: &Header, interactive: bool) -> Result<()> {
        let broken = |why| Err(Error::new(Kind::Corrupt, "follow the protocol", why));
        let Some(open) = self.open.get(&header.rid) else { return broken("a frame nobody asked for") };
        if open.interactive != interactive {
            return broken("a frame on the wrong stream");
        }
        let (Flag::Block | Flag::Missing) = header.flag else { return Ok(()) };
        match (&open.ids, open.answered.get(header.index as usize)) {
            (Some(_), Some(false)) => {}
            (Some(_), _) => return broken("an index that was not asked for, or twice"),
            (None, _) if header.flag == Flag::Missing || header.index != open.frames => {
                return broken("a walk out of order");
            }
            (None, _) => {}
        }
        if header.flag == Flag::Block && cost(header.length as usize) > open.credit {
            return broken("more bytes than there was credit for");
        }
        Ok(())
    }

    /// Take a whole frame whose header was admitted; `bid` is the hash of its bytes (computed by the caller so that
    /// no lock is held meanwhile). An error ends the session.
    pub fn accept(&mut self, header: &Header, bytes: &[u8], bid: Bid) -> Result<Accepted> {
        match header.flag {
            Flag::Block => self.block(header, bytes.len(), bid),
            Flag::Missing => Ok(self.missing(header)),
            Flag::End => Ok(self.end(header.rid, Ok(()))),
            Flag::Error => {
                let reason = Reason::from_code(bytes.first().copied().unwrap_or(u8::MAX));
                Ok(self.end(header.rid, Err(reason.kind())))
            }
        }
    }

    fn block(&mut self, header: &Header, length: usize, bid: Bid) -> Result<Accepted> {
        let gone = || Error::new(Kind::Corrupt, "follow the protocol", "a frame nobody asked for");
        let open = self.open.get_mut(&header.rid).ok_or_else(gone)?;
        if let Some(ids) = &open.ids {
            if ids.get(header.index as usize) != Some(&bid) {
                return Err(Error::new(Kind::Corrupt, "verify a block", bid.to_string()));
            }
            if let Some(answered) = open.answered.get_mut(header.index as usize) {
                *answered = true;
            }
        }
        let used = cost(length).min(open.credit);
        open.credit -= used;
        open.frames = open.frames.saturating_add(1);
        let wanted = header.index < open.wanted_below;
        if open.ids.is_none() && wanted {
            open.untaken = open.untaken.saturating_add(used);
        } else {
            self.in_flight = self.in_flight.saturating_sub(used);
        }
        Ok(if wanted { Accepted::Block { index: header.index, bid } } else { Accepted::Unwanted })
    }

    fn missing(&mut self, header: &Header) -> Accepted {
        let Some(open) = self.open.get_mut(&header.rid) else { return Accepted::Unwanted };
        if let Some(answered) = open.answered.get_mut(header.index as usize) {
            *answered = true;
        }
        if header.index < open.wanted_below { Accepted::Missing { index: header.index } } else { Accepted::Unwanted }
    }

    fn end(&mut self, rid: RequestId, result: Outcome) -> Accepted {
        if let Some(open) = self.open.remove(&rid) {
            // What a walk's consumer still holds is its own; the peer can add nothing to it.
            self.in_flight = self.in_flight.saturating_sub(open.credit).saturating_sub(open.untaken);
        }
        Accepted::Ended(result)
    }

    /// The consumer of a walk took a block of this length; maybe worth new credit.
    pub fn taken(&mut self, rid: RequestId, length: usize) -> Option<Message> {
        let open = self.open.get_mut(&rid)?;
        let used = cost(length).min(open.untaken);
        open.untaken -= used;
        self.in_flight = self.in_flight.saturating_sub(used);
        let room = WALK_CREDIT.saturating_sub(open.credit).saturating_sub(open.untaken);
        if room < WALK_CREDIT / 4 || open.wanted_below != u32::MAX {
            return None;
        }
        let bytes = room.min(MAX_IN_FLIGHT.saturating_sub(self.in_flight));
        open.credit += bytes;
        self.in_flight += bytes;
        (bytes > 0).then_some(Message::Credit { rid, bytes })
    }

    /// Lose interest in everything from index `from`. The request stays open until the peer ends it.
    pub fn cancel(&mut self, rid: RequestId, from: u32) -> Option<Message> {
        let open = self.open.get_mut(&rid)?;
        if from >= open.wanted_below {
            return None;
        }
        open.wanted_below = from;
        self.in_flight = self.in_flight.saturating_sub(if from == 0 { open.untaken } else { 0 });
        if from == 0 {
            open.untaken = 0;
        }
        Some(Message::Cancel { rid, from })
    }

    /// Undo [`Asker::open`]: the request was never sent.
    pub fn forget(&mut self, rid: RequestId) {
        self.end(rid, Ok(()));
    }

    /// Every request still open, when the session ends.
    pub fn drain(&mut self) -> Vec<RequestId> {
        self.in_flight = 0;
        std::mem::take(&mut self.open).into_keys().collect()
    }

    fn free_id(&mut self) -> RequestId {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.open.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}
