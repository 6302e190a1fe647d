//! `ls`: the entries of a directory, or one entry for anything else.

use std::path::Path;

use super::super::place::Node;
use super::super::service::Service;
use super::{Sink, document};
use crate::base::{Kind, Result};
use crate::volume::api::{Attr, EntryName, Fh, FileKind};
use crate::wire::RawPath;
use crate::wire::control::{Entry, PathArg};

/// Every entry as a part, in the directory's own order, in batches so that a million entries take little memory.
pub fn run(service: &Service, at: &PathArg, sink: &mut dyn Sink) -> Result<()> {
    let place = service.place(at)?;
    let node = place.node()?;
    let attr = node.attr()?;
    if attr.kind != FileKind::Directory {
        let name = place.path.file_name().map_or(place.path.as_path(), Path::new);
        return sink.part(document(&entry(&node, RawPath::from(name), &attr)?)?);
    }
    let open = Listing { node: &node, fh: node.files.opendir(node.ino)? };
    let mut cookie = 0;
    loop {
        let batch = open.after(cookie)?;
        let Some((_, _, last)) = batch.last() else { return Ok(()) };
        cookie = *last;
        for (name, attr, _) in batch {
            if let (EntryName::Child(name), Some(attr)) = (name, attr) {
                let child = Node::held(&node, attr.ino);
                sink.part(document(&entry(&child, RawPath::new(name.as_bytes()), &attr)?)?)?;
            }
        }
    }
}

/// Entries read at once.
const BATCH: usize = 512;

struct Listing<'a> {
    node: &'a Node,
    fh: Fh,
}

impl Listing<'_> {
    fn after(&self, cookie: u64) -> Result<Vec<(EntryName, Option<Attr>, u64)>> {
        let mut batch = Vec::with_capacity(BATCH);
        self.node.files.readdir_plus(self.fh, cookie, &mut |entry, attr| {
            let room = batch.len() < BATCH;
            if room {
                batch.push((entry.name, attr, entry.cookie));
            }
            room
        })?;
        Ok(batch)
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        // A handle that cannot be given back is gone with the volume.
        let _ = self.node.files.releasedir(self.fh);
    }
}

/// A node as `ls` and `stat` show it. A symlink that cannot be read is shown without its target.
pub fn entry(node: &Node, name: RawPath, attr: &Attr) -> Result<Entry> {
    let target = match attr.kind {
        FileKind::Symlink => match node.files.readlink(node.ino) {
            Err(e) if e.kind() == Kind::NotFound => None,
            other => Some(RawPath::new(other?)),
        },
        _ => None,
    };
    Ok(Entry {
        name,
        kind: kind_name(attr.kind).into(),
        mode: attr.perm.into(),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        size: attr.size,
        mtime_ns: attr.mtime.0,
        target,
    })
}

fn kind_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::CharDevice => "char-device",
        FileKind::BlockDevice => "block-device",
    }
}
