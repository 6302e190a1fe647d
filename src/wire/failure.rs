//! An error as it crosses a process border or reaches a person: what failed, on what, why, what next.
//!
//! Must never hold secrets: it is printed and logged as it is.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::{Error, Kind};

/// What to do next, attached as the innermost source of an error by whoever knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Why it failed, when the kind's own words say too little.
    pub why: String,
    /// What the person can do, as an imperative sentence.
    pub next: String,
}

impl Advice {
    /// Advice from both halves.
    pub fn new(why: impl Into<String>, next: impl Into<String>) -> Self {
        Self { why: why.into(), next: next.into() }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.next)
    }
}

impl StdError for Advice {}

/// An error in words, with its kind kept for exit codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Kind, by its stable name.
    #[serde(serialize_with = "write_kind", deserialize_with = "read_kind")]
    pub kind: Kind,
    /// What was being done: a verb phrase.
    pub operation: String,
    /// On what; may be empty.
    pub subject: String,
    /// Why.
    pub why: String,
    /// What to do next; empty when nobody knows better.
    #[serde(default)]
    pub next: String,
    /// No daemon runs in this home (exit code 4).
    #[serde(default)]
    pub no_daemon: bool,
}

impl Failure {
    /// A failure from its parts.
    pub fn new(kind: Kind, operation: impl Into<String>, subject: impl Into<String>, why: impl Into<String>) -> Self {
        let (operation, subject, why) = (operation.into(), subject.into(), why.into());
        Self { kind, operation, subject, why, next: String::new(), no_daemon: false }
    }

    /// Say what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// The documented exit code: 1 failed, 2 usage, 3 not found, 4 no daemon, 5 unreachable, 6 integrity.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            _ if self.no_daemon => 4,
            Kind::Invalid => 2,
            Kind::NotFound => 3,
            Kind::Unreachable | Kind::Timeout => 5,
            Kind::Corrupt => 6,
            _ => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.operation)?;
        if !self.subject.is_empty() {
            write!(f, " ({})", self.subject)?;
        }
        write!(f, ": {}", self.why)?;
        if !self.next.is_empty() {
            write!(f, "\n  {}", self.next)?;
        }
        Ok(())
    }
}

impl StdError for Failure {}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let mut failure = Self::new(error.kind(), error.operation(), error.subject(), "");
        let mut reasons = Vec::new();
        let mut cause = StdError::source(error);
        while let Some(source) = cause {
            match source.downcast_ref::<Advice>() {
                Some(advice) => {
                    reasons.push(advice.why.clone());
                    failure.next.clone_from(&advice.next);
                }
                None => reasons.push(source.to_string()),
            }
            cause = source.source();
        }
        failure.why = if reasons.is_empty() { error.kind().words().to_owned() } else { reasons.join(": ") };
        failure
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

const NAMES: [(Kind, &str); 24] = [
    (Kind::NotFound, "not-found"),
    (Kind::Exists, "exists"),
    (Kind::Unreachable, "unreachable"),
    (Kind::Denied, "denied"),
    (Kind::Full, "full"),
    (Kind::Corrupt, "corrupt"),
    (Kind::Timeout, "timeout"),
    (Kind::Invalid, "invalid"),
    (Kind::Busy, "busy"),
    (Kind::NotDirectory, "not-directory"),
    (Kind::IsDirectory, "is-directory"),
    (Kind::NotEmpty, "not-empty"),
    (Kind::NameTooLong, "name-too-long"),
    (Kind::TooBig, "too-big"),
    (Kind::TooManyLinks, "too-many-links"),
    (Kind::ReadOnly, "read-only"),
    (Kind::NotPermitted, "not-permitted"),
    (Kind::NoAttribute, "no-attribute"),
    (Kind::Range, "range"),
    (Kind::Unsupported, "unsupported"),
    (Kind::Interrupted, "interrupted"),
    (Kind::Stale, "stale"),
    (Kind::Io, "io"),
    (Kind::Other, "other"),
];

/// The stable name of a kind in messages and JSON.
pub fn kind_name(kind: Kind) -> &'static str {
    NAMES.iter().find(|(k, _)| *k == kind).map_or("other", |(_, name)| name)
}

/// The kind of a stable name; [`Kind::Other`] for names this version does not know.
pub fn kind_from_name(name: &str) -> Kind {
    NAMES.iter().find(|(_, n)| *n == name).map_or(Kind::Other, |(kind, _)| *kind)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature serde asks for
fn write_kind<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind_name(*kind))
}

fn read_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    Ok(kind_from_name(&String::deserialize(deserializer)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_error_chain_becomes_what_why_and_next() {
        let error =
            Error::new(Kind::Busy, "open the home", "/h").with_source(Advice::new("process 7 holds it", "Stop it."));
        let failure = Failure::from(error);
        assert_eq!(failure.to_string(), "cannot open the home (/h): process 7 holds it\n  Stop it.");
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn an_error_without_a_cause_says_its_kind_in_words() {
        let failure = Failure::from(Error::new(Kind::NotFound, "list", "/x"));
        assert_eq!(failure.to_string(), "cannot list (/x): not found");
        assert_eq!(failure.exit_code(), 3);
    }

    #[test]
    fn every_kind_has_its_own_name_and_comes_back() {
        for (kind, name) in NAMES {
            assert_eq!(kind_from_name(name), kind);
            assert_eq!(kind_name(kind), name);
        }
        assert_eq!(kind_from_name("from-the-future"), Kind::Other);
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let code = |kind| Failure::new(kind, "x", "", "").exit_code();
        let table =
            [(Kind::Io, 1), (Kind::Invalid, 2), (Kind::NotFound, 3), (Kind::Unreachable, 5), (Kind::Corrupt, 6)];
        for (kind, expected) in table {
            assert_eq!(code(kind), expected);
        }
        let mut none = Failure::new(Kind::Unreachable, "x", "", "");
        none.no_daemon = true;
        assert_eq!(none.exit_code(), 4);
    }

    #[test]
    fn a_failure_survives_the_wire() {
        let failure = Failure::new(Kind::Corrupt, "open", "v", "bad").next("Run fsck.");
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), failure);
    }
}
