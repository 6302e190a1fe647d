//! Extended attributes, ours (`lovage.*`, computed) and everybody's.

use crate::base::{Error, Kind, Result, limits};
use crate::causal::{Attribute, Field, NodeState, Value};
use crate::volume::Volume;
use crate::volume::api::{Ino, XattrMode};
use crate::volume::inode::Inode;
use crate::volume::ops::acl;

/// Computed attributes live under this prefix (programs also see it as `user.lovage.*`).
const OURS: &[u8] = b"lovage.";

impl Volume {
    pub(super) fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let inode = self.inode(ino)?;
        if let Some(own) = ours(name) {
            return self.computed(&inode, own);
        }
        let inner = inode.inner.lock();
        let attribute = inner.state.attribute(&Field::Xattr(name.to_vec())).filter(|a| !self.is_foreign_right(a));
        match attribute.map(|a| &a.value) {
            Some(Value::Bytes(Some(value))) => Ok(value.clone()),
            _ => Err(missing(name)),
        }
    }

    pub(super) fn set_xattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.begin_change()?;
        check(name, value)?;
        let inode = self.inode(ino)?;
        self.own(&inode)?;
        let mut ns = self.ns.lock();
        let mut inner = inode.inner.lock();
        let field = Field::Xattr(name.to_vec());
        let there = matches!(inner.state.attribute(&field).map(|a| &a.value), Some(Value::Bytes(Some(_))));
        match mode {
            XattrMode::Create if there => return Err(Error::new(Kind::Exists, "set attribute", printable(name))),
            XattrMode::Replace if !there => return Err(missing(name)),
            _ => {}
        }
        if total(&inner.state) + name.len() + value.len() > limits::MAX_XATTRS {
            return Err(Error::new(Kind::Full, "set attribute", printable(name)));
        }
        let (_, stamp) = ns.tick(&*self.clock);
        if !acl::set(&mut inner.state, name, value, stamp)? {
            inner.state.set_attribute(field, Value::Bytes(Some(value.to_vec())), stamp);
        }
        ns.touch(&inode, &mut inner);
        drop(inner);
        drop(ns);
        self.nudge();
        Ok(())
    }

    pub(super) fn list_xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        let inode = self.inode(ino)?;
        let inner = inode.inner.lock();
        let shown = inner.state.shown_attributes().filter(|a| !self.is_foreign_right(a));
        Ok(shown.filter_map(xattr).map(|(name, _)| name.to_vec()).collect())
    }

    pub(super) fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        self.begin_change()?;
        let inode = self.inode(ino)?;
        self.own(&inode)?;
        let mut ns = self.ns.lock();
        let mut inner = inode.inner.lock();
        if !present(&inner.state).any(|(n, _)| n == name) {
            return Err(missing(name));
        }
        let (_, stamp) = ns.tick(&*self.clock);
        inner.state.set_attribute(Field::Xattr(name.to_vec()), Value::Bytes(None), stamp);
        ns.touch(&inode, &mut inner);
        drop(inner);
        drop(ns);
        self.nudge();
        Ok(())
    }

    /// Rights on a machine are given on that machine: what another device's root says of them does not show here.
    fn is_foreign_right(&self, a: &Attribute) -> bool {
        let Field::Xattr(name) = &a.field else { return false };
        (name.starts_with(b"security.") || name.starts_with(b"trusted.")) && !self.is_own(a.stamp.writer)
    }

    /// `lovage.id`, and for directories the recursive totals.
    fn computed(&self, inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
        let number = |n: u64| Ok(n.to_string().into_bytes());
        match name {
            b"id" => Ok(inode.id.to_string().into_bytes()),
            b"dir.rbytes" if inode.is_dir() => number(self.totals_of(inode.id)?.rbytes),
            b"dir.rfiles" if inode.is_dir() => number(self.totals_of(inode.id)?.rfiles),
            b"dir.rsubdirs" if inode.is_dir() => number(self.totals_of(inode.id)?.rsubdirs),
            b"dir.rctime" if inode.is_dir() => {
                let nanos = self.totals_of(inode.id)?.rctime;
                Ok(format!("{}.{:09}", nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000)).into_bytes())
            }
            _ => Err(missing(name)),
        }
    }
}

fn ours(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(b"user.").unwrap_or(name).strip_prefix(OURS)
}

fn check(name: &[u8], value: &[u8]) -> Result<()> {
    if ours(name).is_some() {
        return Err(Error::new(Kind::NotPermitted, "set attribute", printable(name)));
    }
    if name.is_empty() || name.len() > limits::MAX_XATTR_NAME {
        return Err(Error::new(Kind::Range, "set attribute", printable(name)));
    }
    if value.len() > limits::MAX_XATTR_VALUE {
        return Err(Error::new(Kind::TooBig, "set attribute", printable(name)));
    }
    Ok(())
}

fn present(state: &NodeState) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
    state.shown_attributes().filter_map(xattr)
}

/// Name and value of an attribute that is there.
fn xattr(a: &Attribute) -> Option<(&[u8], &[u8])> {
    match (&a.field, &a.value) {
        (Field::Xattr(name), Value::Bytes(Some(value))) => Some((name, value)),
        _ => None,
    }
}

fn total(state: &NodeState) -> usize {
    present(state).map(|(name, value)| name.len() + value.len()).sum()
}

fn missing(name: &[u8]) -> Error {
    Error::new(Kind::NoAttribute, "get attribute", printable(name))
}

fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
