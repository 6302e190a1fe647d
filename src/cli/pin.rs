//! `lovage pin PATH...`, `unpin PATH...`, `pins`: what is kept here whole.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output::{self, size};
use super::session::Session;
use crate::wire::control::{PinStatus, Request};

#[derive(Debug, Args)]
pub struct Pin {
    /// Directories or files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// So many levels below a directory only
    #[arg(long)]
    depth: Option<u32>,
}

#[derive(Debug, Args)]
pub struct Unpin {
    /// Directories or files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Pins {}

impl Pin {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        self.paths.iter().try_for_each(|path| {
            let request = Request::Pin { at: path_arg(path), depth: self.depth };
            let pin: PinStatus = output::typed(session.ask_daemon(&request, &mut |_| Ok(()))?)?;
            if session.json() { output::json(&pin) } else { output::line(&format!("{} is pinned", pin.path)) }
        })
    }
}

impl Unpin {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        self.paths.iter().try_for_each(|path| {
            let was: bool =
                output::typed(session.ask_daemon(&Request::Unpin { at: path_arg(path) }, &mut |_| Ok(()))?)?;
            if session.json() {
                return output::json(&serde_json::json!({ "unpinned": was }));
            }
            let said = if was { "is pinned no longer" } else { "was not pinned" };
            output::line(&format!("{} {said}", path.display()))
        })
    }
}

impl Pins {
    #[allow(clippy::unused_self)] // as every command
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let pins: Vec<PinStatus> = output::typed(session.ask_daemon(&Request::Pins, &mut |_| Ok(()))?)?;
        if session.json() {
            return output::json(&pins);
        }
        pins.iter().try_for_each(|pin| {
            let how = if pin.complete { "complete".to_owned() } else { format!("{} missing", size(pin.missing_bytes)) };
            output::line(&format!("{:<14} {:>10}  {}", how, size(pin.bytes), output::printable(&pin.path)))
        })
    }
}
