//! `join`: come in with an invite.

use std::sync::Arc;

use super::super::service::Service;
use crate::base::Result;
use crate::wire::control::Joined;

/// Join; the volume is open and followed from now on.
pub fn run(service: &Arc<Service>, link: &str, mount: bool, quota: Option<u64>) -> Result<Joined> {
    service.join(link, mount, quota)
}
