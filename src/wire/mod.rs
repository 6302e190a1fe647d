//! `wire`: being built.
