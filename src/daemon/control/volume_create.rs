//! `volume create`: a new, empty volume.

use super::super::service::Service;
use crate::base::Result;
use crate::wire::control::{Chunking, Dedup, VolumeStatus};

/// Make it, and show it.
pub fn run(service: &Service, name: &str, dedup: Dedup, chunking: Chunking) -> Result<VolumeStatus> {
    let known = service.volumes.create(name, dedup, chunking)?;
    service.volumes.open(&known)?;
    super::status::volume(service, &known, true)
}
