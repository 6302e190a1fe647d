//! `cli`: being built.
