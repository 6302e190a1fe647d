//! `du`: recursive totals, which every directory's row carries.

use super::super::service::Service;
use crate::base::Result;
use crate::volume::api::FileKind;
use crate::wire::control::{PathArg, Usage};

/// The totals below a directory (itself not counted), or one file's own.
pub fn run(service: &Service, at: &PathArg) -> Result<Usage> {
    let place = service.place(at)?;
    let node = place.node()?;
    let attr = node.attr()?;
    let path = place.path.into();
    if attr.kind != FileKind::Directory {
        return Ok(Usage { path, bytes: attr.size, files: 1, directories: 0 });
    }
    let total = |name: &str| -> Result<u64> {
        let value = node.files.getxattr(node.ino, name.as_bytes())?;
        Ok(String::from_utf8_lossy(&value).trim().parse().unwrap_or_default())
    };
    Ok(Usage {
        path,
        bytes: total("lovage.dir.rbytes")?,
        files: total("lovage.dir.rfiles")?,
        directories: total("lovage.dir.rsubdirs")?,
    })
}
