//! `memory:` keeps everything in this process. For tests. Must never claim to survive it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::{Expect, Kv, KvStat, Task, check_head_name};
use crate::base::Bid;
use crate::base::sync::Mutex;

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryKv {
    blocks: Mutex<BTreeMap<Bid, Bytes>>,
    heads: Mutex<BTreeMap<String, Bytes>>,
}

impl Kv for MemoryKv {
    fn name(&self) -> &'static str {
        "memory:"
    }

    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        Box::pin(async move { Ok(self.blocks.lock().get(id).cloned()) })
    }

    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        Box::pin(async move {
            self.blocks.lock().insert(*id, value);
            Ok(())
        })
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        Box::pin(async move {
            let blocks = self.blocks.lock();
            Ok(ids.iter().map(|id| blocks.contains_key(id)).collect())
        })
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        Box::pin(async move {
            let mut blocks = self.blocks.lock();
            for id in ids {
                blocks.remove(id);
            }
            Ok(())
        })
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        Box::pin(async move {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let blocks = self.blocks.lock();
            Ok(blocks.range((start, Bound::Unbounded)).take(limit).map(|(id, _)| *id).collect())
        })
    }

    fn stat(&self) -> Task<'_, KvStat> {
        Box::pin(async move {
            let blocks = self.blocks.lock();
            let bytes = blocks.values().map(|v| v.len() as u64).sum();
            Ok(KvStat { blocks: blocks.len() as u64, bytes })
        })
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        Box::pin(async move {
            check_head_name(name)?;
            Ok(self.heads.lock().get(name).cloned())
        })
    }

    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        Box::pin(async move {
            check_head_name(name)?;
            let mut heads = self.heads.lock();
            expect.check(name, heads.get(name).map(|b| &**b))?;
            heads.insert(name.to_owned(), value);
            Ok(())
        })
    }

    fn list_heads(&self) -> Task<'_, Vec<String>> {
        Box::pin(async move { Ok(self.heads.lock().keys().cloned().collect()) })
    }

    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        Box::pin(async move {
            check_head_name(name)?;
            self.heads.lock().remove(name);
            Ok(())
        })
    }
}
