//! `lovage push`: copy what is below a path into a store now.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output;
use super::session::Session;
use super::store::described;
use crate::wire::control::{Request, StoreStatus};

#[derive(Debug, Args)]
pub struct Push {
    /// File or directory
    path: PathBuf,
    /// Name of the store
    store: String,
}

impl Push {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let request = Request::Push { at: path_arg(&self.path), store: self.store.clone() };
        let store: StoreStatus = output::typed(session.ask_daemon(&request, &mut |_| Ok(()))?)?;
        if session.json() { output::json(&store) } else { output::line(&described(&store)) }
    }
}
