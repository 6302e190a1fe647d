//! `lovage get PATH...`: bring content here once.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output::{self, size};
use super::session::Session;
use crate::wire::control::{PinStatus, Request};

#[derive(Debug, Args)]
pub struct Get {
    /// Directories or files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

impl Get {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        self.paths.iter().try_for_each(|path| {
            let got: PinStatus =
                output::typed(session.ask_daemon(&Request::Get { at: path_arg(path) }, &mut |_| Ok(()))?)?;
            let said = format!("{}: all {} are here", got.path, size(got.bytes));
            if session.json() { output::json(&got) } else { output::line(&said) }
        })
    }
}
