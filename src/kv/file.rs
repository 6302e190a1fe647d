//! `file:DIR`: one file a block in 256 folders. For USB sticks, network shares, shared folders.
//!
//! A block's bytes are on the disk before its name is. Must never trust that a file that exists is
//! whole: a put over an existing name compares, and heals.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::heads::{Heads, create_dirs, list_names, read_if_there, remove_if_there, sync_dir, write_draft};
use super::{Expect, Kv, KvStat, Task, blocking};
use crate::base::limits::MAX_BLOCK;
use crate::base::{Bid, Context, Result};

/// Make a folder in one that exists. Must not make that: who unplugged the stick finds nothing on its mountpoint.
fn create_dir(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
        Ok(()) => sync_dir(folder.parent().unwrap_or(folder)),
    }
}

/// A folder of blocks.
#[derive(Debug)]
pub struct FileKv {
    name: String,
    blocks: Blocks,
    heads: Heads,
}

#[derive(Debug, Clone)]
struct Blocks(PathBuf);

impl FileKv {
    /// Use `dir`, creating it if absent.
    pub fn open(dir: &Path) -> Result<Self> {
        let blocks = Blocks(dir.join("blocks"));
        create_dirs(&blocks.0).io("create folder", || dir.display().to_string())?;
        Ok(Self { name: format!("file:{}", dir.display()), blocks, heads: Heads::open(dir.join("heads"))? })
    }
}

impl Blocks {
    fn folder(&self, first: u8) -> PathBuf {
        self.0.join(format!("{first:02x}"))
    }

    fn path(&self, id: &Bid) -> PathBuf {
        self.folder(id.0[0]).join(id.to_string())
    }

    /// Each folder is synced once, also where the block was there: whoever wrote it may not have come to that.
    fn put(&self, blocks: &[(Bid, Bytes)]) -> Result<()> {
        let mut folders = BTreeSet::new();
        for (id, value) in blocks {
            self.put_one(id, value).io("store block", || id.to_string())?;
            folders.insert(id.0[0]);
        }
        let sync = |first| sync_dir(&self.folder(first)).io("sync folder", || self.folder(first).display().to_string());
        folders.into_iter().try_for_each(sync)
    }

    fn put_one(&self, id: &Bid, value: &[u8]) -> io::Result<()> {
        let (folder, path) = (self.folder(id.0[0]), self.path(id));
        if read_if_there(&path, MAX_BLOCK)?.as_deref() == Some(value) {
            return Ok(());
        }
        create_dir(&folder)?;
        fs::rename(write_draft(&folder, value)?, &path)
    }

    fn delete(&self, id: &Bid) -> io::Result<()> {
        remove_if_there(&self.path(id))
    }

    /// Ids in one folder, ascending.
    fn ids(&self, first: u8) -> io::Result<Vec<Bid>> {
        let mut ids: Vec<Bid> = list_names(&self.folder(first))?.iter().filter_map(|n| Bid::from_hex(n)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> io::Result<Vec<Bid>> {
        let mut found = Vec::new();
        for first in after.map_or(0, |id| id.0[0])..=u8::MAX {
            found.extend(self.ids(first)?.into_iter().filter(|id| after.is_none_or(|a| *id > a)));
            if found.len() >= limit {
                found.truncate(limit);
                break;
            }
        }
        Ok(found)
    }

    fn stat(&self) -> io::Result<KvStat> {
        let mut stat = KvStat::default();
        for first in 0..=u8::MAX {
            for id in self.ids(first)? {
                stat.blocks += 1;
                stat.bytes += fs::metadata(self.path(&id)).map_or(0, |m| m.len());
            }
        }
        Ok(stat)
    }
}

impl Kv for FileKv {
    fn name(&self) -> &str {
        &self.name
    }

    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        let path = self.blocks.path(id);
        let id = *id;
        Box::pin(blocking(move || read_if_there(&path, MAX_BLOCK).io("read block", || id.to_string())))
    }

    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        self.put_many(vec![(*id, value)])
    }

    fn put_many(&self, given: Vec<(Bid, Bytes)>) -> Task<'_, ()> {
        let blocks = self.blocks.clone();
        Box::pin(blocking(move || blocks.put(&given)))
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        let paths: Vec<PathBuf> = ids.iter().map(|id| self.blocks.path(id)).collect();
        Box::pin(blocking(move || Ok(paths.iter().map(|p| p.exists()).collect())))
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        let (blocks, ids) = (self.blocks.clone(), ids.to_vec());
        Box::pin(blocking(move || {
            ids.iter().try_for_each(|id| blocks.delete(id).io("delete block", || id.to_string()))
        }))
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        let blocks = self.blocks.clone();
        Box::pin(blocking(move || blocks.list(after, limit).io("list blocks", String::new)))
    }

    fn stat(&self) -> Task<'_, KvStat> {
        let blocks = self.blocks.clone();
        Box::pin(blocking(move || blocks.stat().io("count blocks", String::new)))
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        let (heads, name) = (self.heads.clone(), name.to_owned());
        Box::pin(blocking(move || heads.get(&name)))
    }

    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        let (heads, name) = (self.heads.clone(), name.to_owned());
        Box::pin(blocking(move || heads.put(&name, &value, expect)))
    }

    fn list_heads(&self) -> Task<'_, Vec<String>> {
        let heads = self.heads.clone();
        Box::pin(blocking(move || heads.list()))
    }

    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        let (heads, name) = (self.heads.clone(), name.to_owned());
        Box::pin(blocking(move || heads.delete(&name)))
    }
}
