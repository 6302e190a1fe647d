//! A file of 4 KiB blocks overwritten in place; each block says which write it came from.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Acknowledged, Context, History, Random, Writer, read_if_there, rebase};

const SIZE: usize = 4096;
const COUNT: u64 = 96;

/// Writer and history of one such file.
#[derive(Debug, Clone)]
pub struct Blocks {
    path: PathBuf,
    /// `(block, position when begun)`; the generation of a write is its index plus one.
    writes: Vec<(u64, u64)>,
    acknowledged: Acknowledged,
}

fn content(block: u64, generation: u64) -> Vec<u8> {
    let mut data = Random::new(generation * COUNT + block).bytes(SIZE);
    data[..8].copy_from_slice(&generation.to_le_bytes());
    data
}

impl Blocks {
    /// Nothing written yet.
    pub fn new(path: PathBuf) -> Self {
        Blocks { path, writes: Vec::new(), acknowledged: Acknowledged::default() }
    }

    fn write_until_stopped(&mut self, context: &Context, mut random: Random) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        while context.running() {
            for _ in 0..=random.below(6) {
                let block = random.below(COUNT);
                self.writes.push((block, (context.now)()));
                file.write_all_at(&content(block, self.writes.len() as u64), block * SIZE as u64)?;
            }
            if random.below(2) == 0 {
                file.sync_data()?;
            } else {
                file.sync_all()?;
            }
            self.acknowledged.push(context.acknowledge(), self.writes.len());
        }
        Ok(())
    }

    fn judge_block(&self, block: u64, found: &[u8], promised: usize, cut: u64) -> Result<(), String> {
        let generations = || self.writes.iter().enumerate().filter(|(_, (b, _))| *b == block);
        let oldest = generations().filter(|(n, _)| *n < promised).map(|(n, _)| n as u64 + 1).max();
        if found.iter().all(|b| *b == 0) {
            return oldest.map_or(Ok(()), |g| Err(format!("block {block}: zeros, generation {g} was acknowledged")));
        }
        let mut word = [0; 8];
        word.copy_from_slice(&found[..8]);
        let generation = u64::from_le_bytes(word);
        let begun = generations().any(|(n, (_, at))| n as u64 + 1 == generation && *at <= cut);
        if !begun || found != content(block, generation) {
            return Err(format!("block {block}: garbage (says generation {generation})"));
        }
        match oldest {
            Some(oldest) if generation < oldest => {
                Err(format!("block {block}: generation {generation}, {oldest} was acknowledged"))
            }
            _ => Ok(()),
        }
    }
}

impl Writer for Blocks {
    type Done = Self;
    fn run(mut self, context: &Context, random: Random) -> Self {
        let _ = self.write_until_stopped(context, random);
        self
    }
}

impl History for Blocks {
    fn judge(&self, cut: u64) -> Result<(), String> {
        let promised = self.acknowledged.events(cut);
        let mut data = read_if_there(&self.path)?.unwrap_or_default();
        let whole = usize::try_from(COUNT).unwrap_or(0) * SIZE;
        if data.len() > whole {
            return Err(format!("{}: {} bytes were never written", self.path.display(), data.len()));
        }
        data.resize(whole, 0);
        for (block, found) in (0..COUNT).zip(data.chunks(SIZE)) {
            self.judge_block(block, found, promised, cut).map_err(|why| format!("{}: {why}", self.path.display()))?;
        }
        Ok(())
    }

    fn promised(&self, cut: u64) -> usize {
        self.acknowledged.count(cut)
    }

    fn moved(&mut self, from: &Path, to: &Path) {
        rebase(&mut self.path, from, to);
    }
}
