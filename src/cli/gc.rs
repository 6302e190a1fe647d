//! `lovage gc`: free what nothing reaches any more.

use clap::Args;

use super::Outcome;
use super::output::{self, size};
use super::session::{Piece, Session};
use crate::wire::control::{GcReport, Request};

#[derive(Debug, Args)]
pub struct Gc {
    /// Only this volume
    volume: Option<String>,
    /// Say what would be freed, free nothing
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let request = Request::Gc { volume: self.volume.clone(), dry_run: self.dry_run };
        session.ask(&request, &mut |piece| {
            let Piece::Part(value) = piece else { return Ok(()) };
            if session.json() { output::json(&value) } else { output::line(&describe(&output::typed(value)?)) }
        })?;
        Ok(())
    }
}

fn describe(report: &GcReport) -> String {
    let would = if report.dry_run { "would free" } else { "freed" };
    format!(
        "{}: {would} {} blocks, {}; kept {} blocks, {}",
        report.volume,
        report.freed_blocks,
        size(report.freed_bytes),
        report.kept_blocks,
        size(report.kept_bytes)
    )
}
