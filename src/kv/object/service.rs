//! A service with objects by name, in this project's errors. Knows no blocks.
//!
//! Where a write can be seen half done (SFTP, WebDAV), it goes to `drafts/` and is renamed. Must never take a service's
//! "not found" for a missing bucket as a missing object.

use std::ops::Range;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use opendal::{ErrorKind, Operator};

use super::super::Expect;
use crate::base::port::{Entropy, System};
use crate::base::{Error, Kind, Result};

/// Most objects in one folder: packs of 16 MiB for 16 TiB.
const MOST_OBJECTS: usize = 1 << 20;

/// See the module.
#[derive(Debug, Clone)]
pub struct Service {
    name: String,
    operator: Operator,
}

fn is_absent(error: &opendal::Error) -> bool {
    error.kind() == ErrorKind::NotFound && !error.to_string().contains("NoSuchBucket")
}

/// What a service's error means to a caller.
pub fn failed(what: &'static str, name: &str, error: &opendal::Error) -> Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::PermissionDenied => Kind::Denied,
        ErrorKind::ConfigInvalid => Kind::Invalid,
        ErrorKind::Unsupported => Kind::Unsupported,
        ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists | ErrorKind::Conflict => Kind::Exists,
        ErrorKind::RangeNotSatisfied => Kind::Corrupt,
        ErrorKind::RateLimited => Kind::Unreachable,
        _ if error.is_temporary() => Kind::Unreachable,
        _ => kind_by_words(&whole(error)),
    };
    Error::new(kind, what, name).with_source(brief(&whole(error)))
}

/// An error with all its causes.
fn whole(error: &opendal::Error) -> String {
    let mut said = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        next = cause.source();
    }
    said
}

/// Without the page a web server adds, and no longer than a person reads.
fn brief(said: &str) -> String {
    const LONGEST: usize = 600;
    let said = match (said.find(", context: {"), said.find(" } => ")) {
        (Some(context), Some(end)) if context < end => {
            format!("{}: {}", &said[..context], &said[end + " } => ".len()..])
        }
        _ => said.to_owned(),
    };
    let page = ["<?xml", "<!DOCTYPE", "<html"].iter().filter_map(|start| said.find(start)).min();
    said.chars().take(page.unwrap_or(said.len()).min(LONGEST)).collect()
}

/// What is told in words only: by the `ssh` program, and by statuses that have no kind of their own.
fn kind_by_words(said: &str) -> Kind {
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match () {
        () if says(&["Permission denied", "Host key verification failed", "status: 401", "status: 403"]) => {
            Kind::Denied
        }
        () if says(&["No space left", "Disk quota", "status: 507"]) => Kind::Full,
        () if says(&["failed to connect", "connection lost", "Connection closed", "Broken pipe"]) => Kind::Unreachable,
        () if says(&["status: 429", "status: 502", "status: 503", "status: 504"]) => Kind::Unreachable,
        () => Kind::Other,
    }
}

impl Service {
    /// A service, called `name` in messages.
    pub fn new(name: String, operator: Operator) -> Self {
        Self { name, operator }
    }

    /// The location it was made from.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn error(&self, what: &'static str) -> impl Fn(opendal::Error) -> Error + '_ {
        move |error| failed(what, &self.name, &error)
    }

    /// A whole object. [`Kind::TooBig`] if it has more than `most` bytes: no more than those are taken.
    pub async fn read(&self, what: &'static str, path: &str, most: u64) -> Result<Option<Bytes>> {
        let stream = match self.operator.reader(path).await {
            Ok(reader) => reader.into_bytes_stream(..).await,
            Err(e) => Err(e),
        };
        let mut stream = match stream {
            Err(e) if is_absent(&e) => return Ok(None),
            other => other.map_err(self.error(what))?,
        };
        let mut object = BytesMut::new();
        loop {
            let next = std::future::poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await;
            let Some(piece) = next else { return Ok(Some(object.freeze())) };
            let piece = match piece.map_err(std::io::Error::downcast::<opendal::Error>) {
                Ok(piece) => piece,
                Err(Ok(e)) if is_absent(&e) => return Ok(None),
                Err(Ok(e)) => return Err(self.error(what)(e)),
                Err(Err(e)) => return Err(Error::io(what, &self.name, e)),
            };
            object.extend_from_slice(&piece);
            if object.len() as u64 > most {
                return Err(
                    Error::new(Kind::TooBig, what, &self.name).with_source("the object is larger than any of ours")
                );
            }
        }
    }

    /// Part of an object. [`Kind::Corrupt`] if it has no such part.
    pub async fn read_part(&self, what: &'static str, path: &str, part: Range<u64>) -> Result<Option<Bytes>> {
        if part.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let len = part.end - part.start;
        match self.operator.read_with(path).range(part).await {
            Ok(bytes) if bytes.len() as u64 == len => Ok(Some(bytes.to_bytes())),
            Ok(_) => Err(Error::new(Kind::Corrupt, what, &self.name).with_source("the object is shorter than it was")),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(self.error(what)(e)),
        }
    }

    /// Write an object so that nobody sees half of it under its name.
    pub async fn write(&self, what: &'static str, path: &str, value: Bytes) -> Result<()> {
        if !self.operator.info().capability().rename {
            return self.operator.write(path, value).await.map(drop).map_err(self.error(what));
        }
        let mut salt = [0; 8];
        System.fill(&mut salt);
        let draft = format!("drafts/{:016x}", u64::from_le_bytes(salt));
        let done = match self.operator.write(&draft, value.clone()).await {
            Err(e) => Err(self.error(what)(e)),
            Ok(_) => self.place(what, &draft, path, &value).await,
        };
        if done.is_err() {
            // It is of no use; the first error is what matters.
            let _ = self.operator.delete(&draft).await;
        }
        done
    }

    /// Give a draft its name. Some servers do not rename over what is there: unless that is the same, it is moved aside
    /// first, which others see as a moment without it, and back when that was in vain.
    async fn place(&self, what: &'static str, draft: &str, path: &str, value: &Bytes) -> Result<()> {
        let Err(refused) = self.operator.rename(draft, path).await else { return Ok(()) };
        match self.read(what, path, value.len() as u64).await {
            Ok(Some(there)) if there == *value => return self.delete(what, draft).await,
            Ok(None) => return Err(self.error(what)(refused)),
            Err(e) if e.kind() != Kind::TooBig => return Err(self.error(what)(refused)),
            _ => {}
        }
        let aside = format!("{draft}.old");
        self.operator.rename(path, &aside).await.map_err(self.error(what))?;
        if let Err(e) = self.operator.rename(draft, path).await {
            // What was there is better than nothing; the error says the rest.
            let _ = self.operator.rename(&aside, path).await;
            return Err(self.error(what)(e));
        }
        self.delete(what, &aside).await
    }

    /// Remove an object; an absent one is no error.
    pub async fn delete(&self, what: &'static str, path: &str) -> Result<()> {
        match self.operator.delete(path).await {
            Err(e) if !is_absent(&e) => Err(self.error(what)(e)),
            _ => Ok(()),
        }
    }

    /// Names and sizes of the objects right below `folder`, which ends in a slash.
    pub async fn list(&self, what: &'static str, folder: &str) -> Result<Vec<(String, u64)>> {
        let mut lister = match self.operator.lister(folder).await {
            Err(e) if is_absent(&e) => return Ok(Vec::new()),
            other => other.map_err(self.error(what))?,
        };
        let mut found = Vec::new();
        while let Some(next) = std::future::poll_fn(|context| Pin::new(&mut lister).poll_next(context)).await {
            let entry = match next {
                Err(e) if is_absent(&e) && found.is_empty() => return Ok(Vec::new()),
                other => other.map_err(self.error(what))?,
            };
            if entry.metadata().is_file() {
                found.push((entry.name().to_owned(), entry.metadata().content_length()));
            }
            if found.len() > MOST_OBJECTS {
                return Err(Error::new(Kind::TooBig, what, &self.name).with_source("the folder has too many objects"));
            }
        }
        Ok(found)
    }

    /// Whether the service itself compares before it writes.
    pub fn compares(&self) -> bool {
        let can = self.operator.info().capability();
        can.write_with_if_not_exists && can.write_with_if_match
    }

    /// Whether a write on a condition that is not met is refused, and does nothing: tried on an object of its own.
    pub async fn is_true_to_conditions(&self) -> Result<bool> {
        let error = self.error("try conditional writes");
        let mut salt = [0; 8];
        System.fill(&mut salt);
        let path = format!("drafts/{:016x}", u64::from_le_bytes(salt));
        let first = self.operator.write(&path, Bytes::from_static(b"1")).await.map_err(&error)?;
        let old = match first.etag() {
            Some(etag) => Some(etag.to_owned()),
            None => self.operator.stat(&path).await.map_err(&error)?.etag().map(str::to_owned),
        };
        self.operator.write(&path, Bytes::from_static(b"22")).await.map_err(&error)?;
        let bytes = Bytes::from_static(b"333");
        let anew = self.operator.write_with(&path, bytes.clone()).if_not_exists(true).await;
        let late = match &old {
            Some(old) => self.operator.write_with(&path, bytes).if_match(old).await.map(drop),
            None => Ok(()),
        };
        let there = self.read("try conditional writes", &path, 8).await?;
        self.delete("try conditional writes", &path).await?;
        let refused =
            |done: &opendal::Result<()>| done.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConditionNotMatch);
        Ok(refused(&anew.map(drop)) && refused(&late) && there.as_deref() == Some(b"22"))
    }

    /// Replace an object of a service that [`Self::compares`] if it is as expected.
    pub async fn replace(&self, name: &str, path: &str, value: Bytes, expect: Expect) -> Result<()> {
        let error = self.error("replace head");
        let done = match expect {
            Expect::Anything => self.operator.write(path, value).await,
            Expect::Nothing => self.operator.write_with(path, value).if_not_exists(true).await,
            Expect::Version(_) => {
                let etag = match self.operator.stat(path).await {
                    Ok(found) => found.etag().unwrap_or_default().to_owned(),
                    Err(e) if is_absent(&e) => return expect.check(name, None),
                    Err(e) => return Err(error(e)),
                };
                let current = self.operator.read_with(path).if_match(&etag).await.map_err(&error)?;
                expect.check(name, Some(&current.to_bytes()))?;
                self.operator.write_with(path, value).if_match(&etag).await
            }
        };
        done.map(drop).map_err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_services_say_in_words_is_understood() {
        let denied = "ssh error, source: failed to connect: root@h: Permission denied (publickey).";
        assert_eq!(kind_by_words(denied), Kind::Denied);
        assert_eq!(kind_by_words("response: Parts { status: 401, version"), Kind::Denied);
        assert_eq!(kind_by_words("response: Parts { status: 503, version"), Kind::Unreachable);
        assert_eq!(kind_by_words("failed to connect to the remote host"), Kind::Unreachable);
        assert_eq!(kind_by_words("sftp: No space left on device"), Kind::Full);
        assert_eq!(kind_by_words("something else"), Kind::Other);
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object_and_throttling_passes() {
        let error = |kind, said: &str| opendal::Error::new(kind, said.to_owned());
        assert!(is_absent(&error(ErrorKind::NotFound, "NoSuchKey")));
        let bucket = error(ErrorKind::NotFound, "S3Error { code: NoSuchBucket }");
        assert!(!is_absent(&bucket));
        assert_eq!(failed("read", "s3:", &bucket).kind(), Kind::NotFound);
        assert_eq!(failed("read", "s3:", &error(ErrorKind::RateLimited, "SlowDown")).kind(), Kind::Unreachable);
        assert_eq!(
            failed("read", "s3:", &error(ErrorKind::PermissionDenied, "SignatureDoesNotMatch")).kind(),
            Kind::Denied
        );
    }

    #[test]
    fn a_web_page_is_left_out_of_a_message() {
        assert_eq!(brief("status: 401 => <?xml version=..><html>"), "status: 401 => ");
        assert_eq!(brief(&"x".repeat(5000)).len(), 600);
        let dump = "Denied at read, context: { uri: http://x, response: Parts { status: 403 } } => S3Error { code: X }";
        assert_eq!(brief(dump), "Denied at read: S3Error { code: X }");
    }
}
