//! fstests
