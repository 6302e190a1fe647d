//! Messages between processes: data and codec only.
//!
//! Rank 2. Must never open a socket, start a thread or decide anything; every decoder is bounded.

pub mod control;
mod failure;
mod frame;
mod path;
pub mod peer;

pub use failure::{Advice, Failure, kind_from_name, kind_name};
pub use frame::{Frame, MAX_FRAME, read_frame, write_data, write_frame};
pub use path::RawPath;
