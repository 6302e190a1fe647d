//! Golden bytes of the volume's records: a difference is a change of format, and stores written before it
//! would not open. `LOVAGE_BLESS=1` rewrites `golden.txt` after a deliberate change, which gives the records
//! another version there and in `docs/format.md`.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use super::author::Standing;
use super::content::encode;
use super::heads::Heads;
use super::journal::{Batch, Beside, Change, Over, Pieces};
use super::namespace::Roots;
use super::news::News;
use super::row::{Row, Totals, decode_state, encode_state};
use super::sealing::{Checkpoint, HeadBody};
use crate::base::port::Time;
use crate::base::{Bid, Name, NodeId};
use crate::cas::manifest::Content;
use crate::causal::{
    Attribute, Displaced, Dot, Field, LinkId, Lived, Lives, NodeKind, NodeState, Odd, Place, Register, Shown, Stamp,
    Value, Vector, Version,
};
use crate::seal::Ref;
use crate::tree::Root;

/// The version all these records have together.
const VERSION: &str = "volume records 3";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").unwrap();
        text
    })
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn stamp(n: i64) -> Stamp {
    Stamp { time: Time(1_767_225_600_000_000_000 + n), writer: 3 }
}

fn dot(seq: u64) -> Dot {
    Dot { writer: 3, seq }
}

fn reference(n: u8, len: u32) -> Ref {
    Ref { bid: Bid([n; 32]), siv: [n ^ 0xff; 32], epoch: 0, len }
}

fn root(n: u8) -> Root {
    Root { reference: Some(reference(n, 4096)), level: 1, logical: [n; 32], count: 300 }
}

fn vector() -> Vector {
    let mut vector = Vector::default();
    vector.raise(Dot { writer: 0, seq: 5 });
    vector.raise(Dot { writer: 3, seq: 70_000 });
    vector
}

fn place(parent: NodeId, text: &str, from: Option<(NodeId, Name)>) -> Place {
    Place { parent, name: name(text), stamp: stamp(1), from }
}

fn attribute(field: Field, value: Value) -> Attribute {
    Attribute { field, value, stamp: stamp(2), dot: dot(9) }
}

/// A file with two links, one of them renamed, two versions and every attribute.
fn file() -> NodeState {
    let other: LinkId = 77;
    let from = Some((NodeId::ROOT, name("before")));
    let version = |n: u64, content: &Content| Version {
        data: encode(content, 100).unwrap(),
        size: 4096 * n,
        mtime: Time(-1),
        stamp: stamp(3),
    };
    NodeState {
        kind: NodeKind::File,
        born: Time(1_767_225_600_000_000_000),
        links: vec![
            (0, Register(vec![(dot(1), place(NodeId::ROOT, "notes.txt", None))])),
            (other, Register(vec![(dot(2), place(NodeId([9; 16]), "\u{e4}", from))])),
        ],
        content: Register(vec![
            (dot(3), version(1, &Content::Single(reference(1, 4096)))),
            (Dot { writer: 4, seq: 1 }, version(2, &Content::Tree { root: reference(2, 300), level: 1 })),
        ]),
        attributes: vec![
            attribute(Field::Mode, Value::Mode(0o4755)),
            attribute(Field::Owner, Value::Owner(1000, 100)),
            attribute(Field::Atime, Value::Time(Time(5))),
            attribute(Field::Mtime, Value::Time(Time(-5))),
            attribute(Field::Touched, Value::Nothing),
            attribute(Field::Xattr(b"user.gone".to_vec()), Value::Bytes(None)),
            attribute(Field::Xattr(b"user.kept".to_vec()), Value::Bytes(Some(b"value".to_vec()))),
        ],
    }
}

fn bare(kind: NodeKind) -> NodeState {
    NodeState { kind, born: Time(0), links: Vec::new(), content: Register::default(), attributes: Vec::new() }
}

fn pieces() -> Pieces {
    let list = vec![
        (0, 4096, Some((reference(3, 5000), 904, false))),
        (4096, 1 << 20, None),
        (1 << 21, 7, Some((reference(4, 7), 0, true))),
    ];
    let over = Some(Over { data: vec![1, 2], size: 5, dots: vec![dot(4)] });
    Pieces { id: NodeId([8; 16]), restate: true, base_end: 10, size: 3 << 20, mtime: Time(77), list, over }
}

fn totals() -> Totals {
    Totals { rbytes: 1 << 33, rfiles: 300, rsubdirs: 2, rctime: -3 }
}

fn row(kind: NodeKind, totals: Option<Totals>) -> Vec<u8> {
    let row = Row::of(NodeId([8; 16]), 77, &NodeState { kind, ..file() }, 2, totals);
    assert_eq!(Row::decode(&row.encode().unwrap()).unwrap(), row);
    row.encode().unwrap()
}

fn state(state: &NodeState) -> Vec<u8> {
    let bytes = encode_state(state).unwrap();
    assert_eq!(decode_state(&bytes).unwrap(), *state);
    bytes
}

/// A conflict copy, a merged directory, a hidden twin.
fn odd() -> Odd {
    let name_of = |version| Shown { link: 77, parent: NodeId::ROOT, name: name("x"), version };
    Odd {
        shows: vec![name_of(None), name_of(Some(dot(3)))],
        merged: Some(NodeId([5; 16])),
        also: vec![(77, vec![(NodeId([4; 16]), 0)])],
        wants: vec![(NodeId::ROOT, name("x"))],
    }
}

fn shown() -> Displaced {
    let mut table = Displaced::default();
    table.insert(NodeId([8; 16]), odd());
    table
}

fn heads() -> Heads {
    let mut heads = Heads::default();
    heads.remember(&[1; 32], 7, &[2; 32], false);
    heads
}

fn standing() -> Standing {
    let (mut lives, mut lived) = (Lives::default(), Lived::default());
    lives.begin([1; 8], 0, 1_700_000_000);
    lives.begin([2; 8], 300, 1_700_003_600);
    lived.set(3, Some(([2; 8], 1_700_003_600)));
    Standing { writer: 3, incarnation: 7, former: vec![1], lives, lived }
}

fn batch() -> Batch {
    let changes = vec![
        Change::Node { id: NodeId([8; 16]), state: Some(bare(NodeKind::Fifo)), keep_pieces: true },
        Change::Node { id: NodeId([7; 16]), state: None, keep_pieces: false },
        Change::Pieces(pieces()),
    ];
    let beside = Some(Beside { shown: shown(), heads: heads(), shared: true, standing: standing() });
    Batch { vector: vector(), clock: Time(1 << 60), changes, beside }
}

fn checkpoint() -> Checkpoint {
    let roots = Roots {
        raw: root(1),
        local: Root { reference: None, level: 0, logical: [0; 32], count: 0 },
        index: root(2),
        displaced: root(3),
        root_subdirs: 4,
        totals: totals(),
        seq: 12,
        head: [6; 32],
    };
    Checkpoint {
        roots,
        vector: vector(),
        clock: Time(9),
        standing: standing(),
        carried: vec![pieces()],
        head: vec![1, 2, 3],
        garbage: 1 << 40,
        heads: heads(),
        shared: true,
    }
}

/// Every record by name. Contents of versions first: the states contain them.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |value: postcard::Result<Vec<u8>>| value.unwrap();
    let head = HeadBody {
        vector: vector(),
        raw: root(1),
        index: root(2),
        displaced: root(3),
        root_subdirs: 4,
        totals: totals(),
        previous: [5; 32],
        time: Time(-1),
        lives: standing().lives,
        lived: standing().lived,
        news: Some(News {
            from: root(4),
            changes: [(NodeId([8; 16]), None), (NodeId([9; 16]), Some(vec![1, 2]))].into(),
        }),
    };
    vec![
        ("content-inline", encode(&Content::Inline(b"small".to_vec()), 5).unwrap()),
        ("content-single", encode(&Content::Single(reference(1, 4096)), 4096).unwrap()),
        ("content-tree", encode(&Content::Tree { root: reference(2, 300), level: 1 }, 1 << 33).unwrap()),
        ("state-file", state(&file())),
        ("state-directory", state(&bare(NodeKind::Directory))),
        ("state-symlink", state(&bare(NodeKind::Symlink))),
        ("state-fifo", state(&bare(NodeKind::Fifo))),
        ("state-socket", state(&bare(NodeKind::Socket))),
        ("state-char", state(&bare(NodeKind::CharDevice(0x0103)))),
        ("state-block", state(&bare(NodeKind::BlockDevice(0x0800)))),
        ("row-file", row(NodeKind::File, None)),
        ("row-directory", row(NodeKind::Directory, Some(totals()))),
        ("journal", plain(postcard::to_stdvec(&batch()))),
        ("checkpoint", plain(postcard::to_stdvec(&checkpoint()))),
        ("names", plain(postcard::to_stdvec(&odd()))),
        ("head-body", plain(postcard::to_stdvec(&head))),
    ]
}

#[test]
fn the_volumes_records_are_what_stores_written_before_hold() {
    let mut text = format!("version: {VERSION}\n");
    for (name, bytes) in records() {
        writeln!(text, "{name}: {}", hex(&bytes)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/volume/golden.txt");
    if std::env::var_os("LOVAGE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    for (kept, made) in kept.lines().zip(text.lines()) {
        assert_eq!(kept, made, "a record changed: raise VERSION, write the change down in docs/format.md, bless");
    }
    assert_eq!(kept.lines().count(), text.lines().count(), "a record was added or dropped");
}

#[test]
fn the_format_page_names_the_version_of_the_records() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md")).unwrap();
    assert!(page.contains(&format!("`{VERSION}`")), "docs/format.md does not say `{VERSION}`");
}

#[test]
fn golden_records_open_as_what_they_were() {
    let kept = include_str!("golden.txt");
    let bytes = |wanted: &str| -> Vec<u8> {
        let line = kept.lines().find_map(|l| l.strip_prefix(wanted)?.strip_prefix(": ")).unwrap();
        (0..line.len() / 2).map(|i| u8::from_str_radix(&line[2 * i..2 * i + 2], 16).unwrap()).collect()
    };
    assert_eq!(decode_state(&bytes("state-file")).unwrap(), file());
    let opened: Checkpoint = postcard::from_bytes(&bytes("checkpoint")).unwrap();
    assert_eq!((opened.roots, opened.vector, opened.carried.len()), (checkpoint().roots, vector(), 1));
    let opened: Batch = postcard::from_bytes(&bytes("journal")).unwrap();
    assert_eq!((opened.clock, opened.changes.len()), (Time(1 << 60), 3));
    let opened: HeadBody = postcard::from_bytes(&bytes("head-body")).unwrap();
    assert_eq!((opened.raw, opened.previous), (root(1), [5; 32]));
    assert_eq!(super::content::decode(&bytes("content-single")).unwrap(), Content::Single(reference(1, 4096)));
}
