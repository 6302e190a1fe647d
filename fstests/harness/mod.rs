//! The pieces a black-box test is built from. Must never hide a failure: everything here panics loudly.

pub mod binary;
pub mod bytes;
pub mod device;
pub mod disk;
pub mod ext4;
pub mod lan;
pub mod load;
pub mod mount;
pub mod place;
pub mod program;
pub mod scratch;
pub mod servers;
pub mod snapshot;
pub mod sys;
