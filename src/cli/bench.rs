//! `lovage bench [DIR]`: the built-in figures of this machine.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::session::Session;
use crate::base::Kind;
use crate::wire::Failure;

#[derive(Debug, Args)]
pub struct Bench {
    /// Measure the disk under this directory
    #[arg(default_value = ".")]
    dir: PathBuf,
}

impl Bench {
    #[allow(clippy::unused_self)]
    pub fn run(&self, _session: &Session<'_>) -> Outcome {
        Err(Failure::new(Kind::Unsupported, "measure", self.dir.display().to_string(), "being built"))
    }
}
