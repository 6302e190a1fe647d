//! A store in memory where every request waits for its turn twice: before it is carried out, and before the answer.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::base::Bid;
use crate::kv::{Expect, Kv, KvStat, MemoryKv, Task};

/// See the module.
#[derive(Default)]
pub struct Turns(pub MemoryKv);

/// Pending once.
pub struct Turn(bool);

impl Future for Turn {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Let others go first, once.
pub fn turn() -> Turn {
    Turn(false)
}

fn turned<'a, T: Send + 'a>(task: Task<'a, T>) -> Task<'a, T> {
    Box::pin(async move {
        turn().await;
        let answer = task.await;
        turn().await;
        answer
    })
}

impl Kv for Turns {
    fn name(&self) -> &'static str {
        "turns:"
    }
    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        turned(self.0.get(id))
    }
    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        turned(self.0.put(id, value))
    }
    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        turned(self.0.has(ids))
    }
    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        Box::pin(async move {
            for id in ids {
                turned(self.0.delete(std::slice::from_ref(id))).await?;
            }
            Ok(())
        })
    }
    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        turned(self.0.list(after, limit))
    }
    fn stat(&self) -> Task<'_, KvStat> {
        self.0.stat()
    }
    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        turned(self.0.get_head(name))
    }
    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        turned(self.0.put_head(name, value, expect))
    }
    fn list_heads(&self) -> Task<'_, Vec<String>> {
        turned(self.0.list_heads())
    }
    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        turned(self.0.delete_head(name))
    }
}
