//! A member's session from the attacker's side: three streams, and whatever bytes one likes on them.

use std::io;

use fstests::harness::bytes::random;
use libp2p::Multiaddr;
use libp2p::futures::{AsyncReadExt, AsyncWriteExt};
use lovage::base::{Bid, VolumeId};
use lovage::wire::peer::data::{HEADER, Header};
use lovage::wire::peer::{Class, Message, RequestId, Selector, decode, encode_frame};

use super::wire::{Stream, Wire, within};

/// Number of the question that only tells whether the session stands.
const PROBE: RequestId = 0xfeed_0000;

/// What a question of a member for blocks begins with.
const ASK: u8 = 3;

/// Streams of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Messages.
    Control,
    /// Data somebody waits for.
    Interactive,
    /// All other data.
    Bulk,
}

/// What the other side does about an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The connection ends, and whoever attacked is refused from now on.
    Banned,
    /// The connection ends; another may follow.
    Cut,
    /// Nothing: the session goes on.
    Ignored,
}

/// See the module.
pub struct Session {
    pub wire: Wire,
    pub control: Stream,
    pub interactive: Stream,
    pub bulk: Stream,
}

impl Session {
    /// The streams; nothing is said on them yet.
    pub async fn silent(seed: &[u8; 32], to: &Multiaddr) -> io::Result<Self> {
        let wire = Wire::dial(seed, to).await?;
        let control = wire.stream("/lovage/bx/1/control").await?;
        let interactive = wire.stream("/lovage/bx/1/interactive").await?;
        let bulk = wire.stream("/lovage/bx/1/bulk").await?;
        Ok(Self { wire, control, interactive, bulk })
    }

    /// A session as it should begin.
    pub async fn begin(seed: &[u8; 32], to: &Multiaddr) -> io::Result<Self> {
        let mut session = Self::silent(seed, to).await?;
        session.say(&hello()).await;
        match session.hear().await {
            Some(Message::Hello { .. }) => Ok(session),
            _ => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// Send bytes. That the other side is gone meanwhile is no failure: whether it is, is asked later.
    pub async fn send(&mut self, on: On, bytes: &[u8]) {
        let stream = match on {
            On::Control => &mut self.control,
            On::Interactive => &mut self.interactive,
            On::Bulk => &mut self.bulk,
        };
        let sent = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        let _ = within("what is sent is taken", sent).await;
    }

    /// Send a message.
    pub async fn say(&mut self, message: &Message) {
        let frame = encode_frame(message).unwrap();
        self.send(On::Control, &frame).await;
    }

    /// Send what a member says of a volume: a tag and a body.
    pub async fn word(&mut self, volume: VolumeId, tag: u8, body: &[u8]) {
        self.say(&Message::Head { volume, head: [&[tag], body].concat() }).await;
    }

    /// The next message, which must come soon; none when the stream has ended.
    pub async fn hear(&mut self) -> Option<Message> {
        within("a message", self.listen()).await
    }

    /// The next message, should there ever be one; none when the stream has ended.
    pub async fn listen(&mut self) -> Option<Message> {
        let heard = async {
            let mut length = [0; 4];
            self.control.read_exact(&mut length).await?;
            let mut body = vec![0; u32::from_le_bytes(length) as usize];
            self.control.read_exact(&mut body).await?;
            io::Result::Ok(body)
        };
        heard.await.ok().map(|body| decode(&body).unwrap())
    }

    /// Until everything said before was heard: what is said of a volume is heard in order.
    pub async fn heeded(&mut self, volume: VolumeId) {
        let number = [0x0b, 0xad, 0xca, 0xfe];
        self.word(volume, ASK, &[&number[..], &[0], &[1; 32]].concat()).await;
        loop {
            match self.hear().await.expect("an answer") {
                Message::Head { head, .. } if head.get(1..5) == Some(&number) => return,
                _ => {}
            }
        }
    }

    /// The next question for blocks by their ids.
    pub async fn asked(&mut self) -> (RequestId, Class, u32, Vec<Bid>) {
        loop {
            if let Message::Want { rid, class, credit, selector: Selector::Ids(ids), .. } =
                self.hear().await.expect("a question")
                && ids != [Bid([0; 32])]
            {
                return (rid, class, credit, ids);
            }
        }
    }

    /// The next frame of data; none when the stream has ended.
    pub async fn data(&mut self, on: On) -> Option<(Header, Vec<u8>)> {
        let stream = if on == On::Bulk { &mut self.bulk } else { &mut self.interactive };
        let read = async {
            let mut head = [0; HEADER];
            stream.read_exact(&mut head).await?;
            let header = Header::decode(&head).map_err(io::Error::other)?;
            let mut body = vec![0; header.length as usize];
            stream.read_exact(&mut body).await?;
            io::Result::Ok((header, body))
        };
        within("data", read).await.ok()
    }

    /// Send one frame of data.
    pub async fn give(&mut self, on: On, header: Header, bytes: &[u8]) {
        self.send(on, &[&header.encode()[..], bytes].concat()).await;
    }

    /// Whether the session stands: a question for nothing is refused, as it should be.
    pub async fn stands(&mut self) -> bool {
        let volume = VolumeId([0xee; 16]);
        self.say(&want(PROBE, volume, Class::Interactive, 0, Selector::Ids(vec![Bid([1; 32])]))).await;
        loop {
            match self.data(On::Interactive).await {
                Some((header, _)) if header.rid == PROBE => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }
}

/// The greeting.
pub fn hello() -> Message {
    Message::Hello { version: 1, features: 0 }
}

/// A question.
pub fn want(rid: RequestId, volume: VolumeId, class: Class, credit: u32, selector: Selector) -> Message {
    Message::Want { rid, volume, class, deadline_ms: 0, credit, selector }
}

/// A frame with this body, whatever it is.
pub fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], body].concat()
}

/// Bytes that mean nothing, the same for one seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    random(seed, len)
}

/// What is to be seen, seen.
pub async fn observe(name: &str, mut session: Session, seen: Seen, seed: &[u8; 32], to: &Multiaddr) {
    if seen == Seen::Ignored {
        assert!(session.stands().await, "{name}: the session should have gone on");
        return;
    }
    session.wire.until_closed().await;
    let again = Session::begin(seed, to).await;
    assert_eq!(again.is_ok(), seen == Seen::Cut, "{name}: let in again?");
}
