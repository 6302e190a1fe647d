//! The one door to locks. No poisoning: a panic is a bug we report, not a state others inherit.
//!
//! Rules: hold at most one lock at a time, or write the order on the field; never across `.await`.

pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
