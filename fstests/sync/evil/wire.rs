//! A connection as an attacker makes it: real transport, encryption and multiplexing, and nothing of lovage's own code on it.
//!
//! Answers pings, so that an attack lasts as long as it wants to; refuses every other stream it is offered.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use libp2p::futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot, watch};

/// For anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(40);

const MULTISTREAM: &str = "/multistream/1.0.0";
const PING: &str = "/ipfs/ping/1.0.0";

/// A byte stream within a connection.
pub type Stream = SubstreamBox;

/// See the module. Dropped, it is closed.
pub struct Wire {
    open: mpsc::UnboundedSender<oneshot::Sender<Stream>>,
    closed: watch::Receiver<bool>,
}

/// Wait for something, but not for ever.
pub async fn within<T>(what: &str, done: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, done).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

impl Wire {
    /// As whoever has this seed. That it stands says nothing of being let in: that shows with the first stream.
    pub async fn dial(seed: &[u8; 32], to: &Multiaddr) -> io::Result<Self> {
        let keys = Keypair::ed25519_from_bytes(*seed).unwrap();
        let mut transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&keys).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dialed = transport.dial(to.clone(), options).map_err(io::Error::other)?;
        let (_, muxer) = tokio::time::timeout(PATIENCE, dialed).await.map_err(io::Error::other)??;
        let (open, asked) = mpsc::unbounded_channel();
        let (over, closed) = watch::channel(false);
        tokio::spawn(async move {
            drive(muxer, asked).await;
            let _ = over.send(true);
        });
        Ok(Self { open, closed })
    }

    /// A stream on which nothing was said yet.
    pub async fn bare(&self) -> io::Result<Stream> {
        let (reply, stream) = oneshot::channel();
        self.open.send(reply).map_err(io::Error::other)?;
        stream.await.map_err(io::Error::other)
    }

    /// A stream of a protocol, agreed to by the other side.
    pub async fn stream(&self, protocol: &str) -> io::Result<Stream> {
        let mut stream = self.bare().await?;
        stream.write_all(&[line(MULTISTREAM), line(protocol)].concat()).await?;
        stream.flush().await?;
        for expected in [MULTISTREAM, protocol] {
            if read_line(&mut stream).await? != line(expected)[1..] {
                return Err(io::ErrorKind::Unsupported.into());
            }
        }
        Ok(stream)
    }

    /// Until the other side closes it.
    pub async fn until_closed(&self) {
        let mut closed = self.closed.clone();
        let _ = within("the connection is closed", closed.wait_for(|closed| *closed)).await;
    }

    /// Whether it is gone.
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }
}

async fn drive(mut muxer: StreamMuxerBox, mut asked: mpsc::UnboundedReceiver<oneshot::Sender<Stream>>) {
    let mut wanting: VecDeque<oneshot::Sender<Stream>> = VecDeque::new();
    poll_fn(|cx| {
        loop {
            match asked.poll_recv(cx) {
                Poll::Ready(Some(reply)) => wanting.push_back(reply),
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            match muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    tokio::spawn(answer_pings(stream));
                    continue;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if wanting.is_empty() {
                return Poll::Pending;
            }
            match muxer.poll_outbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => drop(wanting.pop_front().map(|reply| reply.send(stream))),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

async fn answer_pings(mut stream: Stream) -> io::Result<()> {
    loop {
        let asked = read_line(&mut stream).await?;
        let known = asked == line(MULTISTREAM)[1..] || asked == line(PING)[1..];
        let reply = if known { asked_again(&asked) } else { line("na") };
        stream.write_all(&reply).await?;
        stream.flush().await?;
        if asked == line(PING)[1..] {
            break;
        }
    }
    loop {
        let mut body = [0; 32];
        stream.read_exact(&mut body).await?;
        stream.write_all(&body).await?;
        stream.flush().await?;
    }
}

/// The line as it came, to agree to it.
fn asked_again(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

/// Length, text, newline: how protocols are named on the wire.
fn line(text: &str) -> Vec<u8> {
    let mut out = vec![u8::try_from(text.len() + 1).unwrap()];
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
    out
}

async fn read_line(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut length = [0];
    stream.read_exact(&mut length).await?;
    if length[0] > 127 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; usize::from(length[0])];
    stream.read_exact(&mut text).await?;
    Ok(text)
}
