//! Printing: one JSON document or aligned text on standard output, complaints on standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::base::{Error, Kind};
pub use crate::daemon::words::{printable, size, span};
use crate::wire::Failure;

const WRITE: &str = "write to standard output";

/// Print one JSON document on one line.
pub fn json<T: Serialize>(document: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(document);
    line(&text.map_err(|e| Failure::new(Kind::Other, "print JSON", "", e.to_string()))?)
}

/// Print one line.
pub fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Print bytes as they are.
pub fn bytes(content: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(content).and_then(|()| out.flush()).map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Kind::Interrupted, WRITE, "", "the reader closed it"),
        _ => Error::io(WRITE, "", e).into(),
    })
}

/// Whether a command ended because its reader (`head`, say) had enough.
pub fn is_closed_pipe(failure: &Failure) -> bool {
    failure.operation == WRITE && failure.kind == Kind::Interrupted
}

/// An answer of the daemon as the type it should be.
pub fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|e| Failure::new(Kind::Other, "understand the daemon", "", e.to_string()))
}

/// Say something to a person that is not the answer.
pub fn note(text: &str) {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "lovage: {text}");
}

/// Say on standard error what failed: one line of JSON where JSON was asked for.
pub fn complain(failure: &Failure, as_json: bool) {
    if as_json {
        // With standard error gone there is nobody left to tell.
        let _ = writeln!(io::stderr(), "{}", serde_json::json!({ "error": failure }));
        return;
    }
    let (on, off) = if colour() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{on}lovage:{off} {failure}");
}

fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A moment for people, in the local time zone.
pub fn moment(nanos: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).map_or_else(
        |_| nanos.to_string(),
        |t| t.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// Permission bits as `ls` writes them.
pub fn permissions(kind: &str, mode: u32) -> String {
    let kind = match kind {
        "directory" => 'd',
        "symlink" => 'l',
        "fifo" => 'p',
        "socket" => 's',
        "char-device" => 'c',
        "block-device" => 'b',
        _ => '-',
    };
    let bit = |shift: u32, letter| if mode >> shift & 1 == 1 { letter } else { '-' };
    let execute = |shift: u32, special: u32, both, alone| match (mode >> shift & 1, mode >> special & 1) {
        (1, 1) => both,
        (0, 1) => alone,
        (1, _) => 'x',
        _ => '-',
    };
    [
        [kind, bit(8, 'r'), bit(7, 'w'), execute(6, 11, 's', 'S'), bit(5, 'r')],
        [bit(4, 'w'), execute(3, 10, 's', 'S'), bit(2, 'r'), bit(1, 'w'), execute(0, 9, 't', 'T')],
    ]
    .concat()
    .into_iter()
    .collect()
}
