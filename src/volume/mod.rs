//! `volume`: being built.
