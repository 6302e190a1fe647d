//! `cas`: being built.
