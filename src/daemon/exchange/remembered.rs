//! The newest head of each other author, as signed: its own device may ask for it after it was set back.
//!
//! Files beside the volume, written anew with each head and not synced; what is lost of them is learnt again. Must never give out
//! what does not begin like a head, nor let a failure to write hold up a merge.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::base::hex;
use crate::base::sync::Mutex;
use crate::seal::head::author_of;

/// Authors remembered at most.
const MOST: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Remembered {
    dir: PathBuf,
    heads: Mutex<BTreeMap<[u8; 32], Vec<u8>>>,
}

impl Remembered {
    /// What was remembered in `dir`, which need not be there.
    pub fn open(dir: PathBuf) -> Self {
        let files = fs::read_dir(&dir).into_iter().flatten().flatten().take(MOST);
        let heads = files.filter_map(|file| {
            let head = fs::read(file.path()).ok()?;
            let author = author_of(&head)?;
            (file.file_name().to_str() == Some(hex(&author).as_str())).then_some((author, head))
        });
        Self { heads: Mutex::new(heads.collect()), dir }
    }

    /// The newest verified head of `author`.
    pub fn put(&self, author: &[u8; 32], head: &[u8]) {
        {
            let mut heads = self.heads.lock();
            let full = heads.len() >= MOST && !heads.contains_key(author);
            if full || heads.get(author).is_some_and(|before| before == head) {
                return;
            }
            heads.insert(*author, head.to_vec());
        }
        let (fresh, name) = (self.dir.join("new"), self.dir.join(hex(author)));
        let written = fs::create_dir_all(&self.dir)
            .and_then(|()| fs::write(&fresh, head))
            .and_then(|()| fs::rename(&fresh, name));
        if let Err(error) = written {
            tracing::debug!(%error, "a head is remembered in this run only");
        }
    }

    /// The newest head of `author`, if there was any.
    pub fn of(&self, author: &[u8; 32]) -> Option<Vec<u8>> {
        self.heads.lock().get(author).cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::VolumeId;
    use crate::base::port::Seeded;
    use crate::seal::head::seal_head;
    use crate::seal::{DeviceRoot, EpochSecret, Sealer};

    #[test]
    fn the_newest_head_of_each_author_is_there_in_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("heads");
        let key = DeviceRoot::new([1; 32]).author_key(VolumeId([1; 16]), 0);
        let sealer = Sealer::new(VolumeId([1; 16]), &[(0, EpochSecret::new([2; 32]))]).unwrap();
        let head = |seq| seal_head(&sealer, &key, 0, seq, b"body", &Seeded::new(seq)).unwrap();
        let remembered = Remembered::open(at.clone());
        assert_eq!(remembered.of(&key.public()), None);
        remembered.put(&key.public(), &head(1));
        remembered.put(&key.public(), &head(2));
        fs::write(at.join("nonsense"), b"no head").unwrap();
        fs::write(at.join(hex(&[7; 32])), head(3)).unwrap();
        let again = Remembered::open(at);
        assert_eq!(again.of(&key.public()), Some(head(2)));
        assert_eq!(again.of(&[7; 32]), None);
    }
}
