//! The one error of the project: a kind to branch on, the operation, its subject, and the cause.
//!
//! Callers match on [`Kind`]; people read the chain. `Display` prints this level only and leaves the
//! source to whoever prints, so that no message repeats itself.

use std::error::Error as StdError;
use std::fmt;

/// Shorthand for results of every layer.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in the terms a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The thing asked for does not exist.
    NotFound,
    /// It exists already.
    Exists,
    /// A store, peer or daemon did not answer; trying again later can help.
    Unreachable,
    /// Credentials, permissions or a passphrase were refused.
    Denied,
    /// No space or quota left.
    Full,
    /// Bytes do not verify: bit rot, truncation or a lie.
    Corrupt,
    /// A deadline passed.
    Timeout,
    /// The caller asked for something that makes no sense.
    Invalid,
    /// Another process holds it.
    Busy,
    /// A directory was needed.
    NotDirectory,
    /// Something else than a directory was needed.
    IsDirectory,
    /// A directory still has entries.
    NotEmpty,
    /// A name is longer than 255 bytes or a path too deep.
    NameTooLong,
    /// A size or offset beyond what is supported.
    TooBig,
    /// Too many links to one node.
    TooManyLinks,
    /// A change was asked of something read-only.
    ReadOnly,
    /// The operation is not permitted on this object, whoever asks.
    NotPermitted,
    /// No such extended attribute.
    NoAttribute,
    /// An extended attribute's value does not fit the buffer or the limit.
    Range,
    /// Not supported on this object or by this build.
    Unsupported,
    /// The caller was interrupted by a signal.
    Interrupted,
    /// A handle refers to a node that is gone.
    Stale,
    /// The operating system reported an I/O error.
    Io,
    /// A bug or an unforeseen condition; the message says more.
    Other,
}

/// An error: `kind` while doing `operation` on `subject`, because of `source`.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    operation: &'static str,
    subject: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with no deeper cause. `operation` is a verb phrase ("open log"), `subject` names the object.
    pub fn new(kind: Kind, operation: &'static str, subject: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, operation, subject: subject.into(), source: None }))
    }

    /// Attach the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// An operating-system error, its kind derived from the errno.
    pub fn io(operation: &'static str, subject: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(kind_of_io(&source), operation, subject).with_source(source)
    }

    /// The kind to branch on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What was being done.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// On what.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The whole chain on one line, for logs and the terminal: `outer: inner: innermost`.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, operation, subject, source } = &*self.0;
        match (subject.is_empty(), source.is_some()) {
            (true, true) => write!(f, "cannot {operation}"),
            (true, false) => write!(f, "cannot {operation}: {}", kind.words()),
            (false, true) => write!(f, "cannot {operation} ({subject})"),
            (false, false) => write!(f, "cannot {operation} ({subject}): {}", kind.words()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|s| &**s as &(dyn StdError + 'static))
    }
}

impl Kind {
    /// The kind in words a person reads.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Exists => "exists already",
            Self::Unreachable => "unreachable",
            Self::Denied => "permission denied",
            Self::Full => "no space left",
            Self::Corrupt => "damaged: it does not verify",
            Self::Timeout => "timed out",
            Self::Invalid => "invalid",
            Self::Busy => "in use by another process",
            Self::NotDirectory => "not a directory",
            Self::IsDirectory => "is a directory",
            Self::NotEmpty => "not empty",
            Self::NameTooLong => "name too long",
            Self::TooBig => "too big",
            Self::TooManyLinks => "too many links",
            Self::ReadOnly => "read-only",
            Self::NotPermitted => "not permitted",
            Self::NoAttribute => "no such attribute",
            Self::Range => "does not fit",
            Self::Unsupported => "not supported",
            Self::Interrupted => "interrupted",
            Self::Stale => "gone",
            Self::Io => "input/output error",
            Self::Other => "unexpected failure",
        }
    }
}

fn kind_of_io(error: &std::io::Error) -> Kind {
    match error.raw_os_error() {
        Some(libc::ENOENT) => Kind::NotFound,
        Some(libc::EEXIST) => Kind::Exists,
        Some(libc::EACCES) => Kind::Denied,
        Some(libc::EPERM) => Kind::NotPermitted,
        Some(libc::ENOSPC | libc::EDQUOT) => Kind::Full,
        Some(libc::ENOTDIR) => Kind::NotDirectory,
        Some(libc::EISDIR) => Kind::IsDirectory,
        Some(libc::ENOTEMPTY) => Kind::NotEmpty,
        Some(libc::ENAMETOOLONG) => Kind::NameTooLong,
        Some(libc::EROFS) => Kind::ReadOnly,
        Some(libc::EINTR) => Kind::Interrupted,
        Some(libc::EBUSY | libc::ETXTBSY) => Kind::Busy,
        Some(libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH) => Kind::Unreachable,
        Some(libc::ETIMEDOUT) => Kind::Timeout,
        Some(libc::EINVAL) => Kind::Invalid,
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => Kind::Unsupported,
        _ => Kind::Io,
    }
}

/// Turn foreign errors into ours, saying what was being done and on what.
pub trait Context<T> {
    /// For operating-system errors: the kind follows the errno.
    fn io(self, operation: &'static str, subject: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn io(self, operation: &'static str, subject: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::io(operation, subject(), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_each_level_once() {
        let e = Error::io("open log", "/x", std::io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(e.kind(), Kind::Full);
        assert_eq!(e.to_string(), "cannot open log (/x)");
        assert!(e.chain().starts_with("cannot open log (/x): No space left"));
    }
}
