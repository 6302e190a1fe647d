//! `seal`: being built.
