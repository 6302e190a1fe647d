//! Waiting a moment for the next request before going to sleep.
//!
//! A program like tar sends one request after the other. A thread that sleeps in between must be woken for
//! each, which costs several times what most requests do (docs/fuse.md has figures). So a thread that has
//! answered looks for a next request for some tens of microseconds first, giving way to whoever wants the
//! processor. One thread at a time, and only while it pays. Must never keep an idle machine awake.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long to look.
const MOMENT: Duration = Duration::from_micros(50);
/// What a found request earns, and what a moment in vain costs.
const EARNED: i32 = 1;
const COST: i32 = 4;
const MOST: i32 = 32;

/// The one place in a mount where a thread may wait awake.
#[derive(Debug)]
pub(super) struct Linger {
    device: OwnedFd,
    taken: AtomicBool,
    /// Above zero: it has paid lately. Below, one in so many answers tries again.
    credit: AtomicI32,
}

/// Waits when dropped: hold it while a request is being answered.
pub(super) struct Lingering<'l>(&'l Linger);

impl Linger {
    /// `device` is a descriptor of the mount's connection.
    pub(super) fn new(device: OwnedFd) -> Self {
        Self { device, taken: AtomicBool::new(false), credit: AtomicI32::new(MOST) }
    }

    /// Wait a moment once the answer is given.
    pub(super) fn after(&self) -> Lingering<'_> {
        Lingering(self)
    }

    fn wait(&self) {
        if self.credit.load(Ordering::Relaxed) < 0 {
            self.credit.fetch_add(EARNED, Ordering::Relaxed);
            return;
        }
        if self.taken.swap(true, Ordering::Acquire) {
            return;
        }
        let earned = if self.look() { EARNED } else { -COST };
        let credit = self.credit.load(Ordering::Relaxed).saturating_add(earned);
        // Once it has stopped paying, so many answers pass before it is tried again.
        self.credit.store(if credit < 0 { -MOST } else { credit.min(MOST) }, Ordering::Relaxed);
        self.taken.store(false, Ordering::Release);
    }

    /// Whether a request (or the end of the mount) came within the moment.
    fn look(&self) -> bool {
        let begin = Instant::now();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            let mut device = [PollFd::new(&self.device, PollFlags::IN)];
            match poll(&mut device, Some(&at_once)) {
                Ok(0) => {}
                _ => return true,
            }
            if begin.elapsed() >= MOMENT {
                return false;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Lingering<'_> {
    fn drop(&mut self) {
        self.0.wait();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn pair() -> (Linger, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        (Linger::new(reader.into()), writer)
    }

    #[test]
    fn it_stops_trying_when_nothing_comes_and_tries_again_later() {
        let (linger, _writer) = pair();
        for _ in 0..=MOST {
            drop(linger.after());
        }
        assert!(linger.credit.load(Ordering::Relaxed) < 0);
        for _ in 0..2 * MOST {
            drop(linger.after());
        }
        assert!((-MOST..0).contains(&linger.credit.load(Ordering::Relaxed)));
    }

    #[test]
    fn it_goes_on_as_long_as_requests_come() {
        let (linger, mut writer) = pair();
        writer.write_all(b"x").unwrap();
        for _ in 0..3 * MOST {
            drop(linger.after());
        }
        assert_eq!(linger.credit.load(Ordering::Relaxed), MOST);
    }

    #[test]
    fn the_end_of_the_other_side_ends_the_moment() {
        let (linger, writer) = pair();
        drop(writer);
        assert!(linger.look());
    }
}
