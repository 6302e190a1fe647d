//! `stat`: one node with its blocks, where they are, and recursive totals.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::dot::Own;
use super::super::place::Node;
use super::super::service::Service;
use super::super::volumes::Known;
use super::list::entry;
use crate::base::Result;
use crate::volume::Volume;
use crate::volume::api::FileKind;
use crate::wire::RawPath;
use crate::wire::control::{NodeStat, PathArg};

/// Blocks shown one by one; a terabyte has millions.
const MOST_BLOCKS: usize = 1000;

/// The attributes lovage shows on its nodes.
const ATTRIBUTES: [&str; 7] = [
    "lovage.id",
    "lovage.pinned",
    "lovage.local",
    "lovage.dir.rbytes",
    "lovage.dir.rfiles",
    "lovage.dir.rsubdirs",
    "lovage.dir.rctime",
];

/// Everything about one node.
pub fn run(service: &Service, at: &PathArg) -> Result<NodeStat> {
    let place = service.place(at)?;
    let node = place.node()?;
    let attr = node.attr()?;
    let (blocks, more_blocks) = match attr.kind {
        FileKind::File => place.volume.blocks(node.ino, MOST_BLOCKS)?,
        _ => (Vec::new(), 0),
    };
    let name = place.path.file_name().map_or_else(|| RawPath::new("/"), |n| RawPath::from(Path::new(n)));
    Ok(NodeStat {
        entry: entry(&node, name, &attr)?,
        ino: node.ino,
        atime_ns: attr.atime.0,
        ctime_ns: attr.ctime.0,
        crtime_ns: attr.crtime.0,
        attributes: attributes(service, &place.known, place.volume.volume(), &node),
        volume: place.known.name,
        path: place.path.into(),
        blocks,
        more_blocks,
    })
}

fn attributes(service: &Service, known: &Known, volume: &Volume, node: &Node) -> BTreeMap<String, String> {
    let value = |name: &str| match Own::named(name.as_bytes()) {
        Some(own) => own.of(service, known, volume, node.ino).ok().and_then(|text| String::from_utf8(text).ok()),
        None => node.text_attribute(name),
    };
    ATTRIBUTES.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect()
}
