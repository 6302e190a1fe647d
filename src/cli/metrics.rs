//! `lovage metrics`: the daemon's figures as Prometheus text.

use clap::Args;

use super::Outcome;
use super::output;
use super::session::Session;
use crate::wire::control::Request;

#[derive(Debug, Args)]
pub struct Metrics {}

impl Metrics {
    #[allow(clippy::unused_self)] // every command has this shape
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let text: String = output::typed(session.ask_daemon(&Request::Metrics, &mut |_| Ok(()))?)?;
        if session.json() { output::json(&serde_json::json!({ "text": text })) } else { output::bytes(text.as_bytes()) }
    }
}
