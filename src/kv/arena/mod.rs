//! The log: blocks, journal and checkpoints in append-only arena files.
//!
//! One append and one `fdatasync` make anything durable, and concurrent callers share it. The format
//! and what it assumes of the disk are in `docs/format-log.md`. Must never overwrite a written record,
//! never truncate in front of damage that was once acknowledged, and never report durability without
//! a successful sync behind it.

mod ahead;
mod append;
mod arena_file;
mod aside;
#[cfg(test)]
mod bench;
mod commit;
mod compact;
mod couriers;
#[cfg(test)]
mod damage_tests;
mod delete;
mod disk;
#[cfg(test)]
mod fault_tests;
mod finding;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod heal;
mod index;
mod locator;
mod log;
mod part;
mod real;
mod record;
mod recover;
mod scan;
mod scrub;
#[cfg(test)]
pub(crate) mod sim;
#[cfg(test)]
mod sim_tests;
mod staged;
mod table;
#[cfg(test)]
mod tests;

pub use compact::Compacted;
pub use disk::{Disk, DiskFile, Mapping};
pub use finding::{Damage, Finding};
pub use log::{Log, Options, Stat};
pub use part::Parted;
pub use real::RealDisk;
pub use recover::Recovery;
pub use scrub::Scrubbed;

/// A position in the log: rises with every append; what is before it can be made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// The beginning: always durable.
    pub const ZERO: Self = Self(0);

    fn new(arena: u32, offset: u64) -> Self {
        Self((u64::from(arena) << 32) | ((offset / record::ALIGN) & 0xffff_ffff))
    }

    fn arena(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }

    fn offset(self) -> u64 {
        (self.0 & 0xffff_ffff) * record::ALIGN
    }
}
