//! From one store to another, and through a whole store: copy what is lacking, read and verify everything.
//!
//! Both go by pages of the listing and can be cut off anywhere: what was copied is there, and the next run finds the
//! rest by asking. Must never copy a block that does not verify.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Kv, is_genuine};
use crate::base::{Bid, Error, Kind, Result};

/// Ids looked at together.
const PAGE: usize = 1000;
/// Reads under way at once.
const AT_ONCE: usize = 8;
/// Bytes put together.
const BATCH: usize = 8 << 20;

/// What was done, so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Blocks looked at.
    pub looked: u64,
    /// Blocks read, and bytes of them.
    pub read: u64,
    /// See [`Self::read`].
    pub bytes: u64,
    /// Blocks that do not verify, or that were listed and are gone; of each at most the first 100,000.
    pub bad: Vec<Bid>,
}

const MOST_BAD: usize = 100_000;

/// Hears how far it is, and may end it by an error.
pub type Report<'r> = &'r mut dyn FnMut(&Moved) -> Result<()>;

/// Copy every block that `from` has and `to` lacks.
pub async fn copy(from: &Arc<dyn Kv>, to: &Arc<dyn Kv>, report: Report<'_>) -> Result<Moved> {
    let mut moved = Moved::default();
    let mut after = None;
    loop {
        let page = from.list(after, PAGE).await?;
        after = page.last().copied();
        moved.looked += page.len() as u64;
        let there = to.has(&page).await?;
        let lacking = page.iter().zip(there).filter(|(_, there)| !there).map(|(id, _)| *id).collect();
        let (mut batch, mut size) = (Vec::new(), 0);
        let mut reading = Reading::new(from, lacking);
        while let Some((id, bytes)) = reading.next().await? {
            let Some(bytes) = moved.judge(id, bytes) else { continue };
            size += bytes.len();
            batch.push((id, bytes));
            if size >= BATCH {
                to.put_many(std::mem::take(&mut batch)).await?;
                size = 0;
                report(&moved)?;
            }
        }
        to.put_many(batch).await?;
        report(&moved)?;
        if page.len() < PAGE {
            return Ok(moved);
        }
    }
}

/// Read and verify every block of `kv`.
pub async fn scrub(kv: &Arc<dyn Kv>, report: Report<'_>) -> Result<Moved> {
    let mut moved = Moved::default();
    let mut after = None;
    loop {
        let page = kv.list(after, PAGE).await?;
        after = page.last().copied();
        moved.looked += page.len() as u64;
        let last = page.len() < PAGE;
        let mut reading = Reading::new(kv, page);
        while let Some((id, bytes)) = reading.next().await? {
            moved.judge(id, bytes);
            report(&moved)?;
        }
        if last {
            return Ok(moved);
        }
    }
}

impl Moved {
    fn judge(&mut self, id: Bid, bytes: Option<Bytes>) -> Option<Bytes> {
        let genuine = bytes.filter(|bytes| is_genuine(&id, bytes));
        match &genuine {
            Some(bytes) => {
                self.read += 1;
                self.bytes += bytes.len() as u64;
            }
            None if self.bad.len() < MOST_BAD => self.bad.push(id),
            None => {}
        }
        genuine
    }
}

/// Blocks of a store, some of them on their way at any time. Dropping it cancels them.
struct Reading {
    kv: Arc<dyn Kv>,
    next: std::vec::IntoIter<Bid>,
    under_way: JoinSet<(Bid, Result<Option<Bytes>>)>,
}

impl Reading {
    fn new(kv: &Arc<dyn Kv>, ids: Vec<Bid>) -> Self {
        Self { kv: Arc::clone(kv), next: ids.into_iter(), under_way: JoinSet::new() }
    }

    async fn next(&mut self) -> Result<Option<(Bid, Option<Bytes>)>> {
        while self.under_way.len() < AT_ONCE
            && let Some(id) = self.next.next()
        {
            let kv = Arc::clone(&self.kv);
            self.under_way.spawn(async move { (id, kv.get(&id).await) });
        }
        let Some(done) = self.under_way.join_next().await else { return Ok(None) };
        let (id, read) = done.map_err(|e| Error::new(Kind::Other, "read blocks", self.kv.name()).with_source(e))?;
        match read {
            Err(e) if e.kind() != Kind::Corrupt => Err(e),
            other => Ok(Some((id, other.ok().flatten()))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::MemoryKv;
    use super::*;
    use crate::base::hash;

    fn wait<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    async fn filled(range: std::ops::Range<u32>) -> Arc<dyn Kv> {
        let kv = MemoryKv::default();
        for n in range {
            let value = Bytes::copy_from_slice(&n.to_le_bytes());
            kv.put(&Bid(hash(&[b"blk1", &value])), value).await.unwrap();
        }
        Arc::new(kv)
    }

    #[test]
    fn what_is_lacking_is_copied_and_nothing_else() {
        wait(async {
            let (from, to) = (filled(0..2500).await, filled(2000..3000).await);
            let moved = copy(&from, &to, &mut |_| Ok(())).await.unwrap();
            assert_eq!((moved.looked, moved.read, moved.bad.len()), (2500, 2000, 0));
            assert_eq!(to.stat().await.unwrap().blocks, 3000);
            assert_eq!(copy(&from, &to, &mut |_| Ok(())).await.unwrap().read, 0);
        });
    }

    #[test]
    fn damage_is_named_and_not_copied() {
        wait(async {
            let (from, to) = (filled(0..50).await, filled(0..0).await);
            let bad = Bid([7; 32]);
            from.put(&bad, Bytes::from_static(b"other bytes")).await.unwrap();
            assert_eq!(scrub(&from, &mut |_| Ok(())).await.unwrap().bad, [bad]);
            assert_eq!(copy(&from, &to, &mut |_| Ok(())).await.unwrap().bad, [bad]);
            assert_eq!(to.stat().await.unwrap().blocks, 50);
        });
    }

    #[test]
    fn who_listens_can_end_it() {
        wait(async {
            let stop = |_: &Moved| Err(Error::new(Kind::Interrupted, "listen", ""));
            let ended = scrub(&filled(0..9).await, &mut { stop }).await;
            assert_eq!(ended.unwrap_err().kind(), Kind::Interrupted);
        });
    }
}
