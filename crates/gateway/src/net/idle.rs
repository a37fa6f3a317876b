//! A short busy wait before a worker sleeps, where it was woken at once the last times.
//!
//! To sleep and to be woken takes tens of microseconds, more on a virtual machine than the rest of a short call. Who
//! serves one call at a time, with callers and upstreams that answer quickly, looks for what comes next instead, for
//! as long as [`WINDOW`] at most. It never does where several requests run, as these share what waking costs and then
//! processor time counts for more; nor where answers are awaited longer, as those of models usually are: one wait that
//! was in vain ends it until [`SHORT_ONES`] short ones have followed each other. Processes with one processor to
//! themselves never do, as others could not work meanwhile.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use crate::worker::Gauges;

/// The longest busy wait; idle times that are longer are long ones.
const WINDOW: Duration = Duration::from_micros(200);
/// So many short idle times one after the other make the next one a busy wait.
const SHORT_ONES: u8 = 4;

thread_local! {
    static IDLE: Idle = const { Idle::new() };
}

/// What a worker's thread knows of its own idle times.
struct Idle {
    gauges: RefCell<Option<Arc<Gauges>>>,
    /// What looks for work while it waits busily.
    looking: RefCell<Option<Waker>>,
    /// Reads that gave something.
    reads: Cell<u64>,
    /// `reads` when the last idle time began.
    seen: Cell<u64>,
    /// When the idle time began that is measured.
    since: Cell<Option<Instant>>,
    /// Short idle times that followed each other.
    short: Cell<u8>,
    is_looking: Cell<bool>,
}

/// Something was read on this thread.
pub(super) fn something_came() {
    IDLE.with(|idle| idle.reads.set(idle.reads.get().wrapping_add(1)));
}

/// To be called before the thread sleeps. Wakes the busy wait where it is worth it, and the thread does not sleep.
pub(crate) fn before_sleep() {
    IDLE.with(Idle::begin);
}

/// To be called when the thread has slept.
pub(crate) fn after_sleep() {
    IDLE.with(Idle::end);
}

/// The busy waits of this thread's worker; runs for as long as the worker.
pub(crate) async fn look(gauges: Arc<Gauges>) {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return;
    }
    IDLE.with(|idle| idle.gauges.replace(Some(gauges)));
    loop {
        poll_fn(|cx| IDLE.with(|idle| idle.poll_woken(cx.waker()))).await;
        // Each turn asks the kernel once what has happened, and lets those run whom it concerns.
        loop {
            tokio::task::yield_now().await;
            if IDLE.with(Idle::is_over) {
                break;
            }
        }
    }
}

impl Idle {
    const fn new() -> Self {
        Self {
            gauges: RefCell::new(None),
            looking: RefCell::new(None),
            reads: Cell::new(0),
            seen: Cell::new(0),
            since: Cell::new(None),
            short: Cell::new(0),
            is_looking: Cell::new(false),
        }
    }

    fn begin(&self) {
        let reads = self.reads.get();
        if self.seen.replace(reads) == reads {
            // Nothing came of the busy wait, or of what woke the thread.
            return;
        }
        let alone = self.gauges.borrow().as_ref().is_some_and(|gauges| gauges.in_flight.load(Relaxed) < 2);
        self.since.set(alone.then(Instant::now));
        if alone && self.short.get() >= SHORT_ONES {
            self.is_looking.set(true);
            if let Some(waker) = self.looking.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    fn end(&self) {
        if self.is_looking.get() {
            return;
        }
        if let Some(since) = self.since.take() {
            self.was_idle(since.elapsed());
        }
    }

    fn was_idle(&self, time: Duration) {
        self.short.set(if time < WINDOW { self.short.get().saturating_add(1) } else { 0 });
    }

    fn poll_woken(&self, waker: &Waker) -> Poll<()> {
        if self.is_looking.get() {
            return Poll::Ready(());
        }
        let mut looking = self.looking.borrow_mut();
        match looking.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *looking = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// Whether the busy wait has come to an end: something was read, or it was long enough.
    fn is_over(&self) -> bool {
        if self.reads.get() != self.seen.get() {
            self.since.set(None);
            self.is_looking.set(false);
            return true;
        }
        let in_vain = self.since.get().is_none_or(|since| since.elapsed() >= WINDOW);
        if in_vain {
            self.since.set(None);
            self.short.set(0);
            self.is_looking.set(false);
        }
        in_vain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone() -> (Idle, Arc<Gauges>) {
        let (idle, gauges) = (Idle::new(), Arc::new(Gauges::default()));
        idle.gauges.replace(Some(gauges.clone()));
        idle.looking.replace(Some(Waker::noop().clone()));
        (idle, gauges)
    }

    fn read(idle: &Idle) {
        idle.reads.set(idle.reads.get() + 1);
    }

    fn short_ones(idle: &Idle) {
        (0..SHORT_ONES).for_each(|_| idle.was_idle(Duration::from_micros(20)));
    }

    #[test]
    fn waits_busily_after_short_idle_times_only() {
        let (idle, _gauges) = alone();
        read(&idle);
        idle.begin();
        assert!(!idle.is_looking.get(), "nothing is known yet");
        short_ones(&idle);
        read(&idle);
        idle.begin();
        assert!(idle.is_looking.get());
        assert!(idle.poll_woken(Waker::noop()).is_ready());
        idle.was_idle(WINDOW);
        idle.is_looking.set(false);
        read(&idle);
        idle.begin();
        assert!(!idle.is_looking.get(), "the last idle time was long");
    }

    #[test]
    fn a_read_ends_the_wait_and_the_next_one_is_busy_again() {
        let (idle, _gauges) = alone();
        short_ones(&idle);
        read(&idle);
        idle.begin();
        assert!(!idle.is_over());
        read(&idle);
        assert!(idle.is_over());
        idle.begin();
        assert!(idle.is_looking.get());
    }

    #[test]
    fn a_wait_in_vain_ends_in_time_and_is_the_last_one() {
        let (idle, _gauges) = alone();
        short_ones(&idle);
        read(&idle);
        idle.begin();
        idle.since.set(Some(Instant::now() - WINDOW));
        assert!(idle.is_over());
        idle.begin();
        assert!(!idle.is_looking.get(), "nothing was read since: the thread sleeps");
        read(&idle);
        idle.begin();
        assert!(!idle.is_looking.get(), "short ones must come first");
    }

    #[test]
    fn with_several_requests_nobody_waits_busily() {
        let (idle, gauges) = alone();
        short_ones(&idle);
        gauges.in_flight.store(2, Relaxed);
        read(&idle);
        idle.begin();
        assert!(!idle.is_looking.get());
        assert_eq!(idle.since.get(), None, "nor is the time taken");
    }

    #[test]
    fn a_worker_of_a_real_runtime_hears_of_what_comes_while_it_looks() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(before_sleep)
            .on_thread_unpark(after_sleep)
            .build_local(Default::default())
            .unwrap();
        runtime.block_on(async {
            let gauges = Arc::new(Gauges::default());
            let looking = tokio::task::spawn_local(look(gauges));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut other = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let echo = std::thread::spawn(move || {
                use std::io::{Read, Write};
                let mut byte = [0; 1];
                while other.read(&mut byte).is_ok_and(|n| n == 1) {
                    other.write_all(&byte).unwrap();
                }
            });
            let mut stream = crate::net::stream::Stream::Plain(stream);
            for turn in 0..200 {
                // Now and then a long one.
                if turn % 50 == 49 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                stream.write_all(b"x").await.unwrap();
                let mut buffer = crate::net::buffer::Buffer::default();
                assert_eq!(stream.fill(&mut buffer).await.unwrap(), 1);
            }
            drop(stream);
            echo.join().unwrap();
            looking.abort();
        });
    }
}
