//! The `lovage` program: everything lives in the library.

fn main() {}
