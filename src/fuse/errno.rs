//! From the kind of an error to the errno a program sees: one match, complete by the compiler.

use fuser::Errno;

use crate::base::{Error, Kind};

/// The errno for an error. Failures that are not the caller's doing are logged with their whole chain.
pub(super) fn errno(error: &Error) -> Errno {
    let errno = errno_of(error.kind());
    match error.kind() {
        Kind::Io | Kind::Other | Kind::Corrupt => tracing::warn!("{}", error.chain()),
        _ => tracing::debug!("{}", error.chain()),
    }
    errno
}

/// The errno for a kind.
pub(super) fn errno_of(kind: Kind) -> Errno {
    match kind {
        Kind::NotFound => Errno::ENOENT,
        Kind::Exists => Errno::EEXIST,
        Kind::Denied => Errno::EACCES,
        Kind::Full => Errno::ENOSPC,
        Kind::Invalid => Errno::EINVAL,
        Kind::Busy => Errno::EBUSY,
        Kind::NotDirectory => Errno::ENOTDIR,
        Kind::IsDirectory => Errno::EISDIR,
        Kind::NotEmpty => Errno::ENOTEMPTY,
        Kind::NameTooLong => Errno::ENAMETOOLONG,
        Kind::TooBig => Errno::EFBIG,
        Kind::TooManyLinks => Errno::EMLINK,
        Kind::ReadOnly => Errno::EROFS,
        Kind::NotPermitted => Errno::EPERM,
        Kind::NoAttribute => Errno::ENODATA,
        Kind::Range => Errno::ERANGE,
        Kind::Unsupported => Errno::EOPNOTSUPP,
        Kind::Interrupted => Errno::EINTR,
        Kind::Stale => Errno::ESTALE,
        // Content nobody reachable holds reads as an I/O error, never as a hang (docs/fuse.md).
        Kind::Unreachable | Kind::Timeout | Kind::Corrupt | Kind::Io | Kind::Other => Errno::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_to_get_content_is_an_input_output_error() {
        for kind in [Kind::Unreachable, Kind::Timeout, Kind::Corrupt, Kind::Io, Kind::Other] {
            assert_eq!(errno_of(kind), Errno::EIO);
        }
    }

    #[test]
    fn unsupported_never_becomes_enosys() {
        // The kernel takes ENOSYS as "never ask again", for the whole mount.
        assert_eq!(errno_of(Kind::Unsupported), Errno::EOPNOTSUPP);
    }

    #[test]
    fn names_and_limits_keep_their_own_errno() {
        assert_eq!(errno_of(Kind::NotFound), Errno::ENOENT);
        assert_eq!(errno_of(Kind::NoAttribute), Errno::ENODATA);
        assert_eq!(errno_of(Kind::TooManyLinks), Errno::EMLINK);
        assert_eq!(errno(&Error::new(Kind::Full, "write", "x")), Errno::ENOSPC);
    }
}
