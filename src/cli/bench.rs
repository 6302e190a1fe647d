//! `lovage bench [DIR]`: the built-in figures of this machine.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::output;
use super::progress::Bar;
use super::session::Session;
use crate::daemon::measure;

#[derive(Debug, Args)]
pub struct Bench {
    /// Measure the disk under this directory
    #[arg(default_value = ".")]
    dir: PathBuf,
}

impl Bench {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let bar = Bar::new(!session.json());
        let figures = measure(&self.dir, &mut |progress| {
            bar.show(&progress);
            Ok(())
        })?;
        drop(bar);
        if session.json() {
            return output::json(&figures);
        }
        figures.iter().try_for_each(|f| {
            let precision = if f.value < 100.0 { 2 } else { 0 };
            output::line(&format!("{:<36} {:>10.precision$} {}", f.name, f.value, f.unit))
        })
    }
}
