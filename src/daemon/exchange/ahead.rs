//! Blocks that a reader will want: asked for at once, kept as they come by a thread that ends with the last of them.
//!
//! Whoever reads waits for the blocks it wants itself; where one is under way already it waits for that. Must never
//! hold up the one who asks, have more under way than a few questions, nor keep anything once it was closed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Exchange;
use crate::base::sync::Mutex;
use crate::net::{Fetching, Waited, Wanted};
use crate::seal::Ref;
use crate::volume::Volume;
use crate::wire::peer::Class;

/// Questions under way at most; a further one is left out: its blocks are fetched when they are read.
const MOST: usize = 4;
/// What nobody waits for is given up after this.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a thread that waits looks whether it is over.
const LOOK: Duration = Duration::from_millis(200);

/// Blocks asked for; what members do not bring a store is asked for.
struct Question {
    refs: Vec<Ref>,
    fetching: Option<Fetching>,
}

#[derive(Default)]
struct Open {
    questions: VecDeque<Question>,
    /// Takes what comes, until nothing is under way.
    taker: Option<JoinHandle<()>>,
    taking: bool,
    closed: bool,
}

/// See the module.
#[derive(Default)]
pub struct Ahead(Arc<Mutex<Open>>);

impl Ahead {
    /// Ask for `refs`; what comes is kept in `volume`.
    pub fn ask(&self, exchange: &Arc<Exchange>, volume: &Arc<Volume>, class: Class, refs: &[Ref]) {
        let id = volume.id();
        let net = exchange.net().filter(|_| exchange.is_anyone_connected(id));
        if refs.is_empty() || net.is_none() && !exchange.stores().any(id) {
            return;
        }
        let mut open = self.0.lock();
        if open.closed || open.questions.len() >= MOST {
            return;
        }
        let wanted: Vec<_> = refs.iter().map(|r| Wanted::sealed(r.bid, r.len)).collect();
        let fetching = net.map(|net| net.fetch(id, &wanted, class, PATIENCE));
        let question = Question { refs: refs.to_vec(), fetching };
        // Somebody waits for these.
        if class == Class::Interactive {
            open.questions.push_front(question);
        } else {
            open.questions.push_back(question);
        }
        if !open.taking {
            let (asked, exchange, volume) = (Arc::clone(&self.0), Arc::clone(exchange), Arc::clone(volume));
            let work = move || {
                while let Some(question) = next(&asked) {
                    take(&asked, &exchange, &volume, question);
                }
            };
            open.taker = std::thread::Builder::new().name("lovage-ahead".into()).spawn(work).ok();
            open.taking = open.taker.is_some();
        }
    }

    /// Nothing is kept any more when this returns.
    pub fn close(&self) {
        let taker = {
            let mut open = self.0.lock();
            open.closed = true;
            open.questions.clear();
            open.taker.take()
        };
        if let Some(taker) = taker.filter(|taker| taker.thread().id() != std::thread::current().id()) {
            let _ = taker.join();
        }
    }
}

/// The oldest question; `None`, and no thread any more, when there is none.
fn next(open: &Mutex<Open>) -> Option<Question> {
    let mut open = open.lock();
    let question = open.questions.pop_front();
    open.taking = question.is_some();
    question
}

fn take(open: &Mutex<Open>, exchange: &Exchange, volume: &Volume, question: Question) {
    let Question { mut refs, fetching } = question;
    let is_over = || open.lock().closed;
    if let Some(mut fetching) = fetching {
        let (mut came, begin) = (vec![false; refs.len()], Instant::now());
        while !is_over() && begin.elapsed() < PATIENCE {
            match fetching.next_within(LOOK) {
                Waited::Block(index, Ok(sealed)) => {
                    if let (Some(r), Some(came)) = (refs.get(index), came.get_mut(index)) {
                        *came = volume.blocks().keep(&r.bid, &sealed).is_ok();
                    }
                }
                Waited::Block(_, Err(_)) | Waited::NotYet => {}
                Waited::Over => break,
            }
        }
        let mut came = came.into_iter();
        refs.retain(|_| !came.next().unwrap_or(false));
    }
    let brought = exchange.stores().fetch_many(volume.id(), &refs, &mut |r, sealed| {
        if is_over() {
            return Err(crate::base::Error::new(crate::base::Kind::Interrupted, "read ahead", "the volume is closed"));
        }
        volume.blocks().accept(&r.bid, &sealed).map(drop)
    });
    if let Err(error) = brought {
        tracing::debug!(error = %error.chain(), "what is read ahead did not come from a store");
    }
}
