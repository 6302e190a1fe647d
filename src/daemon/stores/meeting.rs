//! Coming in through a store: the newcomer leaves its question, an inviter that looks by leaves the answer.
//!
//! Both are what would go over the network: the question proves the invite, the answer opens with the invite's secret
//! only. The question is the same each time it is asked, so a newcomer that gave up finds the answer the next time.
//! Must never let in anybody whom the invites' book does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::sleep;

use super::super::exchange::Exchange;
use crate::base::{Error, Kind, Result};
use crate::kv::{Expect, Kv, blocking};
use crate::net::Peer;
use crate::seal::invite::{MAX_ANSWER, MAX_REQUEST};

/// Names of questions and answers begin so; the invite's id follows.
pub const QUESTION: &str = "j.";
const ANSWER: &str = "w.";
/// How often the newcomer looks.
const LOOK: Duration = Duration::from_secs(1);

/// Where the answer to a question about an invite is.
pub fn answer_to(invite: &str) -> String {
    format!("{ANSWER}{invite}")
}

/// Answer the question called `name` in `kv`, if it is one.
pub async fn answer(kv: &dyn Kv, exchange: Arc<Exchange>, name: &str, question: &Bytes) -> Result<()> {
    let Some((peer, asked)) = question.split_first_chunk::<32>() else { return Ok(()) };
    if asked.len() > MAX_REQUEST {
        return Ok(());
    }
    let (peer, asked) = (Peer(*peer), asked.to_vec());
    if !exchange.has_invited(&asked) {
        return Ok(()); // another member's invite: it answers
    }
    let said = blocking(move || exchange.let_in(&peer, &asked)).await?;
    let invite = name.strip_prefix(QUESTION).unwrap_or(name);
    kv.put_head(&answer_to(invite), said.into(), Expect::Anything).await
}

/// Ask in `kv`, and wait for at most `patience` for an answer that `opens`. [`Kind::Unreachable`] when none came.
pub async fn ask<T>(
    kv: &dyn Kv,
    (invite, me): (&str, &Peer),
    asked: &[u8],
    patience: Duration,
    opens: impl Fn(&[u8]) -> Option<T>,
) -> Result<T> {
    let (asking, answered) = (format!("{QUESTION}{invite}"), answer_to(invite));
    let mut question = BytesMut::from(&me.0[..]);
    question.put_slice(asked);
    let question = question.freeze();
    let begin = Instant::now();
    loop {
        let answer = kv.get_head(&answered).await?.filter(|answer| answer.len() <= MAX_ANSWER);
        if let Some(opened) = answer.as_deref().and_then(&opens) {
            // They have served; whoever leaves them there does no harm.
            let _ = (kv.delete_head(&asking).await, kv.delete_head(&answered).await);
            return Ok(opened);
        }
        if kv.get_head(&asking).await?.as_ref() != Some(&question) {
            kv.put_head(&asking, question.clone(), Expect::Anything).await?;
        }
        if begin.elapsed() > patience {
            return Err(Error::new(Kind::Unreachable, "wait for the inviter in the store", kv.name()));
        }
        sleep(LOOK).await;
    }
}
