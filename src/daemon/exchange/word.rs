//! What members tell each other about a volume on the channel of heads: one tag byte and a body.
//!
//! Must never allocate by a length it has only been told.

use crate::base::Bid;
use crate::net::Peer;

use super::super::keeping::{Author, CollectionId, Era, PAGE, PIECE, Room};
use super::MOST_IDS;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A signed head.
    Head(Vec<u8>),
    /// Records of the membership.
    Members(Vec<u8>),
    /// Where members were reached: for those who know them by name only.
    Addresses(Vec<(Peer, Vec<String>)>),
    /// Which of these blocks do you have?
    Ask {
        /// To match the answer.
        number: u32,
        /// And keep them for an hour.
        promise: bool,
        /// At most [`super::MOST_IDS`].
        ids: Vec<Bid>,
    },
    /// I have these blocks: who keeps the volume takes those it lacks, and then answers which of them it has.
    Offer {
        /// To match the answer.
        number: u32,
        /// At most [`super::MOST_IDS`], with a bound on the length of each.
        blocks: Vec<(Bid, u32)>,
    },
    /// A signed head, to keep: everything below it was offered and taken. Answered like a question for one block.
    Keep {
        /// To match the answer.
        number: u32,
        /// Signed by who sends it.
        head: Vec<u8>,
    },
    /// This device was set back: a member that may is asked to give it another index, under this key. With the proof that
    /// it held the key before.
    Renew([u8; 32], [u8; 64]),
    /// Where collections of what is kept stand, and whether who hears this has said its word: a keeper to each member.
    Era(Era, bool),
    /// Give the list of the collection that asks, from this place on.
    List {
        /// To match the answer.
        number: u32,
        /// Which collection.
        id: CollectionId,
        /// A place in it.
        from: u32,
    },
    /// The answer: starts of ids, ascending; none behind the end.
    Listed {
        /// Of the question.
        number: u32,
        /// At most [`PAGE`].
        ids: Vec<u64>,
    },
    /// A piece of what a writer needs of the list. Answered like a question for one block.
    Needs {
        /// To match the answer.
        number: u32,
        /// The key under which it writes.
        author: Author,
        /// Which collection.
        id: CollectionId,
        /// Its first byte in all the bits.
        from: u32,
        /// Whether that is all.
        last: bool,
        /// One bit an id.
        bits: Vec<u8>,
    },
    /// How much room there is where this is said, and how much is in use.
    Room(Room),
    /// The answer, in the order of the question.
    Holds {
        /// Of the question.
        number: u32,
        /// One for each id; padded with false.
        bits: Vec<bool>,
    },
}

const HEAD: u8 = 0;
const MEMBERS: u8 = 1;
const ADDRESSES: u8 = 2;
const ASK: u8 = 3;
const HOLDS: u8 = 4;
const OFFER: u8 = 5;
const KEEP: u8 = 6;
const RENEW: u8 = 7;
const ERA: u8 = 8;
const LIST: u8 = 9;
const LISTED: u8 = 10;
const NEEDS: u8 = 11;
const ROOM: u8 = 12;
/// Most members in one message about addresses, and most addresses of each.
const MOST: usize = 64;
const MOST_EACH: usize = 8;

impl Word {
    /// As sent.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Head(head) => tagged(HEAD, head),
            Self::Members(records) => tagged(MEMBERS, records),
            Self::Renew(author, proof) => tagged(RENEW, &[&author[..], proof].concat()),
            Self::Room(room) => tagged(ROOM, [room.size, room.used, room.blocks].map(u64::to_le_bytes).as_flattened()),
            Self::Addresses(list) => {
                let mut out = vec![ADDRESSES];
                for (peer, addresses) in list.iter().take(MOST) {
                    out.extend_from_slice(&peer.0);
                    let fitting = || addresses.iter().filter(|a| a.len() <= 255).take(MOST_EACH);
                    out.push(u8::try_from(fitting().count()).unwrap_or(0));
                    for address in fitting() {
                        out.push(u8::try_from(address.len()).unwrap_or(0));
                        out.extend_from_slice(address.as_bytes());
                    }
                }
                out
            }
            Self::Ask { number, promise, ids } => {
                let mut out = tagged(ASK, &number.to_le_bytes());
                out.push(u8::from(*promise));
                ids.iter().take(MOST_IDS).for_each(|bid| out.extend_from_slice(&bid.0));
                out
            }
            Self::Offer { number, blocks } => {
                let mut out = tagged(OFFER, &number.to_le_bytes());
                for (bid, length) in blocks.iter().take(MOST_IDS) {
                    out.extend_from_slice(&bid.0);
                    out.extend_from_slice(&length.to_le_bytes());
                }
                out
            }
            Self::Keep { number, head } => {
                let mut out = tagged(KEEP, &number.to_le_bytes());
                out.extend_from_slice(head);
                out
            }
            Self::Era(era, told) => {
                [&[ERA][..], &era.open, &era.blocks.to_le_bytes(), &era.ended, &[u8::from(*told)]].concat()
            }
            Self::List { number, id, from } => [&[LIST][..], &number.to_le_bytes(), id, &from.to_le_bytes()].concat(),
            Self::Listed { number, ids } => {
                let mut out = tagged(LISTED, &number.to_le_bytes());
                ids.iter().take(PAGE).for_each(|id| out.extend_from_slice(&id.to_be_bytes()));
                out
            }
            Self::Needs { number, author, id, from, last, bits } => {
                let head = [&[NEEDS][..], &number.to_le_bytes(), author, id, &from.to_le_bytes(), &[u8::from(*last)]];
                [&head.concat()[..], bits.get(..PIECE).unwrap_or(bits)].concat()
            }
            Self::Holds { number, bits } => {
                let mut out = tagged(HOLDS, &number.to_le_bytes());
                let byte = |eight: &[bool]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
                out.extend(bits.chunks(8).map(byte));
                out
            }
        }
    }

    /// From what was received; `None` if it is none of these.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, body) = bytes.split_first()?;
        match *tag {
            HEAD => Some(Self::Head(body.to_vec())),
            MEMBERS => Some(Self::Members(body.to_vec())),
            ADDRESSES => addresses(body).map(Self::Addresses),
            RENEW => {
                let (author, proof) = body.split_first_chunk()?;
                Some(Self::Renew(*author, proof.try_into().ok()?))
            }
            ROOM => room(body),
            ASK => ask(body),
            HOLDS => holds(body),
            OFFER => offer(body),
            ERA => era(body),
            LIST => list(body),
            LISTED => listed(body),
            NEEDS => needs(body),
            KEEP => {
                let (number, head) = body.split_first_chunk::<4>()?;
                Some(Self::Keep { number: u32::from_le_bytes(*number), head: head.to_vec() })
            }
            _ => None,
        }
    }
}

fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(body);
    out
}

fn room(body: &[u8]) -> Option<Word> {
    let (numbers, []) = body.as_chunks::<8>() else { return None };
    let [size, used, blocks] = numbers else { return None };
    let [size, used, blocks] = [size, used, blocks].map(|number| u64::from_le_bytes(*number));
    Some(Word::Room(Room { size, used, blocks }))
}

fn ask(body: &[u8]) -> Option<Word> {
    let (number, rest) = body.split_first_chunk::<4>()?;
    let (promise, ids) = rest.split_first()?;
    let ids: Vec<Bid> = ids.chunks(32).map(Bid::from_slice).collect::<Option<_>>()?;
    (ids.len() <= MOST_IDS).then_some(Word::Ask {
        number: u32::from_le_bytes(*number),
        promise: *promise & 1 == 1,
        ids,
    })
}

fn offer(body: &[u8]) -> Option<Word> {
    let (number, rest) = body.split_first_chunk::<4>()?;
    let (entries, rest) = rest.as_chunks::<36>();
    let block = |entry: &[u8; 36]| {
        let (id, length) = entry.split_first_chunk::<32>()?;
        Some((Bid(*id), u32::from_le_bytes(*length.first_chunk()?)))
    };
    let blocks: Vec<_> = entries.iter().map(block).collect::<Option<_>>()?;
    let fits = rest.is_empty() && blocks.len() <= MOST_IDS;
    fits.then_some(Word::Offer { number: u32::from_le_bytes(*number), blocks })
}

fn era(body: &[u8]) -> Option<Word> {
    let (open, rest) = body.split_first_chunk::<16>()?;
    let (blocks, rest) = rest.split_first_chunk::<4>()?;
    let (ended, told) = rest.split_first_chunk::<16>()?;
    let era = Era { open: *open, blocks: u32::from_le_bytes(*blocks), ended: *ended };
    Some(Word::Era(era, *told.first()? & 1 == 1))
}

fn list(body: &[u8]) -> Option<Word> {
    let (number, rest) = body.split_first_chunk::<4>()?;
    let (id, from) = rest.split_first_chunk::<16>()?;
    let from = u32::from_le_bytes(from.try_into().ok()?);
    Some(Word::List { number: u32::from_le_bytes(*number), id: *id, from })
}

fn listed(body: &[u8]) -> Option<Word> {
    let (number, rest) = body.split_first_chunk::<4>()?;
    let (ids, rest) = rest.as_chunks::<8>();
    let ids: Vec<u64> = ids.iter().take(PAGE + 1).map(|id| u64::from_be_bytes(*id)).collect();
    let fits = rest.is_empty() && ids.len() <= PAGE && ids.is_sorted();
    fits.then_some(Word::Listed { number: u32::from_le_bytes(*number), ids })
}

fn needs(body: &[u8]) -> Option<Word> {
    let (number, rest) = body.split_first_chunk::<4>()?;
    let (author, rest) = rest.split_first_chunk::<32>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (from, rest) = rest.split_first_chunk::<4>()?;
    let (last, bits) = rest.split_first()?;
    (bits.len() <= PIECE).then(|| Word::Needs {
        number: u32::from_le_bytes(*number),
        author: *author,
        id: *id,
        from: u32::from_le_bytes(*from),
        last: *last & 1 == 1,
        bits: bits.to_vec(),
    })
}

fn holds(body: &[u8]) -> Option<Word> {
    let (number, bytes) = body.split_first_chunk::<4>()?;
    let bits = bytes.iter().flat_map(|byte| (0..8).map(move |at| byte >> at & 1 == 1)).collect();
    (bytes.len() <= MOST_IDS / 8).then_some(Word::Holds { number: u32::from_le_bytes(*number), bits })
}

fn addresses(mut body: &[u8]) -> Option<Vec<(Peer, Vec<String>)>> {
    let mut list = Vec::new();
    while !body.is_empty() && list.len() < MOST {
        let (key, rest) = body.split_first_chunk::<32>()?;
        let (count, mut rest) = rest.split_first()?;
        let mut texts = Vec::new();
        for _ in 0..*count {
            let (len, after) = rest.split_first()?;
            let (text, after) = after.split_at_checked(usize::from(*len))?;
            texts.push(std::str::from_utf8(text).ok()?.to_owned());
            rest = after;
        }
        list.push((Peer(*key), texts));
        body = rest;
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_keep_their_bytes() {
        let list = vec![(Peer([7; 32]), vec!["/ip4/1.2.3.4/tcp/5".to_owned(), "x".to_owned()])];
        let mut golden = vec![2];
        golden.extend_from_slice(&[7; 32]);
        golden.extend_from_slice(b"\x02\x12/ip4/1.2.3.4/tcp/5\x01x");
        assert_eq!(Word::Addresses(list.clone()).encode(), golden);
        assert_eq!(Word::decode(&golden), Some(Word::Addresses(list)));
        assert_eq!(Word::Head(vec![9]).encode(), [0, 9]);
        assert_eq!(Word::decode(&[1, 8]), Some(Word::Members(vec![8])));
        assert_eq!(Word::decode(&[]), None);
        assert_eq!(Word::decode(&[3]), None);
        let ask = Word::Ask { number: 7, promise: true, ids: vec![Bid([9; 32])] };
        assert_eq!(ask.encode(), [&[3, 7, 0, 0, 0, 1][..], &[9; 32]].concat());
        assert_eq!(Word::decode(&ask.encode()), Some(ask));
        let bits = vec![true, false, true, false, false, false, false, false, true];
        assert_eq!(Word::Holds { number: 7, bits }.encode(), [4, 7, 0, 0, 0, 0b101, 1]);
        let Some(Word::Holds { number: 7, bits }) = Word::decode(&[4, 7, 0, 0, 0, 0b101, 1]) else { panic!() };
        assert_eq!((bits.len(), bits[0], bits[1], bits[2], bits[8]), (16, true, false, true, true));
        assert_eq!(Word::decode(&[&[3, 7, 0, 0, 0, 1][..], &[9; 31]].concat()), None);
        let offer = Word::Offer { number: 7, blocks: vec![(Bid([9; 32]), 258)] };
        assert_eq!(offer.encode(), [&[5, 7, 0, 0, 0][..], &[9; 32], &[2, 1, 0, 0]].concat());
        assert_eq!(Word::decode(&offer.encode()), Some(offer));
        assert_eq!(Word::decode(&[&[5, 7, 0, 0, 0][..], &[9; 35]].concat()), None);
        let keep = Word::Keep { number: 7, head: vec![9] };
        assert_eq!(keep.encode(), [6, 7, 0, 0, 0, 9]);
        assert_eq!(Word::decode(&[6, 7, 0, 0, 0, 9]), Some(keep));
        let (renew, word) = ([&[7][..], &[9; 32], &[8; 64]].concat(), Word::Renew([9; 32], [8; 64]));
        assert_eq!((word.encode(), Word::decode(&renew)), (renew.clone(), Some(word)));
        assert_eq!(Word::decode(&renew[..32]), None);
        let room = Word::Room(Room { size: 258, used: 1, blocks: 2 });
        let golden = [&[12, 2, 1][..], &[0; 6], &[1], &[0; 7], &[2], &[0; 7]].concat();
        assert_eq!((room.encode(), Word::decode(&golden)), (golden.clone(), Some(room)));
        assert_eq!((Word::decode(&golden[..24]), Word::decode(&[&golden[..], &[0]].concat())), (None, None));
    }

    #[test]
    fn words_of_collections_keep_their_bytes() {
        let era = Word::Era(Era { open: [1; 16], blocks: 258, ended: [2; 16] }, true);
        assert_eq!(era.encode(), [&[8][..], &[1; 16], &[2, 1, 0, 0], &[2; 16], &[1]].concat());
        let list = Word::List { number: 7, id: [3; 16], from: 258 };
        assert_eq!(list.encode(), [&[9, 7, 0, 0, 0][..], &[3; 16], &[2, 1, 0, 0]].concat());
        let listed = Word::Listed { number: 7, ids: vec![1, 258] };
        assert_eq!(listed.encode(), [10, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
        let needs = Word::Needs { number: 7, author: [4; 32], id: [3; 16], from: 258, last: true, bits: vec![9] };
        assert_eq!(needs.encode(), [&[11, 7, 0, 0, 0][..], &[4; 32], &[3; 16], &[2, 1, 0, 0, 1, 9]].concat());
        for word in [era, list, listed, needs] {
            let bytes = word.encode();
            assert_eq!(Word::decode(&bytes), Some(word));
            assert_eq!(Word::decode(&bytes[..20.min(bytes.len() - 1)]), None);
        }
        assert_eq!(Word::decode(&[10, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]), None, "descending");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            if let Some(word) = Word::decode(&bytes) {
                let _ = word.encode();
            }
        }
    }
}
