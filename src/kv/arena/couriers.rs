//! The threads that write what has gathered while others go on appending.
//!
//! Started when first needed, asleep while there is nothing to write, gone with the disk they belong to.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};

use crate::base::sync::Mutex;

/// Two writes under way keep a disk busy; more only cost memory.
const THREADS: usize = 2;

/// Something of which one part is to be written.
pub trait Deliver: Send + Sync {
    /// Write the next part that waits, if one does.
    fn deliver(&self);
}

/// Threads that deliver.
#[derive(Default)]
pub struct Couriers(Mutex<State>);

#[derive(Default)]
struct State {
    sender: Option<Sender<Arc<dyn Deliver>>>,
    threads: Vec<JoinHandle<()>>,
    finished: bool,
}

impl Couriers {
    /// Have one part of `what` written soon; here and now where no thread can be had.
    pub fn send(&self, what: Arc<dyn Deliver>) {
        let mut state = self.0.lock();
        if state.sender.is_none() && !state.finished {
            state.start();
        }
        let refused = match &state.sender {
            Some(sender) => sender.send(what).err().map(|e| e.0),
            None => Some(what),
        };
        drop(state);
        if let Some(what) = refused {
            what.deliver();
        }
    }

    /// Return when all that was handed over is written. What comes later is written by those who bring it.
    pub fn finish(&self) {
        let threads = {
            let mut state = self.0.lock();
            (state.sender, state.finished) = (None, true);
            std::mem::take(&mut state.threads)
        };
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread that writes the log ended in panic");
            }
        }
    }
}

impl State {
    fn start(&mut self) {
        // As many waiting as there are loads in flight, which each file bounds.
        let (sender, receiver) = unbounded::<Arc<dyn Deliver>>();
        for n in 0..THREADS {
            let receiver = receiver.clone();
            let thread = std::thread::Builder::new().name(format!("lovage-disk-{n}"));
            self.threads.extend(thread.spawn(move || receiver.iter().for_each(|what| what.deliver())));
        }
        self.sender = (!self.threads.is_empty()).then_some(sender);
    }
}
