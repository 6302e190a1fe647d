//! Background work: a queue, a few workers, and one thread that looks after time.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::Volume;
use super::inode::Inode;
use crate::base::sync::{Condvar, Mutex};

/// Something to be done by a worker.
#[derive(Debug)]
pub(super) enum Task {
    /// Cut what a streaming writer left, or spill.
    Advance(Arc<Inode>),
    /// Store one cut chunk.
    Chunk { inode: Arc<Inode>, offset: u64, id: u64, data: Bytes },
    /// The file was closed: settle it.
    Settle(Arc<Inode>),
    /// Memory is short: store whatever of this file only memory has.
    Spill(Arc<Inode>),
}

#[derive(Debug, Default)]
struct State {
    /// Chunks first: they free memory.
    chunks: VecDeque<Task>,
    others: VecDeque<Task>,
    closed: bool,
}

/// The queue. Unbounded in entries; what they hold is bounded by the gauge.
#[derive(Debug, Default)]
pub(super) struct Work {
    state: Mutex<State>,
    more: Condvar,
}

impl Work {
    /// Queue a task.
    pub fn push(&self, task: Task) {
        let mut state = self.state.lock();
        match task {
            Task::Chunk { .. } => state.chunks.push_back(task),
            _ => state.others.push_back(task),
        }
        drop(state);
        self.more.notify_one();
    }

    /// A waiting chunk, for a caller who helps instead of waiting.
    pub fn take_chunk(&self) -> Option<Task> {
        self.state.lock().chunks.pop_front()
    }

    /// The next task; `None` once closed and empty.
    fn next(&self) -> Option<Task> {
        let mut state = self.state.lock();
        loop {
            let task = state.chunks.pop_front().or_else(|| state.others.pop_front());
            if task.is_some() {
                return task;
            }
            if state.closed {
                return None;
            }
            self.more.wait(&mut state);
        }
    }

    /// Let the workers end after what is queued.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.more.notify_all();
    }
}

/// The threads of a volume.
#[derive(Debug, Default)]
pub(super) struct Threads(Mutex<Vec<JoinHandle<()>>>);

impl Threads {
    /// Start `workers` workers and the timekeeper. They hold the volume weakly.
    pub fn start(&self, volume: &Arc<Volume>, workers: usize) -> std::io::Result<()> {
        let mut threads = self.0.lock();
        for n in 0..workers {
            let (work, weak) = (volume.work.clone(), Arc::downgrade(volume));
            let thread = std::thread::Builder::new().name(format!("lovage-work-{n}"));
            threads.push(thread.spawn(move || run(&work, &weak))?);
        }
        let (bell, weak) = (volume.bell.clone(), Arc::downgrade(volume));
        let thread = std::thread::Builder::new().name("lovage-time".into());
        threads.push(thread.spawn(move || keep_time(&bell, &weak))?);
        Ok(())
    }

    /// Wait for all to end.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *self.0.lock());
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a background thread ended in panic");
            }
        }
    }
}

fn run(work: &Work, volume: &Weak<Volume>) {
    while let Some(task) = work.next() {
        if let Some(volume) = volume.upgrade() {
            volume.perform(task);
        }
    }
}

/// Wakes the timekeeper.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<Ring>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Ring {
    rung: bool,
    urgent: bool,
    closed: bool,
}

impl Bell {
    /// Something changed: look after it within a second.
    pub fn ring(&self) {
        let mut state = self.state.lock();
        if !state.rung {
            state.rung = true;
            drop(state);
            self.rung.notify_one();
        }
    }

    /// Look after it now.
    pub fn urge(&self) {
        let mut state = self.state.lock();
        if !state.urgent {
            (state.rung, state.urgent) = (true, true);
            drop(state);
            self.rung.notify_one();
        }
    }

    /// End the timekeeper.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.rung.notify_all();
    }

    /// Sleep until something changed (or, with `again`, that long at most), then a little longer so that
    /// changes gather.
    fn wait(&self, again: Option<Duration>, gather: Duration) -> Call {
        let mut state = self.state.lock();
        while !state.rung && !state.closed {
            match again {
                Some(limit) if self.rung.wait_for(&mut state, limit).timed_out() => break,
                Some(_) => {}
                None => self.rung.wait(&mut state),
            }
        }
        if !state.rung && !state.closed {
            return Call::Again;
        }
        if !state.urgent && !state.closed {
            self.rung.wait_for(&mut state, gather);
        }
        (state.rung, state.urgent) = (false, false);
        if state.closed { Call::Closed } else { Call::Changed }
    }
}

/// Why the timekeeper woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Changed,
    Again,
    Closed,
}

/// Journal and seal what changed. Gives memory back after a while without changes, then sleeps without a timer.
fn keep_time(bell: &Bell, volume: &Weak<Volume>) {
    const GATHER: Duration = Duration::from_secs(1);
    const REST: Duration = Duration::from_secs(30);
    let mut again = None;
    loop {
        let call = bell.wait(again, GATHER);
        let Some(volume) = volume.upgrade().filter(|_| call != Call::Closed) else { return };
        if call == Call::Again && again == Some(REST) {
            volume.rest();
            again = None;
            continue;
        }
        let tended = volume.tend();
        // Whoever waits for a seal must not wait for one that cannot come.
        volume.brake.report(tended.as_ref().err().map(crate::base::Error::kind));
        again = match tended {
            Ok(more) => Some(if more { GATHER } else { REST }),
            Err(error) => {
                tracing::warn!("cannot store changes: {}", error.chain());
                Some(GATHER * 5)
            }
        };
    }
}

impl Volume {
    /// Tell the timekeeper that something changed.
    pub(super) fn nudge(&self) {
        self.bell.ring();
        if self.listeners.is_watched() {
            self.observed(|o| o.changed());
        }
        // Now and then look whether so much changed that it cannot wait.
        if self.nudges.fetch_add(1, Ordering::Relaxed) % 256 == 255 {
            let ns = self.ns.lock();
            if self.brake.measure(&ns) || ns.unsealed.len() >= self.options.seal_at {
                self.bell.urge();
            }
        }
    }

    fn perform(&self, task: Task) {
        let result = match task {
            Task::Advance(inode) => {
                clear_queued(&inode);
                self.advance(&inode)
            }
            Task::Chunk { inode, offset, id, data } => self.store_chunk(&inode, offset, id, &data),
            Task::Settle(inode) => self.settle(&inode).map(|_| self.nudge()),
            Task::Spill(inode) => {
                clear_queued(&inode);
                self.relieve(&inode)
            }
        };
        if let Err(error) = result {
            tracing::warn!("background work failed: {}", error.chain());
        }
    }
}

fn clear_queued(inode: &Inode) {
    if let Some(file) = inode.inner.lock().file.as_mut() {
        file.queued = false;
    }
}
