//! When a task is tried again: exponential backoff with full jitter, and its bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest time until another try, however many there were.
const BACKOFF_MAX: Duration = Duration::from_hours(1);
/// Wait where a stage asked for another try and named no time.
pub const ASKED_WAIT: Duration = Duration::from_mins(1);
/// Shortest wait of a try that uses no attempt: nothing else bounds how often a stage may ask for another, and each
/// costs a durable settlement.
pub const UNCOUNTED_WAIT_MIN: Duration = Duration::from_secs(1);

/// How a stage's tasks are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Counted attempts before the task fails; at least 1.
    pub attempts_max: u32,
    /// Upper bound of the first wait; doubled with each further one.
    pub backoff: Duration,
    /// After this long without an end a task fails.
    pub retry_for: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 5, backoff: Duration::from_secs(2), retry_for: Duration::from_hours(14 * 24) }
    }
}

impl RetryPolicy {
    /// The wait after the `counted`-th counted attempt (from 1), with full jitter: evenly between zero and the
    /// bound. `chance` is in `0.0..1.0`.
    #[must_use]
    pub fn wait_after(&self, counted: u32, chance: f64) -> Duration {
        let doublings = counted.saturating_sub(1).min(20);
        let bound = self.backoff.saturating_mul(1 << doublings).min(BACKOFF_MAX);
        bound.mul_f64(chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait_after(1, 1.0), Duration::from_secs(2));
        assert_eq!(policy.wait_after(3, 1.0), Duration::from_secs(8));
        assert_eq!(policy.wait_after(99, 1.0), BACKOFF_MAX);
        assert_eq!(policy.wait_after(2, 0.0), Duration::ZERO);
    }
}
