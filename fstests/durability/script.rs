//! A script of operations that knows what must be there after each: creates, replaces, appends and removes,
//! each acknowledged by an fsync of the file and of its directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use fstests::harness::bytes::Random;

/// Names and contents of a directory.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// A script in progress.
pub struct Script {
    random: Random,
    /// What was acknowledged.
    pub sure: Tree,
    /// What is there if the last operation, which failed, was done nevertheless.
    pub maybe: Tree,
    next: usize,
}

impl Script {
    /// From the beginning.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), sure: Tree::new(), maybe: Tree::new(), next: 0 }
    }

    fn content(&mut self) -> Vec<u8> {
        let len = 1 + self.random.index(20_000);
        let byte = u8::try_from(self.random.below(256)).unwrap();
        (0..len).map(|i| byte.wrapping_add(u8::try_from(i % 251).unwrap())).collect()
    }

    /// The next operation in `dir`. What it would lead to is in `maybe`, and in `sure` once it succeeded.
    pub fn step(&mut self, dir: &Path) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        self.maybe.clone_from(&self.sure);
        let existing: Vec<String> = self.sure.keys().cloned().collect();
        let content = self.content();
        let pick = if existing.is_empty() { 0 } else { self.random.index(existing.len()) };
        match (number % 4, existing.get(pick).cloned()) {
            (1, Some(name)) => {
                self.maybe.insert(name.clone(), content.clone());
                write(&dir.join("draft"), &content, false)?;
                fs::rename(dir.join("draft"), dir.join(name))?;
            }
            (2, Some(name)) => {
                self.maybe.entry(name.clone()).or_default().extend_from_slice(&content);
                write(&dir.join(name), &content, true)?;
            }
            (3, Some(name)) if existing.len() > 5 => {
                self.maybe.remove(&name);
                fs::remove_file(dir.join(name))?;
            }
            _ => {
                let name = format!("file{number}");
                self.maybe.insert(name.clone(), content.clone());
                write(&dir.join(name), &content, false)?;
            }
        }
        File::open(dir)?.sync_all()?;
        self.sure.clone_from(&self.maybe);
        Ok(())
    }

    /// Takes what is in `dir` for the state from here on: an operation failed half-way, and what it left is known.
    pub fn adopt(&mut self, dir: &Path) {
        self.sure = read(dir).unwrap();
        self.maybe.clone_from(&self.sure);
    }

    /// What is wrong in `dir`: everything acknowledged must be there, the last operation done or not.
    pub fn judge(&self, dir: &Path) -> Result<(), String> {
        let found = read(dir).map_err(|e| e.to_string())?;
        let names: std::collections::BTreeSet<_> =
            found.keys().chain(self.sure.keys()).chain(self.maybe.keys()).cloned().collect();
        for name in names {
            let (is, sure, maybe) = (found.get(&name), self.sure.get(&name), self.maybe.get(&name));
            let new_and_empty = sure.is_none() && maybe.is_some() && is.is_some_and(Vec::is_empty);
            if is != sure && is != maybe && !new_and_empty {
                let len = |c: Option<&Vec<u8>>| c.map(Vec::len);
                return Err(format!("{name}: {:?} bytes, not {:?} or {:?}", len(is), len(sure), len(maybe)));
            }
        }
        Ok(())
    }
}

fn read(dir: &Path) -> io::Result<Tree> {
    let mut found = Tree::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        found.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    found.remove("draft");
    Ok(found)
}

fn write(path: &Path, content: &[u8], append: bool) -> io::Result<()> {
    let mut file = options(append).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn options(append: bool) -> fs::OpenOptions {
    let mut options = File::options();
    if append {
        options.append(true)
    } else {
        options.write(true).create(true).truncate(true)
    };
    options
}
