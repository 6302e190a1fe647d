//! A volume's files as a mount shows them: `/.lovage` at the root, and attributes that only the daemon knows.
//!
//! `/.lovage` is found by its name and in no listing. Everything else goes to the volume unchanged. Must never let
//! anything below it be changed, nor wait for others while an attribute is read.

mod attributes;
mod files;
mod tree;

use std::sync::{Arc, Weak};

use super::service::Service;
use super::volumes::Known;
use crate::base::{Error, Kind, Result};
use crate::volume::Volume;
pub use attributes::Own;
use tree::Tree;

/// See the module.
pub struct Shown {
    volume: Arc<Volume>,
    tree: Tree,
    known: Known,
    service: Weak<Service>,
}

impl Shown {
    /// What a mount of `known` shows.
    pub fn new(service: &Arc<Service>, known: &Known, volume: Arc<Volume>) -> Arc<Self> {
        let tree = Tree::new(service, known, &volume);
        Arc::new(Self { volume, tree, known: known.clone(), service: Arc::downgrade(service) })
    }

    fn service(&self) -> Result<Arc<Service>> {
        self.service.upgrade().ok_or_else(|| Error::new(Kind::Stale, "ask the daemon", "it is ending"))
    }
}
