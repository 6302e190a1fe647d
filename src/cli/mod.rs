//! The command line: one file a command, each parses its arguments, makes one call, prints.
//!
//! Rank 7. Must hold no logic that a second front end would need again, and offer no command that does
//! not work yet.

mod arguments;
mod bench;
mod cat;
mod completions;
mod config;
mod conflicts;
mod daemon;
mod du;
mod evict;
mod explain;
mod fsck;
mod gc;
mod get;
mod hash;
mod invite;
mod join;
mod keep;
mod log_level;
mod ls;
mod man;
mod members;
mod metrics;
mod mount;
mod output;
mod peer;
mod pin;
mod progress;
mod push;
mod resolve;
mod session;
mod stat;
mod status;
mod store;
mod unmount;
mod volume;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::wire::Failure;

/// What every command returns: done, or why not.
type Outcome = Result<(), Failure>;

/// One folder on all of a person's machines: encrypted, deduplicated, crash-safe.
#[derive(Debug, Parser)]
#[command(name = "lovage", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
struct Common {
    /// Where this device keeps its state [default: $XDG_DATA_HOME/lovage]
    #[arg(long, global = true, value_name = "DIR", env = "LOVAGE_HOME", hide_env_values = true)]
    home: Option<PathBuf>,
    /// Print JSON on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Read the keystore's passphrase from FILE (- for standard input)
    #[arg(long, global = true, value_name = "FILE", env = "LOVAGE_PASSPHRASE_FILE", hide_env_values = true)]
    passphrase_file: Option<PathBuf>,
}

const EXIT_CODES: &str =
    "Exit status: 0 done, 1 failed, 2 usage, 3 not found, 4 no such daemon, 5 unreachable, 6 integrity.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Mount a volume; makes home, keys and volume the first time
    Mount(mount::Mount),
    /// Flush and unmount
    #[command(visible_alias = "umount")]
    Unmount(unmount::Unmount),
    /// Run the daemon without a mount
    Daemon(daemon::Daemon),
    /// Show what the daemon does
    Status(status::Status),
    /// Create, list, show and forget volumes
    Volume(volume::Volume),
    /// Make a link that lets one device into a volume
    Invite(invite::Invite),
    /// Join a volume with an invite, and mount it
    Join(join::Join),
    /// Show and change what is kept here for others, who alone can read it
    Keep(keep::Keep),
    /// Show and change who belongs to a volume
    Members(members::Members),
    /// Show other devices, and add or remove their addresses
    Peer(peer::Peer),
    /// Keep directories or files here whole, also offline
    Pin(pin::Pin),
    /// Keep them no longer
    Unpin(pin::Unpin),
    /// Show what is pinned and how far it is
    Pins(pin::Pins),
    /// Bring content here once
    Get(get::Get),
    /// Drop local copies that enough other devices keep
    Evict(evict::Evict),
    /// Show which device would serve each block of a file, and why
    Explain(explain::Explain),
    /// Attach places that keep a volume's blocks: folders, buckets, accounts
    Store(store::Store),
    /// Copy what is below a path into a store now
    Push(push::Push),
    /// Show files that were changed on two devices at once
    Conflicts(conflicts::Conflicts),
    /// Make one version of such a file
    Resolve(resolve::Resolve),
    /// List a directory without a mount
    Ls(ls::Ls),
    /// Show everything about one file or directory
    Stat(stat::Stat),
    /// Write a file's content to standard output
    Cat(cat::Cat),
    /// Show how much a directory holds, at once
    Du(du::Du),
    /// Print the content ids files would have, storing nothing
    Hash(hash::Hash),
    /// Free the space of what is no longer reachable
    Gc(gc::Gc),
    /// Verify what is stored
    Fsck(fsck::Fsck),
    /// Measure this machine
    Bench(bench::Bench),
    /// Show, change or check settings
    Config(config::Config),
    /// Show or change what the daemon logs
    LogLevel(log_level::LogLevel),
    /// Print the daemon's figures as Prometheus text
    Metrics(metrics::Metrics),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Print the manual page
    Man(man::Man),
}

/// Parse the process's arguments, run, and give the exit status.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if output::is_closed_pipe(&failure) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure, arguments.common.json);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Outcome {
    let session = session::Session::new(&arguments.common);
    match &arguments.command {
        Command::Mount(command) => command.run(&session),
        Command::Unmount(command) => command.run(&session),
        Command::Daemon(command) => command.run(&session),
        Command::Status(command) => command.run(&session),
        Command::Volume(command) => command.run(&session),
        Command::Invite(command) => command.run(&session),
        Command::Join(command) => command.run(&session),
        Command::Keep(command) => command.run(&session),
        Command::Members(command) => command.run(&session),
        Command::Peer(command) => command.run(&session),
        Command::Pin(command) => command.run(&session),
        Command::Unpin(command) => command.run(&session),
        Command::Pins(command) => command.run(&session),
        Command::Get(command) => command.run(&session),
        Command::Evict(command) => command.run(&session),
        Command::Explain(command) => command.run(&session),
        Command::Store(command) => command.run(&session),
        Command::Push(command) => command.run(&session),
        Command::Conflicts(command) => command.run(&session),
        Command::Resolve(command) => command.run(&session),
        Command::Ls(command) => command.run(&session),
        Command::Stat(command) => command.run(&session),
        Command::Cat(command) => command.run(&session),
        Command::Du(command) => command.run(&session),
        Command::Hash(command) => command.run(&session),
        Command::Gc(command) => command.run(&session),
        Command::Fsck(command) => command.run(&session),
        Command::Bench(command) => command.run(&session),
        Command::Config(command) => command.run(&session),
        Command::LogLevel(command) => command.run(&session),
        Command::Metrics(command) => command.run(&session),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    }
}

#[cfg(test)]
mod tests;
