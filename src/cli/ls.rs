//! `lovage ls PATH`: list a directory without a mount.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output::{self, moment, permissions, printable};
use super::session::{Piece, Session};
use crate::wire::control::{Entry, Request};

#[derive(Debug, Args)]
pub struct Ls {
    /// A path inside a mount, VOLUME:/path, or /path in the default volume
    #[arg(default_value = "/")]
    path: PathBuf,
    /// Permissions, owner, size and time too
    #[arg(short, long)]
    long: bool,
}

impl Ls {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        session.ask(&Request::List { at: path_arg(&self.path) }, &mut |piece| {
            let Piece::Part(value) = piece else { return Ok(()) };
            if session.json() {
                return output::json(&value);
            }
            let entry: Entry = output::typed(value)?;
            output::line(&if self.long { long(&entry) } else { printable(&entry.name.to_string()) })
        })?;
        Ok(())
    }
}

fn long(entry: &Entry) -> String {
    let target = entry.target.as_ref().map(|t| format!(" -> {}", printable(&t.to_string()))).unwrap_or_default();
    format!(
        "{} {:>3} {:>5} {:>5} {:>12} {} {}{target}",
        permissions(&entry.kind, entry.mode),
        entry.nlink,
        entry.uid,
        entry.gid,
        entry.size,
        moment(entry.mtime_ns),
        printable(&entry.name.to_string()),
    )
}
