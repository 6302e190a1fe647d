//! The requests of the control socket: one file each, one arm here.

mod log_level;
mod metrics;
mod status;

use serde::Serialize;
use serde_json::Value;

use super::service::Service;
use crate::base::{Error, Kind, Result};
use crate::wire::Failure;
use crate::wire::control::{Progress, Request};

/// Where a request reports while it works. An error means that nobody listens any more: stop.
pub trait Sink {
    /// How far the work is.
    fn progress(&mut self, progress: Progress) -> Result<()>;
    /// One element of a list.
    fn part(&mut self, part: Value) -> Result<()>;
    /// Bytes of a file.
    fn data(&mut self, bytes: Vec<u8>) -> Result<()>;
}

/// Answer one request.
pub fn answer(service: &Service, request: Request, sink: &mut dyn Sink) -> std::result::Result<Value, Failure> {
    let _ = &sink;
    Ok(match request {
        Request::Status => document(&status::run(service)?)?,
        Request::LogLevel { directives } => document(&log_level::run(service, directives.as_deref())?)?,
        Request::Metrics => document(&metrics::run(service)?)?,
        _ => return Err(Failure::new(Kind::Unsupported, "answer", "", "being built")),
    })
}

/// An answer as a JSON document.
fn document<T: Serialize>(answer: &T) -> Result<Value> {
    serde_json::to_value(answer).map_err(|e| Error::new(Kind::Other, "answer", "").with_source(e))
}
