//! What every command starts from: the home, the daemon in it, and where answers go.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::Value;

use super::Common;
use super::arguments::Hosting;
use super::output::{self, typed};
use super::progress::Bar;
use crate::base::{Error, Kind};
use crate::daemon::{
    Background, Client, Home, HostOptions, Incoming, MountOptions, PassphraseSource, Ready, Service, Sink, answer,
    host, passphrase,
};
use crate::wire::Failure;
use crate::wire::control::{Progress, Request};

/// The options every command has, resolved.
#[derive(Debug)]
pub struct Session<'a> {
    common: &'a Common,
}

impl<'a> Session<'a> {
    /// From the command line.
    pub fn new(common: &'a Common) -> Self {
        Self { common }
    }

    /// Whether to print JSON.
    pub fn json(&self) -> bool {
        self.common.json
    }

    /// The home in use.
    pub fn home(&self) -> Result<Home, Failure> {
        Home::locate(self.common.home.as_deref()).map_err(Into::into)
    }

    fn keys(&self) -> PassphraseSource {
        self.common.passphrase_file.clone().map_or(PassphraseSource::Terminal, PassphraseSource::File)
    }

    /// Ask the running daemon; exit code 4 when there is none. Parts go to `part`.
    pub fn ask_daemon(&self, request: &Request, part: PartTaker<'_>) -> Result<Value, Failure> {
        let home = self.home()?;
        let client = Client::connect(&home)?.ok_or_else(|| no_daemon(&home))?;
        let bar = Bar::new(!self.json());
        client.ask(request, &mut |incoming| take(&bar, incoming, part))
    }

    /// Ask the running daemon, or do it in this process when there is none.
    pub fn ask(&self, request: &Request, part: PartTaker<'_>) -> Result<Value, Failure> {
        let home = self.home()?;
        let bar = Bar::new(!self.json());
        if let Some(client) = Client::connect(&home)? {
            match client.ask(request, &mut |incoming| take(&bar, incoming, part)) {
                Err(failure) if failure.no_daemon => {}
                answered => return answered,
            }
        }
        let joins = matches!(request, Request::Join { .. });
        let makes = joins || matches!(request, Request::VolumeCreate { .. });
        let service = Arc::new(Service::here(home, "a command", &self.keys(), makes, joins)?);
        let mut sink = Here { bar: &bar, part, failed: None };
        let answered = answer(&service, request.clone(), &mut sink);
        // The command's own failure (a closed pipe, say) is truer than "interrupted".
        let answered = sink.failed.map_or(answered, Err);
        let closed = service.close();
        answered.and_then(|value| closed.map(|()| value).map_err(Into::into))
    }

    /// Be the daemon (or start it in the background) and `show` the ready message.
    pub fn host(&self, what: Host<'_>, show: &dyn Fn(&Value) -> Result<(), Failure>) -> Result<(), Failure> {
        let Host { purpose, mount, join, hosting } = what;
        let (background, net) = (hosting.background, hosting.net());
        let home = self.home()?;
        let bare = !Ready::is_child() && self.common.passphrase_file.is_none() && !home.keystore().exists();
        let (keystore, told) = (home.keystore(), Cell::new(!bare));
        // Once there are such keys, whatever becomes of the rest.
        let warn = || {
            if keystore.exists() && !told.replace(true) {
                output::note(NO_PASSPHRASE);
            }
        };
        if background && !Ready::is_child() {
            let secret = passphrase(&home, &self.keys())?;
            let started = Background::start()?.wait(secret.as_deref());
            warn();
            return show(&started?);
        }
        let (ready, keys) = if background {
            let (ready, secret) = Ready::as_child()?;
            (ready, PassphraseSource::Given(secret.map(Arc::new)))
        } else {
            (Ready::nobody(), self.keys())
        };
        let options = HostOptions { home, purpose, net, join, mount, log_to_file: background, keys };
        let hosted = host(options, ready, &|value| {
            warn();
            if !background {
                // A reader that went away is no reason to stop serving.
                let _ = show(value);
            }
        });
        warn();
        hosted
    }

    /// [`Self::ask`] for an answer without parts.
    pub fn ask_for<T: serde::de::DeserializeOwned>(&self, request: &Request) -> Result<T, Failure> {
        typed(self.ask(request, &mut |_| Ok(()))?)
    }
}

/// What to host.
pub struct Host<'a> {
    /// What others are told about this process.
    pub purpose: &'static str,
    /// Mount this.
    pub mount: Option<MountOptions>,
    /// Join by this link first.
    pub join: Option<String>,
    /// The options of the command.
    pub hosting: &'a Hosting,
}

/// Said loudly when a home is made.
const NO_PASSPHRASE: &str = "the new keys have no passphrase: whoever can read this disk can read your files.\n  \
    To have one, pass --passphrase-file FILE (or - to type it) when a home is made.";

/// One piece of an answer: a list's element or a file's bytes.
pub enum Piece {
    /// An element.
    Part(Value),
    /// Bytes.
    Data(Vec<u8>),
}

/// Takes the pieces of an answer.
pub type PartTaker<'a> = &'a mut dyn FnMut(Piece) -> Result<(), Failure>;

/// What a request done in this process reports to.
struct Here<'a, 'b> {
    bar: &'a Bar,
    part: PartTaker<'b>,
    failed: Option<Failure>,
}

impl Here<'_, '_> {
    fn hand(&mut self, piece: Piece) -> crate::base::Result<()> {
        (self.part)(piece).map_err(|failure| {
            self.failed = Some(failure);
            Error::new(Kind::Interrupted, "print", "")
        })
    }
}

impl Sink for Here<'_, '_> {
    fn progress(&mut self, progress: Progress) -> crate::base::Result<()> {
        self.bar.show(&progress);
        Ok(())
    }

    fn part(&mut self, part: Value) -> crate::base::Result<()> {
        self.hand(Piece::Part(part))
    }

    fn data(&mut self, bytes: Vec<u8>) -> crate::base::Result<()> {
        self.hand(Piece::Data(bytes))
    }
}

fn take(bar: &Bar, incoming: Incoming, part: PartTaker<'_>) -> Result<(), Failure> {
    match incoming {
        Incoming::Progress(progress) => {
            bar.show(&progress);
            Ok(())
        }
        Incoming::Part(value) => part(Piece::Part(value)),
        Incoming::Data(bytes) => part(Piece::Data(bytes)),
    }
}

/// The failure with exit code 4.
pub fn no_daemon(home: &Home) -> Failure {
    let mut failure = Failure::new(Kind::Unreachable, "ask the daemon", home.to_string(), "none runs in this home")
        .next("Start one with `lovage mount DIR` or `lovage daemon`, or select its home with --home.");
    failure.no_daemon = true;
    failure
}
