//! A result becomes an answer: one function for each shape of reply fuser has.

use std::time::Duration;

use fuser::{
    FileHandle, FopenFlags, Generation, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use super::convert;
use super::errno::{errno, errno_of};
use crate::base::{Kind, Result};
use crate::volume::api::{Attr, Fh, FileKind, Ino, MADE_UP, StatFs};

/// Inode numbers are never reused, so there is one generation.
pub(super) const GENERATION: Generation = Generation(0);

/// The page cache stays across opens: whoever changes content behind the kernel's back says so.
pub(super) const FILE_FLAGS: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE;

/// Listings stay cached until a name in the directory changes; the kernel watches that itself.
pub(super) const DIRECTORY_FLAGS: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_CACHE_DIR);

/// How a file is opened: what is made up by the moment goes past the page cache.
pub(super) fn file_flags(ino: Ino) -> FopenFlags {
    if ino >= MADE_UP { FopenFlags::FOPEN_DIRECT_IO } else { FILE_FLAGS }
}

/// How a directory is opened.
pub(super) fn directory_flags(ino: Ino) -> FopenFlags {
    if ino >= MADE_UP { FopenFlags::empty() } else { DIRECTORY_FLAGS }
}

/// How long the kernel may believe what it hears of a node.
pub(super) fn lasting(lifetime: Duration, ino: Ino) -> Duration {
    if ino >= MADE_UP { Duration::ZERO } else { lifetime }
}

pub(super) fn entry(reply: ReplyEntry, lifetime: Duration, result: Result<Attr>) {
    match result {
        Ok(attr) => reply.entry(&lasting(lifetime, attr.ino), &convert::attr(&attr), GENERATION),
        Err(e) => reply.error(errno(&e)),
    }
}

/// As [`entry`]; "not there" is an answer the kernel may remember too.
pub(super) fn lookup(reply: ReplyEntry, lifetime: Duration, result: Result<Attr>) {
    match result {
        Err(e) if e.kind() == Kind::NotFound => {
            reply.entry(&lifetime, &convert::no_attr(FileKind::File), GENERATION);
        }
        other => entry(reply, lifetime, other),
    }
}

pub(super) fn attr(reply: ReplyAttr, lifetime: Duration, result: Result<Attr>) {
    match result {
        Ok(attr) => reply.attr(&lasting(lifetime, attr.ino), &convert::attr(&attr)),
        Err(e) => reply.error(errno(&e)),
    }
}

pub(super) fn created(reply: ReplyCreate, lifetime: Duration, result: Result<(Attr, Fh)>) {
    match result {
        Ok((attr, fh)) => {
            reply.created(&lifetime, &convert::attr(&attr), GENERATION, FileHandle(fh.0), FILE_FLAGS);
        }
        Err(e) => reply.error(errno(&e)),
    }
}

pub(super) fn opened(reply: ReplyOpen, flags: FopenFlags, result: Result<Fh>) {
    match result {
        Ok(fh) => reply.opened(FileHandle(fh.0), flags),
        Err(e) => reply.error(errno(&e)),
    }
}

pub(super) fn empty(reply: ReplyEmpty, result: Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno(&e)),
    }
}

pub(super) fn data(reply: ReplyData, result: Result<Vec<u8>>) {
    match result {
        Ok(data) => reply.data(&data),
        Err(e) => reply.error(errno(&e)),
    }
}

pub(super) fn written(reply: ReplyWrite, result: Result<u32>) {
    match result {
        Ok(count) => reply.written(count),
        Err(e) => reply.error(errno(&e)),
    }
}

/// "No more data" is ENXIO in lseek(2), where other calls say ENOENT.
pub(super) fn offset(reply: ReplyLseek, result: Result<u64>) {
    match result.map(i64::try_from) {
        Ok(Ok(offset)) => reply.offset(offset),
        Ok(Err(_)) => reply.error(errno_of(Kind::TooBig)),
        Err(e) if e.kind() == Kind::NotFound => reply.error(fuser::Errno::ENXIO),
        Err(e) => reply.error(errno(&e)),
    }
}

/// `room` 0 asks for the size only.
pub(super) fn xattr(reply: ReplyXattr, room: u32, result: Result<Vec<u8>>) {
    match result.map(|value| (u32::try_from(value.len()).unwrap_or(u32::MAX), value)) {
        Ok((size, _)) if room == 0 => reply.size(size),
        Ok((size, _)) if size > room => reply.error(errno_of(Kind::Range)),
        Ok((_, value)) => reply.data(&value),
        Err(e) => reply.error(errno(&e)),
    }
}

pub(super) fn statfs(reply: ReplyStatfs, result: Result<StatFs>) {
    match result {
        Ok(s) => reply.statfs(s.blocks, s.bfree, s.bavail, s.files, s.ffree, s.bsize, s.namelen, s.bsize),
        Err(e) => reply.error(errno(&e)),
    }
}
