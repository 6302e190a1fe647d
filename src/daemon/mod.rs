//! `daemon`: being built.
