//! `unmount`: flush and unmount.

use super::super::service::Service;
use crate::base::Result;
use crate::wire::RawPath;

/// Unmount; what was written is durable when this returns.
pub fn run(service: &Service, dir: &RawPath) -> Result<()> {
    let known = service.mounts.remove(dir.as_path())?;
    match service.volumes.if_open(known.id) {
        Some(volume) => volume.files().sync(),
        None => Ok(()),
    }
}
