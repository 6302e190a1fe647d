//! Decoders of this layer, for the fuzz targets. Compiled only with the feature `fuzzing`; must never be
//! called by the program.

use bytes::Bytes;

use super::node::Node;
use super::shape::Shape;
use crate::base::Result;

/// Decode a node both ways and read all of it: entries and the sum of what it counts.
pub fn node(plain: &[u8], level: u8) -> Result<(usize, u64)> {
    let plain = Bytes::copy_from_slice(plain);
    let quick = Node::parse(plain.clone(), level);
    let node = Node::decode(plain, level, &Shape::new([7; 32]))?;
    let quick = quick?;
    for i in 0..node.len() {
        let (key, value) = node.entry(i);
        assert_eq!(node.find(&key), Some(i), "an entry is found under its key");
        assert_eq!((node.search(&key), quick.search(&key)), (Ok(i), Ok(i)), "with either search");
        assert_eq!((node.key(i), node.value(i)), (&key[..], &value[..]), "views agree");
        if level > 0 {
            node.child(i)?;
        }
    }
    Ok((node.len(), node.count()))
}
