//! What lies behind a cipher or a signature, for the fuzz targets: no fuzzer guesses a tag. Compiled only
//! with the feature `fuzzing`; must never be called by the program.

use super::cursor::Cursor;
use super::keystore;
use super::{Codec, frame, head};

/// Read a decrypted block; whether it was accepted: codec, plain length, range of the body.
pub fn frame(text: &[u8]) -> Option<(Codec, u32, std::ops::Range<usize>)> {
    frame::parse(text).map(|f| (f.codec, f.plain_len, f.body))
}

/// The one encoding of a block.
pub fn append_frame(codec: Codec, body: &[u8], plain_len: u32) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    frame::append(codec, body, plain_len, None, &mut out).ok()?;
    Some(out)
}

/// Read the inside of a head that was decrypted; the length of its body.
pub fn head_inside(inner: &[u8]) -> Option<usize> {
    let mut outside = Cursor::new(inner);
    let (author, writer) = (outside.array()?, outside.number()?);
    let seq = outside.array().map(u64::from_le_bytes)?;
    head::body_within(author, writer, seq, inner).map(<[u8]>::len)
}

/// Read a keystore: its header, and all of it as a decrypted body.
pub fn keystore(bytes: &[u8]) -> (bool, bool) {
    keystore::readable(bytes)
}
