//! `lovage resolve PATH --keep ID`: keep one version of a file.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output;
use super::session::Session;
use crate::wire::control::Request;

#[derive(Debug, Args)]
pub struct Resolve {
    /// The file, or one of its copies
    path: PathBuf,
    /// The version to keep, as `conflicts` names it
    #[arg(long, value_name = "ID")]
    keep: String,
}

impl Resolve {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        session.ask_for::<()>(&Request::Resolve { at: path_arg(&self.path), keep: self.keep.clone() })?;
        if session.json() {
            return output::json(&serde_json::json!({ "kept": self.keep }));
        }
        output::line(&format!("{} is resolved: {} was kept", self.path.display(), self.keep))
    }
}
