//! A tree as one comparable value: kinds, modes, links, owners, sizes, content, targets, attributes.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Path relative to the root, and everything one can see of the node there.
pub type Snapshot = BTreeMap<PathBuf, String>;

/// Reads a whole tree. Hard links show as the first path of their group.
pub fn take(root: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    let mut links = HashMap::new();
    visit(root, Path::new(""), &mut found, &mut links);
    found
}

fn visit(root: &Path, relative: &Path, found: &mut Snapshot, links: &mut HashMap<u64, PathBuf>) {
    let full = root.join(relative);
    let meta = std::fs::symlink_metadata(&full).unwrap_or_else(|e| panic!("stat {}: {e}", full.display()));
    found.insert(relative.to_owned(), describe(&full, &meta, relative, links));
    if meta.is_dir() {
        let mut names: Vec<OsString> = std::fs::read_dir(&full).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            visit(root, &relative.join(name), found, links);
        }
    }
}

fn describe(full: &Path, meta: &std::fs::Metadata, relative: &Path, links: &mut HashMap<u64, PathBuf>) -> String {
    let mut out = format!("{:o} uid={} gid={}", meta.permissions().mode(), meta.uid(), meta.gid());
    let kind = meta.file_type();
    if !kind.is_dir() {
        let _ = write!(out, " nlink={}", meta.nlink());
        if meta.nlink() > 1 {
            let first = links.entry(meta.ino()).or_insert_with(|| relative.to_owned());
            let _ = write!(out, " same={}", first.display());
        }
    }
    if kind.is_file() {
        let data = std::fs::read(full).unwrap_or_else(|e| panic!("read {}: {e}", full.display()));
        let _ = write!(out, " size={} data={:016x}", meta.len(), digest(&data));
    } else if kind.is_symlink() {
        let _ = write!(out, " -> {}", std::fs::read_link(full).unwrap().display());
    } else if kind.is_char_device() || kind.is_block_device() {
        let _ = write!(out, " rdev={:x}", meta.rdev());
    }
    out + &attributes(full)
}

/// User and ACL attributes, sorted; the filesystem's own (`lovage.`, `system.` of others) are not content.
fn attributes(full: &Path) -> String {
    let mut names: Vec<OsString> = xattr::list(full).map(Iterator::collect).unwrap_or_default();
    names.retain(|n| n.to_string_lossy().starts_with("user.") || n.to_string_lossy().starts_with("system.posix_acl"));
    names.sort();
    names.iter().fold(String::new(), |mut out, name| {
        let value = xattr::get(full, name).ok().flatten().unwrap_or_default();
        let _ = write!(out, " {}={:016x}/{}", name.display(), digest(&value), value.len());
        out
    })
}

/// FNV-1a over 8 bytes at a time: to compare, not to protect.
pub fn digest(data: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ data.len() as u64;
    for chunk in data.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
    hash
}

/// The first paths at which two trees differ, if they do.
pub fn difference(ours: &Snapshot, theirs: &Snapshot) -> Option<String> {
    let paths = ours.keys().chain(theirs.keys().filter(|p| !ours.contains_key(*p)));
    let differences: Vec<String> = paths
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| format!("{}:\n  ours   {:?}\n  theirs {:?}", path.display(), ours.get(path), theirs.get(path)))
        .collect();
    let shown = &differences[..differences.len().min(8)];
    (!differences.is_empty()).then(|| format!("{} paths differ\n{}", differences.len(), shown.join("\n")))
}

/// Panics naming the first paths at which two trees differ.
pub fn assert_same(ours: &Snapshot, theirs: &Snapshot, what: &str) {
    if let Some(why) = difference(ours, theirs) {
        panic!("{what}: {why}");
    }
}
