//! `lovage peer list|ping|add|remove`: the devices that share a volume with this one.

use clap::{Args, Subcommand};

use super::Outcome;
use super::output;
use super::session::Session;
use crate::wire::control::{Pinged, Request, Status};

#[derive(Debug, Args)]
pub struct Peer {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every device that shares a volume with this one
    List,
    /// Remember where a device is, and try it
    Add {
        /// Its address, such as /ip4/10.0.0.5/tcp/4001/p2p/ID
        address: String,
    },
    /// Measure how long an answer of a device takes
    Ping {
        /// Its name, or its peer id
        peer: String,
    },
    /// Forget an address, or all of a device
    Remove {
        /// The address, or the peer id
        address: String,
    },
}

impl Peer {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let (request, said) = match &self.command {
            Command::List => return list(session),
            Command::Ping { peer } => return ping(session, peer),
            Command::Add { address } => (Request::PeerAdd { address: address.clone() }, "remembered"),
            Command::Remove { address } => (Request::PeerRemove { address: address.clone() }, "forgotten"),
        };
        session.ask_daemon(&request, &mut |_| Ok(()))?;
        if session.json() { output::json(&serde_json::json!({ said: true })) } else { output::line(said) }
    }
}

fn ping(session: &Session<'_>, peer: &str) -> Outcome {
    let asked = Request::PeerPing { peer: peer.to_owned() };
    let pinged: Pinged = output::typed(session.ask_daemon(&asked, &mut |_| Ok(()))?)?;
    if session.json() {
        return output::json(&pinged);
    }
    let Pinged { device, transport, rtt_ms, .. } = &pinged;
    output::line(&format!("{} answered in {rtt_ms:.1} ms by {transport}", output::printable(device)))
}

fn list(session: &Session<'_>) -> Outcome {
    let status: Status = output::typed(session.ask_daemon(&Request::Status { exact: false }, &mut |_| Ok(()))?)?;
    if session.json() {
        return output::json(&status.peers);
    }
    status.peers.iter().try_for_each(|peer| {
        let how = if peer.connected { format!("{} {:.1} ms", peer.transport, peer.rtt_ms) } else { "away".to_owned() };
        output::line(&format!(
            "{:<20} {how:<16} {} {}",
            output::printable(&peer.device),
            peer.id,
            peer.addresses.join(" ")
        ))
    })
}
