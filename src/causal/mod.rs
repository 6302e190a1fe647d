//! `causal`: being built.
