//! Reads that may wait for somebody else's disk: answered by whoever comes first, the data, the caller's
//! signal, or the deadline.
//!
//! The kernel's INTERRUPT never reaches us (fuser answers it itself), and a read on its way holds its caller
//! even against SIGKILL. So while reads wait, one thread looks every few milliseconds at what signals their
//! callers have pending. It sleeps when none wait. Must never answer twice, and must never keep a caller
//! longer than the deadline; the job below goes on, and its result is dropped.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::sync::{Condvar, Mutex};
use crate::base::{Context, Error, Kind, Result};

/// How often callers are looked at, and how long a read may take before it is: well within the 100 ms after
/// which a signal must have worked, also when the kernel asks twice (read-ahead, then the page).
const LOOK: Duration = Duration::from_millis(20);

/// How a waiting request is answered: once, with data or with an error.
pub(super) type Answer = Box<dyn FnOnce(Result<Vec<u8>>) + Send>;

/// The watched reads of one mount.
#[derive(Debug)]
pub(super) struct Waiting {
    shared: Arc<Shared>,
    watcher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    reads: Mutex<Reads>,
    changed: Condvar,
    deadline: Duration,
}

#[derive(Default)]
struct Reads {
    next: u64,
    open: HashMap<u64, Read>,
    closed: bool,
}

struct Read {
    thread: u32,
    since: Instant,
    answer: Answer,
}

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} waiting", self.open.len())
    }
}

/// A read that was registered; [`Ticket::done`] answers it unless that has happened.
pub(super) struct Ticket {
    shared: Arc<Shared>,
    number: u64,
}

impl Waiting {
    /// Start the watcher. No read is kept waiting beyond `deadline`.
    pub(super) fn start(deadline: Duration) -> Result<Self> {
        let shared = Arc::new(Shared { reads: Mutex::default(), changed: Condvar::default(), deadline });
        let watched = shared.clone();
        let watcher = std::thread::Builder::new().name("lovage-signals".into()).spawn(move || watched.watch());
        Ok(Self { shared, watcher: Some(watcher.io("start thread", String::new)?) })
    }

    /// `thread` (as the kernel numbers it; 0: unknown) waits for `answer`.
    pub(super) fn enter(&self, thread: u32, answer: Answer) -> Ticket {
        let mut reads = self.shared.reads.lock();
        let number = reads.next;
        reads.next += 1;
        let first = reads.open.is_empty();
        reads.open.insert(number, Read { thread, since: Instant::now(), answer });
        drop(reads);
        if first {
            self.shared.changed.notify_one();
        }
        Ticket { shared: self.shared.clone(), number }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.reads.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

impl Ticket {
    /// Answer with `result`, if nobody answered meanwhile.
    pub(super) fn done(self, result: Result<Vec<u8>>) {
        let read = self.shared.reads.lock().open.remove(&self.number);
        if let Some(read) = read {
            (read.answer)(result);
        }
    }
}

impl Shared {
    fn watch(&self) {
        loop {
            let mut reads = self.reads.lock();
            while reads.open.is_empty() && !reads.closed {
                self.changed.wait(&mut reads);
            }
            if reads.closed && reads.open.is_empty() {
                return;
            }
            self.changed.wait_for(&mut reads, LOOK);
            let old: Vec<(u64, u32, Duration)> = reads
                .open
                .iter()
                .map(|(number, read)| (*number, read.thread, read.since.elapsed()))
                .filter(|(.., waited)| *waited >= LOOK)
                .collect();
            drop(reads);
            for (number, thread, waited) in old {
                self.look(number, thread, waited);
            }
        }
    }

    fn look(&self, number: u64, thread: u32, waited: Duration) {
        let kind = match () {
            () if waited >= self.deadline => Kind::Timeout,
            () if has_signal(thread) => Kind::Interrupted,
            () => return,
        };
        let read = self.reads.lock().open.remove(&number);
        if let Some(read) = read {
            (read.answer)(Err(Error::new(kind, "wait for content", format!("{} ms", waited.as_millis()))));
        }
    }
}

/// Whether a signal waits for `thread` that it neither blocks nor ignores, or it is gone: a buffered read lets
/// its caller die, but keeps the page from everybody else until it is answered.
fn has_signal(thread: u32) -> bool {
    if thread == 0 {
        return false;
    }
    match fs::read_to_string(format!("/proc/{thread}/status")) {
        Ok(status) => is_gone(&status) || is_signalled(&status),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

fn is_gone(status: &str) -> bool {
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| state.trim_start().starts_with(['Z', 'X']))
}

fn is_signalled(status: &str) -> bool {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
    };
    (mask("SigPnd") | mask("ShdPnd")) & !mask("SigBlk") & !mask("SigIgn") != 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, bounded};

    fn entered(waiting: &Waiting) -> (Ticket, Receiver<Option<Kind>>) {
        let (tell, heard) = bounded(2);
        let answer = move |result: Result<Vec<u8>>| tell.send(result.err().map(|e| e.kind())).unwrap();
        (waiting.enter(0, Box::new(answer)), heard)
    }

    #[test]
    fn data_that_comes_in_time_is_the_answer() {
        let waiting = Waiting::start(Duration::from_secs(60)).unwrap();
        let (ticket, heard) = entered(&waiting);
        ticket.done(Ok(vec![1]));
        assert_eq!(heard.recv().unwrap(), None);
    }

    #[test]
    fn past_the_deadline_the_answer_is_an_error_and_data_comes_too_late() {
        let waiting = Waiting::start(Duration::from_millis(1)).unwrap();
        let (ticket, heard) = entered(&waiting);
        assert_eq!(heard.recv().unwrap(), Some(Kind::Timeout));
        ticket.done(Ok(vec![1]));
        assert!(heard.try_recv().is_err(), "answered twice");
    }

    #[test]
    fn only_signals_that_would_be_delivered_count() {
        let status = |pending: &str, shared: &str, blocked: &str, ignored: &str| {
            format!("Name:\tx\nSigPnd:\t{pending}\nShdPnd:\t{shared}\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\n")
        };
        assert!(!is_signalled(&status("0", "0", "0", "0")));
        assert!(is_signalled(&status("100", "0", "0", "0")));
        assert!(is_signalled(&status("0", "4000", "0", "0")));
        assert!(!is_signalled(&status("0", "4000", "4000", "0")), "blocked");
        assert!(!is_signalled(&status("0", "4000", "0", "4000")), "ignored");
        assert!(!is_signalled("nonsense"));
        assert!(!has_signal(std::process::id()), "this test was not signalled");
        assert!(is_gone("State:\tZ (zombie)\n") && !is_gone("State:\tS (sleeping)\n"));
        assert!(has_signal(u32::MAX), "there is no such thread");
    }
}
