//! Invites: links as typed by people, proofs, the book, answers, hostile bytes.

use super::*;
use crate::base::port::Seeded;
use crate::base::{Kind, VolumeId};
use crate::seal::EpochSecret;
use crate::seal::membership::Role;

const VOLUME: VolumeId = VolumeId([7; 16]);
const INVITER: [u8; 32] = [1; 32];
const JOINER: [u8; 32] = [2; 32];

fn link() -> Link {
    let addresses = vec!["/ip4/192.0.2.7/udp/4001/quic-v1".to_owned(), "/ip4/192.0.2.7/tcp/4001".to_owned()];
    Link::new(VOLUME, INVITER, addresses, Role::Writer, 1000, &Seeded::new(1))
}

fn request(link: &Link) -> Request {
    Request {
        invite: link.verifier().id(),
        volume: VOLUME,
        author: [3; 32],
        box_key: [4; 32],
        name: "laptop".to_owned(),
    }
}

fn proven(link: &Link) -> Vec<u8> {
    request(link).encode(&link.verifier(), &JOINER, &INVITER).unwrap()
}

fn book(link: &Link) -> Book {
    let mut book = Book::default();
    book.add(link.verifier(), link.role, link.expires, 0);
    book
}

#[test]
fn a_link_comes_back_as_given_in_either_case_and_with_spaces_around() {
    let link = link();
    for text in [link.text(), link.text().to_uppercase(), format!("  {}\n", link.text())] {
        let again = Link::parse(&text).unwrap();
        assert_eq!((again.volume, again.inviter, again.role, again.expires), (VOLUME, INVITER, Role::Writer, 1000));
        assert_eq!(again.addresses, link.addresses);
        assert_eq!(again.verifier(), link.verifier());
    }
}

#[test]
fn a_golden_link_keeps_its_text() {
    assert_eq!(link().text(), GOLDEN_LINK);
}

const GOLDEN_LINK: &str = "lovage://join/aedqobyha4dqobyha4dqobyha4dqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcanb4gcl3j4fc7pqlotuen4pxqsh3ubj7xodshhblkpucemvri7us4a6qayaaaaaaaaad4xws4buf4ytsmrogaxdelrxf52wi4bpgqydamjpof2wsyznoyyrol3joa2c6mjzgixdalrsfy3s65ddoaxtimbqghblw4tu";

#[test]
fn a_mistyped_or_cut_link_is_told_as_such() {
    let text = link().text();
    for at in SCHEME.len()..text.len() {
        let mut letters: Vec<char> = text.chars().collect();
        letters[at] = if letters[at] == 'q' { 'r' } else { 'q' };
        let error = Link::parse(&letters.into_iter().collect::<String>()).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.chain().contains("mistyped"));
        assert!(Link::parse(&text[..at]).is_err());
    }
    assert!(Link::parse("https://example.org/join/abc").is_err());
    assert!(Link::parse("").is_err());
    assert!(Link::parse("lovage://join/ä").is_err());
}

#[test]
fn debug_shows_no_secret() {
    let link = link();
    let shown = format!("{link:?} {:?}", link.verifier());
    let secret: String = link.verifier().0.iter().map(|b| format!("{b:02x}")).collect();
    assert!(!shown.contains(&secret) && shown.contains("Verifier(secret)"));
}

#[test]
fn the_holder_of_the_link_is_let_in_once_and_may_ask_again_for_its_answer() {
    let link = link();
    let mut book = book(&link);
    let bytes = proven(&link);
    let (asked, pending) = book.judge(&bytes, &JOINER, &INVITER, 999).unwrap();
    assert_eq!((asked, pending.role), (request(&link), Role::Writer));
    let mut book = Book::from_bytes(&book.bytes()).unwrap();
    assert!(book.judge(&bytes, &JOINER, &INVITER, 999).is_ok());
    let other = request(&link).encode(&link.verifier(), &[9; 32], &INVITER).unwrap();
    assert_eq!(book.judge(&other, &[9; 32], &INVITER, 999).unwrap_err(), Refusal::Used);
    book.release(&link.verifier());
    assert!(book.judge(&other, &[9; 32], &INVITER, 999).is_ok());
}

#[test]
fn an_expired_an_unknown_and_a_stolen_proof_are_told_apart() {
    let link = link();
    let mut book = book(&link);
    assert_eq!(book.judge(&proven(&link), &JOINER, &INVITER, 1000).unwrap_err(), Refusal::Expired);
    let foreign = Link::new(VOLUME, INVITER, vec![], Role::Writer, 1000, &Seeded::new(2));
    assert_eq!(book.judge(&proven(&foreign), &JOINER, &INVITER, 0).unwrap_err(), Refusal::Unknown);
    assert_eq!(book.judge(b"nonsense", &JOINER, &INVITER, 0).unwrap_err(), Refusal::Unknown);
    // A proof overheard between two peers is worth nothing between others.
    assert_eq!(book.judge(&proven(&link), &[9; 32], &INVITER, 0).unwrap_err(), Refusal::Proof);
    assert_eq!(book.judge(&proven(&link), &JOINER, &[9; 32], 0).unwrap_err(), Refusal::Proof);
    assert!(book.is_open(999) && !book.is_open(1000));
}

#[test]
fn five_wrong_proofs_end_an_invite() {
    let link = link();
    let mut book = book(&link);
    let mut wrong = proven(&link);
    *wrong.last_mut().unwrap() ^= 1;
    for _ in 0..5 {
        assert_eq!(book.judge(&wrong, &JOINER, &INVITER, 0).unwrap_err(), Refusal::Proof);
    }
    assert_eq!(book.judge(&proven(&link), &JOINER, &INVITER, 0).unwrap_err(), Refusal::Exhausted);
    assert!(!book.is_open(0));
}

#[test]
fn the_book_forgets_a_day_after_the_end_and_keeps_a_bounded_number() {
    let mut book = book(&link());
    let new = |n| Link::new(VOLUME, INVITER, vec![], Role::Reader, 90_000, &Seeded::new(n));
    book.add(new(5).verifier(), Role::Reader, 90_000, 87_400);
    assert_eq!(book.judge(&proven(&link()), &JOINER, &INVITER, 0).unwrap_err(), Refusal::Unknown);
    for n in 10..1000 {
        book.add(new(n).verifier(), Role::Reader, 90_000, 87_400);
    }
    assert!(Book::from_bytes(&book.bytes()).is_some());
}

fn welcome() -> Welcome {
    Welcome {
        writer: 5,
        role: Role::Writer,
        genesis: vec![1; 100],
        membership: vec![2; 1000],
        epochs: vec![(0, EpochSecret::new([8; 32])), (1 << 16, EpochSecret::new([9; 32]))],
        heads: vec![vec![3; 300], vec![4; 200]],
        name: "photos".to_owned(),
    }
}

#[test]
fn the_answer_is_read_by_the_one_who_asked_with_the_link() {
    let link = link();
    let asked = proven(&link);
    let answer = welcome().encode(&link.verifier(), &asked, &Seeded::new(1)).unwrap();
    let got = Welcome::open(&answer, &link.verifier(), &asked).unwrap().unwrap();
    assert_eq!((got.writer, got.role, got.name.as_str(), got.epochs.len()), (5, Role::Writer, "photos", 2));
    assert_eq!(
        (got.genesis, got.membership, got.heads),
        (vec![1; 100], vec![2; 1000], vec![vec![3; 300], vec![4; 200]])
    );
    assert_eq!(got.epochs[1].1.secret().expose(), &[9; 32]);
    assert!(Welcome::open(&answer, &link.verifier(), b"another request").is_err());
    assert!(Welcome::open(&answer, &Verifier([0; 32]), &asked).is_err());
    for at in 0..answer.len() {
        let mut bad = answer.clone();
        bad[at] ^= 1;
        assert!(Welcome::open(&bad, &link.verifier(), &asked).is_err());
    }
}

#[test]
fn every_refusal_comes_back() {
    let all = [Refusal::Unknown, Refusal::Expired, Refusal::Used, Refusal::Proof, Refusal::Exhausted, Refusal::Failed];
    for refusal in all {
        let got = Welcome::open(&refuse(refusal), &link().verifier(), b"").unwrap().unwrap_err();
        assert_eq!(got, refusal);
        assert!(!got.words().is_empty());
    }
}

#[test]
fn both_sides_show_the_same_six_words_and_others_differ() {
    let words = check_words(VOLUME, &INVITER, &JOINER, &[3; 32]);
    assert_eq!(words.split('-').count(), 6);
    assert_ne!(words, check_words(VOLUME, &[9; 32], &JOINER, &[3; 32]));
    assert_ne!(words, check_words(VOLUME, &INVITER, &[9; 32], &[3; 32]));
}

#[test]
fn a_golden_request_keeps_its_bytes() {
    let shown = crate::base::Bid(crate::base::hash(&[&proven(&link())])).to_string();
    assert_eq!((proven(&link()).len(), shown.as_str()), (GOLDEN_REQUEST_LEN, GOLDEN_REQUEST));
}

const GOLDEN_REQUEST_LEN: usize = 131;
const GOLDEN_REQUEST: &str = "dd8172d61a70fe4d25ef9f188115b5a07a10b0d02565a8cf4746aeeb4f6ec571";

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes: Vec<u8>, text: String) {
        let _ = Request::decode(&bytes);
        let _ = Welcome::open(&bytes, &Verifier([1; 32]), b"");
        let _ = Book::from_bytes(&bytes);
        let _ = Link::parse(&text);
        let _ = Link::parse(&format!("{SCHEME}{text}"));
        let _ = book(&link()).judge(&bytes, &JOINER, &INVITER, 0);
    }
}
