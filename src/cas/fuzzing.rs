//! Decoders of this layer, for the fuzz targets. Compiled only with the feature `fuzzing`; must never be
//! called by the program.

use super::codec;
use super::manifest::Node;
use crate::base::Result;

/// Decode a manifest node and encode it again: its span and the bytes.
pub fn manifest(bytes: &[u8], level: u8) -> Result<(u64, Vec<u8>)> {
    let node = Node::decode(bytes, level)?;
    for offset in [0, node.span() / 2, node.span()] {
        let _ = node.get(node.find(offset));
    }
    Ok((node.span(), node.encoded(level)))
}

/// Decompress to exactly `len` bytes.
pub fn decompress(body: &[u8], len: usize) -> Result<Vec<u8>> {
    codec::decompress(body, len)
}
