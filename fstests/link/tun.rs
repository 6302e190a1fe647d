//! A TUN device in another network namespace; the one system call without a safe wrapper.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const NAME: &[u8] = b"wan0";

/// A new device `wan0` in the namespace at `path`, which goes when the file is closed. Reads and writes whole
/// packets, never waiting. The calling thread is in that namespace for the time of the call.
pub fn open(path: &Path) -> io::Result<File> {
    let (here, there) = (File::open("/proc/thread-self/ns/net")?, File::open(path)?);
    move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))?;
    let made = make();
    move_into_link_name_space(here.as_fd(), Some(LinkNameSpaceType::Network))?;
    made
}

fn make() -> io::Result<File> {
    let device = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: ifreq is plain data, valid when all zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(NAME) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = 0x0001 | 0x1000; // IFF_TUN, IFF_NO_PI
    // SAFETY: TUNSETIFF takes a pointer to an ifreq, which lives as long as the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(device) }
}
