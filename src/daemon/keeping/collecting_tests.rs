//! Collections of what is kept: what is taken down and found again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use super::collection::{Author, Collection, CollectionId};
use crate::base::Bid;
use crate::base::hash;
use crate::kv::collect::{List, short};

pub fn id(n: u64) -> Bid {
    Bid(hash(&[&n.to_le_bytes()]))
}

pub fn shorts(ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut shorts: Vec<u64> = ids.into_iter().map(|n| short(&id(n))).collect();
    shorts.sort_unstable();
    shorts
}

pub fn keys(of: &[u8]) -> BTreeSet<Author> {
    of.iter().map(|n| [*n; 32]).collect()
}

pub fn removed(collection: &Collection, ids: impl IntoIterator<Item = u64>) -> Vec<Bid> {
    let ids: Vec<Bid> = ids.into_iter().map(id).collect();
    let mut gone = Vec::new();
    collection
        .remove(&ids, |doomed| {
            Ok({
                gone.extend_from_slice(doomed);
                0
            })
        })
        .unwrap();
    gone
}

#[test]
fn what_is_named_or_relied_upon_stays_and_all_of_it_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Collection::open(dir.path()).unwrap();
    let collection = open();
    assert!(collection.begin(shorts(0..20), keys(&[1, 2])).unwrap());
    assert!(!collection.begin(shorts(0..9), keys(&[1])).unwrap(), "one at a time");
    let era = collection.era();
    let list = List::new(era.open, collection.page(&era.open, 0).unwrap());
    assert_eq!((era.blocks, list.ids()), (20, &shorts(0..20)[..]));
    let bits = |ids: &[u64]| list.bits(&ids.iter().map(|n| id(*n)).collect::<Vec<_>>()).bytes().to_vec();
    let hear =
        |c: &Collection, n: u8, bits: &[u8]| c.hear((&[n; 32], &keys(&[n])), &era.open, (0, bits, true)).unwrap();
    assert!(hear(&collection, 1, &bits(&[1, 2])));
    collection.mark(&[id(3), id(99)]).unwrap();
    drop(collection);
    let path = dir.path().join("marks");
    std::fs::write(&path, [&std::fs::read(&path).unwrap()[..], &[1, 2]].concat()).unwrap(); // a torn end
    let collection = open();
    collection.mark(&[id(4)]).unwrap();
    let collection = {
        drop(collection);
        open()
    };
    let devices = || [("one", keys(&[1])), ("two", keys(&[2]))];
    assert_eq!(collection.owing(devices()).1, Some(vec!["two"]));
    assert!(!collection.hear((&[2; 32], &keys(&[2])), &[7; 16], (0, &[], true)).unwrap(), "another collection");
    assert!(!hear(&collection, 2, &[0; 4]), "longer than the list");
    assert!(hear(&collection, 2, &bits(&[5])));
    assert_eq!(collection.owing(devices()).1, Some(vec![]));
    assert_eq!(removed(&collection, 0..30), [0].into_iter().chain(6..20).map(id).collect::<Vec<_>>());
    collection.finish().unwrap();
    let collection = {
        drop(collection);
        open()
    };
    assert_eq!((collection.era().ended, collection.owing(devices()).1), (era.open, None));
    assert_eq!(removed(&collection, 0..30), []);
}

#[test]
fn a_device_that_was_set_back_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let collection = Collection::open(dir.path()).unwrap();
    collection.begin(shorts(0..3), keys(&[1, 2])).unwrap();
    let id = collection.era().open;
    let owing = |keys| collection.owing([((), keys)]).1.unwrap().len();
    // Two keys of one device were known when it began: one of them is of use no more.
    let hear = |n: u8, of: &[u8]| collection.hear((&[n; 32], &keys(of)), &id, (0, &[], true)).unwrap();
    assert_eq!(owing(keys(&[1, 2])), 1);
    assert!(hear(2, &[1, 2]));
    assert_eq!(owing(keys(&[1, 2])), 0);
    assert_eq!(owing(keys(&[1, 2, 3])), 1, "a later key speaks for itself");
    // It was given a third key and, before it used that, a fourth: the third never says anything.
    assert!(hear(4, &[1, 2, 3, 4]));
    assert_eq!(owing(keys(&[1, 2, 3, 4])), 0);
}

#[test]
fn a_word_in_pieces_counts_when_it_is_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let collection = Collection::open(dir.path()).unwrap();
    collection.begin(shorts(0..40), keys(&[1])).unwrap();
    let id = collection.era().open;
    let hear = |from, bits: &[u8], last| collection.hear((&[1; 32], &keys(&[1])), &id, (from, bits, last)).unwrap();
    assert!(hear(0, &[1, 2], false));
    assert!(!hear(3, &[4], true), "a gap");
    assert!(!hear(2, &[3], true), "and then all of it is said again");
    assert!(hear(0, &[1, 2], false) && hear(2, &[3, 4, 5], true));
    assert!(collection.owing([((), keys(&[1]))]).1.unwrap().is_empty());
}

#[test]
fn what_was_said_stays_said() {
    let dir = tempfile::tempdir().unwrap();
    let collection = Collection::open(dir.path()).unwrap();
    collection.begin(shorts(0..8), keys(&[1, 2])).unwrap();
    let era = collection.era().open;
    let hear = |n: u8, bits: u8| collection.hear((&[n; 32], &keys(&[n])), &era, (0, &[bits], true)).unwrap();
    assert!(hear(1, 255));
    collection.mark(&[id(3)]).unwrap(); // it is needed anyway: nothing is written
    assert!(hear(1, 0) && hear(2, 0));
    assert_eq!(removed(&collection, 0..8), []);
    drop(collection);
    let collection = Collection::open(dir.path()).unwrap();
    assert_eq!(removed(&collection, 0..8), []);
    // One that cannot be read any more is not taken for none.
    std::fs::write(dir.path().join(format!("word-{}", "01".repeat(32))), b"kcw1").unwrap();
    assert!(!collection.hear((&[1; 32], &keys(&[1])), &era, (0, &[0], true)).unwrap());
    assert_eq!(collection.era().open, CollectionId::default());
}

#[test]
fn a_word_or_a_mark_that_was_bent_ends_the_collection_and_removes_nothing() {
    for file in ["marks", "word-0101010101010101010101010101010101010101010101010101010101010101"] {
        let dir = tempfile::tempdir().unwrap();
        let collection = Collection::open(dir.path()).unwrap();
        collection.begin(shorts(0..8), keys(&[1])).unwrap();
        let era = collection.era();
        collection.mark(&[id(3)]).unwrap();
        assert!(collection.hear((&[1; 32], &keys(&[1])), &era.open, (0, &[0], true)).unwrap());
        drop(collection);
        let mut bytes = std::fs::read(dir.path().join(file)).unwrap();
        bytes[4] ^= 4;
        std::fs::write(dir.path().join(file), bytes).unwrap();
        let collection = Collection::open(dir.path()).unwrap();
        assert_eq!(collection.era().open, CollectionId::default(), "{file}");
        assert_eq!(removed(&collection, 0..8), [], "{file}");
    }
}

#[test]
fn a_list_that_cannot_be_read_ends_the_collection_and_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let collection = Collection::open(dir.path()).unwrap();
        collection.begin(shorts(0..3), keys(&[1])).unwrap();
        collection.era()
    };
    std::fs::write(dir.path().join("list"), b"kcl1nonsense").unwrap();
    let collection = Collection::open(dir.path()).unwrap();
    let era = collection.era();
    assert_eq!(era.open, CollectionId::default());
    assert!(era.ended != before.ended, "whoever answered asks anew for what is here");
    assert_eq!(removed(&collection, 0..3), []);
}
