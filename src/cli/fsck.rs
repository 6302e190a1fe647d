//! `lovage fsck`: verify what is stored, naming the paths damage belongs to.

use std::fmt::Write;

use clap::Args;

use super::Outcome;
use super::output::{self, printable};
use super::session::Session;
use crate::base::Kind;
use crate::wire::Failure;
use crate::wire::control::{FsckReport, Request};

#[derive(Debug, Args)]
pub struct Fsck {
    /// Only this volume
    volume: Option<String>,
    /// Mend what can be mended
    #[arg(long)]
    repair: bool,
    /// Read and verify file content too, not only structure
    #[arg(long)]
    read_data: bool,
}

impl Fsck {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let (repair, read_data) = (self.repair, self.read_data);
        let report: FsckReport = session.ask_for(&Request::Fsck { volume: self.volume.clone(), repair, read_data })?;
        if session.json() {
            output::json(&report)?;
        } else {
            output::bytes(describe(&report).as_bytes())?;
        }
        verdict(&report, repair, read_data)
    }
}

fn describe(report: &FsckReport) -> String {
    let mut out = format!("{} blocks checked, {} bad, {} repaired\n", report.checked, report.bad, report.repaired);
    for damage in &report.unrepairable {
        let path = printable(&damage.path.to_string());
        // Writing to a string cannot fail.
        let _ = match damage.block.as_str() {
            "" => writeln!(out, "damaged: {path}: {}", damage.reason),
            block => writeln!(out, "damaged: {path} (block {block}): {}", damage.reason),
        };
    }
    out
}

/// Damage that is still there is a failure with exit code 6.
fn verdict(report: &FsckReport, repair: bool, read_data: bool) -> Outcome {
    if report.bad <= report.repaired && report.unrepairable.is_empty() {
        return Ok(());
    }
    let left = report.bad.saturating_sub(report.repaired);
    let failure = Failure::new(Kind::Corrupt, "verify everything", "", format!("damaged places: {left}"));
    Err(if repair {
        failure.next("Copy what is still readable and restore the paths named above from a backup.")
    } else {
        let how = if read_data { "--repair --read-data" } else { "--repair" };
        failure.next(format!("Run `lovage fsck {how}` to mend what can be mended."))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_damage_that_is_left_fails() {
        assert!(verdict(&FsckReport { checked: 5, ..FsckReport::default() }, false, false).is_ok());
        assert!(verdict(&FsckReport { checked: 5, bad: 2, repaired: 2, ..FsckReport::default() }, true, false).is_ok());
        let left = FsckReport { checked: 5, bad: 2, repaired: 1, ..FsckReport::default() };
        assert_eq!(verdict(&left, true, false).unwrap_err().exit_code(), 6);
        assert!(verdict(&left, false, true).unwrap_err().next.contains("--repair --read-data"));
    }
}
