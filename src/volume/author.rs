//! As whom this device writes: its index, its key, its lives.
//!
//! The volume's own record of it counts, not the keystore's: a device becomes another writer together with what it
//! knows, in one entry of the journal. Must never sign as one writer what another made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Volume;
use super::namespace::Namespace;
use crate::base::port::Time;
use crate::base::{VolumeId, WriterIndex};
use crate::causal::{Lived, Lives};
use crate::seal::{AuthorKey, DeviceRoot};

/// A life ends after this, and when the clock on the wall went ahead by so much more than it should: the machine slept, or
/// is a copy of one that was running.
const LONGEST: Duration = Duration::from_secs(3600);
const LEAP: Duration = Duration::from_secs(60);

/// Writers this device was before, at most.
const MOST_FORMER: usize = 64;

/// The one who signs.
#[derive(Debug, Clone)]
pub(super) struct Author {
    pub key: Arc<AuthorKey>,
    pub incarnation: u32,
    /// Writers that this device was before it was set back.
    pub former: Vec<WriterIndex>,
    pub lives: Lives,
    /// The next head has a greater number: numbers of a past that was lost are not used again.
    pub floor: u64,
    /// When the life began, by a clock that stands still while the machine does, and by the one on the wall.
    pub born: (Instant, Time),
}

/// As stored: who writes, and in which lives the newest changes of everybody were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    pub writer: WriterIndex,
    pub incarnation: u32,
    pub former: Vec<WriterIndex>,
    pub lives: Lives,
    pub lived: Lived,
}

impl Author {
    /// One that has not lived yet.
    pub fn new(device: &DeviceRoot, volume: VolumeId, incarnation: u32) -> Self {
        let key = Arc::new(device.author_key(volume, incarnation));
        Self {
            key,
            incarnation,
            former: Vec::new(),
            lives: Lives::default(),
            floor: 0,
            born: (Instant::now(), Time(0)),
        }
    }

    /// As stored.
    pub fn standing(&self, writer: WriterIndex, lived: &Lived) -> Standing {
        let Self { incarnation, former, lives, .. } = self.clone();
        Standing { writer, incarnation, former, lives, lived: lived.clone() }
    }

    /// `writer` is what this device was.
    pub fn leave(&mut self, writer: WriterIndex) {
        if self.former.len() >= MOST_FORMER {
            self.former.remove(0);
        }
        self.former.push(writer);
    }
}

impl Namespace {
    /// Take over what was stored, but for the key.
    pub fn take_standing(&mut self, standing: Standing) {
        let Standing { writer, incarnation, former, lives, lived } = standing;
        self.writer = writer;
        self.clock.become_writer(writer);
        (self.author.incarnation, self.author.former, self.author.lives) = (incarnation, former, lives);
        self.lived = lived;
    }
}

impl Volume {
    /// Everything was restored: the key is the incarnation's, and another life begins.
    pub(super) fn begin_life(&self, device: &DeviceRoot) {
        let mut ns = self.ns.lock();
        ns.author.key = Arc::new(device.author_key(self.id, ns.author.incarnation));
        self.note_own(&ns);
        if self.read_only {
            return;
        }
        self.begin_another(&mut ns);
        ns.author.floor = u64::try_from(self.clock.now().0 / 1000).unwrap_or(0);
    }

    fn begin_another(&self, ns: &mut Namespace) {
        let mut id = [0; 8];
        self.entropy.fill(&mut id);
        let (since, now) = (ns.vector.get(ns.writer), self.clock.now());
        ns.author.lives.begin(id, since, u64::try_from(now.0 / 1_000_000_000).unwrap_or(0));
        ns.author.born = (Instant::now(), now);
        // The first change that is journaled brings its life along.
        ns.restless |= ns.shared;
    }

    /// Before a seal: of two copies of a running machine each comes to a life of its own.
    pub(super) fn live_on(&self, ns: &mut Namespace) {
        let (began, wall) = ns.author.born;
        let (lived, passed) = (began.elapsed(), self.clock.now().0.saturating_sub(wall.0));
        let leapt = passed > i64::try_from((lived + LEAP).as_nanos()).unwrap_or(i64::MAX);
        if (lived >= LONGEST || leapt) && ns.shared && !self.read_only {
            self.begin_another(ns);
        }
    }

    /// The device writes as another, or was opened.
    pub(super) fn note_own(&self, ns: &Namespace) {
        *self.public.write() = ns.author.key.public();
        *self.own.write() = ns.author.former.iter().copied().chain([ns.writer]).collect();
    }

    /// Whether `writer` is, or was, this device.
    pub(super) fn is_own(&self, writer: WriterIndex) -> bool {
        self.own.read().contains(&writer)
    }

    /// This device's place in the writer table, and which incarnation of it.
    pub fn writes_as(&self) -> (WriterIndex, u32) {
        let ns = self.ns.lock();
        (ns.writer, ns.author.incarnation)
    }
}
