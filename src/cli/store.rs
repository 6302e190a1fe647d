//! `lovage store`: attach, look at, bring up to date and detach the stores of a volume.

use clap::{Args, Subcommand};

use super::Outcome;
use super::arguments::DEFAULT_VOLUME;
use super::output::{self, size};
use super::session::Session;
use crate::base::Kind;
use crate::daemon::parse_size;
use crate::daemon::words::collected;
use crate::wire::Failure;
use crate::wire::control::{CollectionStatus, Request, Status, StoreMoved, StoreStatus};

#[derive(Debug, Args)]
pub struct Store {
    #[command(subcommand)]
    command: Command,
    /// The volume
    #[arg(long, global = true, default_value = DEFAULT_VOLUME)]
    volume: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attach a store; secrets come from the environment or the service's files
    Add {
        /// What to call it
        name: String,
        /// file:DIR, arena:DIR, sled:DIR, sqlite:FILE, s3://BUCKET/PREFIX?endpoint=URL, sftp://USER@HOST/DIR, webdav(s)://HOST/DIR
        url: String,
    },
    /// Change what is asked of a store
    #[command(group = clap::ArgGroup::new("rule").required(true).multiple(true))]
    Set {
        /// Its name
        name: String,
        /// Most bytes a second that it is given, such as 500KiB, or `none`
        #[arg(long, group = "rule", value_parser = rate)]
        limit: Option<u64>,
        /// `fsync` returns only when this store has what was written, too
        #[arg(long, group = "rule", value_name = "yes|no", value_parser = yes)]
        before_fsync: Option<bool>,
    },
    /// Show all stores of open volumes
    List,
    /// Show one store
    Show {
        /// Its name
        name: String,
    },
    /// Detach a store; what it holds stays there
    Remove {
        /// Its name
        name: String,
        /// Also when it has blocks that are nowhere else
        #[arg(long)]
        force: bool,
    },
    /// Ask whether a store works now
    Test {
        /// Its name
        name: String,
    },
    /// Wait until every store of the volume has everything that is on this device, or copy what one store has and another lacks
    Sync {
        /// Copy from this store
        #[arg(requires = "to")]
        from: Option<String>,
        /// To this one
        to: Option<String>,
    },
    /// Remove from a store what no device needs any more: all that may write are asked, and waited for
    Gc {
        /// Its name
        name: String,
        /// Go on for a device that was put out while it removed, and that surely runs no more
        #[arg(long)]
        take_over: bool,
    },
    /// Read and verify every block of a store
    Check {
        /// Its name
        name: String,
        /// Put the right bytes, from here or another store, where wrong ones are
        #[arg(long)]
        repair: bool,
    },
}

impl Store {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let volume = self.volume.clone();
        match &self.command {
            Command::List => self.list(session, None),
            Command::Show { name } => self.list(session, Some(name)),
            Command::Add { name, url } => {
                one(session, &Request::StoreAdd { volume, name: name.clone(), url: url.clone() })
            }
            Command::Set { name, limit, before_fsync } => {
                let (name, limit, before_fsync) = (name.clone(), *limit, *before_fsync);
                let request = Request::StoreSet { volume, name, limit, before_fsync };
                let store: StoreStatus = output::typed(session.ask_daemon(&request, &mut |_| Ok(()))?)?;
                if before_fsync == Some(true) && store.queue_bytes > 0 {
                    let queued = size(store.queue_bytes);
                    output::note(&format!("it still lacks {queued}: until it has them each fsync waits, and may fail"));
                }
                if session.json() { output::json(&store) } else { output::line(&described(&store)) }
            }
            Command::Test { name } => one(session, &Request::StoreTest { volume, name: name.clone() }),
            Command::Remove { name, force } => {
                session
                    .ask_daemon(&Request::StoreRemove { volume, name: name.clone(), force: *force }, &mut |_| Ok(()))?;
                if session.json() {
                    output::json(&serde_json::json!({ "removed": name }))
                } else {
                    output::line("detached")
                }
            }
            Command::Gc { name, take_over } => {
                let request = Request::StoreGc { volume, name: name.clone(), take_over: *take_over };
                let status: CollectionStatus = output::typed(session.ask_daemon(&request, &mut |_| Ok(()))?)?;
                if session.json() { output::json(&status) } else { output::line(&collected(name, &status)) }
            }
            Command::Check { name, repair } => {
                let request = Request::StoreCheck { volume, name: name.clone(), repair: *repair };
                moved(session, &request, *repair)
            }
            Command::Sync { from: Some(from), to: Some(to) } => {
                moved(session, &Request::StoreCopy { volume, from: from.clone(), to: to.clone() }, false)
            }
            Command::Sync { .. } => {
                let answer = session.ask_daemon(&Request::StoreSync { volume }, &mut |_| Ok(()))?;
                show(session, &output::typed::<Vec<StoreStatus>>(answer)?)
            }
        }
    }

    fn list(&self, session: &Session<'_>, name: Option<&String>) -> Outcome {
        let status: Status = output::typed(session.ask_daemon(&Request::Status { exact: false }, &mut |_| Ok(()))?)?;
        let mut stores = status.stores;
        if let Some(name) = name {
            stores.retain(|store| store.name == *name && store.volume == self.volume);
            let Some(store) = stores.first() else {
                return Err(Failure::new(Kind::NotFound, "find the store", name.as_str(), "no such store is open"));
            };
            return if session.json() { output::json(store) } else { output::line(&described(store)) };
        }
        show(session, &stores)
    }
}

/// 0 for none.
fn rate(text: &str) -> Result<u64, String> {
    let least = 16 << 10;
    match parse_size(text) {
        _ if text == "none" => Ok(0),
        Some(rate) if rate >= least => Ok(rate),
        _ => Err("give bytes a second, such as 500KiB (at least 16KiB), or `none`".to_owned()),
    }
}

fn yes(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("give `yes` or `no`".to_owned()),
    }
}

fn one(session: &Session<'_>, request: &Request) -> Outcome {
    let store: StoreStatus = output::typed(session.ask_daemon(request, &mut |_| Ok(()))?)?;
    if session.json() { output::json(&store) } else { output::line(&described(&store)) }
}

fn moved(session: &Session<'_>, request: &Request, repair: bool) -> Outcome {
    let moved: StoreMoved = output::typed(session.ask_daemon(request, &mut |_| Ok(()))?)?;
    if session.json() {
        output::json(&moved)?;
    } else {
        let StoreMoved { checked, read, bad, repaired, .. } = moved;
        let repaired = if repair { format!(", {repaired} repaired") } else { String::new() };
        output::line(&format!("{checked} blocks, {read} read ({}), {bad} bad{repaired}", size(moved.bytes)))?;
    }
    if moved.bad > moved.repaired {
        let why = format!("{} blocks are damaged", moved.bad - moved.repaired);
        return Err(Failure::new(Kind::Corrupt, "trust the store", "", why)
            .next("Use `lovage store check --repair`; `lovage store sync` stores what is here again."));
    }
    Ok(())
}

fn show(session: &Session<'_>, stores: &[StoreStatus]) -> Outcome {
    if session.json() {
        return output::json(&stores);
    }
    stores.iter().try_for_each(|store| output::line(&described(store)))
}

/// One line about a store.
pub fn described(store: &StoreStatus) -> String {
    let limit = store.limit_bytes_s.map(|rate| format!(", at most {}/s", size(rate))).unwrap_or_default();
    let fsync = if store.before_fsync { ", fsync waits for it" } else { "" };
    let collection = store.collection.as_ref().map(|c| format!(", {}", collected("", c))).unwrap_or_default();
    format!(
        "{}:{:<12} {:<6} {} stored, {} queued, {:.1} ms{limit}{fsync}{collection}  {}",
        output::printable(&store.volume),
        output::printable(&store.name),
        output::printable(&store.state),
        size(store.stored_bytes),
        size(store.queue_bytes),
        store.latency_ms,
        output::printable(&store.url)
    )
}
