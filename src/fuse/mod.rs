//! `fuse`: being built.
