//! `/proc/self/mountinfo`, read for the few fields that matter here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::options::SUBTYPE;
use crate::base::{Context, Result};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Device number, as `stat` shows it.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub point: PathBuf,
    /// File system type, with the subtype if it has one: `fuse.lovage`.
    pub kind: String,
    /// The source as given when mounting.
    pub source: String,
}

impl MountEntry {
    /// Whether this is a mount of ours, by its type or, where that was left plain, by its source.
    pub fn is_ours(&self) -> bool {
        match self.kind.strip_prefix("fuse") {
            Some("") => self.source == SUBTYPE,
            Some(rest) => rest.strip_prefix('.') == Some(SUBTYPE),
            None => false,
        }
    }
}

/// All mounts of this process's namespace, the topmost of each place last. Linear in their number.
pub fn mounts() -> Result<Vec<MountEntry>> {
    let text = std::fs::read("/proc/self/mountinfo").io("list mounts", || "/proc/self/mountinfo".into())?;
    Ok(text.split(|b| *b == b'\n').filter_map(parse).collect())
}

/// The topmost mount at exactly `point`.
pub(super) fn at(point: &Path) -> Result<Option<MountEntry>> {
    Ok(mounts()?.into_iter().rfind(|entry| entry.point == point))
}

/// `36 35 98:0 /root /point rw,opts - type source superopts`, with optional fields before the dash.
fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|b| *b == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let point = unescape(fields.nth(1)?);
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    Some(MountEntry {
        device: (major.parse().ok()?, minor.parse().ok()?),
        point: PathBuf::from(OsString::from_vec(point)),
        kind: String::from_utf8_lossy(&unescape(rest.next()?)).into_owned(),
        source: String::from_utf8_lossy(&unescape(rest.next()?)).into_owned(),
    })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3).and_then(octal_byte)).flatten();
        out.push(octal.unwrap_or(first));
        rest = if octal.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    out
}

fn octal_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &[u8] =
        b"61 29 0:44 / /mnt/my\\040folder rw,nosuid shared:7 master:2 - fuse.lovage lovage rw,user_id=0";

    #[test]
    fn a_line_with_optional_fields_and_escapes_is_read() {
        let entry = parse(LINE).unwrap();
        assert_eq!(entry.device, (0, 44));
        assert_eq!(entry.point, Path::new("/mnt/my folder"));
        assert_eq!((entry.kind.as_str(), entry.source.as_str()), ("fuse.lovage", "lovage"));
        assert!(entry.is_ours());
    }

    #[test]
    fn only_our_type_or_our_source_is_ours() {
        let with = |kind: &str, source: &str| MountEntry {
            kind: kind.to_owned(),
            source: source.to_owned(),
            ..parse(LINE).unwrap()
        };
        assert!(with("fuse.lovage", "anything").is_ours());
        assert!(with("fuse", "lovage").is_ours());
        assert!(!with("fuse", "sshfs").is_ours());
        assert!(!with("fuse.lovage2", "lovage").is_ours());
        assert!(!with("ext4", "lovage").is_ours());
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(mounts().unwrap().iter().any(|entry| entry.point == Path::new("/")));
    }

    proptest! {
        #[test]
        fn any_line_parses_or_is_skipped(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }

        #[test]
        fn what_is_not_escaped_stays(field in "[a-z/]{0,40}") {
            prop_assert_eq!(unescape(field.as_bytes()), field.into_bytes());
        }
    }
}
