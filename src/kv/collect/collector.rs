//! The device that collects: condemn, wait for words, remove what nobody needs.
//!
//! Resumed by calling [`Collector::advance`] again, by the device that began; after a kill it finds everything in the
//! store. Must never remove by words that may still change, nor have a removal under way once the record says done.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{LIST, MOST_PAGES, PAGE, Phase, RECORD, Record, WORD, Word, decode_page, encode_page};
use super::{Break, broken, damaged};
use crate::base::{Bid, Error, Kind, Result, hex};
use crate::kv::{Expect, Kv, version};

/// So often a device may owe a word on its own list before it looks whether that can be read.
const PATIENCE: u32 = 4;

/// How far a collection came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is none of this device.
    Idle,
    /// For the words of these keys, in hex.
    Waiting(BTreeSet<String>),
    /// Another device collects: its key.
    Busy([u8; 32]),
    /// A device that belongs no more was removing when it was put out: a person must say that it will not go on.
    Orphaned([u8; 32]),
    /// Call again at once. So many of so many are gone through.
    Sweeping(u64, u64),
    /// All that nobody needed is removed, so many; or nothing, because the list was spoilt.
    Swept(u64),
}

/// Whom a collection is for, as keys in hex.
#[derive(Debug, Clone, Copy)]
pub struct Parties<'p> {
    /// All that may write: waited for beside all that ever left a word or a head.
    pub writers: &'p BTreeSet<String>,
    /// Those that may write no more: neither waited for nor heeded.
    pub gone: &'p BTreeSet<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Collector {
    me: [u8; 32],
    sweep: Option<Sweep>,
    /// How often this device was found to owe a word on its own list.
    waits: u32,
}

/// What is being removed; 32 bytes an id while it lasts.
#[derive(Debug)]
struct Sweep {
    id: [u8; 16],
    dead: Vec<Bid>,
    at: usize,
}

impl Collector {
    /// Of the device with this key.
    pub fn new(me: &[u8; 32]) -> Self {
        Self { me: *me, sweep: None, waits: 0 }
    }

    /// Begin a collection called `fresh`, which must be random, unless one is under way. `reaches` is what this device
    /// relies on; without it nothing new is begun. With `vouched` a person says that a device which was put out in the middle of its sweep is not at it
    /// any more: then that is gone on with. [`Kind::Exists`] when another device was faster.
    pub async fn begin(
        &mut self,
        kv: &dyn Kv,
        fresh: [u8; 16],
        reaches: Option<&(dyn Fn(&Bid) -> bool + Sync)>,
        (parties, vouched): (Parties<'_>, bool),
    ) -> Result<Outcome> {
        let before = read(kv).await?;
        let open = before.filter(Record::is_open);
        let orphaned = open.is_some_and(|record| parties.gone.contains(&hex(&record.owner)));
        match open {
            Some(record) if record.owner == self.me => return Ok(Outcome::Sweeping(0, 0)),
            Some(record) if !orphaned => return Ok(Outcome::Busy(record.owner)),
            Some(record) if record.phase == Phase::Sweeping => {
                if !vouched && !broken(Break::TwoSweepers) {
                    return Ok(Outcome::Orphaned(record.owner));
                }
                replace(kv, &record, Record { owner: self.me, ..record }).await?;
            }
            _ => {
                let Some(reaches) = reaches else { return Ok(Outcome::Idle) };
                self.condemn(kv, fresh, reaches, before).await?;
            }
        }
        Ok(Outcome::Sweeping(0, 0))
    }

    /// One step of this device's collection.
    pub async fn advance(&mut self, kv: &dyn Kv, parties: Parties<'_>) -> Result<Outcome> {
        let Some(mut record) = read(kv).await?.filter(Record::is_open) else { return Ok(Outcome::Idle) };
        if record.owner != self.me {
            self.sweep = None;
            return Ok(Outcome::Busy(record.owner));
        }
        let mut early = None;
        if record.phase == Phase::Asking {
            let words = words(kv, parties).await?;
            let owing = owing(&record, &words, broken(Break::NoWait));
            if !owing.is_empty() {
                self.waits = if owing.contains(&hex(&self.me)) { self.waits.saturating_add(1) } else { 0 };
                // Nobody can answer a list that is damaged: nothing was removed by it, and the next one is whole.
                if self.waits >= PATIENCE && self.waits.is_power_of_two() && !is_whole(kv, &record).await? {
                    replace(kv, &record, Record { phase: Phase::Done, ..record }).await?;
                    return Ok(Outcome::Swept(0));
                }
                return Ok(Outcome::Waiting(owing));
            }
            record = replace(kv, &record, Record { phase: Phase::Closing, ..record }).await?;
            early = Some(words).filter(|_| broken(Break::EarlyWords));
        }
        if record.phase == Phase::Closing {
            let words = match early {
                Some(words) => words,
                None => words(kv, parties).await?,
            };
            let owing = owing(&record, &words, broken(Break::NoRecount) || broken(Break::NoWait));
            if !owing.is_empty() {
                replace(kv, &record, Record { phase: Phase::Asking, ..record }).await?;
                return Ok(Outcome::Waiting(owing));
            }
            record = replace(kv, &record, Record { phase: Phase::Sweeping, ..record }).await?;
            return self.judge(kv, &record, &words).await;
        }
        if self.sweep.as_ref().is_none_or(|sweep| sweep.id != record.id) {
            let words = words(kv, parties).await?;
            return self.judge(kv, &record, &words).await;
        }
        self.remove(kv, &record).await
    }

    /// What nobody needs. Nothing if part of the list is lost or damaged.
    async fn judge(&mut self, kv: &dyn Kv, record: &Record, words: &BTreeMap<String, Option<Word>>) -> Result<Outcome> {
        let words: Vec<&Word> = words.values().flatten().filter(|word| word.id == record.id).collect();
        let (mut dead, mut at) = (Vec::new(), 0);
        for number in 0..record.pages {
            let Some(page) = kv.get_head(&record.page(number)).await?.as_deref().and_then(decode_page) else {
                dead.clear();
                break;
            };
            for id in page {
                if !words.iter().any(|word| word.needs.has(at)) {
                    dead.push(id);
                }
                at += 1;
            }
        }
        if !dead.is_sorted() {
            return Err(damaged(kv, "read the list of a collection"));
        }
        let all = dead.len() as u64;
        self.sweep = Some(Sweep { id: record.id, dead, at: 0 });
        Ok(Outcome::Sweeping(0, all))
    }

    async fn remove(&mut self, kv: &dyn Kv, record: &Record) -> Result<Outcome> {
        let Some(sweep) = &mut self.sweep else { return Ok(Outcome::Idle) };
        let all = sweep.dead.len() as u64;
        if !sweep.dead.is_empty()
            && let Some(next) = kv.sweep(&sweep.dead, sweep.at).await?
        {
            sweep.at = next;
            return Ok(Outcome::Sweeping(next as u64, all));
        }
        replace(kv, record, Record { phase: Phase::Done, ..*record }).await?;
        self.sweep = None;
        Ok(Outcome::Swept(all))
    }

    /// List the store, leave the list, begin. Lists of collections before go.
    async fn condemn(
        &mut self,
        kv: &dyn Kv,
        fresh: [u8; 16],
        reaches: &(dyn Fn(&Bid) -> bool + Sync),
        before: Option<Record>,
    ) -> Result<()> {
        self.sweep = None;
        let mut record = Record { id: fresh, owner: self.me, phase: Phase::Asking, pages: 0 };
        kv.list_heads().await?; // also has a service's packs listed anew
        let (mut after, mut page) = (None, Vec::new());
        loop {
            let ids = kv.list(after, PAGE).await?;
            after = ids.last().copied();
            let more = ids.len() == PAGE;
            page.extend(ids.into_iter().filter(|id| !reaches(id)));
            while page.len() >= PAGE || !more && !page.is_empty() {
                let full: Vec<Bid> = page.drain(..page.len().min(PAGE)).collect();
                kv.put_head(&record.page(record.pages), encode_page(&full).into(), Expect::Anything).await?;
                record.pages += 1;
            }
            if !more || record.pages + 1 >= MOST_PAGES {
                break;
            }
        }
        let expect = before.map_or(Expect::Nothing, |before| Expect::Version(version(&before.encode())));
        kv.put_head(RECORD, record.encode().into(), expect).await?;
        // Whoever condemned beside us has lost: pages of others are of no use, nor are those that a kill left.
        let ours = format!("{LIST}{}.", hex(&fresh));
        for name in kv.list_heads().await?.iter().filter(|name| name.starts_with(LIST) && !name.starts_with(&ours)) {
            kv.delete_head(name).await?;
        }
        Ok(())
    }
}

/// Whether all of the list can be read.
async fn is_whole(kv: &dyn Kv, record: &Record) -> Result<bool> {
    for number in 0..record.pages {
        if kv.get_head(&record.page(number)).await?.as_deref().and_then(decode_page).is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The newest collection.
async fn read(kv: &dyn Kv) -> Result<Option<Record>> {
    let found = kv.get_head(RECORD).await?;
    found.map(|bytes| Record::decode(&bytes).ok_or_else(|| damaged(kv, "read the collection"))).transpose()
}

async fn replace(kv: &dyn Kv, before: &Record, after: Record) -> Result<Record> {
    let expect = Expect::Version(version(&before.encode()));
    match kv.put_head(RECORD, after.encode().into(), expect).await {
        Err(e) if e.kind() == Kind::Exists && read(kv).await? == Some(after) => Ok(after), // it was us, unheard
        Err(e) => Err(Error::new(e.kind(), "go on with the collection", kv.name()).with_source(e)),
        Ok(()) => Ok(after),
    }
}

/// The words of all parties, by their keys in hex.
async fn words(kv: &dyn Kv, parties: Parties<'_>) -> Result<BTreeMap<String, Option<Word>>> {
    let mut keys = parties.writers.clone();
    for name in kv.list_heads().await? {
        keys.extend([WORD, "h."].iter().find_map(|kind| name.strip_prefix(kind)).map(str::to_owned));
    }
    let mut words = BTreeMap::new();
    for key in keys.into_iter().filter(|key| !parties.gone.contains(key)) {
        let said = kv.get_head(&format!("{WORD}{key}")).await?;
        let word = said.map(|bytes| Word::decode(&bytes).ok_or_else(|| damaged(kv, "read a word"))).transpose()?;
        words.insert(key, word);
    }
    Ok(words)
}

/// Who has not said its word.
fn owing(record: &Record, words: &BTreeMap<String, Option<Word>>, nobody: bool) -> BTreeSet<String> {
    let owes = |word: &Option<Word>| word.as_ref().is_none_or(|word| word.id != record.id);
    words.iter().filter(|(_, word)| !nobody && owes(word)).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kv::{MemoryKv, collect::Party, collect::Standing};

    struct Nothing;

    impl super::super::Needs for Nothing {
        fn needs<'a>(
            &'a self,
            _: &'a std::sync::Arc<super::super::List>,
            _: bool,
        ) -> crate::kv::Task<'a, super::super::record::Bits> {
            Box::pin(async { Ok(super::super::record::Bits::default()) })
        }
    }

    #[tokio::test]
    async fn a_list_that_is_lost_or_damaged_ends_its_collection_and_removes_nothing() {
        for lost in [true, false] {
            let kv = MemoryKv::default();
            let (me, id) = ([1; 32], Bid([7; 32]));
            kv.put(&id, vec![1].into()).await.unwrap();
            let (writers, gone) = (BTreeSet::from([hex(&me)]), BTreeSet::new());
            let parties = Parties { writers: &writers, gone: &gone };
            let mut collector = Collector::new(&me);
            collector.begin(&kv, [9; 16], Some(&|_| false), (parties, false)).await.unwrap();
            let page = read(&kv).await.unwrap().unwrap().page(0);
            if lost {
                kv.delete_head(&page).await.unwrap();
            } else {
                kv.put_head(&page, vec![3].into(), Expect::Anything).await.unwrap();
            }
            let outcomes = async {
                for _ in 0..PATIENCE * 2 {
                    if collector.advance(&kv, parties).await.unwrap() == Outcome::Swept(0) {
                        return true;
                    }
                }
                false
            };
            assert!(outcomes.await);
            assert_eq!(kv.has(&[id]).await.unwrap(), [true]);
            let standing = Party::new(&me).stand(&kv, &Nothing).await.unwrap();
            assert!(matches!(standing, Standing::Open(Some(era)) if era.done));
        }
    }
}
