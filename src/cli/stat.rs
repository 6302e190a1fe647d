//! `lovage stat PATH`: one node, its blocks and where they are, recursive totals.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output::{self, moment, permissions, printable, size};
use super::session::Session;
use crate::wire::control::{BlockStat, NodeStat, Request};

#[derive(Debug, Args)]
pub struct Stat {
    /// A path inside a mount, VOLUME:/path, or /path in the default volume
    path: PathBuf,
}

impl Stat {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let node: NodeStat = session.ask_for(&Request::Stat { at: path_arg(&self.path) })?;
        if session.json() { output::json(&node) } else { output::bytes(describe(&node).as_bytes()) }
    }
}

fn describe(node: &NodeStat) -> String {
    let entry = &node.entry;
    let mut lines = vec![
        format!("path    {}:{}", node.volume, printable(&node.path.to_string())),
        format!("kind    {} {}", entry.kind, permissions(&entry.kind, entry.mode)),
        format!("size    {} ({} bytes)", size(entry.size), entry.size),
        format!("inode   {}, {} links, owner {}:{}", node.ino, entry.nlink, entry.uid, entry.gid),
        format!("changed {} (attributes {})", moment(entry.mtime_ns), moment(node.ctime_ns)),
        format!("born    {}, last read {}", moment(node.crtime_ns), moment(node.atime_ns)),
    ];
    lines.extend(entry.target.iter().map(|t| format!("target  {}", printable(&t.to_string()))));
    lines.extend(node.attributes.iter().map(|(name, value)| format!("{name} = {value}")));
    lines.extend(node.blocks.iter().map(describe_block));
    if node.more_blocks > 0 {
        lines.push(format!("and {} more blocks", node.more_blocks));
    }
    lines.join("\n") + "\n"
}

fn describe_block(block: &BlockStat) -> String {
    let place = if block.local { "here" } else { "elsewhere" };
    format!("block   {} at {} ({}) {place}", block.id, block.offset, size(block.bytes))
}
