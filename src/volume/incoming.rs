//! What comes from others is checked here, whole, before anything of it is used.
//!
//! Must let nothing through that this volume could not have made itself: bounded counts, sorted and unique
//! registers, dots that the sender's vector covers, valid content.

use super::content::decode;
use super::row::{decode_state, encode_state};
use crate::base::{Error, Kind, NodeId, Result, SymlinkTarget, limits};
use crate::cas::manifest::Content;
use crate::causal::{Attribute, Dot, Field, NodeKind, NodeState, Register, Value, Vector, Version};

/// Concurrent values of one register at most; each comes from a writer of its own.
const MAX_VALUES: usize = 4096;
/// Attributes of one node at most.
const MAX_ATTRIBUTES: usize = 8192;
/// Writers a vector may name.
const MAX_WRITERS: usize = 4096;

/// A vector from a head.
pub(super) fn check_vector(vector: &Vector) -> Result<()> {
    let bounded = vector.iter().count() <= MAX_WRITERS && vector.iter().all(|(_, seq)| seq < u64::MAX / 2);
    if bounded { Ok(()) } else { Err(refused(NodeId::ROOT, "vector out of bounds")) }
}

/// Decode and check one entry of another device's tree, which knows `vector`.
pub(super) fn check_node(key: &[u8], value: &[u8], vector: &Vector) -> Result<(NodeId, NodeState)> {
    let id = NodeId::from_slice(key).ok_or_else(|| refused(NodeId::ROOT, "a key is no node id"))?;
    let state = decode_state(value)?;
    if encode_state(&state)? != value {
        return Err(refused(id, "not encoded canonically"));
    }
    check(id, &state, vector).map_err(|why| refused(id, why))?;
    Ok((id, state))
}

fn refused(id: NodeId, why: &'static str) -> Error {
    Error::new(Kind::Corrupt, "take in a node", id.to_string()).with_source(why)
}

type Check = std::result::Result<(), &'static str>;

fn check(id: NodeId, state: &NodeState, vector: &Vector) -> Check {
    if state.kind.is_local() {
        return Err("device nodes stay where they are");
    }
    match id {
        NodeId::ROOT if state.kind != NodeKind::Directory || !state.links.is_empty() => return Err("not a root"),
        NodeId::TRASH | NodeId::LOST => return Err("a reserved id"),
        _ => {}
    }
    if state.links.len() > limits::MAX_LINKS as usize || !state.links.is_sorted_by(|a, b| a.0 < b.0) {
        return Err("links out of bounds");
    }
    for (_, register) in &state.links {
        check_register(register, vector)?;
        if register.0.is_empty() {
            return Err("a link without a place");
        }
    }
    check_register(&state.content, vector)?;
    state.content.0.iter().try_for_each(|(_, version)| check_version(state.kind, version))?;
    check_attributes(&state.attributes, vector)
}

fn covered(dot: Dot, vector: &Vector) -> bool {
    dot.seq > 0 && vector.covers(dot)
}

fn check_register<T>(register: &Register<T>, vector: &Vector) -> Check {
    let sorted = register.0.is_sorted_by(|a, b| a.0 < b.0);
    let known = register.0.iter().all(|(dot, _)| covered(*dot, vector));
    if sorted && known && register.0.len() <= MAX_VALUES { Ok(()) } else { Err("a register out of bounds") }
}

fn check_version(kind: NodeKind, version: &Version) -> Check {
    let fits = match kind {
        NodeKind::File => match decode(&version.data) {
            Ok(Content::Inline(bytes)) => bytes.len() as u64 <= version.size,
            Ok(_) => true,
            Err(_) => false,
        },
        NodeKind::Symlink => SymlinkTarget::new(&version.data).is_ok() && version.size == version.data.len() as u64,
        _ => false,
    };
    if fits && version.size <= limits::MAX_FILE { Ok(()) } else { Err("content out of bounds") }
}

fn check_attributes(attributes: &[Attribute], vector: &Vector) -> Check {
    let order = |a: &Attribute| (a.field.clone(), a.stamp, a.dot);
    if attributes.len() > MAX_ATTRIBUTES || !attributes.is_sorted_by(|a, b| order(a) < order(b)) {
        return Err("attributes out of bounds");
    }
    for attribute in attributes {
        let fits = match (&attribute.field, &attribute.value) {
            (Field::Mode, Value::Mode(mode)) => *mode <= 0o7777,
            (Field::Owner, Value::Owner(..))
            | (Field::Touched, Value::Nothing)
            | (Field::Atime | Field::Mtime, Value::Time(_)) => true,
            (Field::Xattr(name), Value::Bytes(value)) => {
                !name.is_empty()
                    && name.len() <= limits::MAX_XATTR_NAME
                    && !name.contains(&0)
                    && value.as_ref().is_none_or(|v| v.len() <= limits::MAX_XATTR_VALUE)
            }
            _ => false,
        };
        if !fits || !covered(attribute.dot, vector) {
            return Err("an attribute out of bounds");
        }
    }
    Ok(())
}
