//! A store that is opened when it is used, and opened anew after it was away: a stick, a share, a database.
//!
//! Must never create anything: a store that is not there was unplugged, and what is written to its empty mountpoint
//! would be believed stored.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::location::open_with;
use super::{Expect, Kv, KvStat, Location, Task, blocking};
use crate::base::sync::Mutex;
use crate::base::{Bid, Error, Kind, Result};

/// See the module.
pub struct Lazy {
    location: String,
    cache: Option<PathBuf>,
    opened: Arc<Mutex<Option<Arc<dyn Kv>>>>,
    /// Held by who opens it, which may take for ever on a share that hangs: others wait without holding a thread.
    opening: Arc<tokio::sync::Mutex<()>>,
}

impl Lazy {
    /// The store at `location`; nothing is opened. [`Kind::Invalid`] if that is no location.
    pub fn new(location: &str) -> Result<Self> {
        Location::parse(location)?;
        Ok(Self { location: location.to_owned(), cache: None, opened: Arc::default(), opening: Arc::default() })
    }

    /// Keep what is known of a service in the file `cache` for the next time.
    #[must_use]
    pub fn with_cache(self, cache: PathBuf) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Open it anew the next time it is used, if it is on this machine: a service is reached anew each time anyway.
    pub fn forget(&self) {
        if Location::parse(&self.location).is_ok_and(|location| location.path().is_some()) {
            self.opened.lock().take();
        }
    }

    async fn store(&self) -> Result<Arc<dyn Kv>> {
        if let Some(store) = &*self.opened.lock() {
            return Ok(Arc::clone(store));
        }
        let turn = Arc::clone(&self.opening).lock_owned().await;
        let (location, cache, opened) = (self.location.clone(), self.cache.clone(), Arc::clone(&self.opened));
        blocking(move || {
            let _turn = turn;
            if let Some(store) = &*opened.lock() {
                return Ok(Arc::clone(store));
            }
            if let Some(path) = Location::parse(&location)?.path()
                && !path.exists()
            {
                return Err(Error::new(Kind::Unreachable, "use the store", location.as_str())
                    .with_source("it is not there: unplugged, or removed"));
            }
            let store = open_with(&location, cache.as_deref())?;
            *opened.lock() = Some(Arc::clone(&store));
            Ok(store)
        })
        .await
    }
}

impl Kv for Lazy {
    fn name(&self) -> &str {
        &self.location
    }

    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        Box::pin(async move { self.store().await?.get(id).await })
    }

    fn get_many<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<Option<Bytes>>> {
        Box::pin(async move { self.store().await?.get_many(ids).await })
    }

    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        Box::pin(async move { self.store().await?.put(id, value).await })
    }

    fn put_many(&self, blocks: Vec<(Bid, Bytes)>) -> Task<'_, ()> {
        Box::pin(async move { self.store().await?.put_many(blocks).await })
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        Box::pin(async move { self.store().await?.has(ids).await })
    }

    fn knows(&self, id: &Bid) -> Option<bool> {
        let opened = self.opened.lock().clone();
        opened?.knows(id)
    }

    fn doubt(&self) {
        let opened = self.opened.lock().clone();
        if let Some(store) = opened {
            store.doubt();
        }
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        Box::pin(async move { self.store().await?.delete(ids).await })
    }

    fn sweep<'a>(&'a self, dead: &'a [Bid], from: usize) -> Task<'a, Option<usize>> {
        Box::pin(async move { self.store().await?.sweep(dead, from).await })
    }

    fn compares(&self) -> Task<'_, bool> {
        Box::pin(async move { self.store().await?.compares().await })
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        Box::pin(async move { self.store().await?.list(after, limit).await })
    }

    fn stat(&self) -> Task<'_, KvStat> {
        Box::pin(async move { self.store().await?.stat().await })
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        Box::pin(async move { self.store().await?.get_head(name).await })
    }

    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        Box::pin(async move { self.store().await?.put_head(name, value, expect).await })
    }

    fn list_heads(&self) -> Task<'_, Vec<String>> {
        Box::pin(async move { self.store().await?.list_heads().await })
    }

    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        Box::pin(async move { self.store().await?.delete_head(name).await })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::open;
    use super::*;

    fn wait<T>(task: Task<'_, T>) -> Result<T> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(task)
    }

    /// sled gives up its lock some time after it is dropped.
    fn opened(lazy: &Lazy) -> KvStat {
        loop {
            match wait(lazy.stat()) {
                Err(e) if e.kind() == Kind::Busy => std::thread::yield_now(),
                other => return other.unwrap(),
            }
        }
    }

    #[test]
    fn a_store_that_is_away_is_not_made_and_found_when_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        for scheme in ["file", "arena", "sled", "sqlite"] {
            let path = dir.path().join(scheme);
            let location = format!("{scheme}:{}", path.display());
            let lazy = Lazy::new(&location).unwrap();
            assert_eq!(wait(lazy.stat()).unwrap_err().kind(), Kind::Unreachable);
            assert!(!path.exists(), "{scheme}");
            drop(open(&location).unwrap());
            assert_eq!(opened(&lazy), KvStat::default());
            lazy.forget();
            assert_eq!(opened(&lazy), KvStat::default(), "{scheme} again");
        }
        assert_eq!(Lazy::new("nothing").err().map(|e| e.kind()), Some(Kind::Invalid));
    }

    #[test]
    fn a_folder_taken_away_in_the_middle_is_not_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, away) = (dir.path().join("stick"), dir.path().join("away"));
        let kv = open(&format!("file:{}", path.display())).unwrap();
        std::fs::rename(&path, &away).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(wait(kv.put(&Bid([1; 32]), Bytes::from_static(b"x"))).is_err());
        assert!(wait(kv.put_head("h", Bytes::new(), Expect::Anything)).is_err());
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    }
}
