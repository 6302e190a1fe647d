//! `kv`: being built.
