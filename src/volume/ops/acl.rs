//! POSIX access control lists, as the kernel stores them in two extended attributes.
//!
//! The kernel checks permissions; here the lists are inherited from the parent's default list and kept
//! in step with the mode, as acl(5) and POSIX 1003.1e draft 17 say. Layout: a little-endian u32 version 2,
//! then entries of tag u16, permissions u16, id u32.

use crate::base::{Error, Kind, Result};
use crate::causal::{Field, NodeKind, NodeState, Stamp, Value};
use crate::volume::stat::Stat;

const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";
const VERSION: u32 = 2;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

/// Give a new node what its parent's default list prescribes; returns its permission bits.
pub(super) fn inherit(parent: &NodeState, child: &mut NodeState, perm: u16, stamp: Stamp) -> Result<u16> {
    let Some(default) = attribute(parent, DEFAULT) else { return Ok(perm) };
    let mut list = parse(default)?;
    if child.kind == NodeKind::Directory {
        child.set_attribute(Field::Xattr(DEFAULT.to_vec()), Value::Bytes(Some(default.to_vec())), stamp);
    }
    let masked = restrict(&mut list, perm);
    if is_extended(&list) {
        child.set_attribute(Field::Xattr(ACCESS.to_vec()), Value::Bytes(Some(encode(&list))), stamp);
    }
    Ok((perm & !0o777) | masked)
}

/// After a chmod: the list's owner, mask (or group) and other entries follow the mode.
pub(super) fn follow_mode(state: &mut NodeState, perm: u16, stamp: Stamp) -> Result<()> {
    let Some(bytes) = attribute(state, ACCESS) else { return Ok(()) };
    let mut list = parse(bytes)?;
    let has_mask = list.iter().any(|e| e.tag == MASK);
    for entry in &mut list {
        match entry.tag {
            USER_OBJ => entry.perm = (perm >> 6) & 7,
            MASK => entry.perm = (perm >> 3) & 7,
            GROUP_OBJ if !has_mask => entry.perm = (perm >> 3) & 7,
            OTHER => entry.perm = perm & 7,
            _ => {}
        }
    }
    state.set_attribute(Field::Xattr(ACCESS.to_vec()), Value::Bytes(Some(encode(&list))), stamp);
    Ok(())
}

/// Set an attribute if it is an access list: the mode follows it, and a list that says no more than the
/// mode is not kept. Returns whether it was handled.
pub(super) fn set(state: &mut NodeState, name: &[u8], value: &[u8], stamp: Stamp) -> Result<bool> {
    if name == DEFAULT {
        parse(value)?;
        return Ok(false);
    }
    if name != ACCESS {
        return Ok(false);
    }
    let list = parse(value)?;
    let old = Stat::of(state).perm;
    let perm = (old & !0o777) | mode_of(&list);
    if perm != old {
        state.set_attribute(Field::Mode, Value::Mode(perm), stamp);
    }
    let kept = is_extended(&list).then(|| value.to_vec());
    if kept.is_some() || attribute(state, ACCESS).is_some() {
        state.set_attribute(Field::Xattr(ACCESS.to_vec()), Value::Bytes(kept), stamp);
    } else {
        state.set_attribute(Field::Touched, Value::Nothing, stamp);
    }
    Ok(true)
}

fn attribute<'a>(state: &'a NodeState, name: &[u8]) -> Option<&'a [u8]> {
    match state.attribute(&Field::Xattr(name.to_vec())).map(|a| &a.value) {
        Some(Value::Bytes(Some(bytes))) => Some(bytes),
        _ => None,
    }
}

/// Read a list and do to it what modes do: for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(in crate::volume) fn try_access_list(bytes: &[u8]) {
    if let Ok(mut list) = parse(bytes) {
        let again = parse(&encode(&list)).ok();
        assert_eq!(again.as_ref(), Some(&list), "a list survives its encoding");
        let perm = restrict(&mut list, 0o640);
        assert!(perm <= 0o640 && mode_of(&list) == perm, "bits are only taken away");
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry>> {
    let bad = || Error::new(Kind::Invalid, "read access control list", "");
    let (version, rest) = bytes.split_first_chunk::<4>().ok_or_else(bad)?;
    if u32::from_le_bytes(*version) != VERSION || rest.len() % 8 != 0 {
        return Err(bad());
    }
    rest.chunks_exact(8)
        .map(|raw| {
            let &[t0, t1, p0, p1, i0, i1, i2, i3] = raw.first_chunk::<8>().ok_or_else(bad)?;
            Ok(Entry {
                tag: u16::from_le_bytes([t0, t1]),
                perm: u16::from_le_bytes([p0, p1]) & 7,
                id: u32::from_le_bytes([i0, i1, i2, i3]),
            })
        })
        .collect()
}

fn encode(list: &[Entry]) -> Vec<u8> {
    let mut out = VERSION.to_le_bytes().to_vec();
    for entry in list {
        out.extend_from_slice(&entry.tag.to_le_bytes());
        out.extend_from_slice(&entry.perm.to_le_bytes());
        out.extend_from_slice(&entry.id.to_le_bytes());
    }
    out
}

/// Take away what `perm` does not allow; returns the resulting permission bits.
fn restrict(list: &mut [Entry], perm: u16) -> u16 {
    let has_mask = list.iter().any(|e| e.tag == MASK);
    for entry in list.iter_mut() {
        match entry.tag {
            USER_OBJ => entry.perm &= (perm >> 6) & 7,
            MASK => entry.perm &= (perm >> 3) & 7,
            GROUP_OBJ if !has_mask => entry.perm &= (perm >> 3) & 7,
            OTHER => entry.perm &= perm & 7,
            _ => {}
        }
    }
    mode_of(list)
}

fn mode_of(list: &[Entry]) -> u16 {
    let perm = |tag| list.iter().find(|e| e.tag == tag).map(|e| e.perm);
    let group = perm(MASK).or_else(|| perm(GROUP_OBJ)).unwrap_or(0);
    (perm(USER_OBJ).unwrap_or(0) << 6) | (group << 3) | perm(OTHER).unwrap_or(0)
}

fn is_extended(list: &[Entry]) -> bool {
    list.iter().any(|e| matches!(e.tag, USER | GROUP | MASK))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn list() -> Vec<Entry> {
        let e = |tag, perm, id| Entry { tag, perm, id };
        vec![e(USER_OBJ, 7, 0), e(USER, 6, 1000), e(GROUP_OBJ, 5, 0), e(MASK, 7, 0), e(OTHER, 4, 0)]
    }

    #[test]
    fn a_list_survives_its_encoding() {
        assert_eq!(parse(&encode(&list())).unwrap(), list());
        assert_eq!(parse(b"\x02\0\0\0abc").unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn the_mask_limits_the_group_bits_of_the_mode() {
        let mut l = list();
        assert_eq!(restrict(&mut l, 0o640), 0o640);
        assert_eq!(mode_of(&list()), 0o774);
    }
}
