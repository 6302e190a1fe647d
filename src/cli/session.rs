//! What every command starts from: the home, the daemon in it, and where answers go.

use serde_json::Value;

use super::Common;
use super::output::typed;
use super::progress::Bar;
use crate::base::Kind;
use crate::daemon::{Background, Client, Home, HostOptions, Incoming, MountOptions, Ready, host};
use crate::wire::Failure;
use crate::wire::control::Request;

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

    /// Ask the running daemon; exit code 4 when there is none. Parts go to `part`.
    pub fn ask_daemon(&self, request: &Request, part: PartTaker<'_>) -> Result<Value, Failure> {
        let home = self.home()?;
        let client = Client::connect(&home)?.ok_or_else(|| no_daemon(&home))?;
        let bar = Bar::new(!self.json());
        client.ask(request, &mut |incoming| take(&bar, incoming, part))
    }

    /// Ask the running daemon, or do it in this process when there is none.
    pub fn ask(&self, request: &Request, part: PartTaker<'_>) -> Result<Value, Failure> {
        self.ask_daemon(request, part)
    }

    /// Be the daemon (or start it in the background) and `show` the ready message.
    pub fn host(
        &self,
        purpose: &'static str,
        mount: Option<MountOptions>,
        background: bool,
        show: &dyn Fn(&Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if background && !Ready::is_child() {
            return show(&Background::start()?.wait(None)?);
        }
        let ready = if background { Ready::as_child()?.0 } else { Ready::nobody() };
        let options = HostOptions { home: self.home()?, purpose, mount, log_to_file: background };
        host(options, ready, &|value| {
            if !background {
                // A reader that went away is no reason to stop serving.
                let _ = show(value);
            }
        })
    }

    /// [`Self::ask`] for an answer without parts.
    pub fn ask_for<T: serde::de::DeserializeOwned>(&self, request: &Request) -> Result<T, Failure> {
        typed(self.ask(request, &mut |_| Ok(()))?)
    }
}

/// One piece of an answer: a list's element or a file's bytes.
pub enum Piece {
    /// An element.
    Part(Value),
    /// Bytes.
    Data(Vec<u8>),
}

/// Takes the pieces of an answer.
pub type PartTaker<'a> = &'a mut dyn FnMut(Piece) -> Result<(), Failure>;

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
