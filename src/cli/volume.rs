//! `lovage volume create|list|show|forget`: the volumes this device knows.

use clap::{Args, Subcommand, ValueEnum};

use super::Outcome;
use super::output::{self, size};
use super::session::Session;
use crate::wire::control::{Chunking, Dedup, Request, VolumeStatus};

#[derive(Debug, Args)]
pub struct Volume {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new, empty volume
    Create {
        /// Its name on this device
        name: String,
        /// Store equal content once, or hide that it is equal
        #[arg(long, value_enum, default_value = "volume")]
        dedup: DedupArg,
        /// Cut files by content, or at fixed offsets
        #[arg(long, value_enum, default_value = "cdc")]
        chunking: ChunkingArg,
    },
    /// List the volumes
    List,
    /// Show one volume
    Show {
        /// Its name
        name: String,
    },
    /// Change what is asked of one on this device
    Set {
        /// Its name
        name: String,
        /// Others that must hold what `evict` drops: 1 to 16, or `default` for `replicas.min`
        #[arg(long, value_parser = replicas)]
        replicas: Option<u64>,
        /// Names of everything come to this device (full), or each when it is looked at (lazy)
        #[arg(long, value_enum)]
        metadata: Option<MetadataArg>,
    },
    /// Remove a volume, its keys and its content from this device
    Forget {
        /// Its name
        name: String,
        /// Yes, also the only copy
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DedupArg {
    Volume,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MetadataArg {
    Full,
    Lazy,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ChunkingArg {
    Cdc,
    Fixed,
}

impl Volume {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        match &self.command {
            Command::Create { name, dedup, chunking } => {
                let dedup = if matches!(dedup, DedupArg::Off) { Dedup::Off } else { Dedup::Volume };
                let chunking = if matches!(chunking, ChunkingArg::Fixed) { Chunking::Fixed } else { Chunking::Cdc };
                show(session, &session.ask_for(&Request::VolumeCreate { name: name.clone(), dedup, chunking })?)
            }
            Command::List => list(session),
            Command::Show { name } => show(session, &session.ask_for(&Request::VolumeShow { name: name.clone() })?),
            Command::Set { name, replicas, metadata } => {
                let lazy = metadata.map(|metadata| metadata == MetadataArg::Lazy);
                show(session, &session.ask_for(&Request::VolumeSet { name: name.clone(), replicas: *replicas, lazy })?)
            }
            Command::Forget { name, force } => forget(session, name, *force),
        }
    }
}

fn list(session: &Session<'_>) -> Outcome {
    let volumes: Vec<VolumeStatus> = session.ask_for(&Request::VolumeList)?;
    if session.json() {
        return output::json(&volumes);
    }
    volumes.iter().try_for_each(|v| output::line(&format!("{:<20} {} {}", v.name, v.id, mounts(v))))
}

fn show(session: &Session<'_>, volume: &VolumeStatus) -> Outcome {
    if session.json() {
        return output::json(volume);
    }
    output::line(&format!(
        "name   {}\nid     {}\nrole   {}\nmounts {}",
        volume.name,
        volume.id,
        volume.role,
        mounts(volume)
    ))?;
    if let Some(count) = volume.replicas {
        output::line(&format!("evict  needs {count} others that hold a block"))?;
    }
    if let Some(lazy) = volume.lazy {
        output::line(if lazy { "names  come when they are looked at" } else { "names  all come here" })?;
    }
    if volume.open {
        let (files, bytes, local) = (volume.files, size(volume.bytes), size(volume.local_bytes));
        output::line(&format!("holds  {files} files, {bytes}; {local} stored here\nroot   {}", volume.root))?;
    }
    Ok(())
}

/// 0 for the default.
fn replicas(text: &str) -> Result<u64, String> {
    match text.parse() {
        _ if text == "default" => Ok(0),
        Ok(count) if (1..=16).contains(&count) => Ok(count),
        _ => Err("give 1 to 16, or `default`".to_owned()),
    }
}

fn forget(session: &Session<'_>, name: &str, force: bool) -> Outcome {
    let request = Request::VolumeForget { name: name.to_owned(), force };
    session.ask(&request, &mut |_| Ok(()))?;
    if session.json() {
        return output::json(&serde_json::json!({ "forgotten": name }));
    }
    output::line(&format!("{name} is forgotten"))
}

fn mounts(volume: &VolumeStatus) -> String {
    let mounts: Vec<_> = volume.mounts.iter().map(ToString::to_string).collect();
    if mounts.is_empty() { "not mounted".into() } else { mounts.join(", ") }
}
