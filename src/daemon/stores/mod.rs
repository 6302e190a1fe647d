//! The stores of every open volume: reads of absent blocks, and one thread a store that feeds it and looks for heads.
//!
//! Which stores a volume has is a file beside its content. Must never hold up a volume for a store that is away, and
//! never feed a store that is not marked as this volume's.

mod attached;
mod feed;
mod marker;
mod meeting;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::exchange::{Exchange, Replica};
use super::home::{Home, replace_file};
use super::volumes::{Known, is_name};
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Context, Error, Kind, Result, VolumeId};
use crate::kv::steady::Bounds;
use crate::kv::{self, Kv, Lazy, Location, MultiKv, Steady, is_genuine};
use crate::net::Peer;
use crate::seal::Ref;
use crate::wire::Advice;
use crate::wire::control::StoreStatus;

pub use attached::Attached;

/// Blocks asked of a store together, and what one is taken to weigh.
const TOGETHER: usize = 256;
const TYPICAL: usize = 128 << 10;
/// How long one of them may take.
const ONE: Duration = Duration::from_secs(60);
/// Blocks asked of stores at once.
const AT_ONCE: usize = 16;

/// See the module.
pub struct Stores {
    home: Home,
    offline: bool,
    runtime: Mutex<Option<Arc<Runtime>>>,
    shelves: RwLock<BTreeMap<VolumeId, Arc<Shelf>>>,
}

/// The stores of one volume.
struct Shelf {
    replica: Weak<Replica>,
    known: Known,
    multi: Arc<MultiKv>,
    attached: Mutex<Vec<Arc<Attached>>>,
}

impl Stores {
    /// None yet. `offline`: none are opened.
    pub fn new(home: Home, offline: bool) -> Self {
        Self { home, offline, runtime: Mutex::new(None), shelves: RwLock::default() }
    }

    fn runtime(&self) -> Result<Arc<Runtime>> {
        let mut runtime = self.runtime.lock();
        if let Some(runtime) = &*runtime {
            return Ok(Arc::clone(runtime));
        }
        let made = Builder::new_multi_thread().worker_threads(2).thread_name("lovage-stores").enable_all().build();
        let made = Arc::new(made.io("start the stores", String::new)?);
        *runtime = Some(Arc::clone(&made));
        Ok(made)
    }

    fn file(&self, id: VolumeId) -> PathBuf {
        self.home.volume(id).join("stores")
    }

    /// Names and locations of a volume's stores.
    pub fn list(&self, id: VolumeId) -> Result<Vec<(String, String)>> {
        let path = self.file(id);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io("read the list of stores", path.display().to_string(), e)),
        };
        let entry = |line: &str| line.split_once('\t').map(|(name, url)| (name.to_owned(), url.to_owned()));
        Ok(text.lines().filter_map(entry).collect())
    }

    fn save(&self, id: VolumeId, list: &[(String, String)]) -> Result<()> {
        let lines: Vec<String> = list.iter().map(|(name, url)| format!("{name}\t{url}\n")).collect();
        replace_file(&self.file(id), lines.concat().as_bytes())
    }

    /// A shared volume was opened: its stores are read from and fed from now on.
    pub fn open(&self, replica: &Arc<Replica>, exchange: &Arc<Exchange>) -> Result<()> {
        let list = self.list(replica.known.id)?;
        if list.is_empty() || self.offline {
            return Ok(());
        }
        let shelf = self.shelf(replica);
        for (name, url) in list {
            match Lazy::new(&url) {
                Ok(lazy) => self.attach(&shelf, exchange, name, url, lazy)?,
                Err(error) => tracing::warn!(store = name, error = %error.chain(), "the store cannot be used"),
            }
        }
        Ok(())
    }

    fn shelf(&self, replica: &Arc<Replica>) -> Arc<Shelf> {
        let fresh = || {
            Arc::new(Shelf {
                replica: Arc::downgrade(replica),
                known: replica.known.clone(),
                multi: Arc::default(),
                attached: Mutex::default(),
            })
        };
        Arc::clone(self.shelves.write().entry(replica.known.id).or_insert_with(fresh))
    }

    fn attach(
        &self,
        shelf: &Arc<Shelf>,
        exchange: &Arc<Exchange>,
        name: String,
        url: String,
        lazy: Lazy,
    ) -> Result<()> {
        let Some(replica) = shelf.replica.upgrade() else { return Ok(()) };
        replica.volume.keep_in_stores();
        let lazy = Arc::new(lazy);
        let kv: Arc<dyn Kv> = Arc::clone(&lazy) as Arc<dyn Kv>;
        let store = shelf.multi.add(Arc::new(Steady::new(kv, Bounds::default())));
        let attached = Attached::start(name, url, store, lazy, (&replica, exchange), self.runtime()?)?;
        shelf.attached.lock().push(attached);
        Ok(())
    }

    /// Give a volume another store: look whether it can be used, mark it, remember it. [`Kind::Exists`] if the name is
    /// taken, [`Kind::Invalid`] if it is another volume's store, else what the store says.
    pub fn add(&self, replica: &Arc<Replica>, exchange: &Arc<Exchange>, name: &str, url: &str) -> Result<()> {
        self.add_with(replica, exchange, (name, url), |url, id| self.claim(url, id))
    }

    /// The same for a store that is there and marked already: nothing is made.
    pub fn add_existing(&self, replica: &Arc<Replica>, exchange: &Arc<Exchange>, name: &str, url: &str) -> Result<()> {
        self.add_with(replica, exchange, (name, url), |url, id| {
            let kv = Steady::new(Arc::new(Lazy::new(url)?), Bounds::default());
            self.runtime()?.block_on(marker::check(&kv, id))
        })
    }

    fn add_with(
        &self,
        replica: &Arc<Replica>,
        exchange: &Arc<Exchange>,
        (name, url): (&str, &str),
        check: impl Fn(&str, VolumeId) -> Result<()>,
    ) -> Result<()> {
        let id = replica.known.id;
        let mut list = self.list(id)?;
        let refuse = |kind, why: &str, next: &str| {
            Err(Error::new(kind, "add the store", name).with_source(Advice::new(why, next)))
        };
        if !is_name(name) {
            return refuse(Kind::Invalid, "that cannot be the name of a store", "Use letters, digits and '-'.");
        }
        if list.iter().any(|(known, _)| known == name) {
            return refuse(Kind::Exists, "a store of that name is there already", "Choose another name.");
        }
        if let Some((known, _)) =
            list.iter().find(|(_, other)| other.trim_end_matches('/') == url.trim_end_matches('/'))
        {
            let why = format!("it is there already, and called {known}");
            return refuse(Kind::Exists, &why, "One place counts as one copy.");
        }
        if self.offline {
            return refuse(Kind::Unreachable, "the daemon was started with --offline", "Start it without --offline.");
        }
        if let Some(path) = Location::parse(url).map_err(|e| unusable(name, &e))?.path() {
            let parent = path.parent().unwrap_or(path);
            if !path.is_absolute() {
                return refuse(Kind::Invalid, "its path is relative", "Write the whole path, from / on.");
            }
            if path.starts_with(self.home.root()) {
                return refuse(Kind::Invalid, "it lies in lovage's own home", "Choose a folder elsewhere.");
            }
            if !parent.is_dir() {
                let why = format!("there is no folder {}", parent.display());
                return refuse(Kind::NotFound, &why, "Make it first, plug the disk in, or correct the location.");
            }
        } else if url.starts_with("memory:") {
            return refuse(Kind::Invalid, "memory keeps nothing", "Choose another kind of store.");
        }
        if url.contains(['\n', '\t']) {
            return refuse(Kind::Invalid, "a location is one line", "Look at the location again.");
        }
        let lazy = Lazy::new(url).map_err(|e| unusable(name, &e))?;
        check(url, id).map_err(|e| unusable(name, &e))?;
        list.push((name.to_owned(), url.to_owned()));
        self.save(id, &list)?;
        let shelf = self.shelf(replica);
        self.attach(&shelf, exchange, name.to_owned(), url.to_owned(), lazy)
    }

    /// Make the store if it is not there, and mark it. It is closed again: some let only one have them open.
    fn claim(&self, url: &str, id: VolumeId) -> Result<()> {
        let kv = Steady::new(kv::open(url)?, Bounds::default());
        self.runtime()?.block_on(marker::claim(&kv, id))
    }

    /// Use a store no more. What it holds stays there.
    pub fn remove(&self, id: VolumeId, name: &str) -> Result<()> {
        let mut list = self.list(id)?;
        let before = list.len();
        list.retain(|(known, _)| known != name);
        if list.len() == before {
            return Err(Error::new(Kind::NotFound, "find the store", name));
        }
        self.save(id, &list)?;
        let shelf = self.shelves.read().get(&id).cloned();
        if let Some(shelf) = shelf {
            let gone: Vec<_> = shelf.attached.lock().extract_if(.., |a| a.name == name).collect();
            for attached in gone {
                shelf.multi.remove(&attached.store);
                attached.close();
            }
        }
        Ok(())
    }

    /// The open store called `name` of a volume. [`Kind::NotFound`] otherwise.
    pub fn find(&self, id: VolumeId, name: &str) -> Result<Arc<Attached>> {
        let found = self.attached(id).into_iter().find(|attached| attached.name == name);
        let next = "See `lovage store list`; a store that could not be opened is named in the log.";
        found.ok_or_else(|| {
            Error::new(Kind::NotFound, "find the store", name).with_source(Advice::new("no such store is open", next))
        })
    }

    /// Ask to be let in through the store at `url`; the answer that `opens`. See [`meeting::ask`].
    pub fn ask<T>(
        &self,
        url: &str,
        who: (&str, &Peer),
        asked: &[u8],
        patience: Duration,
        opens: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let kv = Steady::new(Arc::new(Lazy::new(url)?), Bounds::default());
        self.runtime()?.block_on(meeting::ask(&kv, who, asked, patience, opens))
    }

    /// Blocks from the stores of a volume, verified, in any order; those that no store gives are left out.
    pub fn fetch_many(
        &self,
        id: VolumeId,
        wanted: &[Ref],
        take: &mut dyn FnMut(&Ref, Bytes) -> Result<()>,
    ) -> Result<()> {
        let shelf = self.shelves.read().get(&id).cloned();
        let Some(shelf) = shelf.filter(|shelf| !wanted.is_empty() && !shelf.multi.is_empty()) else { return Ok(()) };
        let mut rest = Vec::new();
        for some in wanted.chunks(TOGETHER) {
            let ids: Vec<Bid> = some.iter().map(|r| r.bid).collect();
            let found = self.run(async { Ok(shelf.multi.get_many(&ids, TYPICAL).await) })?;
            for (r, bytes) in some.iter().zip(found) {
                match bytes {
                    Some(bytes) => take(r, bytes)?,
                    None => rest.push(*r),
                }
            }
        }
        self.run(async {
            let (mut next, mut under_way) = (rest.into_iter(), JoinSet::new());
            loop {
                while under_way.len() < AT_ONCE
                    && let Some(r) = next.next()
                {
                    let multi = Arc::clone(&shelf.multi);
                    under_way.spawn(async move {
                        let late = || Error::new(Kind::Timeout, "fetch a block", r.bid.to_string());
                        let got = tokio::time::timeout(ONE, multi.get(&r.bid, r.len as usize)).await;
                        (r, got.unwrap_or_else(|_| Err(late())))
                    });
                }
                let Some(done) = under_way.join_next().await else { return Ok(()) };
                match done {
                    Ok((r, Ok(Some(bytes)))) => take(&r, bytes)?,
                    Ok((r, Err(error))) => tracing::debug!(block = %r.bid, error = %error.chain(), "no store gave it"),
                    Ok((_, Ok(None))) | Err(_) => {}
                }
            }
        })
    }

    /// For each of `ids`, the stores of a volume that say now that they have it.
    pub fn holders(&self, id: VolumeId, ids: &[Bid]) -> Vec<Vec<Arc<Attached>>> {
        let mut holders = vec![Vec::new(); ids.len()];
        let all = self.attached(id);
        let Some(runtime) = self.runtime().ok().filter(|_| !all.is_empty()) else { return holders };
        for attached in all {
            let has = runtime.block_on(attached.has(id, ids)).unwrap_or_else(|error| {
                tracing::debug!(store = attached.name, error = %error.chain(), "cannot tell what it has");
                Vec::new()
            });
            for (holders, _) in holders.iter_mut().zip(has).filter(|(_, has)| *has) {
                holders.push(Arc::clone(&attached));
            }
        }
        holders
    }

    /// Whether a store is known to have a block and to answer sooner than somebody `away` so far.
    pub fn is_nearer(&self, id: VolumeId, r: &Ref, away: Option<Duration>) -> bool {
        let Some(shelf) = self.shelves.read().get(&id).cloned() else { return false };
        let having =
            shelf.multi.stores().into_iter().filter(|store| store.holds(&r.bid) == Some(true) && store.is_ok());
        having
            .map(|store| store.expected(r.len as usize))
            .min()
            .is_some_and(|store| away.is_none_or(|away| store < away))
    }

    /// Run work on stores to its end.
    pub fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime()?.block_on(work)
    }

    /// How many blocks a store has that neither the log nor another store has, asked now.
    pub async fn only_in(&self, replica: &Replica, attached: &Attached) -> Result<u64> {
        let others = self.attached(replica.known.id);
        let (kv, log) = (attached.store.kv(), replica.volume.blocks().log());
        attached.is_ours(replica.known.id).await?;
        let (mut only, mut after) = (0, None);
        loop {
            let page = kv.list(after, 10_000).await?;
            after = page.last().copied();
            let last = page.len() < 10_000;
            let mut left: Vec<Bid> = page.into_iter().filter(|id| !log.contains(id)).collect();
            for other in others.iter().filter(|other| other.name != attached.name) {
                let has = other.has(replica.known.id, &left).await.unwrap_or_default();
                let mut has = has.into_iter();
                left.retain(|_| !has.next().unwrap_or(false));
            }
            only += left.len() as u64;
            if last {
                return Ok(only);
            }
        }
    }

    /// Put the right bytes of a block into a store that has wrong ones. [`Kind::NotFound`] if nobody has them.
    pub fn mend(&self, replica: &Replica, attached: &Attached, bid: &Bid) -> Result<()> {
        let here = replica.volume.blocks().log().get(bid).ok().flatten().filter(|sealed| is_genuine(bid, sealed));
        let others = self.attached(replica.known.id);
        self.run(async {
            let mut sound = here.map(Bytes::from);
            for other in others.iter().filter(|other| other.name != attached.name) {
                if sound.is_none() {
                    sound = other.store.kv().get(bid).await.ok().flatten().filter(|sealed| is_genuine(bid, sealed));
                }
            }
            let nobody = || Error::new(Kind::NotFound, "find a sound copy of the block", bid.to_string());
            attached.store.kv().put(bid, sound.ok_or_else(nobody)?).await?;
            let now = attached.store.kv().get(bid).await?;
            let wrong = || Error::new(Kind::Corrupt, "mend the store", &attached.name);
            now.filter(|sealed| is_genuine(bid, sealed)).map(drop).ok_or_else(wrong)
        })
    }

    fn attached(&self, id: VolumeId) -> Vec<Arc<Attached>> {
        let shelf = self.shelves.read().get(&id).cloned();
        shelf.map(|shelf| shelf.attached.lock().clone()).unwrap_or_default()
    }

    /// Whether the stores can be asked for blocks of this volume.
    pub fn any(&self, id: VolumeId) -> bool {
        self.shelves.read().get(&id).is_some_and(|shelf| !shelf.multi.is_empty())
    }

    /// A block from the stores of a volume, verified; `None` if all lack it. Waits for at most `patience`.
    pub fn fetch(&self, id: VolumeId, r: &Ref, patience: Duration) -> Result<Option<Vec<u8>>> {
        let Some(shelf) = self.shelves.read().get(&id).cloned() else { return Ok(None) };
        let late = || Error::new(Kind::Timeout, "fetch a block", r.bid.to_string());
        let get = async {
            tokio::time::timeout(patience, shelf.multi.get(&r.bid, r.len as usize))
                .await
                .unwrap_or_else(|_| Err(late()))
        };
        Ok(self.runtime()?.block_on(get)?.map(|bytes| bytes.to_vec()))
    }

    /// What there is to tell about each.
    pub fn status(&self) -> Vec<StoreStatus> {
        let shelves: Vec<_> = self.shelves.read().values().cloned().collect();
        let of = |shelf: &Shelf| shelf.attached.lock().iter().map(|a| a.status(&shelf.known.name)).collect::<Vec<_>>();
        shelves.iter().flat_map(|shelf| of(shelf)).collect()
    }

    /// A volume is about to close.
    pub fn close_volume(&self, id: VolumeId) {
        let shelf = self.shelves.write().remove(&id);
        for attached in shelf.into_iter().flat_map(|shelf| std::mem::take(&mut *shelf.attached.lock())) {
            attached.close();
        }
    }

    /// End everything.
    pub fn close(&self) {
        let ids: Vec<_> = self.shelves.read().keys().copied().collect();
        for id in ids {
            self.close_volume(id);
        }
        if let Some(runtime) = self.runtime.lock().take().and_then(Arc::into_inner) {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}

/// A store that cannot be used, with what can be done.
fn unusable(name: &str, error: &Error) -> Error {
    let next = match error.kind() {
        Kind::Denied => "Check the credentials in the environment or the service's files, and what they may do.",
        Kind::NotFound => "Make the bucket or folder first, or correct the location.",
        Kind::Unreachable | Kind::Timeout => "Check the location and whether the service answers from here.",
        Kind::Exists | Kind::Invalid => "Choose an empty folder or prefix for each volume, and check the location.",
        _ => "Look at the location again.",
    };
    Error::new(error.kind(), "use the store", name).with_source(Advice::new(error.chain(), next))
}
