//! Getting a connected `/dev/fuse`: mount(2) as root, the set-user-id `fusermount3` otherwise.
//!
//! Done here rather than by fuser because fuser unmounts on drop whatever is at the path by then, and
//! hides the type of the mount. Must never leave a mount behind when it fails.

use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::mount::MountFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::options::{MountOptions, SUBTYPE};
use crate::base::{Context, Error, Kind, Result};

/// The device every FUSE filesystem talks through.
pub(super) const DEVICE: &str = "/dev/fuse";

/// The program that mounts for users who are not root.
pub(super) const HELPER: &str = "fusermount3";

/// Mount at `point` (absolute, no symlinks) and return the connected device.
pub(super) fn connect(point: &Path, options: &MountOptions) -> Result<OwnedFd> {
    if is_root() { mount_as_root(point, options) } else { mount_with_helper(point, options) }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mount_as_root(point: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE).io("open", || DEVICE.into())?;
    let data = CString::new(mount_data(&device, options))
        .map_err(|e| Error::new(Kind::Invalid, "mount", point.to_string_lossy()).with_source(e))?;
    let kind = if options.subtype { format!("fuse.{SUBTYPE}") } else { "fuse".to_owned() };
    rustix::mount::mount(options.source.as_str(), point, kind.as_str(), mount_flags(options), Some(data.as_c_str()))
        .map_err(|e| Error::io("mount", point.to_string_lossy(), e.into()))?;
    Ok(device.into())
}

fn mount_data(device: &File, options: &MountOptions) -> String {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    let other = if options.allow_other { ",allow_other" } else { "" };
    format!("fd={},rootmode=40000,user_id={uid},group_id={gid},default_permissions{other}", device.as_raw_fd())
}

fn mount_flags(options: &MountOptions) -> MountFlags {
    let mut flags = MountFlags::NOATIME;
    flags.set(MountFlags::NODEV, !options.dev);
    flags.set(MountFlags::NOSUID, !options.suid);
    flags.set(MountFlags::RDONLY, options.read_only);
    flags
}

/// `fusermount3` mounts and sends the device back over the socket it finds as descriptor 0. It adds
/// `nosuid,nodev` by itself.
fn mount_with_helper(point: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair().io("make socket", String::new)?;
    let child = Command::new(HELPER)
        .args([OsStr::new("-o"), OsStr::new(&helper_options(options)), OsStr::new("--"), point.as_os_str()])
        .env("_FUSE_COMMFD", "0")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .io("start", || HELPER.into())?;
    let received = receive_descriptor(&ours);
    drop(ours);
    let output = child.wait_with_output().io("wait for", || HELPER.into())?;
    match received {
        Some(device) => Ok(device),
        None => Err(refused(point, &output.stderr)),
    }
}

fn helper_options(options: &MountOptions) -> String {
    let mut text = format!("fsname={},noatime,default_permissions", options.source);
    let flags = [(options.allow_other, ",allow_other"), (options.read_only, ",ro")];
    flags.iter().filter(|(on, _)| *on).for_each(|(_, name)| text.push_str(name));
    if options.subtype {
        text.push_str(",subtype=");
        text.push_str(SUBTYPE);
    }
    text
}

fn receive_descriptor(socket: &UnixStream) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC))
        .ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

fn refused(point: &Path, stderr: &[u8]) -> Error {
    let reason = String::from_utf8_lossy(stderr).trim().to_owned();
    Error::new(Kind::Denied, "mount", String::from_utf8_lossy(point.as_os_str().as_bytes())).with_source(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_flags_are_the_default() {
        let flags = mount_flags(&MountOptions::default());
        assert!(flags.contains(MountFlags::NODEV | MountFlags::NOSUID) && !flags.contains(MountFlags::RDONLY));
    }

    #[test]
    fn root_can_ask_for_devices_and_set_id_programs() {
        let flags = mount_flags(&MountOptions { dev: true, suid: true, ..MountOptions::default() });
        assert!(!flags.intersects(MountFlags::NODEV | MountFlags::NOSUID));
    }

    #[test]
    fn the_helper_is_told_everything_it_may_be_told() {
        let options = MountOptions { allow_other: true, read_only: true, ..MountOptions::default() };
        let text = helper_options(&options);
        assert_eq!(text, "fsname=lovage,noatime,default_permissions,allow_other,ro,subtype=lovage");
    }

    #[test]
    fn a_refusal_carries_the_helper_s_own_words() {
        let chain = refused(Path::new("/x"), b"fusermount3: no\n").chain();
        assert!(chain.ends_with("fusermount3: no"), "{chain}");
    }
}
