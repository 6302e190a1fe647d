//! `log-level`: show or change what is logged, until the daemon ends.

use super::super::service::Service;
use crate::base::Result;

/// The directives in force, after adding `more`.
pub fn run(service: &Service, more: Option<&str>) -> Result<String> {
    match more {
        Some(more) => service.logging.change(more),
        None => Ok(service.logging.directives()),
    }
}
