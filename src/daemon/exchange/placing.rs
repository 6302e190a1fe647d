//! The boxes of a volume as this device sees them: when each was heard of, what it should have, what was mended.
//!
//! Kept over restarts in a file of lines. Must never count a box as gone because this device was away itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::home::replace_file;
use super::super::keeping::Room;
use super::invites::now;
use super::{Exchange, Replica};
use crate::base::sync::Mutex;
use crate::base::{DeviceId, VolumeId, WriterIndex, hex};
use crate::net::Peer;
use crate::seal::membership::{Member, Place, Placement, Role, Share};

/// What was mended is looked through again after this: a box may have lost some of it.
const MENDED: u64 = 86_400;
/// What the clock of the day may be ahead of the time that this machine was awake.
const SLEPT: Duration = Duration::from_secs(600);
/// A device that was away meets somebody for so long before it counts others as gone.
const GRACE: Duration = Duration::from_secs(3600);
/// What was heard is written down at most this often.
const SAVE: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug)]
pub struct Placing {
    path: PathBuf,
    /// Held by one who looks, and perhaps writes the file. Taken before `inner`.
    looking: Mutex<()>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    boxes: BTreeMap<Peer, Seen>,
    /// Since when somebody is connected without a break.
    among_others: Option<Instant>,
    /// The last look, by both clocks.
    looked: Option<(u64, Instant)>,
    made: Option<Made>,
    saved: Option<Instant>,
    changed: bool,
}

/// To how many boxes, and which: a box that came in again is a member under another index, and has nothing.
type Places = (u8, Vec<(WriterIndex, Place)>);

/// For how many copies, where, and how.
type Made = (u8, Vec<Place>, Arc<Placement>);

/// What is known of a box. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Seen {
    writer: WriterIndex,
    heard: u64,
    /// When it was last found to have this of what is not here.
    mended: Option<(u64, Share)>,
    room: Option<Room>,
    gone: bool,
}

/// What there is to tell of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Seconds since 1970, when it was last connected.
    pub heard: u64,
    /// Others get its share.
    pub gone: bool,
    /// What it says of its room.
    pub room: Option<Room>,
}

/// When somebody looks, and who is there.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Seconds since 1970.
    pub secs: u64,
    /// The same.
    pub instant: Instant,
    /// Members that are connected.
    pub connected: BTreeSet<Peer>,
    /// A box that was away for longer counts as gone.
    pub gone_after: Duration,
}

impl Placing {
    /// Read from `path`; what cannot be read is forgotten: it is found out again.
    pub fn open(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let boxes = text.lines().filter_map(line).collect();
        Self { path, looking: Mutex::new(()), inner: Mutex::new(Inner { boxes, ..Inner::default() }) }
    }

    /// What each box should have, of which `places` are members.
    pub fn look(&self, volume: VolumeId, (copies, places): Places, moment: &Moment) -> Arc<Placement> {
        let _turn = self.looking.lock();
        let (placement, text) = self.inner.lock().look(volume, (copies, places), moment);
        if let Some(text) = text
            && let Err(error) = replace_file(&self.path, text.as_bytes())
        {
            tracing::warn!(error = %error.chain(), "what is known of boxes is not written down");
        }
        placement
    }

    /// A box says how much room it has.
    pub fn told(&self, peer: Peer, room: Room) {
        self.inner.lock().boxes.entry(peer).or_insert_with(|| Seen { heard: now(), ..Seen::default() }).room =
            Some(room);
    }

    /// Whether what is not here must be looked for at a box that should have `share`.
    pub fn is_unmended(&self, peer: &Peer, share: &Share) -> bool {
        let inner = self.inner.lock();
        let mended = inner.boxes.get(peer).and_then(|seen| seen.mended.as_ref());
        !mended.is_some_and(|(_, done)| share.is_within(done))
    }

    /// The same, or it is time to look again.
    pub fn is_due(&self, peer: &Peer, share: &Share) -> bool {
        let at = self.inner.lock().boxes.get(peer).and_then(|seen| seen.mended.as_ref().map(|(at, _)| *at));
        self.is_unmended(peer, share) || at.is_none_or(|at| now().abs_diff(at) > MENDED)
    }

    /// A box has everything of `share` that was not here at `at`; none: it has lost some, perhaps.
    pub fn mended(&self, peer: &Peer, done: Option<&(u64, Share)>) {
        let mut inner = self.inner.lock();
        if let Some(seen) = inner.boxes.get_mut(peer).filter(|seen| seen.mended.as_ref() != done) {
            seen.mended = done.copied();
            inner.changed = true;
        }
    }

    /// What is known of a box.
    pub fn standing(&self, peer: &Peer) -> Option<Standing> {
        let inner = self.inner.lock();
        inner.boxes.get(peer).map(|seen| Standing { heard: seen.heard, gone: seen.gone, room: seen.room })
    }
}

impl Inner {
    /// The placement, and what is to be written down.
    fn look(
        &mut self,
        volume: VolumeId,
        (copies, places): Places,
        moment: &Moment,
    ) -> (Arc<Placement>, Option<String>) {
        let members: BTreeMap<Peer, WriterIndex> =
            places.iter().map(|(writer, place)| (Peer(place.peer), *writer)).collect();
        let before = self.boxes.len();
        self.boxes.retain(|peer, _| members.contains_key(peer));
        self.changed |= self.boxes.len() != before;
        // A machine that slept was among nobody, whatever it believes when it wakes.
        let slept = self.looked.is_some_and(|(secs, instant)| {
            let awake = moment.instant.saturating_duration_since(instant) + SLEPT;
            Duration::from_secs(moment.secs.saturating_sub(secs)) > awake
        });
        self.looked = Some((moment.secs, moment.instant));
        self.among_others = match self.among_others {
            _ if moment.connected.is_empty() || slept => None,
            None => Some(moment.instant),
            since => since,
        };
        let settled = self
            .among_others
            .is_some_and(|since| moment.instant.saturating_duration_since(since) >= GRACE.min(moment.gone_after));
        for (peer, writer) in members {
            let seen = self.boxes.entry(peer).or_default();
            let new = seen.writer != writer;
            if new {
                *seen = Seen { writer, room: seen.room, ..Seen::default() };
            }
            let connected = moment.connected.contains(&peer);
            if new || connected || seen.heard > moment.secs {
                seen.heard = moment.secs;
            }
            let away = Duration::from_secs(moment.secs.saturating_sub(seen.heard)) > moment.gone_after;
            seen.gone = away && (settled || seen.gone);
            self.changed |= new;
        }
        let there = |place: &Place| !self.boxes.get(&Peer(place.peer)).is_some_and(|seen| seen.gone);
        let places: Vec<Place> = places.into_iter().map(|(_, place)| place).filter(there).collect();
        let placement = self.place(volume, copies, places);
        (placement, self.text(moment))
    }

    fn place(&mut self, volume: VolumeId, copies: u8, places: Vec<Place>) -> Arc<Placement> {
        if let Some((_, _, placement)) = self.made.as_ref().filter(|made| made.0 == copies && made.1 == places) {
            return Arc::clone(placement);
        }
        let placement = Arc::new(Placement::new(volume, copies, &places));
        self.made = Some((copies, places, Arc::clone(&placement)));
        placement
    }

    /// What is to be written down, if that is due.
    fn text(&mut self, moment: &Moment) -> Option<String> {
        let often = (moment.gone_after / 8).min(SAVE);
        let old = self.saved.is_none_or(|saved| moment.instant.saturating_duration_since(saved) >= often);
        let heard = self.boxes.keys().any(|peer| moment.connected.contains(peer));
        if !(self.changed || old && heard) {
            return None;
        }
        (self.changed, self.saved) = (false, Some(moment.instant));
        let shown = |(peer, seen): (&Peer, &Seen)| {
            let mended = seen.mended.as_ref();
            let mended = mended.map(|(at, share)| format!("\t{at}\t{}", hex(&share.to_bytes()))).unwrap_or_default();
            format!("{}\t{}\t{}{mended}\n", hex(&peer.0), seen.writer, seen.heard)
        };
        Some(self.boxes.iter().map(shown).collect())
    }
}

fn line(text: &str) -> Option<(Peer, Seen)> {
    let mut fields = text.split('\t');
    let peer = Peer(DeviceId::from_hex(fields.next()?)?.0);
    let (writer, heard) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let mended = fields.next().and_then(|at| at.parse().ok()).zip(fields.next().and_then(share));
    Some((peer, Seen { writer, heard, mended, ..Seen::default() }))
}

fn share(text: &str) -> Option<Share> {
    let (parts, []) = text.as_bytes().as_chunks::<64>() else { return None };
    let parts = parts.iter().map(|part| DeviceId::from_hex(std::str::from_utf8(part).ok()?));
    let bytes: Vec<u8> = parts.collect::<Option<Vec<_>>>()?.iter().flat_map(|part| part.0).collect();
    Share::from_bytes(&bytes)
}

impl Replica {
    /// To how many boxes each large block goes; 0: to all.
    pub fn copies(&self) -> u8 {
        self.membership().table().copies()
    }

    /// The same, and which they are.
    fn places(&self) -> Places {
        let membership = self.membership();
        let table = membership.table();
        let boxes = table.members().filter(|m| m.role == Role::Storage);
        (table.copies(), boxes.map(|m| (m.writer, Place { peer: m.peer, class: table.room(m.writer) })).collect())
    }

    /// A member says how much room it has. That of a box is written down, if this device may and it is news.
    pub fn told_room(&self, peer: Peer, room: Room) {
        let membership = self.membership();
        let is_box = |m: &&Member| m.peer == peer.0 && m.role == Role::Storage;
        let Some(writer) = membership.table().members().find(is_box).map(|m| m.writer) else { return };
        let news = membership.room_entry(writer, room.size).is_some();
        drop(membership);
        self.placing.told(peer, room);
        if news && self.role() == Role::Admin {
            self.note_room(peer, room.size);
        }
    }
}

impl Exchange {
    /// What each box of the volume should have now.
    pub fn placement(&self, replica: &Replica) -> Arc<Placement> {
        let connected = self.connected(replica).into_iter().collect();
        let gone_after = self.settings.gone_after;
        let moment = Moment { secs: now(), instant: Instant::now(), connected, gone_after };
        replica.placing.look(replica.known.id, replica.places(), &moment)
    }
}

#[cfg(test)]
#[path = "placing/tests.rs"]
mod tests;
