//! The answering side of the control socket: accept, check who asks, hand the request to `control`.
//!
//! Must never answer another user than the daemon's own (or root), and never let one client occupy it:
//! at most [`MOST_CLIENTS`] at once, each with deadlines for asking and for reading.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use super::control::{Sink, answer};
use super::service::Service;
use crate::base::{Context, Error, Kind, Result};
use crate::wire::control::{Envelope, PROTOCOL, Progress, Reply};
use crate::wire::{Failure, Frame, read_frame, write_data, write_frame};

/// Most requests answered at once; more wait in the socket's queue.
const MOST_CLIENTS: usize = 32;
/// How long a client may take to ask, and to take one frame of the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Accept until dropped.
pub async fn serve(listener: UnixListener, service: Arc<Service>) {
    let slots = Arc::new(Semaphore::new(MOST_CLIENTS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a command failed");
                tokio::time::sleep(Duration::from_millis(100)).await; // out of descriptors, most likely
                continue;
            }
        };
        let user = stream.peer_cred().map(|peer| peer.uid());
        if !user.as_ref().is_ok_and(|uid| may_ask(*uid)) {
            tracing::warn!(?user, "refused a command of another user");
            continue;
        }
        let service = Arc::clone(&service);
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            if let Err(error) = stream.into_std().io("take a command", String::new).and_then(|s| converse(s, &service))
            {
                tracing::debug!(error = %error.chain(), "a command was cut short");
            }
        });
    }
}

fn may_ask(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

fn converse(stream: UnixStream, service: &Arc<Service>) -> Result<()> {
    let prepare = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    prepare.and_then(|()| stream.set_write_timeout(Some(PATIENCE))).io("take a command", String::new)?;
    let mut client = ToClient(stream);
    let Some(Frame::Json(text)) = read_frame(&mut client.0)? else { return Ok(()) };
    if service.is_ending() {
        return Ok(()); // without an answer, as if no daemon ran
    }
    if has_gone(&client.0) {
        return Ok(()); // told that we were stopped, say: what it was told failed must not be done behind its back
    }
    let answered = understand(&text).and_then(|request| answer(service, request, &mut client));
    if answered.is_err() && service.is_ending() {
        return Ok(());
    }
    client.send(&answered.map_or_else(Reply::Failed, Reply::Done))
}

/// Whether the client has closed its end, by a look that does not wait.
fn has_gone(client: &UnixStream) -> bool {
    let mut look = [PollFd::new(client, PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut look, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

fn understand(text: &[u8]) -> std::result::Result<crate::wire::control::Request, Failure> {
    let envelope: Envelope = serde_json::from_slice(text).map_err(|e| unclear(&e))?;
    if envelope.protocol != PROTOCOL {
        let why = format!("the daemon speaks version {PROTOCOL}, this program {}", envelope.protocol);
        let failure = Failure::new(Kind::Unsupported, "ask the daemon", "", why);
        return Err(failure.next("Restart the daemon with this program."));
    }
    serde_json::from_value(envelope.request).map_err(|e| unclear(&e))
}

fn unclear(error: &serde_json::Error) -> Failure {
    Failure::new(Kind::Invalid, "understand the request", "", error.to_string())
        .next("Restart the daemon so that it and this program are of one version.")
}

struct ToClient(UnixStream);

impl ToClient {
    fn send(&mut self, reply: &Reply) -> Result<()> {
        let text = serde_json::to_vec(reply);
        let text = text.map_err(|e| Error::new(Kind::Other, "answer", "").with_source(e))?;
        write_frame(&mut self.0, &Frame::Json(text))
    }
}

impl Sink for ToClient {
    fn progress(&mut self, progress: Progress) -> Result<()> {
        self.send(&Reply::Progress(progress))
    }

    fn part(&mut self, part: Value) -> Result<()> {
        self.send(&Reply::Part(part))
    }

    fn data(&mut self, bytes: Vec<u8>) -> Result<()> {
        write_data(&mut self.0, &bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::control::Request;

    #[test]
    fn another_protocol_version_is_told_apart_from_nonsense() {
        let old = understand(br#"{"protocol":0,"request":{"do":"status"}}"#).unwrap_err();
        assert_eq!(old.kind, Kind::Unsupported);
        assert_eq!(understand(b"nonsense").unwrap_err().kind, Kind::Invalid);
        assert_eq!(understand(br#"{"protocol":1,"request":{"do":"conquer"}}"#).unwrap_err().kind, Kind::Invalid);
        assert_eq!(understand(br#"{"protocol":1,"request":{"do":"volume-list"}}"#).unwrap(), Request::VolumeList);
    }

    #[test]
    fn a_client_that_went_away_is_noticed_and_one_that_waits_is_not() {
        let (client, server) = UnixStream::pair().unwrap();
        assert!(!has_gone(&server));
        drop(client);
        assert!(has_gone(&server));
    }

    #[test]
    fn only_root_and_the_daemons_user_may_ask() {
        let me = rustix::process::geteuid().as_raw();
        assert!(may_ask(me) && may_ask(0));
        assert!(!may_ask(me + 1));
    }
}
