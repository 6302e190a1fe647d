//! The asking side of the control socket.

use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::home::Home;
use super::lock::holder;
use super::socket;
use crate::base::{Error, Kind};
use crate::wire::control::{Envelope, PROTOCOL, Progress, Reply, Request};
use crate::wire::{Failure, Frame, read_frame, write_frame};

/// An answer later than this many seconds has us look whether the daemon runs at all.
const LOOK_AFTER: i64 = 2;

/// A connection to a daemon, good for one question.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    home: Home,
}

/// What arrives before the answer.
#[derive(Debug)]
pub enum Incoming {
    /// How far the work is.
    Progress(Progress),
    /// One element of a list.
    Part(Value),
    /// Bytes of a file.
    Data(Vec<u8>),
}

/// Receives what arrives before the answer; an error ends the question.
pub type Receive<'a> = &'a mut dyn FnMut(Incoming) -> Result<(), Failure>;

impl Client {
    /// Reach the daemon of `home`; `None` when none runs.
    pub fn connect(home: &Home) -> Result<Option<Self>, Failure> {
        match socket::connect(&home.socket()) {
            Ok(stream) => Ok(stream.map(|stream| Self { stream, home: home.clone() })),
            Err(e) => Err(Error::io("reach the daemon", home.socket().display().to_string(), e).into()),
        }
    }

    /// Ask, handing everything before the answer to `each`. Dropping the connection cancels the work.
    pub fn ask(mut self, request: &Request, each: Receive<'_>) -> Result<Value, Failure> {
        let request = serde_json::to_value(request).map_err(garbled)?;
        let envelope = Envelope { protocol: PROTOCOL, request };
        let question = Frame::Json(serde_json::to_vec(&envelope).map_err(garbled)?);
        let asked = write_frame(&mut self.stream, &question);
        self.wait()?;
        let asked = asked.and_then(|()| read_frame(&mut self.stream));
        // A daemon that was killed a moment ago still takes connections, and never answers.
        let mut next = asked.ok().flatten().ok_or_else(gone)?;
        loop {
            match next {
                Frame::Data(bytes) => each(Incoming::Data(bytes))?,
                Frame::Json(text) => match serde_json::from_slice(&text).map_err(garbled)? {
                    Reply::Progress(progress) => each(Incoming::Progress(progress))?,
                    Reply::Part(part) => each(Incoming::Part(part))?,
                    Reply::Done(answer) => return Ok(answer),
                    Reply::Failed(failure) => return Err(failure),
                },
            }
            self.wait()?;
            next = read_frame(&mut self.stream)?.ok_or_else(hung_up)?;
        }
    }

    /// Wait for something to read, as long as the daemon can send it: one that was stopped never would.
    fn wait(&self) -> Result<(), Failure> {
        let patience = Timespec { tv_sec: LOOK_AFTER, tv_nsec: 0 };
        loop {
            match poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&patience)) {
                Ok(0) => {}
                Err(rustix::io::Errno::INTR) => continue,
                _ => return Ok(()), // an error is met again by the read, which tells it better
            }
            let (pid, _) = holder(&self.home);
            if is_stopped(&pid) {
                let failure =
                    Failure::new(Kind::Unreachable, "ask the daemon", "", format!("process {pid} is stopped"));
                return Err(failure.next(format!("Let it go on with `kill -CONT {pid}`.")));
            }
        }
    }
}

/// Whether process `pid` is stopped by a signal. (One that is traced stops for moments, and goes on.) The state follows
/// the name, which ends at the last parenthesis of `/proc/PID/stat`.
fn is_stopped(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}

/// Nobody answered at all: as good as no daemon.
fn gone() -> Failure {
    let mut failure = hung_up();
    failure.no_daemon = true;
    failure
}

fn hung_up() -> Failure {
    Failure::new(Kind::Unreachable, "ask the daemon", "", "it ended before it answered")
        .next("See its log, then start it again with `lovage mount` or `lovage daemon`.")
}

#[allow(clippy::needless_pass_by_value)] // handed to map_err
fn garbled(error: serde_json::Error) -> Failure {
    Failure::new(Kind::Invalid, "understand the daemon", "", error.to_string())
        .next("Restart the daemon so that it and this program are of one version.")
}
