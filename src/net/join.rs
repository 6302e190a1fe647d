//! The join protocol, `/lovage/join/1`: one question with an opaque body, one answer. For those who are not
//! members yet; the other side's identity is proven, nothing else is.
//!
//! Must never read more than its limits, nor wait longer than its patience.

use std::sync::Arc;
use std::time::Duration;

use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Peer, Serve};
use crate::base::{Error, Kind, Result};
use crate::wire::peer::MAX_JOIN;
use crate::wire::peer::data::Reason;

/// For a whole conversation, on each side.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Longest question, in bytes: what a stranger can make us hold.
pub(super) const MAX_QUESTION: usize = 64 << 10;
/// First byte of an answer that is one; otherwise it is 1 plus the code of a reason.
const ANSWERED: u8 = 0;

/// Ask and wait for the answer.
pub(super) async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin, question: &[u8]) -> Result<Vec<u8>> {
    within(async {
        let mut stream = stream;
        write(&mut stream, question).await?;
        let mut status = [0];
        stream.read_exact(&mut status).await?;
        let answer = read(&mut stream, MAX_JOIN).await?;
        Ok((status, answer))
    })
    .await
    .and_then(|([status], answer)| match status.checked_sub(1) {
        None => Ok(answer),
        Some(code) => Err(Error::new(Reason::from_code(code).kind(), "join", "")),
    })
}

/// Answer the one question of `peer`.
pub(super) async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    serve: Arc<dyn Serve>,
) -> Result<()> {
    within(async {
        let mut stream = stream;
        let question = read(&mut stream, MAX_QUESTION).await?;
        let asked = tokio::task::spawn_blocking(move || serve.join(&peer, &question)).await;
        let answer = asked.unwrap_or_else(|e| Err(Error::new(Kind::Other, "answer a join", "").with_source(e)));
        let (status, body) = match answer {
            Ok(body) if body.len() <= MAX_JOIN => (ANSWERED, body),
            Ok(_) => (Reason::Failed.code() + 1, Vec::new()),
            Err(error) => {
                tracing::info!(%peer, error = %error.chain(), "a join was refused");
                (reason(&error).code() + 1, Vec::new())
            }
        };
        stream.write_all(&[status]).await?;
        write(&mut stream, &body).await?;
        stream.close().await
    })
    .await
}

fn reason(error: &Error) -> Reason {
    match error.kind() {
        Kind::Denied | Kind::NotPermitted => Reason::Denied,
        Kind::NotFound => Reason::NotFound,
        Kind::Busy => Reason::Busy,
        Kind::Timeout => Reason::Timeout,
        Kind::Unsupported => Reason::Unsupported,
        _ => Reason::Failed,
    }
}

async fn within<T>(talk: impl Future<Output = std::io::Result<T>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, talk).await {
        Ok(done) => done.map_err(|e| Error::new(Kind::Unreachable, "join", "").with_source(e)),
        Err(_) => Err(Error::new(Kind::Timeout, "join", "")),
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    to.write_all(&length.to_le_bytes()).await?;
    to.write_all(body).await?;
    to.flush().await
}

async fn read(from: &mut (impl AsyncRead + Unpin), most: usize) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > most {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    // Grows with what arrives, so that a claim alone costs nothing.
    let mut body = Vec::new();
    from.take(length as u64).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}
