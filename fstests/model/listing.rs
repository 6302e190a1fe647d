//! Listing a directory: what was there when the reader last started from the beginning.

use lovage::base::{Kind, Name, Result};
use lovage::volume::Filler;
use lovage::volume::api::{DirEntry, EntryName, Fh, FileKind, Ino};

use super::node::Body;
use super::{Handle, State, fail};

/// A directory somebody reads.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    pub(super) ino: Ino,
    entries: Vec<DirEntry>,
}

impl State {
    pub(super) fn opendir(&mut self, ino: Ino) -> Result<Fh> {
        let entries = self.list(ino)?;
        self.node_mut(ino)?.opens += 1;
        Ok(Fh(self.add_handle(Handle::Directory(OpenDirectory { ino, entries }))))
    }

    /// `.`, `..`, then the names in order. Cookies count from 1.
    fn list(&self, ino: Ino) -> Result<Vec<DirEntry>> {
        let Body::Directory { parent, entries } = &self.node(ino)?.body else { return fail(Kind::NotDirectory) };
        let dots = [(EntryName::Itself, ino), (EntryName::Parent, *parent)].map(Ok);
        let children = entries.iter().map(|(name, ino)| Ok((EntryName::Child(Name::new(name)?), *ino)));
        (1..).zip(dots.into_iter().chain(children)).map(|(cookie, entry)| Ok(self.describe(cookie, entry?))).collect()
    }

    fn describe(&self, cookie: u64, (name, ino): (EntryName, Ino)) -> DirEntry {
        let kind = self.nodes.get(&ino).map_or(FileKind::Directory, |node| node.kind);
        DirEntry { ino, kind, name, cookie }
    }

    /// Pass entries after `cookie` to `fill`. With `plus`, names that still refer to the same node come
    /// with attributes and count a reference.
    pub(super) fn readdir(&mut self, fh: Fh, cookie: u64, plus: bool, fill: Filler<'_>) -> Result<()> {
        let Some(Handle::Directory(open)) = self.handles.get(&fh.0) else { return fail(Kind::Stale) };
        let ino = open.ino;
        if cookie == 0 {
            let entries = self.list(ino)?;
            self.handles.insert(fh.0, Handle::Directory(OpenDirectory { ino, entries }));
        }
        let Some(Handle::Directory(open)) = self.handles.get(&fh.0) else { return fail(Kind::Stale) };
        let rest: Vec<DirEntry> = open.entries.iter().filter(|entry| entry.cookie > cookie).cloned().collect();
        for entry in rest {
            let child = if plus { self.current(ino, &entry) } else { None };
            let attr = child.and_then(|child| Some(self.nodes.get(&child)?.attr(child)));
            if !fill(entry, attr) {
                break;
            }
            if let Some(node) = child.and_then(|child| self.nodes.get_mut(&child)) {
                node.references += 1;
            }
        }
        Ok(())
    }

    /// The node of an entry, if its name still refers to it.
    fn current(&self, directory: Ino, entry: &DirEntry) -> Option<Ino> {
        let EntryName::Child(name) = &entry.name else { return None };
        let now = self.nodes.get(&directory)?.entries().ok()?.get(name.as_bytes())?;
        (*now == entry.ino).then_some(entry.ino)
    }
}
