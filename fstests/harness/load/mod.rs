//! A load that knows what it was promised: writers that record what they began and what was acknowledged, and
//! a judge that reads the tree after a crash. Acknowledged means present; the rest is old or new, never garbage.
//!
//! Positions come from the caller: constant for a killed process, the length of the disk's log for a power cut.

mod blocks;
mod log;
mod names;
mod save;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::{io, sync::Arc};

use super::bytes::Random;

pub use blocks::Blocks;
pub use log::Log;
pub use names::Names;
pub use save::Save;

/// What a writer needs from outside.
#[derive(Clone)]
pub struct Context {
    /// Ends the writers.
    pub stop: Arc<AtomicBool>,
    /// One message for each acknowledgement.
    pub acknowledged: Sender<()>,
    /// The current position: what happens later cannot be in a crash image cut here.
    pub now: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Context {
    fn running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn acknowledge(&self) -> u64 {
        let position = (self.now)();
        let _ = self.acknowledged.send(());
        position
    }
}

/// What one writer did, judged by its own rules.
pub trait History: Send {
    /// Reads the files after a crash at position `cut`; says what is wrong.
    fn judge(&self, cut: u64) -> Result<(), String>;
    /// Acknowledgements given at or before `cut`.
    fn promised(&self, cut: u64) -> usize;
    /// The same files below another root.
    fn moved(&mut self, from: &Path, to: &Path);
}

/// Runs until told to stop or until the filesystem fails.
trait Writer: Send + 'static {
    type Done: History + 'static;
    fn run(self, context: &Context, random: Random) -> Self::Done;
}

/// A running set of writers.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Box<dyn History>>>,
}

impl Load {
    /// One writer of each kind in `dir`, which is created.
    pub fn start(dir: &Path, seed: u64, context: &Context) -> Self {
        let _ = std::fs::create_dir(dir);
        let mut load = Load { stop: Arc::clone(&context.stop), threads: Vec::new() };
        load.add(Blocks::new(dir.join("blocks")), context, seed);
        load.add(Log::new(dir.join("log"), seed), context, seed + 1);
        load.add(Save::new(dir.join("saved")), context, seed + 2);
        load.add(Names::new(dir.join("names")), context, seed + 3);
        load
    }

    fn add<W: Writer>(&mut self, writer: W, context: &Context, seed: u64) {
        let context = context.clone();
        self.threads.push(std::thread::spawn(move || {
            let done: Box<dyn History> = Box::new(writer.run(&context, Random::new(seed)));
            done
        }));
    }

    /// Ends the writers and takes what they recorded.
    pub fn finish(self) -> Vec<Box<dyn History>> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|t| t.join().expect("a writer panicked")).collect()
    }
}

/// Acknowledgements: `(position, how many events before it are promised)`.
#[derive(Debug, Default, Clone)]
struct Acknowledged(Vec<(u64, usize)>);

impl Acknowledged {
    fn push(&mut self, position: u64, events: usize) {
        self.0.push((position, events));
    }

    /// Events promised at `cut`.
    fn events(&self, cut: u64) -> usize {
        self.0.iter().filter(|(at, _)| *at <= cut).map(|(_, events)| *events).max().unwrap_or(0)
    }

    fn count(&self, cut: u64) -> usize {
        self.0.iter().filter(|(at, _)| *at <= cut).count()
    }
}

fn rebase(path: &mut PathBuf, from: &Path, to: &Path) {
    *path = to.join(path.strip_prefix(from).expect("below the old root"));
}

/// The whole file, or `None` when it is not there; any other error is a finding.
fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match std::fs::read(path) {
        Ok(data) => Ok(Some(data)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}
