//! `cat`: a file's content, in pieces.

use super::super::service::Service;
use super::Sink;
use crate::base::{Error, Kind, Result};
use crate::volume::api::FileKind;
use crate::wire::control::PathArg;

/// Bytes sent at once; a frame takes more.
const PIECE: u32 = 256 << 10;

/// Send the whole file.
pub fn run(service: &Service, at: &PathArg, sink: &mut dyn Sink) -> Result<()> {
    let place = service.place(at)?;
    let node = place.node()?;
    match node.attr()?.kind {
        FileKind::File => {}
        FileKind::Directory => return Err(Error::new(Kind::IsDirectory, "read", place.shown())),
        _ => return Err(Error::new(Kind::Unsupported, "read", place.shown()).with_source("only files have content")),
    }
    let fh = node.files.open(node.ino, false, false)?;
    let sent = send(&node, sink);
    sent.and(node.files.release(fh))
}

fn send(node: &super::super::place::Node, sink: &mut dyn Sink) -> Result<()> {
    let mut offset = 0;
    loop {
        let bytes = node.files.read(node.ino, offset, PIECE)?;
        if bytes.is_empty() {
            return Ok(());
        }
        offset += bytes.len() as u64;
        sink.data(bytes)?;
    }
}
