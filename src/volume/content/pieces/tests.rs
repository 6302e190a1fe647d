//! Random edits of a file held in pieces, against a plain buffer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Write(u64, Vec<u8>),
    Punch(u64, u64),
    Truncate(u64),
    Collapse(u64, u64),
    Insert(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..300u64, proptest::collection::vec(1..=255u8, 1..60)).prop_map(|(at, d)| Op::Write(at, d)),
        2 => (0..300u64, 1..80u64).prop_map(|(at, n)| Op::Punch(at, n)),
        1 => (0..350u64).prop_map(Op::Truncate),
        1 => (0..200u64, 1..40u64).prop_map(|(at, n)| Op::Collapse(at, n)),
        1 => (0..200u64, 1..40u64).prop_map(|(at, n)| Op::Insert(at, n)),
    ]
}

fn render(pieces: &Pieces, base: &[u8], size: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, len, segment) in pieces.segments(0..size) {
        assert_eq!(at, out.len() as u64, "segments leave no gap");
        let (at, len) = (at as usize, len as usize);
        match segment {
            Segment::Base => out.extend_from_slice(&base[at..at + len]),
            Segment::Hole => out.resize(out.len() + len, 0),
            Segment::Piece { piece, skip } => match &piece.source {
                Source::Dirty(d) => out.extend_from_slice(&d[skip as usize..skip as usize + len]),
                Source::Hole => out.resize(out.len() + len, 0),
                other => panic!("{other:?}"),
            },
        }
    }
    out
}

proptest! {
    #[test]
    fn pieces_read_like_a_plain_byte_vector(ops in proptest::collection::vec(op(), 1..40), base_len in 0..200usize) {
        let base: Vec<u8> = (0..base_len).map(|i| (i % 250) as u8 + 1).collect();
        let mut pieces = Pieces::over(base_len as u64);
        let mut model = base.clone();
                for op in ops {
            match op {
                Op::Write(at, data) => {
                    let end = at as usize + data.len();
                    if model.len() < end { model.resize(end, 0); }
                    model[at as usize..end].copy_from_slice(&data);
                    pieces.write(at, &data);
                }
                Op::Punch(at, n) => {
                    let end = ((at + n) as usize).min(model.len());
                    if (at as usize) < end { model[at as usize..end].fill(0); }
                    pieces.punch(at..at + n);
                }
                Op::Truncate(size) => {
                    pieces.truncate(size);
                    model.resize(size as usize, 0);
                }
                Op::Collapse(at, n) if at + n <= model.len() as u64 => {
                    detach(&mut pieces, &base);
                    pieces.collapse(at..at + n);
                    model.drain(at as usize..(at + n) as usize);
                }
                Op::Insert(at, n) if at <= model.len() as u64 => {
                    detach(&mut pieces, &base);
                    pieces.insert_gap(at, n);
                    model.splice(at as usize..at as usize, std::iter::repeat_n(0, n as usize));
                }
                Op::Collapse(..) | Op::Insert(..) => {}
            }
            let dirty: u64 = pieces.iter().map(|(_, p)| p.dirty_len()).sum();
            prop_assert_eq!(dirty, pieces.dirty_bytes());
            let data: u64 = pieces.iter().map(|(_, p)| p.data_len()).sum();
            prop_assert_eq!(data, pieces.data_bytes());
            let unstored: Vec<u64> = pieces.iter().filter(|(_, p)| p.dirty_len() > 0).map(|(at, _)| at).collect();
            prop_assert_eq!(unstored, pieces.unstored().map(|(at, _)| at).collect::<Vec<_>>());
            prop_assert_eq!(&render(&pieces, &base, model.len() as u64), &model);
        }
    }
}

/// What the volume does before it shifts content: turn the base into pieces.
fn detach(pieces: &mut Pieces, base: &[u8]) {
    let mut below = Pieces::over(0);
    below.write(0, base);
    *pieces = below.under(pieces);
}

#[test]
fn small_appends_gather_into_one_piece() {
    let mut pieces = Pieces::default();
    for i in 0..100 {
        pieces.write(i * 10, &[7; 10]);
    }
    assert_eq!(pieces.len(), 1);
    assert_eq!(pieces.dirty_bytes(), 1000);
}
