//! One volume that is kept here and cannot be read: its sealed blocks, the newest head of each writer, who belongs.
//!
//! Must never take a block that was not offered or is beyond the quota, nor a head of somebody who may not write or
//! older than the one that is here; must never say that it has what a power cut could take away.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::super::home::replace_file;
use super::about::About;
use super::collection::Collection;
use super::room::{Room, disk_of};
use crate::base::limits::MAX_BLOCK;
use crate::base::sync::{Mutex, RwLock, RwLockReadGuard};
use crate::base::{Bid, Context, Error, Kind, Result, VolumeId, hex};
use crate::kv::arena::{Log, Options};
use crate::kv::{ArenaKv, Expect};
use crate::net::{Net, Peer, Wanted};
use crate::seal::Sealer;
use crate::seal::genesis::Genesis;
use crate::seal::head::{author_of, verify_envelope};
use crate::seal::membership::{Member, Membership};
use crate::wire::control::KeepStatus;
use crate::wire::peer::Class;

/// Bytes of blocks held in memory at once.
const GROUP: u64 = 8 << 20;
/// How long a group may take.
const PATIENCE: Duration = Duration::from_secs(50);
/// Damaged blocks remembered.
const MOST_ROTTEN: usize = 100_000;
/// Room for records in one message.
const WORD: usize = 60 << 10;

/// See the module.
pub struct Kept {
    /// Which volume.
    pub id: VolumeId,
    dir: PathBuf,
    about: RwLock<About>,
    pub(super) store: ArenaKv,
    membership: RwLock<Membership>,
    /// Held while a head or the membership is compared and replaced.
    changing: Mutex<()>,
    /// Bytes that blocks take.
    used: AtomicU64,
    /// What is asked about the blocks that are here.
    pub(super) collection: Collection,
    /// Something found no room since the last look.
    crowded: AtomicBool,
    /// It is kept no more, or this daemon ends.
    pub(super) ending: AtomicBool,
    /// Blocks that were found damaged: as good as absent, until somebody gives them again.
    rotten: Mutex<HashSet<Bid>>,
    /// Why the last offer was not taken; empty when it was.
    trouble: Mutex<String>,
}

/// What a volume to keep begins with.
pub struct Fresh {
    /// Its name and quota here, and where members are.
    pub about: About,
    /// Its first word.
    pub genesis: Vec<u8>,
    /// Who belongs.
    pub membership: Vec<u8>,
}

impl Kept {
    /// Make the directory of a kept volume. What is there of one that was not finished is replaced.
    pub fn make(dir: &Path, fresh: &Fresh) -> Result<()> {
        fs::create_dir_all(dir).io("make a directory", || dir.display().to_string())?;
        replace_file(&dir.join("genesis"), &fresh.genesis)?;
        replace_file(&dir.join("members"), &fresh.membership)?;
        fresh.about.write(&dir.join("about"))
    }

    /// Open one. [`Kind::Corrupt`] if what it begins with does not verify.
    pub fn open(dir: &Path) -> Result<Self> {
        let read = |name: &str| fs::read(dir.join(name)).io("read", || dir.join(name).display().to_string());
        let (id, genesis) = Genesis::open(&read("genesis")?)?;
        let membership = Membership::open(id, genesis.admin, &read("members")?)?;
        let store = ArenaKv::open(&dir.join("store"), Options::default())?;
        let used = AtomicU64::new(store.log().stat().live_bytes);
        let (about, membership) = (RwLock::new(About::read(&dir.join("about"))?), RwLock::new(membership));
        let collection = Collection::open(&dir.join("collecting"))?;
        let (changing, trouble, rotten) = (Mutex::new(()), Mutex::new(String::new()), Mutex::default());
        let (dir, crowded, ending) = (dir.to_owned(), AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { id, dir, about, store, membership, changing, used, collection, crowded, ending, rotten, trouble })
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        self.store.log()
    }

    /// What people call it here.
    pub fn name(&self) -> String {
        self.about.read().name.clone()
    }

    /// Change what is written about it here.
    pub fn change(&self, act: impl FnOnce(&mut About)) -> Result<()> {
        let mut about = self.about.write();
        let mut new = about.clone();
        act(&mut new);
        if new != *about {
            new.write(&self.dir.join("about"))?;
            *about = new;
        }
        Ok(())
    }

    /// Where members were reached.
    pub fn addresses(&self) -> Vec<(Peer, Vec<String>)> {
        self.about.read().addresses.clone()
    }

    pub(super) fn membership(&self) -> RwLockReadGuard<'_, Membership> {
        self.membership.read()
    }

    /// Whether `peer` belongs.
    pub fn has(&self, peer: &Peer) -> bool {
        self.member(|m| m.peer == peer.0).is_some()
    }

    /// All members but this device.
    pub fn peers(&self, me: &Peer) -> Vec<Peer> {
        let membership = self.membership.read();
        membership.table().members().map(|m| Peer(m.peer)).filter(|peer| peer != me).collect()
    }

    /// Whether `peer` belongs and can read: those who cannot give nothing.
    pub fn is_reader(&self, peer: &Peer) -> bool {
        self.member(|m| m.peer == peer.0).is_some_and(|m| m.role.reads())
    }

    /// What people call the device of `peer`.
    pub fn name_of(&self, peer: &Peer) -> String {
        self.member(|m| m.peer == peer.0).map_or_else(|| peer.to_string(), |m| m.name)
    }

    fn member(&self, is: impl Fn(&Member) -> bool) -> Option<Member> {
        self.membership.read().table().members().find(|m| is(m)).cloned()
    }

    /// Take over records that are new. Whether there were any; those that do not verify are left out.
    pub fn take_records(&self, records: &[u8]) -> Result<bool> {
        let _turn = self.changing.lock();
        let mut new = self.membership.read().clone();
        let before = new.digest();
        let merged = new.merge(records);
        if new.digest() == before {
            return merged.map(|_| false);
        }
        replace_file(&self.dir.join("members"), &new.bytes())?;
        *self.membership.write() = new; // quick: the network looks who belongs
        Ok(true)
    }

    /// The membership in pieces, each as long as a message.
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.membership.read().pieces(WORD)
    }

    /// Keep a head below which everything is here, as its author `from` says. Whether it is news. [`Kind::Denied`] if
    /// that is not its author or may not write, [`Kind::Corrupt`] if it is not what it says, or proves that its author
    /// signed two under one number.
    pub fn take_head(&self, from: &Peer, head: &[u8]) -> Result<bool> {
        let refuse = |kind| Error::new(kind, "keep a head", self.id.to_string());
        let author = author_of(head).ok_or_else(|| refuse(Kind::Corrupt))?;
        let writes = |m: &Member| m.author == author && m.peer == from.0 && m.role.writes();
        self.member(writes).ok_or_else(|| refuse(Kind::Denied))?;
        let new = verify_envelope(&author, head)?;
        if new.volume != self.id {
            return Err(refuse(Kind::Corrupt));
        }
        let _turn = self.changing.lock();
        let name = format!("h.{}", hex(&author));
        // One that cannot be read any more gives way.
        let old = self.store.heads().get(&name).ok().flatten().and_then(|old| verify_envelope(&author, &old).ok());
        match old {
            Some(old) if old.seq == new.seq && old.hash != new.hash => {
                Err(refuse(Kind::Corrupt).with_source("an author signed two heads under one number"))
            }
            Some(old) if old.seq >= new.seq => Ok(false),
            _ => self.store.heads().put(&name, head, Expect::Anything).map(|()| true),
        }
    }

    /// The newest head of each writer; one that cannot be read is left out.
    pub fn heads(&self) -> Result<Vec<Vec<u8>>> {
        let names = self.store.heads().list()?;
        let read = |name: &String| match self.store.heads().get(name) {
            Ok(head) => head.map(|bytes| bytes.to_vec()),
            Err(error) => {
                tracing::error!(volume = self.name(), error = %error.chain(), "a head that is kept cannot be read");
                None
            }
        };
        Ok(names.iter().filter_map(read).collect())
    }

    /// A block as it was given, if it is here and as it was.
    pub fn block(&self, bid: &Bid) -> Result<Option<Bytes>> {
        let sealed = self.log().get(bid);
        let damaged = match &sealed {
            Ok(sealed) => sealed.as_ref().is_some_and(|sealed| !Sealer::verify_bid(bid, sealed)),
            Err(error) => error.kind() == Kind::Corrupt,
        };
        if damaged {
            let mut rotten = self.rotten.lock();
            if rotten.len() < MOST_ROTTEN && rotten.insert(*bid) {
                tracing::error!(volume = self.name(), block = %bid, "a block that is kept is damaged");
            }
            return Ok(None);
        }
        Ok(sealed?.map(Bytes::from))
    }

    fn has_block(&self, bid: &Bid) -> bool {
        self.log().contains(bid) && !self.rotten.lock().contains(bid)
    }

    /// Which of `ids` are here, to be relied upon from now on: what is collected leaves them.
    pub fn promise(&self, ids: &[Bid]) -> Vec<bool> {
        match self.collection.mark(ids) {
            Ok(()) => self.holds(ids),
            Err(error) => {
                tracing::error!(volume = self.name(), error = %error.chain(), "nothing can be promised");
                vec![false; ids.len()]
            }
        }
    }

    /// Which of `ids` are here for good, unless nobody needs them.
    pub fn holds(&self, ids: &[Bid]) -> Vec<bool> {
        let here: Vec<bool> = ids.iter().map(|id| self.has_block(id)).collect();
        // In this order: what is put meanwhile is not durable yet.
        match self.log().sync(self.log().end()) {
            Ok(()) => here,
            Err(error) => {
                tracing::error!(volume = self.name(), error = %error.chain(), "what is kept may not be durable");
                vec![false; ids.len()]
            }
        }
    }

    /// Fetch those of the offered blocks that are not here, as far as there is room.
    pub fn take(&self, net: &Net, offered: &[(Bid, u32)]) {
        let taken = self.fetch(net, offered);
        let said = taken.err().map(|error| error.chain()).unwrap_or_default();
        let mut trouble = self.trouble.lock();
        if !said.is_empty() && *trouble != said {
            tracing::warn!(volume = self.name(), "not everything that was offered is kept: {said}");
        }
        *trouble = said;
    }

    /// Everything that comes is kept; the error is the first of what does not.
    fn fetch(&self, net: &Net, offered: &[(Bid, u32)]) -> Result<()> {
        let ids: Vec<Bid> = offered.iter().map(|(bid, _)| *bid).collect();
        self.collection.mark(&ids)?;
        let lacking: Vec<_> = offered.iter().filter(|(bid, _)| !self.has_block(bid)).copied().collect();
        let (mut rest, mut done) = (&lacking[..], Ok(()));
        while !rest.is_empty() && !self.is_ending() {
            let (group, later) = rest.split_at(first_group(rest));
            let bytes = group.iter().map(|(_, size)| u64::from(*size)).sum();
            self.check_room(bytes)?;
            let wanted: Vec<Wanted> = group.iter().map(|(bid, size)| wanted(*bid, *size)).collect();
            let blocks = net.fetch_blocking(self.id, &wanted, Class::Background, PATIENCE);
            let mut came = Vec::new();
            for ((bid, _), block) in group.iter().zip(blocks) {
                match block {
                    Ok(block) => came.push((*bid, block)),
                    Err(error) => done = done.and(Err(error)),
                }
            }
            self.keep_blocks(&came)?;
            rest = later;
        }
        done
    }

    /// Durable when it returns; what was damaged is put right.
    pub(super) fn keep_blocks(&self, blocks: &[(Bid, Bytes)]) -> Result<()> {
        let stored = self.store.store(blocks);
        if stored.as_ref().is_err_and(|error| error.kind() == Kind::Full) {
            self.crowded.store(true, Ordering::Relaxed);
        }
        stored?;
        self.rotten.lock().retain(|bid| !blocks.iter().any(|(new, _)| new == bid));
        self.count();
        Ok(())
    }

    pub(super) fn count(&self) {
        self.used.store(self.log().stat().live_bytes, Ordering::Relaxed);
    }

    /// Whether something found no room since this was asked last.
    pub(super) fn lacks_room(&self) -> bool {
        self.crowded.swap(false, Ordering::Relaxed)
    }

    /// [`Kind::Full`] if `bytes` more would be beyond the quota.
    fn check_room(&self, bytes: u64) -> Result<()> {
        let fits = |quota: u64| self.used.load(Ordering::Relaxed).saturating_add(bytes) <= quota;
        if self.about.read().quota.is_none_or(fits) {
            return Ok(());
        }
        self.crowded.store(true, Ordering::Relaxed);
        Err(Error::new(Kind::Full, "keep blocks", self.name()).with_source("its quota is used up"))
    }

    /// How many bytes it may take, and how many it does.
    pub fn room(&self) -> Room {
        let (stat, quota) = (self.log().stat(), self.about.read().quota.unwrap_or(u64::MAX));
        Room { size: quota.min(disk_of(&self.dir)), used: stat.live_bytes, blocks: stat.blocks }
    }

    /// What there is to tell.
    pub fn status(&self) -> KeepStatus {
        let (stat, about) = (self.log().stat(), self.about.read());
        KeepStatus {
            name: about.name.clone(),
            id: self.id.to_string(),
            devices: self.membership.read().table().members().count() as u64,
            blocks: stat.blocks,
            used_bytes: stat.live_bytes,
            quota_bytes: about.quota,
            heads: self.store.heads().list().map_or(0, |names| names.len() as u64),
            state: self.state(),
            collection: self.collection_status(),
        }
    }

    fn state(&self) -> String {
        let (trouble, rotten) = (self.trouble.lock().clone(), self.rotten.lock().len());
        match rotten {
            _ if !trouble.is_empty() => trouble,
            0 => "ok".to_owned(),
            _ => format!("{rotten} blocks are damaged: they are taken again when a member offers them"),
        }
    }
}

/// How many of `blocks` are fetched at once; at least one.
fn first_group(blocks: &[(Bid, u32)]) -> usize {
    let mut bytes = 0;
    let mut fits = |size: &u32| {
        bytes += u64::from(*size);
        bytes <= GROUP
    };
    blocks.iter().map(|(_, size)| size).take_while(|size| fits(size)).count().max(1)
}

fn wanted(bid: Bid, size: u32) -> Wanted {
    Wanted { bid, at_most: size.min(u32::try_from(MAX_BLOCK).unwrap_or(u32::MAX)) }
}
