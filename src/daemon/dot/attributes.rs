//! `lovage.pinned` and `lovage.local` of every node, and pinning by setting the first.

use std::path::Path;

use super::super::exchange::{Pin, Replica};
use super::super::service::Service;
use super::super::volumes::Known;
use super::Shown;
use crate::base::{Error, Kind, NodeId, Result};
use crate::volume::api::Ino;
use crate::volume::{FileSystem, Volume};

/// An attribute that the daemon computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// `lovage.pinned`: 1 where a pin covers the node, else 0.
    Pinned,
    /// `lovage.local`: bytes that are here, a slash, bytes in all.
    Local,
}

impl Own {
    /// By the name programs use, with or without `user.`.
    pub fn named(name: &[u8]) -> Option<Self> {
        match name.strip_prefix(b"user.").unwrap_or(name) {
            b"lovage.pinned" => Some(Self::Pinned),
            b"lovage.local" => Some(Self::Local),
            _ => None,
        }
    }

    /// Its value for a node.
    pub fn of(self, service: &Service, known: &Known, volume: &Volume, ino: Ino) -> Result<Vec<u8>> {
        match self {
            Self::Local => volume.presence(ino).map(|p| format!("{}/{}", p.local, p.size).into_bytes()),
            Self::Pinned => {
                let id = id_of(volume, ino)?;
                let replica = service.exchange.replica(known.id);
                Ok(if replica.is_some_and(|replica| is_pinned(&replica, id)) { b"1" } else { b"0" }.to_vec())
            }
        }
    }
}

/// Whether a pin names the node or a directory it shows in, near enough for the pin's depth.
fn is_pinned(replica: &Replica, id: NodeId) -> bool {
    let pins = replica.pins.list();
    if pins.iter().any(|(pin, _)| pin.id == id) {
        return true;
    }
    let path = |id| replica.volume.path_shown(id);
    !pins.is_empty() && covers(pins.iter().map(|(pin, _)| (path(pin.id), pin.levels())), &path(id))
}

fn covers(pins: impl Iterator<Item = (String, usize)>, path: &str) -> bool {
    let mut pins = pins;
    pins.any(|(pin, levels)| Path::new(path).strip_prefix(&pin).is_ok_and(|rest| rest.components().count() <= levels))
}

fn id_of(volume: &Volume, ino: Ino) -> Result<NodeId> {
    let text = volume.getxattr(ino, b"lovage.id")?;
    let id = std::str::from_utf8(&text).ok().and_then(NodeId::from_hex);
    id.ok_or_else(|| Error::new(Kind::Unsupported, "name the node", ino.to_string()))
}

impl Shown {
    /// Pin with 1, unpin with 0.
    pub(super) fn set_pinned(&self, ino: Ino, value: &[u8]) -> Result<()> {
        let service = self.service()?;
        if service.exchange.replica(self.known.id).is_none() {
            service.volumes.membership(&self.known)?; // a volume that is not shared yet can be pinned all the same
        }
        let replica = service.exchange.replica(self.known.id);
        let replica = replica.ok_or_else(|| Error::new(Kind::NotFound, "pin", &self.known.name))?;
        let id = id_of(&self.volume, ino)?;
        match value.strip_suffix(b"\n").unwrap_or(value) {
            b"1" => replica.pins.add(Pin { id, depth: None }),
            b"0" => replica.pins.remove(id).map(drop),
            _ => Err(Error::new(Kind::Invalid, "pin", "lovage.pinned takes 1 or 0")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_known_under_both_names_and_no_other() {
        assert_eq!(Own::named(b"lovage.pinned"), Some(Own::Pinned));
        assert_eq!(Own::named(b"user.lovage.local"), Some(Own::Local));
        assert_eq!(Own::named(b"user.lovage.id"), None);
        assert_eq!(Own::named(b"user.pinned"), None);
    }

    #[test]
    fn a_pin_covers_what_is_below_it_as_deep_as_it_goes() {
        let pin = |levels| std::iter::once(("/a/b".to_owned(), levels));
        assert!(covers(pin(usize::MAX), "/a/b/c/d"));
        assert!(covers(pin(1), "/a/b/c") && !covers(pin(1), "/a/b/c/d"));
        assert!(!covers(pin(usize::MAX), "/a/bc") && !covers(pin(usize::MAX), "/a"));
        assert!(covers(std::iter::once(("/".to_owned(), 5)), "/x"));
    }
}
