//! Tests of the tree against a `BTreeMap`, of the amount of I/O, and of hostile nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Short loops and arithmetic on figures read better plain.
#![allow(clippy::needless_for_each, clippy::cast_possible_truncation, clippy::unchecked_time_subtraction)]

mod figures;
mod golden;
mod hostile;
mod io;
mod model;
mod support;
