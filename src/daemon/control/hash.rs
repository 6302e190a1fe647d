//! `hash`: the content ids files of this machine would have in a volume.

use super::super::service::Service;
use super::{Sink, document};
use crate::base::Result;
use crate::wire::RawPath;

/// One part a file. Stores nothing.
pub fn run(service: &Service, volume: &str, files: &[RawPath], sink: &mut dyn Sink) -> Result<()> {
    let volume = service.volumes.open(&service.volumes.find(volume)?)?;
    for file in files {
        sink.part(document(&volume.content_id(file)?)?)?;
    }
    Ok(())
}
