//! `lovage status`: what the daemon is, serves and still has to do.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use super::Outcome;
use super::output;
use super::session::Session;
use crate::wire::control::{PeerStatus, Request, Status as Report, VolumeStatus};

#[derive(Debug, Args)]
pub struct Status {
    /// Show it again every second until interrupted
    #[arg(long)]
    watch: bool,
}

const EVERY: Duration = Duration::from_secs(1);

impl Status {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        loop {
            let value = session.ask_daemon(&Request::Status { exact: !self.watch }, &mut |_| Ok(()))?;
            if session.json() {
                output::json(&value)?;
            } else {
                let clear = self.watch && std::io::stdout().is_terminal();
                let text = describe(&output::typed(value)?);
                output::bytes(format!("{}{text}", if clear { "\x1b[H\x1b[2J" } else { "" }).as_bytes())?;
            }
            if !self.watch {
                return Ok(());
            }
            std::thread::sleep(EVERY);
        }
    }
}

fn describe(status: &Report) -> String {
    let daemon = &status.daemon;
    let mut out = format!(
        "daemon   process {}, version {}, up {}\nhome     {}\n",
        daemon.pid,
        daemon.version,
        output::span(daemon.uptime_s),
        daemon.home
    );
    for volume in &status.volumes {
        out.push_str(&describe_volume(volume));
    }
    for peer in &status.peers {
        out.push_str(&describe_peer(peer));
    }
    if status.volumes.is_empty() {
        out.push_str("volumes  none\n");
    }
    out
}

fn describe_peer(peer: &PeerStatus) -> String {
    let how = if peer.connected {
        format!("connected by {}, {:.1} ms", peer.transport, peer.rtt_ms)
    } else {
        "away".to_owned()
    };
    let (sent, received) = (output::size(peer.sent_bytes), output::size(peer.received_bytes));
    let address = peer.addresses.first().map(|a| format!(" at {a}")).unwrap_or_default();
    format!("peer     {} {how}{address}; {sent} sent, {received} received\n", output::printable(&peer.device))
}

fn describe_volume(volume: &VolumeStatus) -> String {
    let mounts: Vec<_> = volume.mounts.iter().map(ToString::to_string).collect();
    let mounts = if mounts.is_empty() { "not mounted".to_owned() } else { format!("on {}", mounts.join(", ")) };
    let mut out = format!("volume   {} {mounts}\n", volume.name);
    if volume.open {
        let (bytes, local) = (output::size(volume.bytes), output::size(volume.local_bytes));
        let (dirty, pad) = (output::size(volume.dirty_bytes), " ".repeat(9));
        let counts = format!("{pad}{} files, {bytes}; {local} stored here, {dirty} waiting to be stored", volume.files);
        out = format!("{out}{counts}\n{pad}root {}\n", volume.root);
    }
    out
}
