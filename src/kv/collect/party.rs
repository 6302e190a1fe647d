//! A device that relies on a store: what it does before it relies on more.
//!
//! Must never let a device rely on a condemned block that its word does not name.

use super::record::{Phase, RECORD, Record, WORD, Word};
use super::{damaged, list_of};
use crate::base::{Bid, Result, hex};
use crate::kv::{Expect, Kv};

/// What a device may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Rely on what was asked about. What the store has must be asked after this, or learnt under the same collection.
    Open(Option<[u8; 16]>),
    /// Not before the sweep has ended.
    Closed,
}

/// Before the device `me` publishes or learns anything: may it rely on all that `needs` says, which is what it relies
/// on already and what is new? A head that is learnt must be read again afterwards, and be the same.
/// Cost: three requests, and the list where a collection is under way.
pub async fn settle(kv: &dyn Kv, me: &[u8; 32], needs: &(dyn Fn(&Bid) -> bool + Sync)) -> Result<Standing> {
    let name = format!("{WORD}{}", hex(me));
    loop {
        let before = kv.get_head(RECORD).await?;
        let record = before.as_deref().map(|b| Record::decode(b).ok_or_else(|| damaged(kv, "read the collection")));
        let record = record.transpose()?;
        let said = kv.get_head(&name).await?;
        let said = said.map(|b| Word::decode(&b).ok_or_else(|| damaged(kv, "read this device's word"))).transpose()?;
        let mut word = said.clone().unwrap_or_default();
        match record {
            Some(record) if record.phase != Phase::Done => {
                let Some(list) = list_of(kv, &record).await? else { continue };
                if word.id != record.id {
                    if record.phase == Phase::Sweeping && !broken(Break::LateWord) {
                        return Ok(Standing::Closed);
                    }
                    word = Word { id: record.id, needs: Vec::new() };
                }
                list.iter().enumerate().filter(|(_, id)| needs(id)).for_each(|(at, _)| word.set(at));
                if record.phase == Phase::Sweeping && said.as_ref() != Some(&word) && !broken(Break::LateWord) {
                    return Ok(Standing::Closed);
                }
            }
            _ => {}
        }
        let told = said.as_ref().is_some_and(|said| *said == word || broken(Break::NoWord) && said.id == word.id);
        if !told {
            kv.put_head(&name, word.encode().into(), Expect::Anything).await?;
        }
        if kv.get_head(RECORD).await? == before || broken(Break::NoSecondLook) {
            return Ok(Standing::Open(record.map(|record| record.id)));
        }
    }
}

/// A rule to leave out, to see that the simulation notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// A word is changed while words are read.
    LateWord,
    /// A word is not added to.
    NoWord,
    /// The record is not read again behind the word.
    NoSecondLook,
    /// A learnt head is not read again. (In the caller.)
    HeadOnce,
    /// What the store has is remembered from before. (In the caller.)
    OldListing,
    /// The collector does not wait.
    NoWait,
    /// The collector removes by the words it read before sweeping.
    EarlyWords,
}

thread_local! {
    /// The rule left out in this thread.
    pub static BROKEN: std::cell::Cell<Option<Break>> = const { std::cell::Cell::new(None) };
}

pub fn broken(rule: Break) -> bool {
    BROKEN.get() == Some(rule)
}
