//! `lovage config [get|set|check]`: the settings of the home.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::output;
use super::session::Session;
use crate::base::Kind;
use crate::daemon::{Config as Settings, SETTINGS, set_config};
use crate::wire::Failure;

#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show one setting, or all
    Get {
        /// Its dotted name
        key: Option<String>,
    },
    /// Change one setting; the daemon reads it when it starts
    Set {
        /// Its dotted name
        key: String,
        /// Its value
        value: String,
    },
    /// Check the file and explain every setting
    Check,
}

impl Config {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        match &self.command {
            None | Some(Command::Get { key: None }) => get_all(session),
            Some(Command::Get { key: Some(key) }) => get(session, key),
            Some(Command::Set { key, value }) => {
                let home = session.home()?;
                home.create()?;
                set_config(&home.config(), key, value)?;
                get(session, key)
            }
            Some(Command::Check) => check(session),
        }
    }
}

fn load(session: &Session<'_>) -> Result<Settings, Failure> {
    Ok(Settings::load(&session.home()?.config())?)
}

fn get_all(session: &Session<'_>) -> Outcome {
    let settings = load(session)?;
    let shown = SETTINGS.iter().filter_map(|s| Some((s.name, settings.get(s.name)?)));
    if session.json() {
        return output::json(&shown.map(|(name, value)| (name.to_owned(), as_json(&value))).collect::<Map<_, _>>());
    }
    shown.into_iter().try_for_each(|(name, value)| output::line(&format!("{name} = {value}")))
}

fn get(session: &Session<'_>, key: &str) -> Outcome {
    let value = load(session)?.get(key).ok_or_else(|| {
        let names: Vec<_> = SETTINGS.iter().map(|s| s.name).collect();
        Failure::new(Kind::NotFound, "show the setting", key, "there is no such setting")
            .next(format!("The settings are {}.", names.join(", ")))
    })?;
    if session.json() { output::json(&json!({ key: as_json(&value) })) } else { output::line(&value) }
}

fn check(session: &Session<'_>) -> Outcome {
    let file = session.home()?.config();
    load(session)?;
    if session.json() {
        return output::json(&json!({ "file": file, "valid": true }));
    }
    output::line(&format!("{} is valid; the settings are:", file.display()))?;
    SETTINGS.iter().try_for_each(|s| output::line(&format!("{:<10} {} ({})", s.name, s.does, s.takes)))
}

/// Strings, integers and booleans are written alike in TOML and JSON.
fn as_json(toml: &str) -> Value {
    serde_json::from_str(toml).unwrap_or_else(|_| Value::from(toml))
}
