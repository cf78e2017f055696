//! How long and how often a request is tried.

use std::time::Duration;

/// The wait before the first retry. It doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// When to give up a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest time without any progress.
    pub timeout: Duration,
    /// The number of further attempts after a failure that may be temporary.
    pub retries: usize,
}

impl Default for RetryPolicy {
    /// A timeout of a minute and four retries.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            retries: 4,
        }
    }
}

impl RetryPolicy {
    /// The waits before the retries.
    pub(super) fn waits(&self) -> impl Iterator<Item = Duration> {
        let double = |wait: &Duration| Some((*wait * 2).min(LONGEST_WAIT));
        std::iter::successors(Some(FIRST_WAIT), double).take(self.retries)
    }

    /// The same policy with at most this timeout and at most one retry.
    pub(super) fn at_most(&self, timeout: Duration) -> Self {
        Self {
            timeout: self.timeout.min(timeout),
            retries: self.retries.min(1),
        }
    }
}
