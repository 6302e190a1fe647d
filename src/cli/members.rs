//! `lovage members VOLUME [list|remove DEVICE|role DEVICE ROLE]`: who belongs to a volume.

use clap::{Args, Subcommand};

use super::Outcome;
use super::output;
use super::session::Session;
use crate::wire::control::{MemberStatus, Request};

#[derive(Debug, Args)]
pub struct Members {
    /// The volume
    volume: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show everyone who belongs or did
    List,
    /// Put a device out
    Remove {
        /// Its name, peer id, or number
        device: String,
    },
    /// Let a device do more or less
    Role {
        /// Its name or peer id
        device: String,
        /// admin, writer or reader
        role: String,
    },
}

impl Members {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let volume = self.volume.clone();
        match &self.command {
            None | Some(Command::List) => list(session, volume),
            Some(Command::Remove { device }) => {
                let request = Request::MemberRemove { volume, device: device.clone() };
                let member: MemberStatus = output::typed(session.ask_daemon(&request, &mut |_| Ok(()))?)?;
                let said = match member.role.as_str() {
                    "storage" => "is out; it may still have what it kept, and cannot read it",
                    _ => "is out; what it has read it may have kept",
                };
                if session.json() { output::json(&member) } else { output::line(&format!("{} {said}", member.device)) }
            }
            Some(Command::Role { device, role }) => {
                let request = Request::MemberRole { volume, device: device.clone(), role: role.clone() };
                let member: MemberStatus = output::typed(session.ask_daemon(&request, &mut |_| Ok(()))?)?;
                if session.json() {
                    return output::json(&member);
                }
                output::line(&format!("{} is {} now", member.device, member.role))
            }
        }
    }
}

fn list(session: &Session<'_>, volume: String) -> Outcome {
    let members: Vec<MemberStatus> = session.ask_for(&Request::Members { volume })?;
    if session.json() {
        return output::json(&members);
    }
    members.iter().try_for_each(|m| {
        let state = match m {
            m if m.removed => "removed",
            m if m.this => "this device",
            m if m.connected => "connected",
            _ => "away",
        };
        let (device, id) = (output::printable(&m.device), &m.id);
        output::line(format!("{device:<20} {:<8} {state:<12} {id}  {}", m.role, m.words).trim_end())
    })
}
