//! `volume list`: the volumes this device knows.

use super::super::service::Service;
use crate::base::Result;
use crate::wire::control::VolumeStatus;

/// All of them, by name; the closed ones stay closed.
pub fn run(service: &Service) -> Result<Vec<VolumeStatus>> {
    service.volumes.list()?.into_iter().map(|known| super::status::volume(service, &known, true)).collect()
}
