//! A few threads for requests that wait, so that the threads taking requests never do.
//!
//! Bounded twice: so many threads, so many waiting jobs; beyond that the caller does the job itself,
//! which slows the kernel down to our pace. Must never be given a job that waits for another job.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::{Context, Result};

type Job = Box<dyn FnOnce() + Send>;

/// Jobs waiting for a thread, at most.
const QUEUE: usize = 256;

/// The pool. Dropping it finishes the jobs it has.
#[derive(Debug)]
pub(super) struct Workers {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Start `count` threads; with 0 every job is done by the caller.
    pub(super) fn start(count: usize) -> Result<Self> {
        let (sender, receiver) = bounded(QUEUE);
        let threads = (0..count).map(|n| spawn(n, receiver.clone())).collect::<Result<_>>()?;
        Ok(Self { jobs: (count > 0).then_some(sender), threads })
    }

    /// Do `job` soon, on a thread of the pool if one can take it.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let Some(jobs) = &self.jobs else { return job() };
        if let Err(refused) = jobs.try_send(Box::new(job)) {
            refused.into_inner()();
        }
    }
}

fn spawn(number: usize, jobs: Receiver<Job>) -> Result<JoinHandle<()>> {
    let name = format!("lovage-wait-{number}");
    std::thread::Builder::new()
        .name(name)
        .spawn(move || jobs.iter().for_each(|job| job()))
        .io("start thread", String::new)
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A job that panicked has dropped its reply, which answered EIO.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn jobs_run_at_the_same_time() {
        let workers = Workers::start(2).unwrap();
        let meet = Arc::new(Barrier::new(3));
        for _ in 0..2 {
            let meet = meet.clone();
            workers.run(move || {
                meet.wait();
            });
        }
        meet.wait(); // would hang if one job waited for the other
    }

    #[test]
    fn dropping_the_pool_finishes_what_it_was_given() {
        let done = Arc::new(AtomicUsize::new(0));
        let workers = Workers::start(1).unwrap();
        for _ in 0..100 {
            let done = done.clone();
            workers.run(move || {
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        drop(workers);
        assert_eq!(done.load(Ordering::SeqCst), 100);
    }

    #[test]
    fn a_full_queue_makes_the_caller_work() {
        let workers = Workers::start(1).unwrap();
        let (hold, gate) = bounded::<()>(0);
        let (started, running) = bounded::<()>(0);
        workers.run(move || {
            started.send(()).unwrap();
            gate.recv().unwrap();
        });
        running.recv().unwrap();
        let here = std::thread::current().id();
        let inline = Arc::new(AtomicUsize::new(0));
        for _ in 0..=QUEUE {
            let inline = inline.clone();
            workers.run(move || {
                if std::thread::current().id() == here {
                    inline.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        assert_eq!(inline.load(Ordering::SeqCst), 1);
        hold.send(()).unwrap();
    }

    #[test]
    fn without_threads_the_caller_does_everything() {
        let here = std::thread::current().id();
        let (tell, heard) = bounded(1);
        Workers::start(0).unwrap().run(move || tell.send(std::thread::current().id()).unwrap());
        assert_eq!(heard.recv().unwrap(), here);
    }
}
