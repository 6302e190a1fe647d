//! Starting in the background without fork: run this program again, detached, and wait until it is ready.
//!
//! Parent and child share a socket pair on the child's standard input. The parent sends what it asked a
//! person for; the child answers once: ready, or why not. Nothing secret in arguments or environment.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::base::{Context, Error, Kind, Result};
use crate::seal::Passphrase;
use crate::wire::{Failure, Frame, read_frame, write_data, write_frame};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Set for the child, so that it knows its standard input is the socket.
const CHILD: &str = "LOVAGE_BACKGROUND_CHILD";

/// The parent's side.
#[derive(Debug)]
pub struct Background {
    child: Child,
    stream: UnixStream,
}

/// The child's side, or a program in the foreground that has nobody to tell.
#[derive(Debug, Default)]
pub struct Ready {
    parent: Option<UnixStream>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Ready(Value),
    Failed(Failure),
}

impl Background {
    /// Run this program again with the same arguments, in a session of its own.
    pub fn start() -> Result<Self> {
        let start = || -> io::Result<Self> {
            let (stream, theirs) = UnixStream::pair()?;
            let mut command = Command::new(std::env::current_exe()?);
            command.args(std::env::args_os().skip(1)).env(CHILD, "1");
            command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
            Ok(Self { child: command.spawn()?, stream })
        };
        start().io("start the daemon in the background", String::new)
    }

    /// Send the passphrase (or none) and wait for the child's outcome.
    pub fn wait(mut self, passphrase: Option<&Passphrase>) -> std::result::Result<Value, Failure> {
        // A child that ended early says so below, better than a broken pipe does.
        let _ = write_data(&mut self.stream, passphrase.map_or(&[], Passphrase::expose));
        match read_frame(&mut self.stream) {
            Ok(Some(Frame::Json(text))) => match serde_json::from_slice(&text) {
                Ok(Outcome::Ready(value)) => Ok(value),
                Ok(Outcome::Failed(failure)) => Err(failure),
                Err(e) => Err(ended(&e.to_string())),
            },
            _ => Err(self.child.wait().map_or_else(|e| ended(&e.to_string()), |status| ended(&status.to_string()))),
        }
    }
}

impl Ready {
    /// Whether this process is the child of a [`Background::start`].
    pub fn is_child() -> bool {
        std::env::var_os(CHILD).is_some()
    }

    /// Become the child: leave the parent's session, receive the passphrase.
    pub fn as_child() -> Result<(Self, Option<Passphrase>)> {
        let adopt = || io::stdin().as_fd().try_clone_to_owned();
        let mut stream = UnixStream::from(adopt().io("reach the parent process", String::new)?);
        rustix::process::setsid().map_err(|e| Error::io("leave the terminal", "", e.into()))?;
        let Some(Frame::Data(secret)) = read_frame(&mut stream)? else {
            return Err(Error::new(Kind::Invalid, "start in the background", "no word from the parent"));
        };
        Ok((Self { parent: Some(stream) }, (!secret.is_empty()).then(|| Passphrase::new(secret))))
    }

    /// In the foreground.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Tell the parent, if there is one, that all is up. `value` is what it prints.
    pub fn ready(self, value: Value) {
        self.tell(&Outcome::Ready(value));
    }

    /// Tell the parent, if there is one, why it did not work.
    pub fn failed(self, failure: &Failure) {
        self.tell(&Outcome::Failed(failure.clone()));
    }

    fn tell(self, outcome: &Outcome) {
        let Some(mut parent) = self.parent else { return };
        let told = serde_json::to_vec(outcome).map(|text| write_frame(&mut parent, &Frame::Json(text)));
        if !matches!(told, Ok(Ok(()))) {
            tracing::warn!("the process that started this one did not wait");
        }
    }
}

fn ended(how: &str) -> Failure {
    Failure::new(Kind::Other, "start the daemon in the background", "", format!("it ended before it was ready: {how}"))
        .next("Run the same command without --background to see why, or read lovage.log in the home.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_parent_hears_ready_and_failed_as_told() {
        for failed in [false, true] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let ready = Ready { parent: Some(theirs) };
            let failure = Failure::new(Kind::Busy, "open the home", "/h", "held");
            if failed {
                ready.failed(&failure);
            } else {
                ready.ready(Value::from("up"));
            }
            let Some(Frame::Json(text)) = read_frame(&mut ours).unwrap() else { panic!("no frame") };
            match serde_json::from_slice(&text).unwrap() {
                Outcome::Ready(value) => assert_eq!((failed, value), (false, Value::from("up"))),
                Outcome::Failed(told) => assert_eq!((failed, told), (true, failure)),
            }
        }
    }

    #[test]
    fn nobody_to_tell_is_no_error() {
        Ready::nobody().ready(Value::Null);
    }
}
