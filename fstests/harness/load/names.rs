//! Files that come and go, some in directories of their own; creation and removal acknowledged now and then.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Context, History, Random, Writer, read_if_there, rebase, sync_dir};

#[derive(Debug, Clone, Default)]
struct Life {
    created: u64,
    kept: Option<u64>,
    removed: Option<u64>,
    gone: Option<u64>,
}

/// Writer and history of one directory of short-lived files.
#[derive(Debug, Clone)]
pub struct Names {
    dir: PathBuf,
    lives: Vec<Life>,
    promises: Vec<u64>,
}

fn content(number: usize) -> Vec<u8> {
    let seed = number as u64;
    Random::new(seed).bytes(if number.is_multiple_of(5) { 20_000 } else { number % 700 })
}

impl Names {
    /// Nothing there yet.
    pub fn new(dir: PathBuf) -> Self {
        Names { dir, lives: Vec::new(), promises: Vec::new() }
    }

    fn path(&self, number: usize) -> PathBuf {
        match number % 4 {
            0 => self.dir.join(format!("d{number}/f")),
            _ => self.dir.join(format!("f{number}")),
        }
    }

    fn promise(&mut self, context: &Context) -> u64 {
        let position = context.acknowledge();
        self.promises.push(position);
        position
    }

    fn create(&mut self, context: &Context, random: &mut Random) -> io::Result<()> {
        let number = self.lives.len();
        let path = self.path(number);
        self.lives.push(Life { created: (context.now)(), ..Life::default() });
        std::fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
        let mut file = File::create(&path)?;
        file.write_all(&content(number))?;
        if random.below(3) > 0 {
            file.sync_all()?;
            let position = self.promise(context);
            self.lives[number].kept = Some(position);
        }
        Ok(())
    }

    fn remove(&mut self, context: &Context, random: &mut Random) -> io::Result<()> {
        let number = random.index(self.lives.len());
        if self.lives[number].removed.is_some() {
            return Ok(());
        }
        let path = self.path(number);
        self.lives[number].removed = Some((context.now)());
        std::fs::remove_file(&path)?;
        if random.below(3) == 0 {
            sync_dir(path.parent().unwrap_or(&self.dir))?;
            let position = self.promise(context);
            self.lives[number].gone = Some(position);
        }
        Ok(())
    }

    fn churn_until_stopped(&mut self, context: &Context, mut random: Random) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        while context.running() {
            self.create(context, &mut random)?;
            if random.below(3) == 0 {
                self.remove(context, &mut random)?;
            }
        }
        Ok(())
    }

    fn judge_one(&self, number: usize, cut: u64) -> Result<(), String> {
        let (life, path) = (&self.lives[number], self.path(number));
        let before = |at: Option<u64>| at.is_some_and(|at| at <= cut);
        let found = read_if_there(&path)?;
        let wrong = |what: &str| Err(format!("{}: {what}", path.display()));
        match found {
            Some(_) if life.created > cut => wrong("exists before it was made"),
            Some(_) if before(life.gone) => wrong("is back after its removal was acknowledged"),
            Some(data) if before(life.kept) && data != content(number) => {
                wrong("has other bytes than were acknowledged")
            }
            Some(data) if !stale_or(&content(number), &data) => wrong("holds garbage"),
            None if before(life.kept) && !before(life.removed) => wrong("is gone, its creation was acknowledged"),
            _ => Ok(()),
        }
    }
}

/// Not acknowledged: any prefix, with zeros where data has not arrived.
fn stale_or(full: &[u8], found: &[u8]) -> bool {
    found.len() <= full.len() && found.iter().zip(full).all(|(f, e)| f == e || *f == 0)
}

impl Writer for Names {
    type Done = Self;
    fn run(mut self, context: &Context, random: Random) -> Self {
        let _ = self.churn_until_stopped(context, random);
        self
    }
}

impl History for Names {
    fn judge(&self, cut: u64) -> Result<(), String> {
        (0..self.lives.len()).try_for_each(|number| self.judge_one(number, cut))?;
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Ok(()) };
        let known: BTreeSet<String> = (0..self.lives.len()).flat_map(|n| [format!("f{n}"), format!("d{n}")]).collect();
        for entry in entries {
            let name = entry.map_err(|e| format!("list {}: {e}", self.dir.display()))?.file_name();
            if !known.contains(name.to_string_lossy().as_ref()) {
                return Err(format!("{}: a name nobody made: {}", self.dir.display(), name.display()));
            }
        }
        Ok(())
    }

    fn promised(&self, cut: u64) -> usize {
        self.promises.iter().filter(|at| **at <= cut).count()
    }

    fn moved(&mut self, from: &Path, to: &Path) {
        rebase(&mut self.dir, from, to);
    }
}
