//! The generic cell rate algorithm: one number a site says when the next request may go.

use std::time::Duration;

use crate::time::Timestamp;

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time between two requests at the even rate.
    pub interval: Duration,
    /// Requests that may go at once after a rest; at least 1.
    pub burst: u32,
}

/// State of one limiter. Time is in microseconds on the caller's clock, since many a rate is above 1,000 a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gcra {
    /// When the even flow of requests granted so far would arrive, in microseconds.
    theoretical_arrival_us: u64,
}

impl Gcra {
    /// Takes the next place in the flow and says how long to wait for it from `now`.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> Duration {
        let now_us = now.0.saturating_mul(1_000);
        let interval_us = u64::try_from(rate.interval.as_micros()).unwrap_or(u64::MAX);
        let tolerance_us = interval_us.saturating_mul(u64::from(rate.burst.saturating_sub(1)));
        let arrival_us = self.theoretical_arrival_us.max(now_us);
        self.theoretical_arrival_us = arrival_us.saturating_add(interval_us);
        Duration::from_micros(arrival_us.saturating_sub(tolerance_us).saturating_sub(now_us))
    }

    /// Gives the last place back, for a request that was never sent.
    pub fn give_back(&mut self, rate: Rate) {
        let interval_us = u64::try_from(rate.interval.as_micros()).unwrap_or(u64::MAX);
        self.theoretical_arrival_us = self.theoretical_arrival_us.saturating_sub(interval_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_evenly() {
        let rate = Rate { interval: Duration::from_secs(2), burst: 3 };
        let mut limiter = Gcra::default();
        let now = Timestamp(1_000_000);
        let waits: Vec<u64> = (0..5).map(|_| limiter.take(rate, now).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 2, 4]);
        assert_eq!(limiter.take(rate, now.after(Duration::from_secs(60))), Duration::ZERO);
    }

    #[test]
    fn a_place_given_back_is_taken_by_the_next() {
        let rate = Rate { interval: Duration::from_secs(2), burst: 1 };
        let mut limiter = Gcra::default();
        let now = Timestamp(5_000);
        assert_eq!(limiter.take(rate, now), Duration::ZERO);
        limiter.give_back(rate);
        assert_eq!(limiter.take(rate, now), Duration::ZERO);
    }
}
