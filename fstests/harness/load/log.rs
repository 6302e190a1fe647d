//! A file that only grows: records of odd sizes, some of them acknowledged.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Acknowledged, Context, History, Random, Writer, read_if_there, rebase};

/// Writer and history of one log.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    seed: u64,
    /// `(length after this append, position when begun)`.
    appends: Vec<(usize, u64)>,
    acknowledged: Acknowledged,
}

impl Log {
    /// Nothing written yet; the content is a function of `seed`.
    pub fn new(path: PathBuf, seed: u64) -> Self {
        Log { path, seed, appends: Vec::new(), acknowledged: Acknowledged::default() }
    }

    fn stream(&self, len: usize) -> Vec<u8> {
        Random::new(self.seed ^ 0x5eed).bytes(len)
    }

    fn append_until_stopped(&mut self, context: &Context, mut random: Random) -> io::Result<()> {
        let stream = self.stream(16 << 20);
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let mut len = 0;
        while context.running() && len + 40_000 < stream.len() {
            let most = if random.below(10) == 0 { 40_000 } else { 3_000 };
            let record = 1 + random.index(most);
            self.appends.push((len + record, (context.now)()));
            file.write_all(&stream[len..len + record])?;
            len += record;
            if random.below(3) > 0 {
                file.sync_data()?;
                self.acknowledged.push(context.acknowledge(), self.appends.len());
            }
        }
        Ok(())
    }
}

impl Writer for Log {
    type Done = Self;
    fn run(mut self, context: &Context, random: Random) -> Self {
        let _ = self.append_until_stopped(context, random);
        self
    }
}

impl History for Log {
    fn judge(&self, cut: u64) -> Result<(), String> {
        let name = self.path.display();
        let promised = self.acknowledged.events(cut).checked_sub(1).map_or(0, |last| self.appends[last].0);
        let begun = self.appends.iter().filter(|(_, at)| *at <= cut).map(|(len, _)| *len).max().unwrap_or(0);
        let data = read_if_there(&self.path)?.unwrap_or_default();
        if data.len() < promised || data.len() > begun {
            return Err(format!("{name}: {} bytes; {promised} acknowledged, {begun} begun", data.len()));
        }
        let expected = self.stream(data.len());
        let wrong = (0..data.len()).find(|at| data[*at] != expected[*at] && (*at < promised || data[*at] != 0));
        wrong.map_or(Ok(()), |at| Err(format!("{name}: wrong byte at {at}; {promised} acknowledged of {}", data.len())))
    }

    fn promised(&self, cut: u64) -> usize {
        self.acknowledged.count(cut)
    }

    fn moved(&mut self, from: &Path, to: &Path) {
        rebase(&mut self.path, from, to);
    }
}
