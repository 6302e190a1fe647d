//! `lovage du PATH...`: recursive totals, kept up to date in the tree and so instant.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output::{self, printable, size};
use super::session::Session;
use crate::wire::control::{Request, Usage};

#[derive(Debug, Args)]
pub struct Du {
    /// Paths inside a mount, VOLUME:/path, or /path in the default volume
    #[arg(default_value = "/")]
    paths: Vec<PathBuf>,
}

impl Du {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        for path in &self.paths {
            let usage: Usage = session.ask_for(&Request::DiskUsage { at: path_arg(path) })?;
            if session.json() {
                output::json(&usage)?;
                continue;
            }
            let Usage { bytes, files, directories, path } = usage;
            let path = printable(&path.to_string());
            output::line(&format!("{:>10}  {files} files, {directories} directories  {path}", size(bytes)))?;
        }
        Ok(())
    }
}
