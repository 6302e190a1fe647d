//! A device that relies on a store: where it stands before it relies on more, and its word on a collection.
//!
//! What it has not said it need not say before it goes on: a collection waits for it. What it has said holds until the
//! collection has ended. Must never let a device rely on a condemned block that its word does not name.

use std::sync::Arc;

use bytes::Bytes;

use super::list::{List, short};
use super::record::{Bits, Phase, RECORD, Record, WORD, Word, decode_page};
use super::{Break, broken, damaged};
use crate::base::{Error, Kind, Result, hex};
use crate::kv::{Expect, Kv, Task, version};

/// A record that changes more often than this beside one question is looked at later.
const ROUNDS: usize = 8;

/// Between which collections something was seen. What was seen of a store in one says nothing in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Era {
    /// The newest collection.
    pub id: [u8; 16],
    /// Whether it has ended.
    pub done: bool,
}

/// What a device may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Rely on what was asked about. What the store has must be asked after this, or learnt in the same era.
    Open(Option<Era>),
    /// The same, and say what it needs of this list when it knows: the collection waits for that.
    Owing(Era, Arc<List>),
    /// Not before the sweep has ended.
    Closed,
}

impl Standing {
    /// The era, unless it is closed.
    #[allow(clippy::option_option)] // closed, before the first collection, an era
    pub fn era(&self) -> Option<Option<Era>> {
        match self {
            Self::Open(era) => Some(*era),
            Self::Owing(era, _) => Some(Some(*era)),
            Self::Closed => None,
        }
    }
}

/// What is to be relied upon.
pub trait Needs: Send + Sync {
    /// Its places in the list of a collection that is open. The device has said its word on it already (`told`), or
    /// must remember these until it does.
    fn needs<'a>(&'a self, list: &'a Arc<List>, told: bool) -> Task<'a, Bits>;
}

/// See the module. Keeps what only it writes: one a store.
#[derive(Debug)]
pub struct Party {
    name: String,
    /// Its word as it is in the store; outer `None`: not known.
    #[allow(clippy::option_option)] // not known, none, a word
    word: Option<Option<Word>>,
    /// The bytes of it, also if they are no word.
    bytes: Option<Bytes>,
    /// A write may be under way that nobody waits for any more, of this run or the one before.
    loose: bool,
    /// Of its word on the collection with this id, what was there while that was still asking: the collector has it.
    sure: Option<([u8; 16], Bits)>,
    list: Option<Arc<List>>,
    record: Option<Record>,
}

impl Party {
    /// The device with this key.
    pub fn new(me: &[u8; 32]) -> Self {
        Self {
            name: format!("{WORD}{}", hex(me)),
            word: None,
            bytes: None,
            loose: true,
            sure: None,
            list: None,
            record: None,
        }
    }

    /// The collection as it was seen last.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Whether its word on the collection seen last is there.
    pub fn is_told(&self) -> bool {
        self.record.is_some_and(|record| self.said(&record).is_some())
    }

    /// May it rely on what `needs` says, beside what it relies on already? Also leaves a word where there is none, so
    /// that every later collection waits for it. One request when nothing is new. [`Kind::Busy`]: again later.
    pub async fn stand(&mut self, kv: &dyn Kv, needs: &dyn Needs) -> Result<Standing> {
        for _ in 0..ROUNDS {
            let before = self.look(kv).await?;
            let Some(record) = self.record.filter(Record::is_open) else {
                let era = self.record.map(|record| Era { id: record.id, done: true });
                let here = self.word.as_ref().is_some_and(Option::is_some);
                if here || self.put(kv, Word::default(), before.as_ref()).await? {
                    return Ok(Standing::Open(era));
                }
                continue;
            };
            let era = Era { id: record.id, done: false };
            let Some(list) = self.list.clone() else { return Ok(Standing::Closed) };
            let said = self.said(&record).cloned();
            let more = needs.needs(&list, said.is_some()).await?;
            let asking = record.phase == Phase::Asking;
            let sure = self.sure.as_ref().filter(|(id, _)| *id == record.id).map(|(_, sure)| sure);
            if said.is_some() && (sure.unwrap_or(&Bits::default()).includes(&more) || broken(Break::NoWord)) {
                return Ok(Standing::Open(Some(era)));
            }
            match said {
                Some(mut word) if asking || broken(Break::LateWord) => {
                    word.needs.join(&more);
                    if self.put(kv, word, before.as_ref()).await? {
                        return Ok(Standing::Open(Some(era)));
                    }
                }
                None if asking || broken(Break::LateComer) => {
                    let here = self.word.as_ref().is_some_and(Option::is_some);
                    if here || self.put(kv, Word::default(), before.as_ref()).await? {
                        return Ok(Standing::Owing(era, list));
                    }
                }
                _ => return Ok(Standing::Closed),
            }
        }
        Err(Error::new(Kind::Busy, "settle with the store", kv.name()).with_source("collections follow each other"))
    }

    /// Say what it needs of the list it owes a word on. False if that is not asked any more.
    pub async fn tell(&mut self, kv: &dyn Kv, list: &List, needs: Bits) -> Result<bool> {
        let before = self.look(kv).await?;
        let asked = self.record.is_some_and(|record| record.phase == Phase::Asking && record.id == list.id);
        Ok(asked && self.put(kv, Word { id: list.id, count: 0, needs }, before.as_ref()).await?)
    }

    fn said(&self, record: &Record) -> Option<&Word> {
        self.word.as_ref()?.as_ref().filter(|word| word.id == record.id)
    }

    /// Look at the record, and at whatever else is not known yet.
    async fn look(&mut self, kv: &dyn Kv) -> Result<Option<Bytes>> {
        // The word before the record: what is there while that still asks, the collector has.
        if self.word.is_none() {
            self.read_word(kv).await?;
        }
        let bytes = kv.get_head(RECORD).await?;
        let record = bytes.as_deref().map(|b| Record::decode(b).ok_or_else(|| damaged(kv, "read the collection")));
        self.record = record.transpose()?;
        if let Some(record) = self.record.filter(|record| record.phase == Phase::Asking) {
            self.sure = self.said(&record).map(|word| (word.id, word.needs.clone()));
        }
        match self.record.filter(Record::is_open) {
            Some(record) if self.list.as_ref().is_none_or(|list| list.id != record.id) => {
                self.list = list_of(kv, &record).await?.map(Arc::new);
            }
            Some(_) => {}
            None => self.list = None,
        }
        Ok(bytes)
    }

    /// Its word as it is there, made such that no earlier write of it can land any more.
    async fn read_word(&mut self, kv: &dyn Kv) -> Result<()> {
        for _ in 0..ROUNDS {
            self.bytes = kv.get_head(&self.name).await?;
            // What is damaged is none: nobody but this device says what it needs, and it says it anew.
            let word = self.bytes.as_deref().and_then(Word::decode);
            match word {
                Some(word) if self.loose && !self.write(kv, word.clone()).await? => {}
                word => {
                    self.loose &= word.is_none();
                    self.word.get_or_insert(word);
                    return Ok(());
                }
            }
        }
        Err(Error::new(Kind::Busy, "read this device's word", kv.name()))
    }

    /// Whether it is there now. What was there must be what was read: nothing that was said may be taken back by a write
    /// that comes late.
    async fn write(&mut self, kv: &dyn Kv, mut word: Word) -> Result<bool> {
        let count = self.bytes.as_deref().and_then(Word::decode).map_or(0, |before| before.count);
        word.count = count.wrapping_add(1);
        let expect = self.bytes.as_deref().map_or(Expect::Nothing, |before| Expect::Version(version(before)));
        (self.word, self.loose) = (None, true); // whatever becomes of this
        let bytes = Bytes::from(word.encode());
        match kv.put_head(&self.name, bytes.clone(), expect).await {
            Ok(()) => {}
            Err(e) if e.kind() == Kind::Exists => return Ok(false),
            Err(e) => return Err(e),
        }
        (self.word, self.bytes, self.loose) = (Some(Some(word)), Some(bytes), false);
        Ok(true)
    }

    /// Whether it is there and the record is the same behind it as before it.
    async fn put(&mut self, kv: &dyn Kv, word: Word, before: Option<&Bytes>) -> Result<bool> {
        if !self.write(kv, word).await? {
            return Ok(false);
        }
        Ok(broken(Break::NoSecondLook) || kv.get_head(RECORD).await?.as_ref() == before)
    }
}

/// The whole list of a collection, eight bytes an id; `None` if it is (already) gone.
async fn list_of(kv: &dyn Kv, record: &Record) -> Result<Option<List>> {
    let mut ids: Vec<u64> = Vec::new();
    for number in 0..record.pages {
        let Some(bytes) = kv.get_head(&record.page(number)).await? else { return Ok(None) };
        let page = decode_page(&bytes).ok_or_else(|| damaged(kv, "read the list of a collection"))?;
        ids.extend(page.iter().map(short));
    }
    if ids.is_sorted() {
        Ok(Some(List::new(record.id, ids)))
    } else {
        Err(damaged(kv, "read the list of a collection"))
    }
}
