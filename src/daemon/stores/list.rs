//! The list of a volume's stores, and what a person asked of each: a file of one line a store.
//!
//! Must never lose a line it does not understand: such a list is refused, not rewritten.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::super::home::replace_file;
use crate::base::{Error, Kind, Result};

/// One store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What people call it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What was asked of it.
    pub rules: Rules,
}

/// What a person asked of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Most bytes a second given to it in the background.
    pub limit: Option<u64>,
    /// `fsync` returns when this store has what was written, too.
    pub before_fsync: bool,
}

/// Read a list; one that is not there is empty.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let shown = || path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => text.lines().map(|line| parse(line).ok_or_else(|| unclear(shown(), line))).collect(),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io("read the list of stores", shown(), e)),
    }
}

/// Replace a list.
pub fn write(path: &Path, list: &[Entry]) -> Result<()> {
    replace_file(path, list.iter().map(line).collect::<String>().as_bytes())
}

fn line(Entry { name, url, rules }: &Entry) -> String {
    let limit = rules.limit.map(|limit| format!("\tlimit={limit}")).unwrap_or_default();
    let before_fsync = if rules.before_fsync { "\tbefore-fsync" } else { "" };
    format!("{name}\t{url}{limit}{before_fsync}\n")
}

fn parse(line: &str) -> Option<Entry> {
    let mut fields = line.split('\t');
    let (name, url) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    let mut rules = Rules::default();
    for field in fields {
        match field.split_once('=') {
            Some(("limit", limit)) => rules.limit = Some(limit.parse().ok()?),
            None if field == "before-fsync" => rules.before_fsync = true,
            _ => return None,
        }
    }
    Some(Entry { name, url, rules })
}

fn unclear(path: String, line: &str) -> Error {
    Error::new(Kind::Unsupported, "read the list of stores", path)
        .with_source(format!("this line is not clear: {line}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(limit: Option<u64>, before_fsync: bool) -> Entry {
        let (name, url) = ("box".to_owned(), "s3://a/b?region=c".to_owned());
        Entry { name, url, rules: Rules { limit, before_fsync } }
    }

    #[test]
    fn what_is_written_is_read_and_a_list_without_rules_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stores");
        assert_eq!(read(&path).unwrap(), []);
        let list = [entry(None, false), entry(Some(7), false), entry(None, true), entry(Some(1 << 40), true)];
        write(&path, &list).unwrap();
        assert_eq!(read(&path).unwrap(), list);
        fs::write(&path, "box\ts3://a/b?region=c\n").unwrap();
        assert_eq!(read(&path).unwrap(), [entry(None, false)]);
    }

    #[test]
    fn a_list_of_a_later_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stores");
        for text in ["box", "box\tfile:/a\tcolour=red", "box\tfile:/a\tlimit=much"] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap_err().kind(), Kind::Unsupported, "{text}");
        }
    }
}
