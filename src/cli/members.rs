//! `lovage members VOLUME [list|remove DEVICE|role DEVICE ROLE|copies N]`: who belongs to a volume.

use clap::{Args, Subcommand};

use super::Outcome;
use super::output;
use super::session::Session;
use crate::wire::control::{CopiesStatus, MemberStatus, Request};

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
        /// Yes, also one that keeps what nobody else has
        #[arg(long)]
        force: bool,
    },
    /// Let a device do more or less
    Role {
        /// Its name or peer id
        device: String,
        /// admin, writer or reader
        role: String,
    },
    /// Show or change how many of the devices with the role storage keep each large block
    Copies {
        /// 1 to 16, or `all`
        #[arg(value_parser = copies)]
        copies: Option<u64>,
    },
}

impl Members {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let volume = self.volume.clone();
        match &self.command {
            None | Some(Command::List) => list(session, volume),
            Some(Command::Remove { device, force }) => {
                let request = Request::MemberRemove { volume, device: device.clone(), force: *force };
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
            Some(Command::Copies { copies }) => {
                let request = Request::MemberCopies { volume, copies: *copies };
                let status: CopiesStatus = output::typed(session.ask_daemon(&request, &mut |_| Ok(()))?)?;
                if session.json() { output::json(&status) } else { output::line(&described(&status)) }
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
        let share = m.share_percent.map(|percent| format!("  keeps {percent} %")).unwrap_or_default();
        output::line(format!("{device:<20} {:<8} {state:<12} {id}  {}{share}", m.role, m.words).trim_end())
    })
}

/// 0 for all.
fn copies(text: &str) -> Result<u64, String> {
    match text.parse() {
        _ if text == "all" => Ok(0),
        Ok(copies) if (1..=16).contains(&copies) => Ok(copies),
        _ => Err("give a number, 1 to 16, or `all`".to_owned()),
    }
}

fn described(status: &CopiesStatus) -> String {
    let CopiesStatus { copies, boxes } = status;
    match *copies {
        0 => format!("every block goes to each of {boxes} storage members"),
        copies if copies >= *boxes => {
            format!("{copies} copies of large blocks are asked for: with {boxes} storage members, all keep everything")
        }
        copies => format!("large blocks go to {copies} of {boxes} storage members, small ones to each"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_a_number_or_all() {
        assert_eq!((copies("all"), copies("2"), copies("16")), (Ok(0), Ok(2), Ok(16)));
        assert!(["0", "17", "-1", "two", ""].iter().all(|text| copies(text).is_err()));
    }

    #[test]
    fn copies_are_told_beside_how_many_there_can_be() {
        let said = |copies, boxes| described(&CopiesStatus { copies, boxes });
        assert!(said(2, 3).contains("2 of 3") && said(0, 3).contains("each of 3"), "{}", said(2, 3));
        assert!(said(3, 2).contains("all keep everything"), "{}", said(3, 2));
    }
}
