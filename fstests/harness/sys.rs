//! The system calls without a safe wrapper: shared mappings, waiting for the mount table, dying with the parent.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// A shared, writable mapping of the whole of an open file.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes of `file`, which must be open for reading and writing.
    pub fn shared(file: &File, len: usize) -> std::io::Result<Self> {
        // SAFETY: a fresh mapping chosen by the kernel; the result is checked before use.
        let start = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Mapping { start: start.cast(), len })
    }

    /// Copies bytes in at `offset`.
    pub fn put(&mut self, offset: usize, data: &[u8]) {
        assert!(offset + data.len() <= self.len);
        // SAFETY: the range lies inside the mapping, which lives as long as self.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.start.add(offset), data.len()) }
    }

    /// Copies bytes out.
    pub fn get(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len);
        let mut out = vec![0; len];
        // SAFETY: the range lies inside the mapping, which lives as long as self.
        unsafe { std::ptr::copy_nonoverlapping(self.start.add(offset), out.as_mut_ptr(), len) }
        out
    }

    /// `msync(MS_SYNC)` of everything.
    pub fn sync(&self) -> std::io::Result<()> {
        // SAFETY: exactly the mapped range.
        let result = unsafe { libc::msync(self.start.cast(), self.len, libc::MS_SYNC) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapped range, not used afterwards.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// Waits until the mount table changes or the time is over.
pub fn mount_table_change(table: &File, at_most: Duration) {
    let mut poll = libc::pollfd { fd: table.as_raw_fd(), events: libc::POLLPRI, revents: 0 };
    let millis = i32::try_from(at_most.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&raw mut poll, 1, millis) };
}

/// Makes the child end with the thread that starts it, so that a killed test leaves no daemon.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and touches nothing of the parent.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}
