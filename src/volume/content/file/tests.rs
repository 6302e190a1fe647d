//! Settled results taken over while a file is being changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]
use proptest::prelude::*;

use super::super::pieces::Source;
use super::*;
use crate::causal::{NodeKind, Register};

#[derive(Debug, Clone)]
enum Op {
    Write(u64, Vec<u8>),
    Punch(u64, u64),
    Resize(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..300u64, proptest::collection::vec(1..=255u8, 0..60)).prop_map(|(at, d)| Op::Write(at, d)),
        2 => (0..300u64, 1..80u64).prop_map(|(at, n)| Op::Punch(at, n)),
        2 => (0..350u64).prop_map(Op::Resize),
    ]
}

/// As the volume's operations do it.
fn apply(file: &mut File, op: &Op) {
    let old = file.size;
    match op {
        Op::Write(at, data) => {
            let end = at + data.len() as u64;
            file.pieces.write(*at, data);
            file.size = old.max(end);
            file.changed(*at..end, Time(1));
        }
        Op::Punch(at, n) => {
            let end = (at + n).min(old.max(*at));
            file.pieces.punch(*at..end);
            file.changed(*at..end, Time(1));
        }
        Op::Resize(size) => {
            if *size < old {
                file.pieces.truncate(*size);
                file.shrunk(*size);
            }
            file.size = *size;
            file.changed(old.min(*size)..*size, Time(1));
        }
    }
}

fn render(file: &File, base: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, len, segment) in file.pieces.segments(0..file.size) {
        let (at, len) = (at as usize, len as usize);
        match segment {
            Segment::Base => out.extend_from_slice(&base[at..at + len]),
            Segment::Hole => out.resize(out.len() + len, 0),
            Segment::Piece { piece, skip } => match &piece.source {
                Source::Dirty(d) => out.extend_from_slice(&d[skip as usize..skip as usize + len]),
                Source::Sealing { data, .. } => {
                    out.extend_from_slice(&data[skip as usize..skip as usize + len]);
                }
                Source::Hole => out.resize(out.len() + len, 0),
                other @ Source::Block { .. } => panic!("{other:?}"),
            },
        }
    }
    out
}

fn empty() -> Box<File> {
    let state = NodeState {
        kind: NodeKind::File,
        born: Time(0),
        links: Vec::new(),
        content: Register::default(),
        attributes: Vec::new(),
    };
    File::of(&state).unwrap()
}

proptest! {
    #[test]
    fn a_result_settled_during_changes_reads_the_same(
        rounds in proptest::collection::vec((proptest::collection::vec(op(), 0..12), proptest::collection::vec(op(), 0..12)), 1..4),
    ) {
        let (mut file, mut base, mut id) = (empty(), Vec::new(), 0);
        for (before, during) in rounds {
            before.iter().for_each(|op| apply(&mut file, op));
            file.pieces.freeze(|| { id += 1; id });
            let (settled, size) = (render(&file, &base), file.size);
            file.since = Some(Since::new(1, size));
            during.iter().for_each(|op| apply(&mut file, op));
            let (live, since) = (render(&file, &base), file.since.take().unwrap());
            file.rebase(&(Content::Empty, size), size, &since);
            prop_assert_eq!(render(&file, &settled), live);
            prop_assert_eq!(since.is_nothing(size, file.size), file.pieces.len() == 0 && file.size == size && since.low == size && since.ranges().next().is_none());
            base = settled;
        }
    }
}
