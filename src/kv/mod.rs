//! Where sealed bytes live: the arena log, the [`Kv`] trait with its backends, and small local maps.
//!
//! Rank 1: knows ids and bytes, never keys, plaintext, trees or mounts. Must never trust what it
//! reads back: records carry checksums, and callers verify the id against the bytes.
//!
//! A new backend is one file here, one arm in `location.rs`, one line in `conformance.rs`.

pub mod arena;
mod arena_kv;
pub mod collect;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod faulty;
mod file;
mod heads;
mod lazy;
pub mod local;
mod location;
mod memory;
pub mod moving;
pub mod multi;
mod object;
mod sled_kv;
mod sorted;
mod sqlite_kv;
pub mod steady;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::base::{Bid, Digest, Error, Kind, Result, hash};

pub use arena_kv::ArenaKv;
pub use file::FileKv;
pub use heads::Heads;
pub use lazy::Lazy;
pub use location::{Location, open};
pub use memory::MemoryKv;
pub use multi::MultiKv;
pub use object::ObjectKv;
#[cfg(feature = "fuzzing")]
pub use object::fuzzing as packs;
pub use sled_kv::SledKv;
pub use sqlite_kv::SqliteKv;
pub use steady::Steady;

/// The answer of an asynchronous operation. Dropping it cancels the operation.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Counts of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KvStat {
    /// Blocks stored.
    pub blocks: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// What must be stored under a head's name for [`Kv::put_head`] to replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Anything,
    /// Nothing.
    Nothing,
    /// Bytes with this [`version`].
    Version(Digest),
}

/// Names a head's content for conditional replacement: its hash.
pub fn version(bytes: &[u8]) -> Digest {
    hash(&[bytes])
}

impl Expect {
    /// [`Kind::Exists`] unless `current` is what is expected.
    pub(crate) fn check(self, name: &str, current: Option<&[u8]>) -> Result<()> {
        let met = match self {
            Self::Anything => true,
            Self::Nothing => current.is_none(),
            Self::Version(wanted) => current.is_some_and(|bytes| version(bytes) == wanted),
        };
        if met { Ok(()) } else { Err(Error::new(Kind::Exists, "replace head", name)) }
    }
}

/// A place that keeps immutable blocks under their ids, and a few small mutable heads.
///
/// Values are opaque. A store may lie or rot: whoever gets a block verifies it. Error kinds:
/// `Unreachable` and `Timeout` (again later, or elsewhere), `Denied`, `Full`, `Corrupt` (the store
/// itself found damage), `Invalid` (bad name), `Exists` (a condition was not met), `Io`, `Other`.
/// Absence is `None`, not an error.
pub trait Kv: Send + Sync {
    /// The location it was opened with, for people.
    fn name(&self) -> &str;
    /// The value under `id`.
    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>>;
    /// The values under `ids`, in their order. Cheaper than one by one where they lie together.
    fn get_many<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<Option<Bytes>>> {
        Box::pin(async move {
            let mut values = Vec::with_capacity(ids.len());
            for id in ids {
                values.push(self.get(id).await?);
            }
            Ok(values)
        })
    }
    /// Store a value; durable when done. Storing an id again is harmless, and heals a copy the store
    /// finds to differ.
    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()>;
    /// Store many values; durable when done, some of them when it fails. Cheaper than one by one where the store
    /// can gather them; at most some 16 MiB at once is best.
    fn put_many(&self, blocks: Vec<(Bid, Bytes)>) -> Task<'_, ()> {
        Box::pin(async move {
            for (id, value) in blocks {
                self.put(&id, value).await?;
            }
            Ok(())
        })
    }
    /// Which of `ids` are here, in their order.
    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>>;
    /// Whether it has a block, told at once and without asking it, as far as was known when it was asked last: by those that
    /// keep an index of all their blocks. `None` from others, and before it was asked the first time.
    fn knows(&self, _id: &Bid) -> Option<bool> {
        None
    }
    /// Believe nothing that was remembered of it: the next question has it looked at anew.
    fn doubt(&self) {}
    /// Remove blocks; absent ones are skipped.
    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()>;
    /// Remove some of `dead`, which ascend, from place `from` of this work on, as far as that is worth the work; gives
    /// the place to go on from, `None` when it is done. What is to go together is found only if `dead` is everything.
    fn sweep<'a>(&'a self, dead: &'a [Bid], from: usize) -> Task<'a, Option<usize>> {
        Box::pin(async move {
            let rest = dead.get(from..).unwrap_or_default();
            let (some, more) = rest.split_at(rest.len().min(SWEPT_AT_ONCE));
            self.delete(some).await?;
            Ok((!more.is_empty()).then_some(from + some.len()))
        })
    }
    /// Whether [`Self::put_head`] compares and replaces in one step, whoever else writes at the same time.
    fn compares(&self) -> Task<'_, bool> {
        Box::pin(async { Ok(true) })
    }
    /// At most `limit` ids behind `after`, in ascending order; fewer only at the end.
    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>>;
    /// Counts.
    fn stat(&self) -> Task<'_, KvStat>;
    /// The head called `name`.
    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>>;
    /// Replace a head if what is there is as expected, else [`Kind::Exists`]; durable when done.
    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()>;
    /// Names of all heads, ascending.
    fn list_heads(&self) -> Task<'_, Vec<String>>;
    /// Remove a head; an absent one is no error.
    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()>;
}

/// Blocks removed by one [`Kv::sweep`], of stores that keep each by itself.
const SWEPT_AT_ONCE: usize = 1024;

/// Whether `bytes` are those that `id` names.
pub fn is_genuine(id: &Bid, bytes: &[u8]) -> bool {
    hash(&[b"blk1", bytes]) == id.0
}

/// Run blocking work off the executor's threads where there is an executor.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Err(_) => work(),
        Ok(runtime) => runtime
            .spawn_blocking(work)
            .await
            .unwrap_or_else(|e| Err(Error::new(Kind::Other, "run store operation", "").with_source(e))),
    }
}

/// Check a head's name: 1 to 128 of `a-z 0-9 . _ -`, not starting with a dot.
pub(crate) fn check_head_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    let good = (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain);
    if good { Ok(()) } else { Err(Error::new(Kind::Invalid, "use head name", name)) }
}
