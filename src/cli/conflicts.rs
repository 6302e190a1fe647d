//! `lovage conflicts [VOLUME]`: files that were changed on two devices at once.

use clap::Args;

use super::Outcome;
use super::output::{self, moment, printable, size};
use super::session::Session;
use crate::wire::control::{ConflictStatus, Request};

#[derive(Debug, Args)]
pub struct Conflicts {
    /// Only this volume
    volume: Option<String>,
}

impl Conflicts {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let all: Vec<ConflictStatus> = session.ask_for(&Request::Conflicts { volume: self.volume.clone() })?;
        if session.json() {
            return output::json(&all);
        }
        for conflict in &all {
            output::line(&format!("{}:{}", conflict.volume, printable(&conflict.path)))?;
            for v in &conflict.versions {
                let (id, device, path) = (&v.id, printable(&v.device), printable(&v.path));
                output::line(&format!("  {id:<8} {device:<16} {} {:>10}  {path}", moment(v.time_ns), size(v.size)))?;
            }
            if let Some(base) = &conflict.base {
                output::line(&format!("  {base:<8} is what they were written over"))?;
            }
            for path in conflict.paths.iter().filter(|_| conflict.versions.len() < 2) {
                output::line(&format!("  shows as {}", printable(path)))?;
            }
        }
        Ok(())
    }
}
