//! An editor's atomic save: write aside, fsync, rename over, sometimes fsync the directory.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Acknowledged, Context, History, Random, Writer, read_if_there, rebase, sync_dir};

/// Writer and history of one file saved again and again.
#[derive(Debug, Clone)]
pub struct Save {
    path: PathBuf,
    /// Position at which each version's rename began; a version is its index plus one.
    renames: Vec<u64>,
    acknowledged: Acknowledged,
}

fn version(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let len = 8 + random.index(if number.is_multiple_of(7) { 300_000 } else { 9_000 });
    let mut data = random.bytes(len);
    data[..8].copy_from_slice(&number.to_le_bytes());
    data
}

impl Save {
    /// Nothing saved yet.
    pub fn new(path: PathBuf) -> Self {
        Save { path, renames: Vec::new(), acknowledged: Acknowledged::default() }
    }

    fn save_until_stopped(&mut self, context: &Context, mut random: Random) -> io::Result<()> {
        let aside = self.path.with_extension("aside");
        let folder = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        while context.running() {
            let mut file = File::create(&aside)?;
            file.write_all(&version(self.renames.len() as u64 + 1))?;
            file.sync_all()?;
            drop(file);
            self.renames.push((context.now)());
            std::fs::rename(&aside, &self.path)?;
            if random.below(2) == 0 {
                sync_dir(&folder)?;
                self.acknowledged.push(context.acknowledge(), self.renames.len());
            }
        }
        Ok(())
    }
}

impl Writer for Save {
    type Done = Self;
    fn run(mut self, context: &Context, random: Random) -> Self {
        let _ = self.save_until_stopped(context, random);
        self
    }
}

impl History for Save {
    fn judge(&self, cut: u64) -> Result<(), String> {
        let name = self.path.display();
        let promised = self.acknowledged.events(cut) as u64;
        let Some(data) = read_if_there(&self.path)? else {
            return if promised == 0 {
                Ok(())
            } else {
                Err(format!("{name}: gone, version {promised} was acknowledged"))
            };
        };
        let mut word = [0; 8];
        word[..data.len().min(8)].copy_from_slice(&data[..data.len().min(8)]);
        let found = u64::from_le_bytes(word);
        let begun =
            found.checked_sub(1).and_then(|n| self.renames.get(usize::try_from(n).ok()?)).is_some_and(|at| *at <= cut);
        if !begun || data != version(found) {
            return Err(format!("{name}: {} bytes that are no version (says {found})", data.len()));
        }
        if found < promised {
            return Err(format!("{name}: version {found}, {promised} was acknowledged"));
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
