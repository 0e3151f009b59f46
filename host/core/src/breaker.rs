//! The breaker of a lane: consecutive failures over distinct items; at the threshold the job pauses (S03).

use serde::{Deserialize, Serialize};

use crate::{ids::ItemId, outcome::BreakerEffect};

/// Failures over distinct items after which a job pauses, where jobs.toml names none.
pub const THRESHOLD_DEFAULT: u32 = 3;

/// Distinct items that failed since the last success.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breaker {
    failed: Vec<ItemId>,
}

/// Whether a breaker stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Work goes on.
    Closed,
    /// As many items have failed as the threshold says, or more: the job pauses.
    Opened,
}

impl Breaker {
    /// Distinct items that failed in a row.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.failed.len()
    }

    /// Takes in one attempt of `item`. `threshold` is at least 1, and may be another each time. Once it is open only
    /// what runs already is counted, which bounds its memory.
    pub fn record(&mut self, item: ItemId, effect: BreakerEffect, threshold: u32) -> BreakerState {
        match effect {
            BreakerEffect::Success => self.failed.clear(),
            BreakerEffect::None => {}
            BreakerEffect::Failure => {
                if !self.failed.contains(&item) {
                    self.failed.push(item);
                }
                if self.failed.len() >= threshold.max(1) as usize {
                    return BreakerState::Opened;
                }
            }
        }
        BreakerState::Closed
    }

    /// Starts over, as when a person resumes the job.
    pub fn reset(&mut self) {
        self.failed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_item_failing_often_opens_nothing() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            assert_eq!(breaker.record(ItemId(1), BreakerEffect::Failure, 3), BreakerState::Closed);
        }
        assert_eq!(breaker.failures(), 1);
    }

    #[test]
    fn distinct_items_open_it_and_a_success_closes_it() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.record(ItemId(1), BreakerEffect::Failure, 3), BreakerState::Closed);
        assert_eq!(breaker.record(ItemId(2), BreakerEffect::Failure, 3), BreakerState::Closed);
        assert_eq!(breaker.record(ItemId(2), BreakerEffect::None, 3), BreakerState::Closed);
        assert_eq!(breaker.record(ItemId(3), BreakerEffect::Failure, 3), BreakerState::Opened);
        assert_eq!(breaker.record(ItemId(4), BreakerEffect::Failure, 3), BreakerState::Opened);
        breaker.record(ItemId(4), BreakerEffect::Success, 3);
        assert_eq!(breaker.failures(), 0);
    }

    #[test]
    fn s03_a_threshold_that_was_lowered_opens_it_at_the_next_failure() {
        let mut breaker = Breaker::default();
        for item in 1..=5 {
            assert_eq!(breaker.record(ItemId(item), BreakerEffect::Failure, 10), BreakerState::Closed);
        }
        assert_eq!(breaker.record(ItemId(5), BreakerEffect::Failure, 3), BreakerState::Opened);
    }
}
