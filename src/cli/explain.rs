//! `lovage explain PATH`: which device would serve each block of a file, and why.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::arguments::path_arg;
use super::output::{self, printable, size};
use super::session::Session;
use crate::wire::control::{Explained, ExplainedBlock, Request};

#[derive(Debug, Args)]
pub struct Explain {
    /// The file
    path: PathBuf,
}

/// Which storage members have it, and which should and do not say so.
fn boxes(block: &ExplainedBlock) -> String {
    let named = |what: &str, names: Vec<&String>| {
        let names: Vec<_> = names.into_iter().map(|name| printable(name)).collect();
        if names.is_empty() { String::new() } else { format!("; {what} {}", names.join(", ")) }
    };
    let lacking = block.boxes.iter().filter(|name| !block.kept_by.contains(name));
    let kept = named("kept by", block.kept_by.iter().collect());
    format!("{kept}{}", named("to be kept by", lacking.collect()))
}

impl Explain {
    pub fn run(&self, session: &Session<'_>) -> Outcome {
        let asked = Request::Explain { at: path_arg(&self.path) };
        let explained: Explained = output::typed(session.ask_daemon(&asked, &mut |_| Ok(()))?)?;
        if session.json() {
            return output::json(&explained);
        }
        for block in &explained.blocks {
            let from = if block.local { "here" } else { block.from.as_str() };
            let from = if from.is_empty() { "nowhere" } else { from };
            let id = block.id.get(..12).unwrap_or(&block.id);
            output::line(&format!(
                "{:>12} {:>10} {id} {:<16} {}{}",
                block.offset,
                size(block.bytes),
                printable(from),
                block.why,
                boxes(block)
            ))?;
        }
        match explained.more_blocks {
            0 => Ok(()),
            more => output::line(&format!("and {more} more blocks")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_that_have_a_block_are_told_from_those_that_should() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
        let block =
            ExplainedBlock { boxes: names(&["a", "b"]), kept_by: names(&["b", "c"]), ..ExplainedBlock::default() };
        assert_eq!(boxes(&block), "; kept by b, c; to be kept by a");
        assert_eq!(boxes(&ExplainedBlock::default()), "");
    }
}
