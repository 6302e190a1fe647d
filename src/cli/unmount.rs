//! `lovage unmount DIR`: flush and unmount; also clears away a mount whose daemon is dead.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Outcome;
use super::arguments::absolute;
use super::output;
use super::session::Session;
use crate::fuse::clear_stale;
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
        let stale = clear_stale(&dir).unwrap_or(false);
        if !stale {
            session.ask_daemon(&Request::Unmount { dir: dir.clone().into() }, &mut |_| Ok(()))?;
        }
        if session.json() {
            return output::json(&json!({ "dir": crate::wire::RawPath::from(dir), "stale": stale }));
        }
        output::line(&format!("{} is unmounted", dir.display()))
    }
}
