//! Data frames on a byte stream: small things are gathered, large blocks pass without a copy of their own.
//!
//! Must never hold more than [`GATHER`] bytes beside what it was handed.

use std::io;
use std::time::Duration;

use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::wire::peer::data::Header;

/// Bytes gathered on each side.
const GATHER: usize = 64 << 10;

/// A peer that takes nothing of what it asked for, for so long, does not read.
const STUCK: Duration = Duration::from_secs(60);

/// Writes frames.
pub(super) struct Outgoing<W> {
    to: W,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    pub fn new(to: W) -> Self {
        Self { to, buffer: Vec::new() }
    }

    /// One frame; on the way at the latest after [`Outgoing::flush`].
    pub async fn frame(&mut self, header: Header, mut bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(&header.encode());
        let room = GATHER.saturating_sub(self.buffer.len());
        if bytes.len() > room {
            let (first, rest) = bytes.split_at(room);
            self.buffer.extend_from_slice(first);
            write(&mut self.to, &self.buffer).await?;
            self.buffer.clear();
            bytes = rest;
            if bytes.len() >= GATHER {
                return write(&mut self.to, bytes).await;
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Send what was gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            write(&mut self.to, &self.buffer).await?;
            self.buffer.clear();
            if self.buffer.capacity() > 2 * GATHER {
                self.buffer = Vec::new();
            }
        }
        in_time(self.to.flush()).await
    }
}

/// All of it, each piece within [`STUCK`].
async fn write(to: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = in_time(to.write(bytes)).await?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(taken..).unwrap_or_default();
    }
    Ok(())
}

async fn in_time<T>(done: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(STUCK, done).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Reads exact amounts, small ones from a buffer.
pub(super) struct Incoming<R> {
    from: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), start: 0, end: 0 }
    }

    /// Fill `out` completely.
    pub async fn read_exact(&mut self, mut out: &mut [u8]) -> io::Result<()> {
        loop {
            let held = self.buffer.get(self.start..self.end).unwrap_or_default();
            let n = held.len().min(out.len());
            let (now, later) = out.split_at_mut(n);
            now.copy_from_slice(held.get(..n).unwrap_or_default());
            self.start += n;
            out = later;
            if out.is_empty() {
                return Ok(());
            }
            if out.len() >= GATHER / 2 {
                return self.from.read_exact(out).await;
            }
            self.buffer.resize(GATHER, 0);
            self.start = 0;
            self.end = self.from.read(&mut self.buffer).await?;
            if self.end == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
