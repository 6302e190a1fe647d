//! `lovage hash FILE...`: the content ids files would have in a volume, storing nothing.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::{DEFAULT_VOLUME, absolute_raw};
use super::output;
use super::session::{Piece, Session};
use crate::wire::control::{ContentId, Request};

#[derive(Debug, Args)]
pub struct Hash {
    /// Files of this machine
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Ids are keyed by volume: of which one
    #[arg(long, default_value = DEFAULT_VOLUME)]
    volume: String,
}

impl Hash {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let files = self.files.iter().map(|f| absolute_raw(f)).collect();
        session.ask(&Request::Hash { volume: self.volume.clone(), files }, &mut |piece| {
            let Piece::Part(value) = piece else { return Ok(()) };
            if session.json() {
                return output::json(&value);
            }
            let id: ContentId = output::typed(value)?;
            output::line(&format!("{}  {}", id.id, output::printable(&id.path.to_string())))
        })?;
        Ok(())
    }
}
