//! `lovage cat PATH...`: file content without a mount.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output;
use super::session::{Piece, Session};
use crate::wire::control::Request;

#[derive(Debug, Args)]
pub struct Cat {
    /// Paths inside a mount, VOLUME:/path, or /path in the default volume
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

impl Cat {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        for path in &self.paths {
            session.ask(&Request::Cat { at: path_arg(path) }, &mut |piece| match piece {
                Piece::Data(bytes) => output::bytes(&bytes),
                Piece::Part(_) => Ok(()),
            })?;
        }
        Ok(())
    }
}
