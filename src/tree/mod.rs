//! `tree`: being built.
