//! Answers on one stream: asks the core whose turn it is, reads blocks on blocking threads, sends them.
//!
//! While one batch is sent the next is read. Must never hold more than two batches, nor let a walk that waits
//! for credit keep other requests waiting.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use libp2p::futures::AsyncWrite;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::answerer::{BATCH_BYTES, Spend, Step};
use super::frames::Outgoing;
use super::{Ending, Session, lost};
use crate::base::{Bid, Error, Kind, VolumeId};
use crate::net::serve::Walk;
use crate::wire::peer::RequestId;
use crate::wire::peer::data::{Flag, Header, Reason};

/// Blocks of walks waiting for the stream.
const WALK_QUEUE: usize = 4;
/// A walk waiting for credit looks whether the session still stands.
const LOOK: Duration = Duration::from_secs(1);

struct Reading {
    rid: RequestId,
    first: u32,
    blocks: JoinHandle<Vec<Option<Bytes>>>,
}

type Frame = (Header, Bytes);

/// Answer until the stream breaks.
pub(super) async fn run(session: Arc<Session>, to: impl AsyncWrite + Unpin, interactive: bool) -> Ending {
    let mut out = Outgoing::new(to);
    let (walk_frames, mut walked) = mpsc::channel::<Frame>(WALK_QUEUE);
    let work = &session.work[usize::from(!interactive)];
    let mut reading: Option<Reading> = None;
    loop {
        let mut frames = Vec::new();
        if reading.is_none() {
            reading = session.begin(interactive, &walk_frames, &mut frames);
        }
        if frames.is_empty() {
            tokio::select! {
                biased;
                blocks = read(&mut reading), if reading.is_some() => {
                    let done = reading.take();
                    frames = session.account(done.as_ref(), blocks);
                    reading = session.begin(interactive, &walk_frames, &mut frames);
                }
                frame = walked.recv() => frames.extend(frame),
                () = work.notified() => {
                    if reading.is_none() {
                        continue;
                    }
                    frames = session.refusals(interactive); // a disk that is slow is not a peer that is gone
                }
            }
        }
        while let Ok(frame) = walked.try_recv() {
            frames.push(frame);
        }
        if let Err(error) = send(&session, &mut out, &frames).await {
            return lost(error);
        }
    }
}

async fn read(reading: &mut Option<Reading>) -> Vec<Option<Bytes>> {
    match reading {
        Some(reading) => (&mut reading.blocks).await.unwrap_or_default(),
        None => Vec::new(),
    }
}

async fn send(session: &Session, out: &mut Outgoing<impl AsyncWrite + Unpin>, frames: &[Frame]) -> std::io::Result<()> {
    for (header, bytes) in frames {
        out.frame(*header, bytes).await?;
        session.traffic.sent.fetch_add(u64::from(header.length), Ordering::Relaxed);
    }
    out.flush().await
}

fn frame(rid: RequestId, index: u32, flag: Flag, bytes: Bytes) -> Frame {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    (Header { rid, index, flag, length }, bytes)
}

fn refusal(rid: RequestId, reason: Reason) -> Frame {
    frame(rid, 0, Flag::Error, Bytes::copy_from_slice(&[reason.code()]))
}

impl Session {
    /// Take steps until one needs a disk; what can be answered at once goes to `frames`.
    fn begin(
        self: &Arc<Self>,
        interactive: bool,
        walk_frames: &mpsc::Sender<Frame>,
        frames: &mut Vec<Frame>,
    ) -> Option<Reading> {
        loop {
            let step = self.state.lock().answerer.next(interactive, Self::now())?;
            match step {
                Step::End { rid, frames: count } => frames.push(frame(rid, count, Flag::End, Bytes::new())),
                Step::Refuse { rid, reason } => frames.push(refusal(rid, reason)),
                Step::Walk { rid, volume, walk } => self.begin_walk(rid, volume, walk, walk_frames.clone()),
                Step::Read { rid, volume, first, ids } => {
                    let session = Arc::clone(self);
                    let blocks = tokio::task::spawn_blocking(move || session.read_batch(&volume, &ids));
                    return Some(Reading { rid, first, blocks });
                }
            }
        }
    }

    fn refusals(&self, interactive: bool) -> Vec<Frame> {
        let refused = self.state.lock().answerer.refusals(interactive);
        refused.into_iter().map(|(rid, reason)| refusal(rid, reason)).collect()
    }

    /// At most [`BATCH_BYTES`] and one block; possibly fewer blocks than ids.
    fn read_batch(&self, volume: &VolumeId, ids: &[Bid]) -> Vec<Option<Bytes>> {
        let mut bytes = 0;
        let mut blocks = Vec::new();
        for bid in ids {
            if bytes >= BATCH_BYTES {
                break;
            }
            let block = self.serve.block(volume, bid).unwrap_or_else(|error| {
                tracing::warn!(block = %bid, error = %error.chain(), "a block could not be read for a peer");
                None
            });
            bytes += block.as_ref().map_or(0, Bytes::len);
            blocks.push(block);
        }
        blocks
    }

    fn account(&self, reading: Option<&Reading>, blocks: Vec<Option<Bytes>>) -> Vec<Frame> {
        let Some(&Reading { rid, first, .. }) = reading else { return Vec::new() };
        let mut state = self.state.lock();
        if blocks.is_empty() {
            state.answerer.finished(rid);
            return vec![refusal(rid, Reason::Failed)];
        }
        let lengths: Vec<Option<usize>> = blocks.iter().map(|b| b.as_ref().map(Bytes::len)).collect();
        let goes = state.answerer.sent(rid, &lengths);
        let indexed = blocks.into_iter().zip(goes).zip(first..);
        let frames = indexed.map(|((block, goes), index)| match block.filter(|_| goes) {
            Some(bytes) => frame(rid, index, Flag::Block, bytes),
            None => frame(rid, index, Flag::Missing, Bytes::new()),
        });
        frames.collect()
    }

    fn begin_walk(self: &Arc<Self>, rid: RequestId, volume: VolumeId, walk: Walk, to: mpsc::Sender<Frame>) {
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let Some(_permits) = session.walks.begin().await else { return };
            let done = tokio::task::spawn_blocking(move || session.walk(rid, &volume, &walk, &to));
            let _ = done.await;
        });
    }

    /// On a blocking thread: run the daemon's walk, passing on what there is credit for.
    fn walk(&self, rid: RequestId, volume: &VolumeId, walk: &Walk, to: &mpsc::Sender<Frame>) {
        let mut starved = false;
        let mut emit = |bytes: Bytes| match self.wait_for_credit(rid, bytes.len(), to) {
            (Spend::Go, index) if to.blocking_send(frame(rid, index, Flag::Block, bytes)).is_ok() => {
                ControlFlow::Continue(())
            }
            (spend, _) => {
                starved = spend == Spend::Starved;
                ControlFlow::Break(())
            }
        };
        let result = self.serve.walk(volume, walk, &mut emit);
        let count = self.state.lock().answerer.finished(rid);
        let last = match result {
            Ok(()) if starved => refusal(rid, Reason::Timeout),
            Ok(()) => frame(rid, count, Flag::End, Bytes::new()),
            Err(error) => refusal(rid, reason(&error)),
        };
        let _ = to.blocking_send(last);
    }

    /// What becomes of a walk's next block, once that is known, and its index.
    fn wait_for_credit(&self, rid: RequestId, length: usize, to: &mpsc::Sender<Frame>) -> (Spend, u32) {
        let mut state = self.state.lock();
        loop {
            if state.closed || to.is_closed() {
                return (Spend::Stop, 0);
            }
            match state.answerer.spend(rid, length, Self::now()) {
                (Spend::Wait, _) => {
                    self.credit.wait_for(&mut state, LOOK);
                }
                decided => return decided,
            }
        }
    }
}

fn reason(error: &Error) -> Reason {
    match error.kind() {
        Kind::NotFound => Reason::NotFound,
        Kind::Denied => Reason::Denied,
        Kind::Unsupported => Reason::Unsupported,
        _ => Reason::Failed,
    }
}
