//! From a path as typed to a node in a volume.
//!
//! Must never follow a symlink stored in a volume, and gives back every reference it takes.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use std::os::unix::ffi::OsStrExt;

use super::hosted::Hosted;
use super::mounts::Mounts;
use super::volumes::{DEFAULT, Known, Volumes};
use crate::base::{Error, Kind, Result};
use crate::volume::FileSystem;
use crate::volume::api::{Attr, Ino, ROOT_INO};
use crate::wire::control::PathArg;
use crate::wire::{Advice, RawPath};

/// A path in a volume.
#[derive(Debug)]
pub struct Place {
    /// Which volume.
    pub known: Known,
    /// The volume, open.
    pub volume: Arc<dyn Hosted>,
    /// The path from the volume's root, with a leading slash.
    pub path: PathBuf,
}

/// Find what a path argument means: `VOLUME:/path`, a path inside a mount, or `/path` in the default volume.
pub fn find(volumes: &Volumes, mounts: &Mounts, at: &PathArg) -> Result<Place> {
    let typed = at.typed.as_path();
    let (known, rest) = match split_volume(at.typed.as_bytes()) {
        Some((name, rest)) => (volumes.find(name)?, rest.as_path().to_owned()),
        None => match mounts.containing(at.absolute.as_path()) {
            Some(found) => found,
            None if typed.is_absolute() => (volumes.find(DEFAULT)?, typed.to_owned()),
            None => return Err(nowhere(typed)),
        },
    };
    let path = normal(&rest)?;
    Ok(Place { volume: volumes.open(&known)?, known, path })
}

/// `NAME:/path` or `NAME:` apart; `None` for anything that is a path of the operating system.
fn split_volume(typed: &[u8]) -> Option<(&str, RawPath)> {
    let colon = typed.iter().position(|b| *b == b':')?;
    let (name, rest) = (typed.get(..colon)?, typed.get(colon + 1..)?);
    let name = std::str::from_utf8(name).ok().filter(|n| !n.is_empty() && !n.contains('/'))?;
    (rest.is_empty() || rest.starts_with(b"/")).then(|| (name, RawPath::new(rest)))
}

fn normal(path: &Path) -> Result<PathBuf> {
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    if out.as_os_str().len() > libc::PATH_MAX as usize {
        return Err(Error::new(Kind::NameTooLong, "use the path", ""));
    }
    Ok(out)
}

fn nowhere(typed: &Path) -> Error {
    let next = "Write VOLUME:/path, /path in the default volume, or a path inside a mount of the running daemon.";
    let advice = Advice::new("it is not inside a mount of this daemon", next);
    Error::new(Kind::Invalid, "find", typed.display().to_string()).with_source(advice)
}

impl Place {
    /// How people write it.
    pub fn shown(&self) -> String {
        format!("{}:{}", self.known.name, self.path.display())
    }

    /// Walk to the node. It stays referenced until the handle is dropped.
    pub fn node(&self) -> Result<Node> {
        let mut node = Node { files: self.volume.files(), ino: ROOT_INO, held: false };
        for component in self.path.components() {
            let Component::Normal(name) = component else { continue };
            let attr = node.files.lookup(node.ino, name.as_bytes()).map_err(|e| self.explain(e))?;
            node = Node { files: Arc::clone(&node.files), ino: attr.ino, held: true };
        }
        Ok(node)
    }

    fn explain(&self, error: Error) -> Error {
        match error.kind() {
            kind @ (Kind::NotFound | Kind::NotDirectory | Kind::NameTooLong) => Error::new(kind, "find", self.shown()),
            _ => error,
        }
    }
}

/// A node one can ask about.
pub struct Node {
    /// The files it belongs to.
    pub files: Arc<dyn FileSystem>,
    /// Its inode number.
    pub ino: Ino,
    held: bool,
}

impl Node {
    /// A child just listed, whose reference becomes this handle's.
    pub fn held(parent: &Self, ino: Ino) -> Self {
        Self { files: Arc::clone(&parent.files), ino, held: true }
    }

    /// Its attributes.
    pub fn attr(&self) -> Result<Attr> {
        self.files.getattr(self.ino)
    }

    /// One of the attributes lovage itself shows, as text; `None` where there is none.
    pub fn text_attribute(&self, name: &str) -> Option<String> {
        let value = self.files.getxattr(self.ino, name.as_bytes()).ok()?;
        String::from_utf8(value).ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.held {
            self.files.forget(self.ino, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_volume_prefix_is_told_from_a_path() {
        let split = |s: &'static str| split_volume(s.as_bytes()).map(|(name, rest)| (name, rest.to_string()));
        assert_eq!(split("photos:/a/b:c"), Some(("photos", "/a/b:c".into())));
        assert_eq!(split("photos:"), Some(("photos", String::new())));
        for path in ["/a:/b", "a/b:/c", "a", "a:b", ":/x", "/"] {
            assert_eq!(split(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_never_leaves_the_volume() {
        for (typed, path) in [("", "/"), ("/", "/"), ("a//b/./c", "/a/b/c"), ("../../x", "/x"), ("/a/../..", "/")] {
            assert_eq!(normal(Path::new(typed)).unwrap(), Path::new(path), "{typed}");
        }
        assert_eq!(normal(Path::new(&"x/".repeat(3000))).unwrap_err().kind(), Kind::NameTooLong);
    }
}
