//! The clock file times are taken from.

use rustix::time::{ClockId, clock_gettime};

use crate::base::port::{Clock, Time};

/// The kernel's own clock for file times, which advances once a tick (1 to 10 ms).
///
/// Under the writeback cache the kernel stamps writes itself with this clock, and a filesystem stamps
/// everything else. Were its clock finer, a write could seem older than the creation before it.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelClock;

impl Clock for KernelClock {
    fn now(&self) -> Time {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Time::from_parts(now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::port::System;

    #[test]
    fn it_never_runs_ahead_of_the_fine_clock() {
        for _ in 0..1000 {
            let coarse = KernelClock.now();
            assert!(coarse <= System.now());
        }
    }

    #[test]
    fn it_agrees_with_what_the_kernel_writes_into_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let before = KernelClock.now();
        std::fs::write(dir.path().join("f"), b"x").unwrap();
        let meta = std::fs::metadata(dir.path().join("f")).unwrap();
        let nanos = u32::try_from(std::os::unix::fs::MetadataExt::mtime_nsec(&meta)).unwrap();
        let written = Time::from_parts(std::os::unix::fs::MetadataExt::mtime(&meta), nanos);
        assert!(before <= written);
    }
}
