//! `lovage evict PATH...`: drop local copies that enough others keep.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output::{self, size};
use super::session::Session;
use crate::base::Kind;
use crate::wire::Failure;
use crate::wire::control::{EvictReport, Request};

#[derive(Debug, Args)]
pub struct Evict {
    /// Directories or files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

impl Evict {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let mut unconfirmed = 0;
        for path in &self.paths {
            let done: EvictReport =
                output::typed(session.ask_daemon(&Request::Evict { at: path_arg(path) }, &mut |_| Ok(()))?)?;
            unconfirmed += done.unconfirmed_bytes;
            if session.json() { output::json(&done)? } else { output::line(&described(&done))? }
        }
        if unconfirmed == 0 {
            return Ok(());
        }
        let paths: Vec<_> = self.paths.iter().map(|p| p.display().to_string()).collect();
        let why = format!("{} stay here: too few devices that are connected keep them", size(unconfirmed));
        let next = "See `lovage status` for the devices that can be reached, and `replicas.min` in `lovage config`.";
        Err(Failure::new(Kind::Unreachable, "evict", paths.join(" "), why).next(next))
    }
}

fn described(done: &EvictReport) -> String {
    let EvictReport { path, peers, .. } = done;
    let gone = format!("{path}: {} dropped, {} of the disk freed", size(done.dropped_bytes), size(done.freed_bytes));
    let pinned = format!("; {} stay because they are pinned", size(done.pinned_bytes));
    let unsure = format!("; {} stay: {peers} device(s) asked, too few keep them", size(done.unconfirmed_bytes));
    let if_any = |bytes: u64, text: String| if bytes > 0 { text } else { String::new() };
    [gone, if_any(done.pinned_bytes, pinned), if_any(done.unconfirmed_bytes, unsure)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_told_with_its_reason() {
        let done =
            EvictReport { path: "v:/a".into(), dropped_bytes: 2048, pinned_bytes: 1024, ..EvictReport::default() };
        assert_eq!(
            described(&done),
            "v:/a: 2.0 KiB dropped, 0 B of the disk freed; 1.0 KiB stay because they are pinned"
        );
        let kept = EvictReport { unconfirmed_bytes: 1, ..EvictReport::default() };
        assert!(described(&kept).contains("too few keep them"));
    }
}
