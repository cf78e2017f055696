//! Threads of the pool that stay awake during a forward pass.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rayon::Yield;

/// How long a thread stays awake without work. It also ends every wait of two threads for each other,
/// which can arise if a thread of the pool starts to wait for work inside of other work.
const PATIENCE: Duration = Duration::from_millis(1);

thread_local! {
    /// How many forward passes run on this thread, one inside of the other.
    static COMPUTING: Cell<usize> = const { Cell::new(0) };
}

/// Marks this thread as one that computes a forward pass, until it is dropped.
pub(super) struct Computing(());

impl Computing {
    pub(super) fn enter() -> Self {
        COMPUTING.set(COMPUTING.get() + 1);
        Self(())
    }

    /// As [`Computing::enter`], unless this thread computes a forward pass already.
    pub(super) fn enter_first() -> Option<Self> {
        (COMPUTING.get() == 0).then(Self::enter)
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        COMPUTING.set(COMPUTING.get() - 1);
    }
}

/// Keeps the threads of the pool awake until it is dropped.
///
/// Rayon's threads sleep after a few microseconds without work. Waking them takes longer than many layers
/// of a small network take for one image.
pub(super) struct Awake {
    over: Arc<AtomicBool>,
}

impl Awake {
    /// Wakes all threads of the current pool.
    pub(super) fn new() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        if rayon::current_num_threads() > 1 {
            let over = over.clone();
            rayon::spawn_broadcast(move |_| stay_awake(&over));
        }
        Self { over }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Does the work of the pool until it is over or there is none. A thread that computes a forward pass has
/// work of its own.
fn stay_awake(over: &AtomicBool) {
    if COMPUTING.get() > 0 {
        return;
    }
    let mut idle_since = Instant::now();
    while !over.load(Ordering::Relaxed) && idle_since.elapsed() < PATIENCE {
        match rayon::yield_now() {
            Some(Yield::Executed) => idle_since = Instant::now(),
            _ => std::thread::yield_now(),
        }
    }
}
