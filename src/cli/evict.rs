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
        let (mut unconfirmed, mut promised) = (0, 0);
        for path in &self.paths {
            let done: EvictReport =
                output::typed(session.ask_daemon(&Request::Evict { at: path_arg(path) }, &mut |_| Ok(()))?)?;
            unconfirmed += done.unconfirmed_bytes;
            promised += done.promised_bytes;
            if session.json() { output::json(&done)? } else { output::line(&described(&done))? }
        }
        let paths: Vec<_> = self.paths.iter().map(|p| p.display().to_string()).collect();
        let (why, next) = if unconfirmed > 0 {
            let why = format!("{} stay here: too few devices that are connected keep them", size(unconfirmed));
            (
                why,
                "See `lovage status` for the devices that can be reached, `replicas.min` in `lovage config` and `lovage volume show`.",
            )
        } else if promised > 0 {
            let why = format!("{} stay here: another device was promised that they do", size(promised));
            (why, "A promise lasts an hour. Try again then.")
        } else {
            return Ok(());
        };
        Err(Failure::new(Kind::Unreachable, "evict", paths.join(" "), why).next(next))
    }
}

fn described(done: &EvictReport) -> String {
    let EvictReport { path, peers, .. } = done;
    let gone = format!("{path}: {} dropped, {} of the disk freed", size(done.dropped_bytes), size(done.freed_bytes));
    let pinned = format!("; {} stay because they are pinned", size(done.pinned_bytes));
    let unsure = format!("; {} stay: {peers} device(s) asked, too few keep them", size(done.unconfirmed_bytes));
    let promised = format!("; {} stay because another device was promised them", size(done.promised_bytes));
    let if_any = |bytes: u64, text: String| if bytes > 0 { text } else { String::new() };
    let stays = [(done.pinned_bytes, pinned), (done.unconfirmed_bytes, unsure), (done.promised_bytes, promised)];
    stays.into_iter().fold(gone, |said, (bytes, text)| said + &if_any(bytes, text))
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
        let promised = EvictReport { promised_bytes: 1, ..EvictReport::default() };
        assert!(described(&promised).contains("promised"));
    }
}
