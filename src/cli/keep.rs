//! `lovage keep`: volumes that this device keeps for others and cannot read.

use clap::{Args, Subcommand};

use super::Outcome;
use super::output::{self, printable, size};
use super::session::Session;
use crate::daemon::parse_size;
use crate::wire::control::{KeepCollection, KeepStatus, Request};

#[derive(Debug, Args)]
pub struct Keep {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show all of them
    List,
    /// Change how much one may take
    Set {
        /// Its name here, or its id
        name: String,
        /// Most bytes, such as 500GiB, or `none`
        #[arg(long, value_parser = quota)]
        quota: u64,
    },
    /// Ask the devices that write to one what they need of it: the rest goes when all have answered, however long that
    /// takes. By itself every 30 days, and when there is no room
    Gc {
        /// Its name here, or its id
        name: String,
    },
    /// Keep one no more: what is here of it is removed. The others see this device until they remove it
    Drop {
        /// Its name here, or its id
        name: String,
    },
}

impl Keep {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        match &self.command {
            Command::List => {
                let kept: Vec<KeepStatus> = session.ask_for(&Request::KeepList)?;
                if session.json() {
                    return output::json(&kept);
                }
                kept.iter().try_for_each(|kept| output::line(&described(kept)))
            }
            Command::Set { name, quota } => {
                let request = Request::KeepSet { name: name.clone(), quota: Some(*quota) };
                let kept: KeepStatus = session.ask_for(&request)?;
                if session.json() { output::json(&kept) } else { output::line(&described(&kept)) }
            }
            Command::Gc { name } => {
                let kept: KeepStatus = session.ask_for(&Request::KeepGc { name: name.clone() })?;
                if session.json() { output::json(&kept) } else { output::line(&described(&kept)) }
            }
            Command::Drop { name } => {
                session.ask(&Request::KeepDrop { name: name.clone() }, &mut |_| Ok(()))?;
                if session.json() {
                    output::json(&serde_json::json!({ "dropped": name }))
                } else {
                    output::line("dropped")
                }
            }
        }
    }
}

/// 0 for none.
fn quota(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        _ if text == "none" => Ok(0),
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("give a size such as 500GiB, or `none`".to_owned()),
    }
}

/// One line about a kept volume.
pub fn described(kept: &KeepStatus) -> String {
    let quota = kept.quota_bytes.map(|quota| format!(" of {}", size(quota))).unwrap_or_default();
    let waits = |c: &KeepCollection| format!("; collecting, waits for {}", printable(&c.waiting_for.join(", ")));
    let collecting = kept.collection.as_ref().map(waits).unwrap_or_default();
    format!(
        "{:<16} {}{quota} in {} blocks, {} devices, {} heads  {}{collecting}",
        printable(&kept.name),
        size(kept.used_bytes),
        kept.blocks,
        kept.devices,
        kept.heads,
        printable(&kept.state)
    )
}
