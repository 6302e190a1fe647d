//! The rules by name, so that the simulation can leave one out and see that it is missed.
//!
//! Must never leave one out outside tests.

/// A rule to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// A word is changed after words are looked at.
    LateWord,
    /// Whoever comes while words stay as they are goes on at once.
    LateComer,
    /// A word is not added to.
    NoWord,
    /// The record is not read again behind the word.
    NoSecondLook,
    /// What was said to be dispensable is relied upon again without asking. (In the caller.)
    NoDoubts,
    /// It is forgotten before the heads were read again. (In the caller.)
    EarlyTrust,
    /// What the store has is remembered from another era. (In the caller.)
    OldListing,
    /// The collector does not wait.
    NoWait,
    /// The collector does not look again who owes a word once words stay as they are.
    NoRecount,
    /// The collector removes by the words it read before that.
    EarlyWords,
    /// A sweep is taken over from a device that may still be at it.
    TwoSweepers,
}

#[cfg(test)]
thread_local! {
    /// The rule left out in this thread.
    pub static BROKEN: std::cell::Cell<Option<Break>> = const { std::cell::Cell::new(None) };
}

/// Whether this rule is left out.
#[cfg(test)]
pub fn broken(rule: Break) -> bool {
    BROKEN.get() == Some(rule)
}

/// Whether this rule is left out.
#[cfg(not(test))]
pub fn broken(_: Break) -> bool {
    false
}
