//! `lovage status`: what the daemon is, serves and still has to do.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;

use super::Outcome;
use super::output;
use super::session::Session;
use crate::daemon::words::describe;
use crate::wire::control::{Request, Status as Report};

#[derive(Debug, Args)]
pub struct Status {
    /// Show it again every second until interrupted
    #[arg(long)]
    watch: bool,
}

const EVERY: Duration = Duration::from_secs(1);

impl Status {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let mut before: Option<(Report, Instant)> = None;
        loop {
            let value = session.ask_daemon(&Request::Status { exact: !self.watch }, &mut |_| Ok(()))?;
            if session.json() {
                output::json(&value)?;
            } else {
                let clear = self.watch && std::io::stdout().is_terminal();
                let (report, now): (Report, _) = (output::typed(value)?, Instant::now());
                let text = describe(&report, &|peer| before.as_ref().and_then(|b| rates(b, (&report, now), peer)));
                before = Some((report, now));
                output::bytes(format!("{}{text}", if clear { "\x1b[H\x1b[2J" } else { "" }).as_bytes())?;
            }
            if !self.watch {
                return Ok(());
            }
            std::thread::sleep(EVERY);
        }
    }
}

/// Bytes a second to and from `peer` between two reports.
fn rates(before: &(Report, Instant), now: (&Report, Instant), peer: &str) -> Option<(u64, u64)> {
    let of = |report: &Report| report.peers.iter().find(|p| p.id == peer).map(|p| (p.sent_bytes, p.received_bytes));
    let (old, new) = (of(&before.0)?, of(now.0)?);
    let millis = u64::try_from(now.1.saturating_duration_since(before.1).as_millis()).ok()?.max(1);
    let rate = |new: u64, old: u64| new.saturating_sub(old).saturating_mul(1000) / millis;
    Some((rate(new.0, old.0), rate(new.1, old.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::PeerStatus;

    #[test]
    fn rates_are_what_was_moved_between_two_looks_and_never_negative() {
        let report = |sent, received| {
            let peer =
                PeerStatus { id: "p".into(), sent_bytes: sent, received_bytes: received, ..PeerStatus::default() };
            Report { peers: vec![peer], ..Report::default() }
        };
        let (begin, later) = (Instant::now(), Instant::now() + Duration::from_secs(2));
        assert_eq!(rates(&(report(0, 500), begin), (&report(4000, 400), later), "p"), Some((2000, 0)));
        assert_eq!(rates(&(report(0, 0), begin), (&report(0, 0), later), "q"), None);
    }
}
