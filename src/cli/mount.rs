//! `lovage mount [VOLUME] DIR`: the main job.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::Outcome;
use super::arguments::{DEFAULT_VOLUME, Hosting, absolute};
use super::output;
use super::session::{Host, Session};
use crate::daemon::{Client, MountOptions};
use crate::wire::Failure;
use crate::wire::control::{Mounted, Request};

#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub struct Mount {
    /// Volume to mount
    #[arg(default_value = DEFAULT_VOLUME, hide_default_value = true)]
    volume: String,
    /// Empty directory to mount on
    dir: PathBuf,
    /// Refuse all changes
    #[arg(long)]
    read_only: bool,
    /// Let other users in
    #[arg(long)]
    allow_other: bool,
    #[command(flatten)]
    hosting: Hosting,
}

impl Mount {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        if let Some(client) = Client::connect(&session.home()?)? {
            match client.ask(&self.request(), &mut |_| Ok(())) {
                Err(failure) if failure.no_daemon => {}
                answered => return show(session, &answered?),
            }
        }
        let host = Host { purpose: "mount", mount: Some(self.options()), join: None, hosting: &self.hosting };
        session.host(host, &|value| show(session, value))
    }

    fn request(&self) -> Request {
        let dir = absolute(&self.dir).into();
        Request::Mount { volume: self.volume.clone(), dir, read_only: self.read_only, allow_other: self.allow_other }
    }

    fn options(&self) -> MountOptions {
        MountOptions {
            volume: self.volume.clone(),
            dir: absolute(&self.dir),
            read_only: self.read_only,
            allow_other: self.allow_other,
        }
    }
}

/// The one line printed when the mount is ready.
pub fn show(session: &Session<'_>, value: &Value) -> Result<(), Failure> {
    if session.json() {
        return output::json(value);
    }
    let mounted: Mounted = output::typed(value.clone())?;
    if mounted.damage > 0 {
        output::note("damage was found in the log: something that was stored may be missing. See `lovage fsck`.");
    }
    let how = if mounted.read_only { " read-only" } else { "" };
    output::line(&format!("{} is mounted on {}{how} (process {})", mounted.volume, mounted.dir, mounted.pid))
}
