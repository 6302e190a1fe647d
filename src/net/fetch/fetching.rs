//! Blocks as their waiter sees them: each once, in the order of arrival.
//!
//! Must never keep a request alive that nobody waits for: dropping cancels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Fetcher;
use super::core::WaiterId;
use crate::base::Result;

/// What [`Fetching::next_within`] saw.
#[derive(Debug)]
pub enum Waited {
    /// A block, by its position in the question, or why it does not come.
    Block(usize, Result<Bytes>),
    /// All were answered.
    Over,
    /// Nothing yet.
    NotYet,
}

/// Blocks under way to somebody. Dropping it cancels what has not come.
pub struct Fetching {
    fetcher: Arc<Fetcher>,
    waiter: WaiterId,
    inbox: mpsc::UnboundedReceiver<(u32, Result<Bytes>)>,
    unread: Arc<AtomicU64>,
    left: usize,
    runtime: Handle,
}

impl Fetching {
    pub(super) fn new(
        fetcher: Arc<Fetcher>,
        waiter: WaiterId,
        inbox: mpsc::UnboundedReceiver<(u32, Result<Bytes>)>,
        unread: Arc<AtomicU64>,
        left: usize,
        runtime: Handle,
    ) -> Self {
        Self { fetcher, waiter, inbox, unread, left, runtime }
    }

    /// Blocks not yet taken.
    pub fn left(&self) -> usize {
        self.left
    }

    /// The next block to arrive: its position in the question, and its bytes or why they do not come. None when all
    /// were taken. Errors: [`crate::base::Kind::NotFound`] if no connected peer has it,
    /// [`crate::base::Kind::Unreachable`] if none could be asked, [`crate::base::Kind::Timeout`].
    pub async fn next(&mut self) -> Option<(usize, Result<Bytes>)> {
        if self.left == 0 {
            return None;
        }
        let (index, block) = self.inbox.recv().await?;
        self.left -= 1;
        if let Ok(bytes) = &block {
            let length = bytes.len() as u64;
            let before = self.unread.fetch_sub(length, Ordering::Relaxed);
            let crossed = super::core::is_too_much(before) && !super::core::is_too_much(before - length);
            if crossed {
                self.fetcher.resume();
            }
        }
        Some((index as usize, block))
    }

    /// [`Fetching::next`] for threads. Must not be called on a thread of the runtime.
    pub fn next_blocking(&mut self) -> Option<(usize, Result<Bytes>)> {
        let runtime = self.runtime.clone();
        runtime.block_on(self.next())
    }

    /// [`Fetching::next_blocking`] that comes back after `patience`, to look at something else.
    pub fn next_within(&mut self, patience: Duration) -> Waited {
        let runtime = self.runtime.clone();
        match runtime.block_on(async { tokio::time::timeout(patience, self.next()).await }) {
            Ok(Some((index, block))) => Waited::Block(index, block),
            Ok(None) => Waited::Over,
            Err(_) => Waited::NotYet,
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.fetcher.leave(self.waiter);
    }
}
