//! When a run saves its state within an epoch, and when its time is up.

use std::time::{Duration, Instant};

use crate::train::options::{RecoveryInterval, RunOptions};

/// The times of a process.
pub(super) struct Clock {
    deadline: Option<Instant>,
    recovery: Option<RecoveryInterval>,
    /// The end of the last step.
    last: Instant,
    /// The end of the last save.
    saved: Instant,
    steps_since_save: u64,
    /// Estimates of the time of a step and of a save.
    step: Duration,
    save: Duration,
    /// Whether this process has taken a step or evaluated an epoch.
    progressed: bool,
}

impl Clock {
    /// Starts the clock of a process that started at `started`.
    pub(super) fn new(options: &RunOptions, started: Instant) -> Self {
        let now = Instant::now();
        Self {
            deadline: options.time_limit.map(|limit| started + limit.duration()),
            recovery: options.recovery_interval,
            last: now,
            saved: now,
            steps_since_save: 0,
            step: Duration::ZERO,
            save: Duration::ZERO,
            progressed: false,
        }
    }

    /// Notes that the steps of an epoch start.
    pub(super) fn start(&mut self) {
        self.last = Instant::now();
    }

    /// Notes the end of a step.
    pub(super) fn stepped(&mut self) {
        let now = Instant::now();
        self.step = longest(self.step, now - self.last);
        self.last = now;
        self.steps_since_save += 1;
        self.progressed = true;
    }

    /// Notes the end of an epoch.
    pub(super) fn finished_epoch(&mut self) {
        self.progressed = true;
    }

    /// Notes a save that began at `started`.
    pub(super) fn saved(&mut self, started: Instant) {
        let now = Instant::now();
        self.save = longest(self.save, now - started);
        self.saved = now;
        // Saving is no part of the next step.
        self.last = now;
        self.steps_since_save = 0;
    }

    /// Whether the state within an epoch is to be saved now.
    pub(super) fn recovery_due(&self) -> bool {
        match self.recovery {
            None => false,
            Some(RecoveryInterval::Steps(steps)) => self.steps_since_save >= steps,
            // The next step must not end later than the interval.
            Some(RecoveryInterval::Time(span)) => {
                self.saved.elapsed() + self.step >= span.duration()
            }
        }
    }

    /// Whether the rest of the time is needed for saving: another step might not leave enough of it.
    pub(super) fn time_is_up(&self) -> bool {
        let reserve = 2 * (self.step + self.save);
        self.deadline
            .is_some_and(|deadline| Instant::now() + reserve >= deadline)
    }

    /// Whether the time limit was long enough for any work.
    pub(super) fn has_progressed(&self) -> bool {
        self.progressed
    }
}

/// The longest of recent times. An exception, such as a computer that slept, is forgotten.
fn longest(estimate: Duration, time: Duration) -> Duration {
    time.max(estimate.mul_f64(0.9))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Clock, RunOptions};

    fn clock(recovery: &str, limit: &str, started: Instant) -> Clock {
        let options = RunOptions {
            recovery_interval: recovery.parse().ok(),
            time_limit: limit.parse().ok(),
            ..RunOptions::default()
        };
        Clock::new(&options, started)
    }

    #[test]
    fn steps_or_time_make_a_save_due() {
        let mut steps = clock("2", "", Instant::now());
        for _ in 0..3 {
            assert!(!steps.recovery_due());
            steps.stepped();
            assert!(!steps.recovery_due());
            steps.stepped();
            assert!(steps.recovery_due());
            steps.saved(Instant::now());
        }
        let mut time = clock("1h", "", Instant::now());
        assert!(!time.recovery_due());
        // The estimate of a step counts.
        time.step = Duration::from_secs(3600);
        assert!(time.recovery_due());
        assert!(!clock("", "", Instant::now()).recovery_due());
    }

    #[test]
    fn a_step_and_a_save_fit_into_the_rest_of_the_time() {
        let now = Instant::now();
        let mut clock = clock("", "1h", now);
        assert!(!clock.time_is_up());
        clock.step = Duration::from_secs(1000);
        assert!(!clock.time_is_up());
        clock.save = Duration::from_secs(1000);
        assert!(clock.time_is_up());
        let untimed = super::Clock::new(&RunOptions::default(), now);
        assert!(!untimed.time_is_up());
    }
}
