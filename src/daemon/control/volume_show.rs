//! `volume show`: one volume, opened to count what it holds.

use super::super::service::Service;
use crate::base::Result;
use crate::wire::control::VolumeStatus;

/// Open and show.
pub fn run(service: &Service, name: &str) -> Result<VolumeStatus> {
    let known = service.volumes.find(name)?;
    service.volumes.open(&known)?;
    super::status::volume(service, &known, true)
}
