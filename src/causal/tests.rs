//! Tests of join and view: the laws, the merge table, the nasty cases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::many_single_char_names)]
// One-line arms of a step function read better alike, whether or not there is a result to drop.
#![allow(clippy::needless_for_each, clippy::trivially_copy_pass_by_ref, dropping_copy_types)]

mod laws;
mod nasty;
mod refresh;
mod replica;
mod table;
