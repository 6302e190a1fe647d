//! Tests of the tree against a `BTreeMap`, of the amount of I/O, and of hostile nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod figures;
mod hostile;
mod io;
mod model;
mod support;
