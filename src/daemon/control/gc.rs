//! `gc`: free what nothing reaches any more.

use super::super::service::Service;
use super::{Sink, document};
use crate::base::Result;

/// One part a volume.
pub fn run(service: &Service, volume: Option<&str>, dry_run: bool, sink: &mut dyn Sink) -> Result<()> {
    for known in service.volumes.named_or_all(volume)? {
        let open = service.volumes.open(&known)?;
        let mut report = open.collect(dry_run, &mut |progress| sink.progress(progress))?;
        report.volume = known.name;
        sink.part(document(&report)?)?;
    }
    Ok(())
}
