//! The device that collects: condemn, wait for words, remove what nobody needs.
//!
//! Resumed by calling [`advance`] again, by the device that began. Must never remove by words read before the sweep
//! was announced, nor have a removal under way once it is called done.

use std::collections::{BTreeMap, BTreeSet};

use super::party::{Break, broken};
use super::record::{MOST_PAGES, PAGE, Phase, RECORD, Record, WORD, Word, encode_page};
use super::{damaged, list_of};
use crate::base::{Bid, Result};
use crate::kv::{Expect, Kv, version};

/// Blocks removed at once.
const BATCH: usize = 4096;

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// For the words of these keys, in hex.
    Waiting(BTreeSet<String>),
    /// Another device collects: its key.
    Busy([u8; 32]),
    /// So many blocks were removed.
    Swept(u64),
}

/// Go on with the collection of `me`, or begin one called `fresh`, which must be random. `reaches` is what `me` relies
/// on; `members` are waited for beside all that ever left a word, except the `removed` (keys in hex).
/// [`crate::base::Kind::Exists`] when another device was faster: call again.
pub async fn advance(
    kv: &dyn Kv,
    (me, fresh): (&[u8; 32], [u8; 16]),
    reaches: &(dyn Fn(&Bid) -> bool + Sync),
    (members, removed): (&BTreeSet<String>, &BTreeSet<String>),
) -> Result<Outcome> {
    let found = kv.get_head(RECORD).await?;
    let record = match found.as_deref() {
        Some(bytes) => Some(Record::decode(bytes).ok_or_else(|| damaged(kv, "read the collection"))?),
        None => None,
    };
    let mut record = match record {
        Some(record) if record.phase != Phase::Done => record,
        before => condemn(kv, (me, fresh), reaches, before).await?,
    };
    if record.owner != *me {
        return Ok(Outcome::Busy(record.owner));
    }
    let mut words = words(kv, removed).await?;
    if record.phase == Phase::Asking {
        let owes = |key: &&String| words.get(*key).is_none_or(|word| word.id != record.id);
        let parties: BTreeSet<String> = members.difference(removed).chain(words.keys()).cloned().collect();
        let waiting: BTreeSet<String> = parties.iter().filter(owes).cloned().collect();
        if !waiting.is_empty() && !broken(Break::NoWait) {
            return Ok(Outcome::Waiting(waiting));
        }
        record = turn(kv, record, Phase::Sweeping).await?;
        if !broken(Break::EarlyWords) {
            words = self::words(kv, removed).await?;
        }
    }
    let list = list_of(kv, &record).await?.ok_or_else(|| damaged(kv, "read the list of a collection"))?;
    words.retain(|_, word| word.id == record.id);
    let unneeded = |at: usize| !words.values().any(|word| word.has(at));
    let dead: Vec<Bid> = list.iter().enumerate().filter(|(at, _)| unneeded(*at)).map(|(_, id)| *id).collect();
    for batch in dead.chunks(BATCH) {
        kv.delete(batch).await?;
    }
    turn(kv, record, Phase::Done).await?;
    Ok(Outcome::Swept(dead.len() as u64))
}

/// List the store, leave the list, begin. The list of the collection before goes.
async fn condemn(
    kv: &dyn Kv,
    (me, fresh): (&[u8; 32], [u8; 16]),
    reaches: &(dyn Fn(&Bid) -> bool + Sync),
    before: Option<Record>,
) -> Result<Record> {
    let mut record = Record { id: fresh, owner: *me, phase: Phase::Asking, pages: 0 };
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
    for number in 0..before.map_or(0, |before| before.pages) {
        if let Some(before) = &before {
            kv.delete_head(&before.page(number)).await?;
        }
    }
    Ok(record)
}

async fn turn(kv: &dyn Kv, record: Record, phase: Phase) -> Result<Record> {
    let next = Record { phase, ..record };
    kv.put_head(RECORD, next.encode().into(), Expect::Version(version(&record.encode()))).await?;
    Ok(next)
}

/// The words of all parties by their keys in hex.
async fn words(kv: &dyn Kv, removed: &BTreeSet<String>) -> Result<BTreeMap<String, Word>> {
    let mut words = BTreeMap::new();
    for name in kv.list_heads().await? {
        let Some(key) = name.strip_prefix(WORD).filter(|key| !removed.contains(*key)) else { continue };
        let Some(bytes) = kv.get_head(&name).await? else { continue };
        words.insert(key.to_owned(), Word::decode(&bytes).ok_or_else(|| damaged(kv, "read a word"))?);
    }
    Ok(words)
}
