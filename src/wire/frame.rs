//! Frames on the control socket: one tag byte, a little-endian 32-bit length, the body.
//!
//! Must never allocate more than [`MAX_FRAME`] for a length the other side claims.

use std::io::{self, Read, Write};

use crate::base::{Context, Error, Kind, Result};

/// Largest body of one frame, in bytes.
pub const MAX_FRAME: usize = 1 << 20;

const JSON: u8 = b'J';
const DATA: u8 = b'D';

/// One frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A JSON document.
    Json(Vec<u8>),
    /// Raw bytes of a file.
    Data(Vec<u8>),
}

/// Write one frame and flush. [`Kind::TooBig`] beyond [`MAX_FRAME`].
pub fn write_frame(out: &mut impl Write, frame: &Frame) -> Result<()> {
    match frame {
        Frame::Json(body) => write(out, JSON, body),
        Frame::Data(body) => write(out, DATA, body),
    }
}

/// As [`write_frame`] with [`Frame::Data`], copying nothing.
pub fn write_data(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    write(out, DATA, bytes)
}

fn write(out: &mut impl Write, tag: u8, body: &[u8]) -> Result<()> {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if body.len() > MAX_FRAME {
        return Err(Error::new(Kind::TooBig, "send a control message", format!("{len} bytes")));
    }
    let mut head = [tag, 0, 0, 0, 0];
    head[1..].copy_from_slice(&len.to_le_bytes());
    let written = out.write_all(&head).and_then(|()| out.write_all(body)).and_then(|()| out.flush());
    written.io("send a control message", String::new)
}

/// Read one frame; `None` when the other side closed between frames.
pub fn read_frame(from: &mut impl Read) -> Result<Option<Frame>> {
    let mut head = [0; 5];
    if !read_head(from, &mut head).io("receive a control message", String::new)? {
        return Ok(None);
    }
    let [tag, a, b, c, d] = head;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    if len > MAX_FRAME || !matches!(tag, JSON | DATA) {
        return Err(Error::new(Kind::Invalid, "receive a control message", format!("tag {tag}, {len} bytes")));
    }
    let mut body = vec![0; len];
    from.read_exact(&mut body).io("receive a control message", String::new)?;
    Ok(Some(if tag == JSON { Frame::Json(body) } else { Frame::Data(body) }))
}

/// Fill `head`; `false` at a clean end before its first byte.
fn read_head(from: &mut impl Read, head: &mut [u8; 5]) -> io::Result<bool> {
    loop {
        match from.read(&mut head[..1]) {
            Ok(0) => return Ok(false),
            Ok(_) => return from.read_exact(&mut head[1..]).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_back_as_sent(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5)) {
            let mut wire = Vec::new();
            for body in &bodies {
                write_frame(&mut wire, &Frame::Data(body.clone())).unwrap();
            }
            let mut from = &wire[..];
            for body in bodies {
                prop_assert_eq!(read_frame(&mut from).unwrap(), Some(Frame::Data(body)));
            }
            prop_assert_eq!(read_frame(&mut from).unwrap(), None);
        }

        #[test]
        fn no_bytes_make_the_reader_panic_or_allocate_beyond_the_limit(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read_frame(&mut &bytes[..]);
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_on_both_sides() {
        let big = Frame::Json(vec![0; MAX_FRAME + 1]);
        assert_eq!(write_frame(&mut Vec::new(), &big).unwrap_err().kind(), Kind::TooBig);
        let claim = [b'J', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(read_frame(&mut &claim[..]).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn a_torn_frame_is_an_error_not_an_end() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &Frame::Json(b"{}".to_vec())).unwrap();
        for cut in 1..wire.len() {
            assert!(read_frame(&mut &wire[..cut]).is_err());
        }
    }
}
