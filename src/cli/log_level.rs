//! `lovage log-level [TARGET=LEVEL]`: what the daemon logs.

use clap::Args;

use super::Outcome;
use super::output;
use super::session::Session;
use crate::wire::control::Request;

#[derive(Debug, Args)]
pub struct LogLevel {
    /// LEVEL for everything, or TARGET=LEVEL in addition; shows what is set when left out
    directives: Option<String>,
}

impl LogLevel {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let request = Request::LogLevel { directives: self.directives.clone() };
        let level: String = output::typed(session.ask_daemon(&request, &mut |_| Ok(()))?)?;
        if session.json() { output::json(&serde_json::json!({ "level": level })) } else { output::line(&level) }
    }
}
