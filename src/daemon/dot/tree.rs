//! What `/.lovage` holds: `status`, and `conflicts/` with a directory for each conflict and a file for each version.
//!
//! Made when it is looked at; numbers stay the same as long as the mount. Read-only.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::super::service::Service;
use super::super::volumes::Known;
use crate::base::port::Time;
use crate::base::sync::Mutex;
use crate::base::{Error, Kind, NodeId, Result};
use crate::causal::Dot;
use crate::volume::api::{Attr, FileKind, Ino, MADE_UP, ROOT_INO};
use crate::volume::{Conflict, FileSystem, Volume};

/// The name at the root.
pub const NAME: &[u8] = b".lovage";
/// Most things that get numbers in the life of a mount.
const MOST: usize = 0xf_0000;

/// One thing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    /// `/.lovage`
    Top,
    /// `/.lovage/status`
    Status,
    /// `/.lovage/conflicts`
    Conflicts,
    /// The directory of one conflict.
    Case(NodeId),
    /// One version in it.
    Version(NodeId, Dot),
    /// What the versions have in common.
    Base(NodeId),
}

#[derive(Default)]
struct Numbers {
    items: Vec<Item>,
    known: HashMap<Item, usize>,
}

/// See the module.
pub struct Tree {
    volume: Arc<Volume>,
    known: Known,
    service: Weak<Service>,
    numbers: Mutex<Numbers>,
    /// The status as it was when it was opened last.
    status: Mutex<Arc<Vec<u8>>>,
}

impl Tree {
    /// Of one mount.
    pub fn new(service: &Arc<Service>, known: &Known, volume: &Arc<Volume>) -> Self {
        let (numbers, status) = (Mutex::default(), Mutex::default());
        Self { volume: Arc::clone(volume), known: known.clone(), service: Arc::downgrade(service), numbers, status }
    }

    /// The number of an item.
    pub fn number(&self, item: Item) -> Result<Ino> {
        let mut numbers = self.numbers.lock();
        let at = match numbers.known.get(&item) {
            Some(at) => *at,
            None if numbers.items.len() < MOST => {
                numbers.items.push(item);
                let at = numbers.items.len() - 1;
                numbers.known.insert(item, at);
                at
            }
            None => return Err(Error::new(Kind::Full, "number", "too many conflicts for one mount")),
        };
        Ok(MADE_UP + at as u64)
    }

    /// The item behind a number.
    pub fn item(&self, ino: Ino) -> Result<Item> {
        let at = usize::try_from(ino.saturating_sub(MADE_UP)).unwrap_or(usize::MAX);
        let found = self.numbers.lock().items.get(at).copied();
        found.ok_or_else(|| Error::new(Kind::Stale, "find", ino.to_string()))
    }

    /// What a directory holds; [`Kind::NotDirectory`] for a file.
    pub fn entries(&self, item: Item) -> Result<Vec<(String, Item)>> {
        match item {
            Item::Top => Ok(vec![("conflicts".into(), Item::Conflicts), ("status".into(), Item::Status)]),
            Item::Conflicts => {
                let all = self.volume.conflicts()?;
                Ok(all.iter().map(|c| (case_name(c), Item::Case(c.node))).collect())
            }
            Item::Case(node) => {
                let case = self.case(node)?;
                let end = extension(&case);
                let name = |dot: Dot| format!("{}.{} {}{end}", dot.writer, dot.seq, self.device(dot));
                let mut list: Vec<_> =
                    case.versions.iter().map(|v| (name(v.dot), Item::Version(node, v.dot))).collect();
                list.extend(case.base.map(|_| (format!("base{end}"), Item::Base(node))));
                Ok(list)
            }
            _ => Err(Error::new(Kind::NotDirectory, "list", "")),
        }
    }

    /// What stat shows.
    pub fn attr(&self, item: Item) -> Result<Attr> {
        let root = self.volume.getattr(ROOT_INO)?;
        let (size, mtime) = match item {
            Item::Status => (self.status.lock().len() as u64, root.mtime),
            Item::Version(node, dot) => {
                let case = self.case(node)?;
                let version = case.versions.iter().find(|v| v.dot == dot);
                version.map(|v| (v.size, v.mtime)).ok_or_else(|| gone(node))?
            }
            Item::Base(node) => self.case(node)?.base.map(|b| (b.size, b.mtime)).ok_or_else(|| gone(node))?,
            _ => (0, root.mtime),
        };
        Ok(shown(&root, self.number(item)?, item.kind(), size, mtime))
    }

    /// Prepare for reading.
    pub fn open(&self, item: Item) -> Result<()> {
        if item == Item::Status {
            let service = self.service.upgrade().ok_or_else(|| Error::new(Kind::Stale, "tell the status", ""))?;
            let status = super::super::control::status(&service, false)?;
            *self.status.lock() = Arc::new(super::super::words::describe(&status, &|_| None).into_bytes());
        }
        Ok(())
    }

    /// Up to `len` bytes at `offset`.
    pub fn read(&self, item: Item, offset: u64, len: u32) -> Result<Vec<u8>> {
        match item {
            Item::Status => {
                let text = Arc::clone(&self.status.lock());
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
                Ok(text.iter().skip(from).take(len as usize).copied().collect())
            }
            Item::Version(node, dot) => self.volume.read_version(node, dot, offset, len),
            Item::Base(node) => self.volume.read_base(node, offset, len),
            _ => Err(Error::new(Kind::IsDirectory, "read", "")),
        }
    }

    fn case(&self, node: NodeId) -> Result<Conflict> {
        self.volume.conflicts()?.into_iter().find(|c| c.node == node).ok_or_else(|| gone(node))
    }

    fn device(&self, dot: Dot) -> String {
        let replica = self.service.upgrade().and_then(|service| service.exchange.replica(self.known.id));
        replica.map_or_else(|| super::super::opening::nameless(dot.writer), |r| r.writer_name(dot.writer))
    }
}

impl Item {
    /// File or directory.
    pub fn kind(self) -> FileKind {
        match self {
            Self::Top | Self::Conflicts | Self::Case(_) => FileKind::Directory,
            _ => FileKind::File,
        }
    }
}

fn gone(node: NodeId) -> Error {
    Error::new(Kind::NotFound, "find the conflict", node.to_string())
}

/// The path in one name; the node where that is too long.
fn case_name(conflict: &Conflict) -> String {
    let path = conflict.paths.first().map_or("", |p| p.trim_start_matches('/')).replace('/', "\u{2215}");
    if path.is_empty() || path.len() > 255 { conflict.node.to_string() } else { path }
}

/// The extension of the file in conflict, so that programs know what a version is.
fn extension(conflict: &Conflict) -> String {
    let name = conflict.paths.first().and_then(|p| p.rsplit('/').next()).unwrap_or_default();
    name.rsplit_once('.')
        .filter(|(stem, end)| !stem.is_empty() && end.len() <= 16)
        .map_or(String::new(), |(_, end)| format!(".{end}"))
}

fn shown(root: &Attr, ino: Ino, kind: FileKind, size: u64, mtime: Time) -> Attr {
    let directory = kind == FileKind::Directory;
    Attr {
        ino,
        kind,
        perm: if directory { 0o555 } else { 0o444 },
        nlink: if directory { 2 } else { 1 },
        size,
        blocks: size.div_ceil(512),
        atime: mtime,
        mtime,
        ctime: mtime,
        ..*root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_named_by_its_path_and_versions_keep_the_extension() {
        let case = |path: &str| Conflict {
            node: NodeId([7; 16]),
            paths: vec![path.to_owned()],
            versions: Vec::new(),
            base: None,
        };
        assert_eq!(case_name(&case("/docs/a.tar")), "docs\u{2215}a.tar");
        assert_eq!(case_name(&case(&format!("/{}", "x".repeat(300)))), NodeId([7; 16]).to_string());
        assert_eq!(extension(&case("/docs/a.tar")), ".tar");
        assert_eq!(extension(&case("/docs.d/.hidden")), "");
    }
}
