//! What a mount can be asked for. Data and defaults only.

use std::time::Duration;

/// The file system type shown in `/proc/self/mountinfo` is `fuse.` followed by this.
pub const SUBTYPE: &str = "lovage";

/// How to mount. The defaults are right for a person's main mount.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // the flags of mount(8), one to one
pub struct MountOptions {
    /// Shown as the source of the mount (`df`, `mount`). No commas.
    pub source: String,
    /// Show the type as `fuse.lovage`, by which stale mounts are recognised. Off: plain `fuse`.
    pub subtype: bool,
    /// Refuse changes in the kernel already.
    pub read_only: bool,
    /// Let users other than the one who mounts in (permissions still apply). A user who is not root needs
    /// `user_allow_other` in `/etc/fuse.conf`.
    pub allow_other: bool,
    /// Let device nodes work. Only root may ask; meant for a root-owned main mount.
    pub dev: bool,
    /// Honour set-user-id and set-group-id programs. Only root may ask.
    pub suid: bool,
    /// Threads that take requests from the kernel, at least 1.
    pub threads: usize,
    /// Give each of these threads its own descriptor of `/dev/fuse`.
    pub clone_fd: bool,
    /// Threads for requests that wait for a disk or a network; requests beyond them queue.
    pub workers: usize,
    /// Hand reads to the workers too, so that a slow one holds up nobody else.
    pub pooled_reads: bool,
    /// A pooled read that waits longer than this is answered with an I/O error; and it ends at once when its
    /// caller is signalled.
    pub read_deadline: Duration,
    /// Have access lists (acl(5)) enforced. The filesystem must inherit default lists and keep list and mode
    /// in step. Off: asking for lists fails, so that none seem set which nobody enforces.
    pub acl: bool,
    /// Hear of every `close` ([`flush`](crate::volume::FileSystem::flush)), at one request for each, so that
    /// close(2) can report writes that failed late. Without it closes are heard of as `release`, soon after.
    pub tell_closes: bool,
    /// How long the kernel may trust names and attributes. Long, since all changes come through us and
    /// others are announced with [`Invalidate`](crate::volume::Invalidate).
    pub lifetime: Duration,
    /// Read ahead this far in sequential reads, in KiB. Beyond 128 only root can set it.
    pub read_ahead_kib: u32,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            source: SUBTYPE.to_owned(),
            subtype: true,
            read_only: false,
            allow_other: false,
            dev: false,
            suid: false,
            threads: 4,
            clone_fd: false,
            workers: 8,
            pooled_reads: false,
            read_deadline: Duration::from_secs(60),
            acl: false,
            tell_closes: true,
            lifetime: Duration::from_secs(3600),
            read_ahead_kib: 1024,
        }
    }
}
