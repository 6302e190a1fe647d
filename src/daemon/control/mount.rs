//! `mount`: mount a volume in the daemon that runs.

use std::sync::Arc;

use super::super::mounts::MountOptions;
use super::super::service::Service;
use crate::base::Result;
use crate::wire::RawPath;
use crate::wire::control::Mounted;

/// Mount; the mount works when this returns.
pub fn run(
    service: &Arc<Service>,
    volume: String,
    dir: &RawPath,
    read_only: bool,
    allow_other: bool,
) -> Result<Mounted> {
    service.mount(&MountOptions { volume, dir: dir.as_path().to_owned(), read_only, allow_other })
}
