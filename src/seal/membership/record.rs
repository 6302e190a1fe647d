//! One record of a membership: what it says, its bytes, its signature.
//!
//! Must never accept two encodings of one record, nor allocate by a count it has only been told.

use super::Role;
use crate::base::port::Time;
use crate::base::{Digest, VolumeId, WriterIndex, hash};
use crate::seal::author::{self, AuthorKey, SIGNATURE};
use crate::seal::boxed::BOXED;
use crate::seal::cursor::Cursor;

const MAGIC: &[u8; 4] = b"mem1";
/// Longest record in bytes, so that one fits a message.
pub const MAX_RECORD: usize = 60 << 10;
/// Most records one record can follow directly.
pub const MAX_PARENTS: usize = 8;
/// Longest name of a device, in bytes.
pub const MAX_DEVICE_NAME: usize = 64;

/// A device that belongs to a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its index in the volume's writer table; never used again for anyone else.
    pub writer: WriterIndex,
    /// Its identity: the Ed25519 public key behind its peer id.
    pub peer: [u8; 32],
    /// Signs its heads in this volume.
    pub author: [u8; 32],
    /// To which epoch secrets are sealed for it.
    pub box_key: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// What people call it; at most [`MAX_DEVICE_NAME`] bytes. Readable by storage.
    pub name: String,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A device comes in.
    Add(Member),
    /// A device goes, for good: coming back takes another writer index.
    Remove(WriterIndex),
    /// A device may do more or less.
    Role(WriterIndex, Role),
    /// A member goes on under another index and key, after it was set back: it belongs, and may, what the one it was
    /// does, under whichever index that is said.
    Again {
        /// What it was.
        of: WriterIndex,
        /// What it is.
        writer: WriterIndex,
        /// Signs its heads from now on.
        author: [u8; 32],
        /// By the key that signed its heads until now, see [`prove`]: nobody goes on as another's device.
        proof: [u8; SIGNATURE],
    },
    /// A new epoch, its secret sealed to each reader; see `boxed`.
    Epoch {
        /// Greater than every epoch before.
        epoch: u32,
        /// One for each reader.
        boxes: Vec<(WriterIndex, [u8; BOXED])>,
    },
    /// To how many storage members each large block goes; 0: to all. See `placing`.
    Copies(u8),
    /// How much room a storage member has: the binary logarithm of its bytes, rounded down.
    Room(WriterIndex, u8),
}

/// A record whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The records it follows, in ascending order; none for the first one.
    pub parents: Vec<Digest>,
    /// One more than the greatest number among its parents; 0 for the first one.
    pub number: u32,
    /// Who signed it.
    pub signer: [u8; 32],
    /// When, by the signer's clock.
    pub time: Time,
    /// The changes, in order.
    pub entries: Vec<Entry>,
    /// `BLAKE3` of everything signed: its name.
    pub hash: Digest,
    /// The bytes as sent and stored.
    pub bytes: Vec<u8>,
}

impl Record {
    /// Sign a record. `None` if a field is out of its bounds.
    pub fn sign(
        volume: VolumeId,
        key: &AuthorKey,
        parents: &[Digest],
        number: u32,
        time: Time,
        entries: Vec<Entry>,
    ) -> Option<Self> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&volume.0);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&key.public());
        out.extend_from_slice(&time.0.to_le_bytes());
        out.push(u8::try_from(parents.len()).ok().filter(|n| usize::from(*n) <= MAX_PARENTS)?);
        out.extend_from_slice(parents.as_flattened());
        out.extend_from_slice(&u16::try_from(entries.len()).ok()?.to_le_bytes());
        entries.iter().try_for_each(|e| put_entry(&mut out, e))?;
        let name = hash(&[&out]);
        let signature = key.sign(&out);
        out.extend_from_slice(&signature);
        let (parents, signer) = (parents.to_vec(), key.public());
        (out.len() <= MAX_RECORD).then_some(Self { parents, number, signer, time, entries, hash: name, bytes: out })
    }

    /// Decode a record of `volume` and check its signature; `None` for anything else.
    pub fn open(volume: VolumeId, bytes: &[u8]) -> Option<Self> {
        let (signed, signature) = bytes.split_last_chunk::<SIGNATURE>().filter(|_| bytes.len() <= MAX_RECORD)?;
        let mut cursor = Cursor::new(signed);
        cursor.magic(MAGIC)?;
        cursor.magic(&volume.0)?;
        let (number, signer) = (cursor.number()?, cursor.array()?);
        let time = Time(cursor.array().map(i64::from_le_bytes)?);
        let count = usize::from(cursor.byte()?);
        let parents = (0..count).map(|_| cursor.array()).collect::<Option<Vec<Digest>>>()?;
        let sorted = parents.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        let count = u16::from_le_bytes(cursor.array()?);
        let entries = (0..count).map(|_| entry(&mut cursor)).collect::<Option<Vec<_>>>()?;
        cursor.end()?;
        let sound = sorted && parents.len() <= MAX_PARENTS && author::verify(&signer, signed, signature);
        let (hash, bytes) = (hash(&[signed]), bytes.to_vec());
        sound.then_some(Self { parents, number, signer, time, entries, hash, bytes })
    }
}

const ADD: u8 = 0;
const REMOVE: u8 = 1;
const ROLE: u8 = 2;
const EPOCH: u8 = 3;
const AGAIN: u8 = 4;
const COPIES: u8 = 5;
const ROOM: u8 = 6;

fn put_entry(out: &mut Vec<u8>, entry: &Entry) -> Option<()> {
    match entry {
        Entry::Add(member) => {
            out.push(ADD);
            out.extend_from_slice(&member.writer.to_le_bytes());
            out.extend_from_slice(&member.peer);
            out.extend_from_slice(&member.author);
            out.extend_from_slice(&member.box_key);
            out.push(member.role.byte());
            put_name(out, &member.name)?;
        }
        Entry::Remove(writer) => {
            out.push(REMOVE);
            out.extend_from_slice(&writer.to_le_bytes());
        }
        Entry::Role(writer, role) => {
            out.push(ROLE);
            out.extend_from_slice(&writer.to_le_bytes());
            out.push(role.byte());
        }
        Entry::Again { of, writer, author, proof } => {
            out.push(AGAIN);
            out.extend_from_slice(&of.to_le_bytes());
            out.extend_from_slice(&writer.to_le_bytes());
            out.extend_from_slice(author);
            out.extend_from_slice(proof);
        }
        Entry::Copies(copies) => out.extend_from_slice(&[COPIES, *copies]),
        Entry::Room(writer, class) => {
            out.push(ROOM);
            out.extend_from_slice(&writer.to_le_bytes());
            out.push(*class);
        }
        Entry::Epoch { epoch, boxes } => {
            out.push(EPOCH);
            out.extend_from_slice(&epoch.to_le_bytes());
            out.extend_from_slice(&u16::try_from(boxes.len()).ok()?.to_le_bytes());
            for (writer, sealed) in boxes {
                out.extend_from_slice(&writer.to_le_bytes());
                out.extend_from_slice(sealed);
            }
        }
    }
    Some(())
}

fn entry(cursor: &mut Cursor<'_>) -> Option<Entry> {
    Some(match cursor.byte()? {
        ADD => Entry::Add(Member {
            writer: cursor.number()?,
            peer: cursor.array()?,
            author: cursor.array()?,
            box_key: cursor.array()?,
            role: Role::from_byte(cursor.byte()?)?,
            name: name(cursor)?,
        }),
        REMOVE => Entry::Remove(cursor.number()?),
        ROLE => Entry::Role(cursor.number()?, Role::from_byte(cursor.byte()?)?),
        EPOCH => {
            let (epoch, count) = (cursor.number()?, u16::from_le_bytes(cursor.array()?));
            let boxes = (0..count).map(|_| Some((cursor.number()?, cursor.array()?))).collect::<Option<_>>()?;
            Entry::Epoch { epoch, boxes }
        }
        AGAIN => Entry::Again {
            of: cursor.number()?,
            writer: cursor.number()?,
            author: cursor.array()?,
            proof: cursor.array()?,
        },
        COPIES => Entry::Copies(cursor.byte()?),
        ROOM => Entry::Room(cursor.number()?, cursor.byte()?),
        _ => return None,
    })
}

/// What a device signs with its key `key`, to go on in `volume` with the key `author`.
pub fn prove(volume: VolumeId, key: &AuthorKey, author: &[u8; 32]) -> [u8; SIGNATURE] {
    key.sign(&claim(volume, author))
}

/// Whether `before` signed that.
pub fn is_proven(volume: VolumeId, before: &[u8; 32], author: &[u8; 32], proof: &[u8; SIGNATURE]) -> bool {
    author::verify(before, &claim(volume, author), proof)
}

fn claim(volume: VolumeId, author: &[u8; 32]) -> Vec<u8> {
    [&b"lovage again"[..], &volume.0, author].concat()
}

/// A name with its length in one byte; `None` if it is too long or has control characters.
pub fn put_name(out: &mut Vec<u8>, name: &str) -> Option<()> {
    let sound = name.len() <= MAX_DEVICE_NAME && !name.chars().any(char::is_control);
    out.push(u8::try_from(name.len()).ok().filter(|_| sound)?);
    out.extend_from_slice(name.as_bytes());
    Some(())
}

/// Undo [`put_name`].
pub fn name(cursor: &mut Cursor<'_>) -> Option<String> {
    let len = usize::from(cursor.byte()?);
    let name = std::str::from_utf8(cursor.bytes(len)?).ok()?;
    (len <= MAX_DEVICE_NAME && !name.chars().any(char::is_control)).then(|| name.to_owned())
}
