//! The FUSE adapter: decode a request, call the filesystem, encode the answer; and the life of a mount.
//!
//! Rank 5. Must never decide anything a filesystem decides (permissions are the kernel's, everything
//! else is `volume`'s), and must never let a fuser type out of this directory. What the kernel does and
//! expects is written down in `docs/fuse.md`.

mod adapter;
mod check;
mod clock;
mod convert;
mod device;
mod dirty;
mod errno;
mod failstop;
mod invalidate;
mod kernel;
mod linger;
mod mount;
mod mountinfo;
mod options;
mod reply;
mod side;
mod unmount;
mod waiting;
mod workers;

pub use check::clear_stale;
pub use clock::KernelClock;
pub use invalidate::KernelCache;
pub use mount::{Mounted, mount};
pub use mountinfo::{MountEntry, mounts};
pub use options::MountOptions;
pub use unmount::{Unmount, unmount};
