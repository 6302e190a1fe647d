//! `lovage join LINK [DIR]`: come in with an invite, and mount.

use std::io::BufRead;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::arguments::{Hosting, absolute};
use super::output;
use super::session::{Host, Session};
use crate::base::{Context, Kind};
use crate::daemon::{Client, MountOptions, parse_size};
use crate::wire::Failure;
use crate::wire::control::{Joined, Mounted, Request};

#[derive(Debug, Args)]
pub struct Join {
    /// The invite; - reads it from standard input
    link: String,
    /// Empty directory to mount the volume on
    dir: Option<PathBuf>,
    /// Most bytes to keep, such as 500GiB, with an invite for storage
    #[arg(long, value_parser = quota, conflicts_with = "dir")]
    quota: Option<u64>,
    #[command(flatten)]
    hosting: Hosting,
}

impl Join {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let link = self.link()?;
        if let Some(client) = Client::connect(&session.home()?)? {
            match client.ask(&self.request(link.clone()), &mut |_| Ok(())) {
                Err(failure) if failure.no_daemon => {}
                answered => return self.mount(session, &output::typed(answered?)?),
            }
        }
        let Some(dir) = &self.dir else {
            let joined: Joined = session.ask_for(&self.request(link))?;
            return show(session, &joined, None);
        };
        let mount = MountOptions { volume: String::new(), dir: absolute(dir), read_only: false, allow_other: false };
        let host = Host { purpose: "join", mount: Some(mount), join: Some(link), hosting: &self.hosting };
        session.host(host, &|value| {
            let joined = output::typed(value.get("joined").cloned().unwrap_or_default())?;
            show(session, &joined, Some(value))
        })
    }

    fn request(&self, link: String) -> Request {
        Request::Join { link, mount: self.dir.is_some(), quota: self.quota }
    }

    /// The daemon has joined; let it mount.
    fn mount(&self, session: &Session<'_>, joined: &Joined) -> Outcome {
        let Some(dir) = &self.dir else { return show(session, joined, None) };
        joined.expect_tree()?;
        let dir = absolute(dir).into();
        let request = Request::Mount { volume: joined.volume.clone(), dir, read_only: false, allow_other: false };
        let mounted = session.ask_daemon(&request, &mut |_| Ok(()))?;
        show(session, joined, Some(&mounted))
    }

    fn link(&self) -> Result<String, Failure> {
        if self.link != "-" {
            return Ok(self.link.clone());
        }
        // Started again in the background, standard input is taken.
        if self.hosting.background && self.dir.is_some() {
            return Err(Failure::new(
                Kind::Unsupported,
                "join",
                "-",
                "a link on standard input and --background exclude each other",
            )
            .next("Join first, then mount in the background."));
        }
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).io("read the invite", || "standard input".into())?;
        Ok(line)
    }
}

fn quota(text: &str) -> Result<u64, String> {
    parse_size(text).filter(|bytes| *bytes > 0).ok_or_else(|| "give a size such as 500GiB".to_owned())
}

fn show(session: &Session<'_>, joined: &Joined, mounted: Option<&Value>) -> Outcome {
    if session.json() {
        let mut value = json!(joined);
        if let (Some(value), Some(dir)) = (value.as_object_mut(), mounted.and_then(|m| m.get("dir"))) {
            value.insert("dir".into(), dir.clone());
        }
        return output::json(&value);
    }
    output::line(&format!("joined {} as {}", joined.volume, joined.role))?;
    output::line(&format!("words  {} (the same as `lovage members` shows over there)", joined.words))?;
    if joined.role == "storage" {
        return output::line("It is kept while a daemon runs: lovage daemon --background. See `lovage keep list`.");
    }
    match mounted {
        Some(value) => {
            let mounted: Mounted = output::typed(value.clone())?;
            output::line(&format!("{} is mounted on {} (process {})", mounted.volume, mounted.dir, mounted.pid))
        }
        None => output::line(&format!("Mount it: lovage mount {} DIR", joined.volume)),
    }
}
