//! `lovage unmount DIR`: flush and unmount; also clears away a mount whose daemon is dead.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Outcome;
use super::arguments::absolute;
use super::output;
use super::session::Session;
use crate::fuse;
use crate::wire::control::Request;

#[derive(Debug, Args)]
pub struct Unmount {
    /// Where it is mounted
    dir: PathBuf,
}

impl Unmount {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let dir = absolute(&self.dir);
        // An error here means that the mount is alive: its daemon is the one to ask.
        let stale = fuse::clear_stale(&dir).unwrap_or(false);
        if !stale {
            match session.ask_daemon(&Request::Unmount { dir: dir.clone().into() }, &mut |_| Ok(())) {
                // Its daemon cannot be asked (its home was moved or removed, or is another one): the kernel can.
                Err(failure) if failure.no_daemon && is_ours(&dir) => fuse::unmount(&dir, fuse::Unmount::IfIdle)?,
                asked => drop(asked?),
            }
        }
        if session.json() {
            return output::json(&json!({ "dir": crate::wire::RawPath::from(dir), "stale": stale }));
        }
        output::line(&format!("{} is unmounted", dir.display()))
    }
}

/// Whether the topmost mount at `dir` is one of lovage's.
fn is_ours(dir: &Path) -> bool {
    let is_ours = fuse::MountEntry::is_ours;
    fuse::mounts().is_ok_and(|all| all.iter().rfind(|entry| entry.point == dir).is_some_and(is_ours))
}
