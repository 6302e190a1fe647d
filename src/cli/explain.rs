//! `lovage explain PATH`: which device would serve each block of a file, and why.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output::{self, printable, size};
use super::session::Session;
use crate::wire::control::{Explained, Request};

#[derive(Debug, Args)]
pub struct Explain {
    /// The file
    path: PathBuf,
}

impl Explain {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let asked = Request::Explain { at: path_arg(&self.path) };
        let explained: Explained = output::typed(session.ask_daemon(&asked, &mut |_| Ok(()))?)?;
        if session.json() {
            return output::json(&explained);
        }
        for block in &explained.blocks {
            let from = if block.local { "here" } else { block.from.as_str() };
            let from = if from.is_empty() { "nowhere" } else { from };
            let id = block.id.get(..12).unwrap_or(&block.id);
            output::line(&format!(
                "{:>12} {:>10} {id} {:<16} {}",
                block.offset,
                size(block.bytes),
                printable(from),
                block.why
            ))?;
        }
        match explained.more_blocks {
            0 => Ok(()),
            more => output::line(&format!("and {more} more blocks")),
        }
    }
}
