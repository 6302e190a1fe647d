//! What else must have the content before `fsync` returns; nothing unless a person asked for it.

use std::sync::{Arc, Weak};

use super::Volume;
use crate::base::Result;
use crate::base::sync::RwLock;

/// Places beside this device that a volume's content goes to.
pub trait Elsewhere: Send + Sync {
    /// Whether there is anything to wait for.
    fn is_asked(&self) -> bool;
    /// Wait until everything acknowledged so far is where it must be. Errors: why it is not, after a bounded time.
    fn settle(&self) -> Result<()>;
}

/// Set once the volume is open; nothing at first.
#[derive(Default)]
pub(super) struct Rule(RwLock<Option<Weak<dyn Elsewhere>>>);

impl Rule {
    fn get(&self) -> Option<Arc<dyn Elsewhere>> {
        self.0.read().as_ref().and_then(Weak::upgrade)
    }
}

impl Volume {
    /// From now on `fsync` waits for `elsewhere` as well, as long as that lives.
    pub fn settle_elsewhere(&self, elsewhere: Weak<dyn Elsewhere>) {
        *self.elsewhere.0.write() = Some(elsewhere);
    }

    pub(super) fn waits_for_elsewhere(&self) -> bool {
        self.elsewhere.get().is_some_and(|elsewhere| elsewhere.is_asked())
    }

    pub(super) fn wait_for_elsewhere(&self) -> Result<()> {
        self.elsewhere.get().map_or(Ok(()), |elsewhere| elsewhere.settle())
    }
}
