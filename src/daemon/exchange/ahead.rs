//! Blocks that a reader will want: asked for at once, kept as they come by a thread that ends with the last of them.
//!
//! Whoever reads waits for the blocks it wants itself; where one is under way already it waits for that. Must never
//! hold up the one who asks, nor have more under way than a few questions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Exchange;
use crate::base::sync::Mutex;
use crate::net::{Fetching, Wanted};
use crate::seal::Ref;
use crate::volume::Volume;
use crate::wire::peer::Class;

/// Questions under way at most; a further one is left out: its blocks are fetched when they are read.
const MOST: usize = 16;
/// What nobody waits for is given up after this.
const PATIENCE: Duration = Duration::from_secs(60);

/// One question: from members, or what a store is asked for.
struct Question {
    refs: Vec<Ref>,
    fetching: Option<Fetching>,
}

#[derive(Default)]
struct Open {
    questions: VecDeque<Question>,
    /// A thread takes what comes.
    taking: bool,
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
        if open.questions.len() >= MOST {
            return;
        }
        let wanted: Vec<_> = refs.iter().map(|r| Wanted::sealed(r.bid, r.len)).collect();
        let fetching = net.map(|net| net.fetch(id, &wanted, class, PATIENCE));
        open.questions.push_back(Question { refs: refs.to_vec(), fetching });
        if !open.taking {
            let (questions, exchange, volume) = (Arc::clone(&self.0), Arc::downgrade(exchange), Arc::downgrade(volume));
            let work = move || {
                while let Some(question) = next(&questions) {
                    let (Some(exchange), Some(volume)) = (exchange.upgrade(), volume.upgrade()) else { return };
                    take(&exchange, &volume, question);
                }
            };
            open.taking = std::thread::Builder::new().name("lovage-ahead".into()).spawn(work).is_ok();
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

fn take(exchange: &Exchange, volume: &Volume, question: Question) {
    let Question { mut refs, fetching } = question;
    if let Some(mut fetching) = fetching {
        let mut came = vec![false; refs.len()];
        while let Some((index, block)) = fetching.next_blocking() {
            let (Ok(sealed), Some(r)) = (block, refs.get(index)) else { continue };
            if let Some(came) = came.get_mut(index) {
                *came = volume.blocks().keep(&r.bid, &sealed).is_ok();
            }
        }
        let mut came = came.into_iter();
        refs.retain(|_| !came.next().unwrap_or(false));
    }
    let brought = exchange
        .stores()
        .fetch_many(volume.id(), &refs, &mut |r, sealed| volume.blocks().accept(&r.bid, &sealed).map(drop));
    if let Err(error) = brought {
        tracing::debug!(error = %error.chain(), "what is read ahead did not come from a store");
    }
}
