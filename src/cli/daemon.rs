//! `lovage daemon`: serve without a mount, until told to stop.

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::arguments::Hosting;
use super::output;
use super::session::{Host, Session};
use crate::wire::Failure;

#[derive(Debug, Args)]
pub struct Daemon {
    #[command(flatten)]
    hosting: Hosting,
}

impl Daemon {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let home = session.home()?;
        let show = |value: &Value| -> Result<(), Failure> {
            let pid = value.get("pid").and_then(Value::as_u64).unwrap_or_default();
            if session.json() {
                return output::json(&json!({ "pid": pid, "home": home.root() }));
            }
            output::line(&format!("the daemon is ready (process {pid}, home {home})"))
        };
        session.host(Host { purpose: "daemon", mount: None, join: None, hosting: &self.hosting }, &show)
    }
}
