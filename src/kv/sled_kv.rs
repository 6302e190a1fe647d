//! `sled:DIR`: blocks and heads in one embedded database. For small stores.
//!
//! Goes through [`Map`], which makes a flush durable. Must never be the default: see `local.rs`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::local::Map;
use super::{Expect, Kv, KvStat, Task, blocking, check_head_name};
use crate::base::sync::Mutex;
use crate::base::{Bid, Error, Kind, Result};

/// A store in a sled database.
#[derive(Debug)]
pub struct SledKv {
    name: String,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    map: Map,
    /// Held while a head is compared and replaced.
    heads: Mutex<()>,
}

const BLOCK: u8 = b'b';
const HEAD: u8 = b'h';

impl SledKv {
    /// Use the database in `dir`, creating it if absent. [`Kind::Corrupt`] if it does not open: a store
    /// that may be the only home of its blocks is never moved aside.
    pub fn open(dir: &Path) -> Result<Self> {
        let inner = Inner { map: Map::open_as_is(dir)?, heads: Mutex::new(()) };
        Ok(Self { name: format!("sled:{}", dir.display()), inner: Arc::new(inner) })
    }

    fn run<'a, T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T> + Send + 'static) -> Task<'a, T> {
        let inner = Arc::clone(&self.inner);
        Box::pin(blocking(move || work(&inner)))
    }
}

fn block_key(id: &Bid) -> Vec<u8> {
    [&[BLOCK][..], &id.0].concat()
}

fn head_key(name: &str) -> Result<Vec<u8>> {
    check_head_name(name)?;
    Ok([&[HEAD][..], name.as_bytes()].concat())
}

impl Inner {
    fn put(&self, blocks: &[(Bid, Bytes)]) -> Result<()> {
        blocks.iter().try_for_each(|(id, value)| self.map.insert(&block_key(id), value))?;
        self.map.flush()
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Result<Vec<Bid>> {
        let start = after.map_or(vec![BLOCK], |id| [&block_key(&id)[..], &[0]].concat());
        let mut ids = Vec::new();
        for pair in self.map.scan_from(&start).take(limit) {
            let (key, _) = pair?;
            match key.split_first() {
                Some((&BLOCK, id)) => ids.extend(Bid::from_slice(id)),
                _ => break,
            }
        }
        Ok(ids)
    }

    fn stat(&self) -> Result<KvStat> {
        let mut stat = KvStat::default();
        for pair in self.map.scan_prefix(&[BLOCK]) {
            stat.blocks += 1;
            stat.bytes += pair?.1.len() as u64;
        }
        Ok(stat)
    }

    fn put_head(&self, name: &str, value: &[u8], expect: Expect) -> Result<()> {
        let key = head_key(name)?;
        let _lock = self.heads.lock();
        expect.check(name, self.map.get(&key)?.as_deref())?;
        self.map.insert(&key, value)?;
        self.map.flush()
    }

    fn list_heads(&self) -> Result<Vec<String>> {
        let utf8 = |key: Bytes| String::from_utf8(key.slice(1..).to_vec());
        let bad = |e| Error::new(Kind::Corrupt, "list heads", "").with_source(e);
        self.map.scan_prefix(&[HEAD]).map(|pair| utf8(pair?.0).map_err(bad)).collect()
    }

    fn remove(&self, keys: &[Vec<u8>]) -> Result<()> {
        self.map.batch(keys.iter().map(|k| (&k[..], None)))?;
        self.map.flush()
    }
}

impl Kv for SledKv {
    fn name(&self) -> &str {
        &self.name
    }

    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        let key = block_key(id);
        self.run(move |s| s.map.get(&key))
    }

    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        self.put_many(vec![(*id, value)])
    }

    fn put_many(&self, blocks: Vec<(Bid, Bytes)>) -> Task<'_, ()> {
        self.run(move |s| s.put(&blocks))
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        let keys: Vec<_> = ids.iter().map(block_key).collect();
        self.run(move |s| keys.iter().map(|k| Ok(s.map.get(k)?.is_some())).collect())
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        let keys: Vec<_> = ids.iter().map(block_key).collect();
        self.run(move |s| s.remove(&keys))
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        self.run(move |s| s.list(after, limit))
    }

    fn stat(&self) -> Task<'_, KvStat> {
        self.run(Inner::stat)
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        let name = name.to_owned();
        self.run(move |s| s.map.get(&head_key(&name)?))
    }

    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        let name = name.to_owned();
        self.run(move |s| s.put_head(&name, &value, expect))
    }

    fn list_heads(&self) -> Task<'_, Vec<String>> {
        self.run(Inner::list_heads)
    }

    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        let name = name.to_owned();
        self.run(move |s| s.remove(&[head_key(&name)?]))
    }
}
