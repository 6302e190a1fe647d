//! Messages between peers, protocol `bx/1`: control messages here, data frames in [`data`].
//!
//! Rank 2: data and codec. Every decoder is bounded: it allocates no more than the bytes it was given,
//! and refuses what exceeds the limits below. `docs/protocol.md` describes the bytes; golden tests hold both together.

pub mod data;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::base::limits::MAX_HEAD;
use crate::base::{Bid, Error, Kind, Result, VolumeId};

/// Version of the exchange in [`Message::Hello`].
pub const VERSION: u16 = 1;
/// Largest body of a control frame: a head of 64 KiB and its envelope, in bytes.
pub const MAX_CONTROL: usize = MAX_HEAD + 64;
/// Most ids in one request.
pub const MAX_IDS: usize = 256;
/// Longest opaque name of a tree or manifest in a selector, in bytes.
pub const MAX_TARGET: usize = 256;
/// Largest request and reply of the join protocol, in bytes.
pub const MAX_JOIN: usize = 1 << 20;

/// Number of a request, chosen by who asks; unique among the requests alive on a session.
pub type RequestId = u32;

/// What a request is for: decides its stream and its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// A program waits for it.
    Interactive,
    /// Trees and manifests that a merge or a listing waits for.
    Metadata,
    /// A reader will probably want it soon.
    Readahead,
    /// Pins and copies that a person asked for.
    Pin,
    /// Nobody waits.
    Background,
}

impl Class {
    /// All, most urgent first.
    pub const ALL: [Self; 5] = [Self::Interactive, Self::Metadata, Self::Readahead, Self::Pin, Self::Background];

    /// Position in [`Class::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Interactive => 0,
            Self::Metadata => 1,
            Self::Readahead => 2,
            Self::Pin => 3,
            Self::Background => 4,
        }
    }

    /// Whether its data travels on the interactive stream; the rest shares the bulk stream.
    pub fn is_interactive(self) -> bool {
        matches!(self, Self::Interactive | Self::Metadata)
    }
}

/// Which blocks a request asks for, and in which order they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// These blocks, each at its own index; at most [`MAX_IDS`].
    Ids(Vec<Bid>),
    /// All tree blocks in `root` and not in `old`, parents first. The names are opaque here.
    Diff {
        /// The tree that is wanted.
        root: Vec<u8>,
        /// A tree the asker has already.
        old: Option<Vec<u8>>,
    },
    /// A file: the manifest blocks on the way to bytes `from..to`, and the data blocks, in order.
    Range {
        /// The manifest, opaque here.
        manifest: Vec<u8>,
        /// First byte.
        from: u64,
        /// End, exclusive; `u64::MAX` for the whole file.
        to: u64,
    },
}

/// A message on the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message of each side.
    Hello {
        /// [`VERSION`].
        version: u16,
        /// Bits of what the sender can do beyond the version; unknown bits are ignored.
        features: u64,
    },
    /// A signed head of a volume.
    Head {
        /// The volume.
        volume: VolumeId,
        /// At most [`MAX_HEAD`] bytes, opaque here.
        head: Vec<u8>,
    },
    /// Ask for blocks.
    Want {
        /// Number of the request.
        rid: RequestId,
        /// The volume.
        volume: VolumeId,
        /// Urgency.
        class: Class,
        /// After so many milliseconds the asker has gone; 0: never.
        deadline_ms: u32,
        /// Bytes that may be sent before more credit is given, counted by [`data::cost`].
        credit: u32,
        /// What.
        selector: Selector,
    },
    /// More bytes may be sent for a request.
    Credit {
        /// The request.
        rid: RequestId,
        /// Additional bytes.
        bytes: u32,
    },
    /// What has an index of `from` or above is not wanted any more; the request still ends with END.
    Cancel {
        /// The request.
        rid: RequestId,
        /// First index that is not wanted.
        from: u32,
    },
}

#[derive(Serialize, Deserialize)]
enum Form<'a> {
    Hello {
        version: u16,
        features: u64,
    },
    Head {
        volume: VolumeId,
        head: &'a [u8],
    },
    #[serde(borrow)]
    Want(Want<'a>),
    Credit {
        rid: u32,
        bytes: u32,
    },
    Cancel {
        rid: u32,
        from: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Want<'a> {
    rid: u32,
    volume: VolumeId,
    class: Class,
    deadline_ms: u32,
    credit: u32,
    #[serde(borrow)]
    selector: Select<'a>,
}

#[derive(Serialize, Deserialize)]
enum Select<'a> {
    Ids(&'a [u8]),
    Diff { root: &'a [u8], old: Option<&'a [u8]> },
    Range { manifest: &'a [u8], from: u64, to: u64 },
}

/// The body of a control frame. [`Kind::TooBig`] when a list or name exceeds its limit.
pub fn encode(message: &Message) -> Result<Vec<u8>> {
    let mut ids = Vec::new();
    if let Message::Want { selector: Selector::Ids(list), .. } = message {
        ids = list.iter().flat_map(|bid| bid.0).collect();
    }
    check(message)?;
    let form = to_form(message, &ids);
    postcard::to_stdvec(&form).map_err(|e| Error::new(Kind::Invalid, "encode a message", "").with_source(e))
}

/// A control frame: little-endian length and body, ready to send.
pub fn encode_frame(message: &Message) -> Result<Vec<u8>> {
    let body = encode(message)?;
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The message in the body of a control frame. [`Kind::Invalid`] for anything else than one whole message
/// within the limits.
pub fn decode(body: &[u8]) -> Result<Message> {
    let invalid = |why: &str| Error::new(Kind::Invalid, "decode a message", why);
    if body.len() > MAX_CONTROL {
        return Err(invalid("frame too long"));
    }
    let (form, rest) = postcard::take_from_bytes::<Form<'_>>(body).map_err(|e| invalid("").with_source(e))?;
    if !rest.is_empty() {
        return Err(invalid("bytes after the message"));
    }
    let message = from_form(form).ok_or_else(|| invalid("a list that is no list of ids"))?;
    check(&message)?;
    Ok(message)
}

fn check(message: &Message) -> Result<()> {
    let fits = match message {
        Message::Head { head, .. } => head.len() <= MAX_HEAD,
        Message::Want { selector: Selector::Ids(ids), .. } => !ids.is_empty() && ids.len() <= MAX_IDS,
        Message::Want { selector: Selector::Diff { root, old }, .. } => {
            root.len() <= MAX_TARGET && old.as_ref().is_none_or(|o| o.len() <= MAX_TARGET)
        }
        Message::Want { selector: Selector::Range { manifest, from, to }, .. } => {
            manifest.len() <= MAX_TARGET && from <= to
        }
        _ => true,
    };
    if fits { Ok(()) } else { Err(Error::new(Kind::Invalid, "check a message", "beyond a limit")) }
}

fn to_form<'a>(message: &'a Message, ids: &'a [u8]) -> Form<'a> {
    match message {
        Message::Hello { version, features } => Form::Hello { version: *version, features: *features },
        Message::Head { volume, head } => Form::Head { volume: *volume, head },
        Message::Credit { rid, bytes } => Form::Credit { rid: *rid, bytes: *bytes },
        Message::Cancel { rid, from } => Form::Cancel { rid: *rid, from: *from },
        Message::Want { rid, volume, class, deadline_ms, credit, selector } => Form::Want(Want {
            rid: *rid,
            volume: *volume,
            class: *class,
            deadline_ms: *deadline_ms,
            credit: *credit,
            selector: match selector {
                Selector::Ids(_) => Select::Ids(ids),
                Selector::Diff { root, old } => Select::Diff { root, old: old.as_deref() },
                Selector::Range { manifest, from, to } => Select::Range { manifest, from: *from, to: *to },
            },
        }),
    }
}

fn from_form(form: Form<'_>) -> Option<Message> {
    Some(match form {
        Form::Hello { version, features } => Message::Hello { version, features },
        Form::Head { volume, head } => Message::Head { volume, head: head.to_vec() },
        Form::Credit { rid, bytes } => Message::Credit { rid, bytes },
        Form::Cancel { rid, from } => Message::Cancel { rid, from },
        Form::Want(Want { rid, volume, class, deadline_ms, credit, selector }) => {
            let selector = match selector {
                Select::Ids(ids) => Selector::Ids(split_ids(ids)?),
                Select::Diff { root, old } => Selector::Diff { root: root.to_vec(), old: old.map(<[u8]>::to_vec) },
                Select::Range { manifest, from, to } => Selector::Range { manifest: manifest.to_vec(), from, to },
            };
            Message::Want { rid, volume, class, deadline_ms, credit, selector }
        }
    })
}

fn split_ids(bytes: &[u8]) -> Option<Vec<Bid>> {
    let (ids, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && ids.len() <= MAX_IDS).then(|| ids.iter().map(|id| Bid(*id)).collect())
}
