//! `volume forget`: remove a volume, its keys and its content from this device.
//!
//! Must never drop content that may be the only copy without being told twice.

use super::super::service::Service;
use crate::base::{Error, Kind, Result};
use crate::wire::Advice;

/// Forget. [`Kind::Busy`] while it is mounted, [`Kind::NotEmpty`] while it holds files, unless `force`.
pub fn run(service: &Service, name: &str, force: bool) -> Result<()> {
    let known = service.volumes.find(name)?;
    let refuse = |kind, why: String, next: String| {
        Err(Error::new(kind, "forget the volume", name).with_source(Advice::new(why, next)))
    };
    if let Some(point) = service.mounts.points(known.id).first() {
        let next = format!("Unmount it first: lovage unmount {}", point.display());
        return refuse(Kind::Busy, format!("it is mounted on {}", point.display()), next);
    }
    if !force {
        service.volumes.open(&known)?;
        let files = super::status::volume(service, &known, true)?.files;
        if files > 0 {
            let next = "Copy what you need elsewhere, then repeat with --force.".to_owned();
            return refuse(Kind::NotEmpty, format!("it holds {files} files that may be nowhere else"), next);
        }
    }
    service.volumes.forget(&known)
}
