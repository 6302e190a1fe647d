//! Arguments several commands share.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::daemon::NetChoice;
use crate::wire::RawPath;
use crate::wire::control::PathArg;

/// Name of the volume when none is given.
pub const DEFAULT_VOLUME: &str = "default";

/// Options of every command that hosts the daemon.
#[derive(Debug, Args)]
pub struct Hosting {
    /// Accept peers on this multiaddress (repeatable)
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// Do not talk to peers or stores
    #[arg(long)]
    offline: bool,
    /// Return as soon as everything is ready, leaving the daemon running
    #[arg(long)]
    pub background: bool,
}

impl Hosting {
    /// What this says about the network.
    pub fn net(&self) -> NetChoice {
        NetChoice { listen: self.listen.clone(), offline: self.offline }
    }
}

/// A path to look at: inside a mount, `VOLUME:/path`, or `/path` in the default volume.
pub fn path_arg(typed: &Path) -> PathArg {
    PathArg { typed: typed.into(), absolute: absolute(typed).into() }
}

/// `path` from the root, symlinks above its last component resolved where they can be.
pub fn absolute(path: &Path) -> PathBuf {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let parent = full.parent().and_then(|parent| parent.canonicalize().ok());
    match (parent, full.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => full,
    }
}

/// [`absolute`], as it travels.
pub fn absolute_raw(path: &Path) -> RawPath {
    absolute(path).into()
}
