//! Between the kernel's encodings and the filesystem's types. Pure; total on every input.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{BsdFileFlags, FileAttr, FileType, INodeNo, RenameFlags, TimeOrNow};

use crate::base::port::Time;
use crate::base::{Error, Kind, Result};
use crate::volume::api::{Attr, FallocMode, FileKind, NewNode, RenameMode, SeekWhence, SetTime, XattrMode};

/// Block size programs are told to prefer, in bytes.
const PREFERRED_IO: u32 = 128 << 10;

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// The kind in the type bits of a mode; a mode without type bits means a regular file, as in mknod(2).
pub(super) fn kind_of_mode(mode: u32) -> Result<FileKind> {
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Ok(FileKind::File),
        libc::S_IFDIR => Ok(FileKind::Directory),
        libc::S_IFLNK => Ok(FileKind::Symlink),
        libc::S_IFIFO => Ok(FileKind::Fifo),
        libc::S_IFSOCK => Ok(FileKind::Socket),
        libc::S_IFCHR => Ok(FileKind::CharDevice),
        libc::S_IFBLK => Ok(FileKind::BlockDevice),
        _ => Err(Error::new(Kind::Invalid, "decode mode", format!("{mode:o}"))),
    }
}

/// The permission bits of a mode.
pub(super) fn perm_of_mode(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or(0)
}

pub(super) fn attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.crtime),
        kind: file_type(attr.kind),
        perm: attr.perm,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: PREFERRED_IO,
        flags: BsdFileFlags::empty().bits(),
    }
}

/// Attributes that say nothing: "no such name" in an entry, "no attributes" in a listing.
pub(super) fn no_attr(kind: FileKind) -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: file_type(kind),
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: PREFERRED_IO,
        flags: 0,
    }
}

fn system_time(time: Time) -> SystemTime {
    let magnitude = Duration::from_nanos(time.0.unsigned_abs());
    let moved = if time.0 < 0 { UNIX_EPOCH.checked_sub(magnitude) } else { UNIX_EPOCH.checked_add(magnitude) };
    moved.unwrap_or(UNIX_EPOCH)
}

/// A time as fuser 0.18 decodes it. Before 1970 fuser computes `-(seconds + nanoseconds)` from the
/// kernel's `-seconds + nanoseconds`; undone here.
pub(super) fn time(decoded: SystemTime) -> Time {
    let secs = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    match decoded.duration_since(UNIX_EPOCH) {
        Ok(after) => Time::from_parts(secs(after), after.subsec_nanos()),
        Err(before) => Time::from_parts(-secs(before.duration()), before.duration().subsec_nanos()),
    }
}

pub(super) fn set_time(time_or_now: TimeOrNow) -> SetTime {
    match time_or_now {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(at) => SetTime::At(time(at)),
    }
}

/// What is to be made, from the caller and the mode of a create-like request, umask applied.
pub(super) fn new_node(request: &fuser::Request, kind: FileKind, mode: u32) -> NewNode {
    NewNode { kind, perm: perm_of_mode(mode), uid: request.uid(), gid: request.gid(), rdev: 0, target: None }
}

pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode> {
    match flags {
        none if none.is_empty() => Ok(RenameMode::Replace),
        RenameFlags::RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
        RenameFlags::RENAME_EXCHANGE => Ok(RenameMode::Exchange),
        other => Err(Error::new(Kind::Invalid, "rename", format!("flags {other}"))),
    }
}

pub(super) fn xattr_mode(flags: i32) -> Result<XattrMode> {
    match flags {
        0 => Ok(XattrMode::Set),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        other => Err(Error::new(Kind::Invalid, "set attribute", format!("flags {other}"))),
    }
}

/// [`Kind::Unsupported`] for bits we do not know: a program then falls back to writing.
pub(super) fn falloc_mode(bits: i32) -> Result<FallocMode> {
    let known = libc::FALLOC_FL_KEEP_SIZE
        | libc::FALLOC_FL_PUNCH_HOLE
        | libc::FALLOC_FL_ZERO_RANGE
        | libc::FALLOC_FL_COLLAPSE_RANGE
        | libc::FALLOC_FL_INSERT_RANGE;
    if bits & !known != 0 {
        return Err(Error::new(Kind::Unsupported, "allocate", format!("mode {bits:#x}")));
    }
    let has = |bit: i32| bits & bit != 0;
    Ok(FallocMode {
        keep_size: has(libc::FALLOC_FL_KEEP_SIZE),
        punch: has(libc::FALLOC_FL_PUNCH_HOLE),
        zero: has(libc::FALLOC_FL_ZERO_RANGE),
        collapse: has(libc::FALLOC_FL_COLLAPSE_RANGE),
        insert: has(libc::FALLOC_FL_INSERT_RANGE),
    })
}

/// From where, and for what, to look. Other origins are the kernel's own business and never arrive.
pub(super) fn seek(offset: i64, whence: i32) -> Result<(u64, SeekWhence)> {
    match (u64::try_from(offset), whence) {
        (Ok(from), libc::SEEK_DATA) => Ok((from, SeekWhence::Data)),
        (Ok(from), libc::SEEK_HOLE) => Ok((from, SeekWhence::Hole)),
        _ => Err(Error::new(Kind::Invalid, "seek", format!("{offset} whence {whence}"))),
    }
}

/// Whether an open for these flags may write.
pub(super) fn writes(flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY
}

/// Whether an open with these flags empties the file.
pub(super) fn truncates(flags: i32) -> bool {
    flags & libc::O_TRUNC != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// fuser's own decoding, as of 0.18.
    fn as_fuser_decodes(secs: i64, nanos: u32) -> SystemTime {
        if secs >= 0 {
            UNIX_EPOCH + Duration::new(secs.unsigned_abs(), nanos)
        } else {
            UNIX_EPOCH - Duration::new(secs.unsigned_abs(), nanos)
        }
    }

    proptest! {
        #[test]
        fn times_survive_the_way_in_and_out(nanos in i64::MIN + 1_000_000_000..i64::MAX) {
            let original = Time(nanos);
            let decoded = time(as_fuser_decodes(original.secs(), original.nanos()));
            prop_assert_eq!(decoded, original);
            let shown = system_time(decoded);
            let back = match shown.duration_since(UNIX_EPOCH) {
                Ok(d) => i128::try_from(d.as_nanos()).ok(),
                Err(e) => i128::try_from(e.duration().as_nanos()).ok().map(|n| -n),
            };
            prop_assert_eq!(back, Some(i128::from(nanos)));
        }

        #[test]
        fn times_far_out_saturate(secs in 10_000_000_000_i64..i64::MAX / 2) {
            prop_assert_eq!(time(as_fuser_decodes(secs, 0)), Time(i64::MAX));
        }

        #[test]
        fn every_mode_decodes_or_is_invalid(mode in any::<u32>()) {
            prop_assert!(perm_of_mode(mode) <= 0o7777);
            if let Err(e) = kind_of_mode(mode) {
                prop_assert_eq!(e.kind(), Kind::Invalid);
            }
        }
    }

    #[test]
    fn a_mode_without_type_is_a_regular_file() {
        assert_eq!(kind_of_mode(0o644).ok(), Some(FileKind::File));
        assert_eq!(kind_of_mode(libc::S_IFBLK | 0o600).ok(), Some(FileKind::BlockDevice));
    }

    #[test]
    fn whiteout_is_refused() {
        assert_eq!(rename_mode(RenameFlags::RENAME_WHITEOUT).err().map(|e| e.kind()), Some(Kind::Invalid));
        assert_eq!(rename_mode(RenameFlags::empty()).ok(), Some(RenameMode::Replace));
    }

    #[test]
    fn unknown_allocation_modes_are_unsupported_rather_than_invalid() {
        assert_eq!(falloc_mode(0x40).err().map(|e| e.kind()), Some(Kind::Unsupported));
        let punch = falloc_mode(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE).ok();
        assert_eq!(punch, Some(FallocMode { keep_size: true, punch: true, ..FallocMode::default() }));
    }

    #[test]
    fn only_data_and_holes_are_looked_for() {
        assert_eq!(seek(7, libc::SEEK_HOLE).ok(), Some((7, SeekWhence::Hole)));
        assert!(seek(-1, libc::SEEK_DATA).is_err() && seek(0, libc::SEEK_SET).is_err());
    }

    #[test]
    fn open_flags_decode() {
        assert!(!writes(libc::O_RDONLY) && writes(libc::O_WRONLY) && writes(libc::O_RDWR));
        assert!(truncates(libc::O_WRONLY | libc::O_TRUNC) && !truncates(libc::O_WRONLY));
    }
}
