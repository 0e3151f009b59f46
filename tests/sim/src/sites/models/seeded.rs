//! Faults of models by seed: the same request meets the same faults each time, and none in the end.

use super::asked::Asked;
use super::script::{ModelFault, UsageLie};
use crate::faults::{beginning, fraction};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Requests of which the sim remembers how often they came. Others count as healed.
const REQUESTS_MAX: usize = 200_000;

/// What goes wrong, and how often. Shares lie between 0 and 1 and are taken in the order of the fields; a sum over 1
/// leaves the last ones less than theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFaults {
    /// Another seed, other faults.
    pub seed: u64,
    /// 429 that asks for a second.
    pub busy: f64,
    /// 429 that says no time.
    pub busy_unsaid: f64,
    /// 529, or what the provider has in its place.
    pub overloaded: f64,
    /// 500.
    pub broken: f64,
    /// An error in the middle of the stream, or in a 200.
    pub error_inside: f64,
    /// The connection closes half-way.
    pub disconnect: f64,
    /// The connection closes without a byte.
    pub lost: f64,
    /// The answer is cut at the limit of tokens.
    pub cut: f64,
    /// No usage is told.
    pub no_usage: f64,
    /// From this time on (counted from 0) a request that comes again meets no fault.
    pub heals_after: u64,
}

impl ModelFaults {
    /// None at all, to set some: `ModelFaults { busy: 0.1, ..ModelFaults::none(7) }`. Requests heal after 3 times.
    pub fn none(seed: u64) -> Self {
        let [busy, busy_unsaid, overloaded, broken, error_inside, disconnect, lost, cut, no_usage] = [0.0; 9];
        Self {
            seed,
            busy,
            busy_unsaid,
            overloaded,
            broken,
            error_inside,
            disconnect,
            lost,
            cut,
            no_usage,
            heals_after: 3,
        }
    }

    /// Some of each.
    pub fn seeded(seed: u64) -> Self {
        Self {
            busy: 0.05,
            busy_unsaid: 0.03,
            overloaded: 0.05,
            broken: 0.03,
            error_inside: 0.03,
            disconnect: 0.03,
            lost: 0.02,
            cut: 0.02,
            no_usage: 0.02,
            ..Self::none(seed)
        }
    }

    /// What tells a request from others, and how often it came before.
    pub(super) fn seen(&self, asked: &Asked, times: &mut HashMap<u64, u64>) -> (u64, u64) {
        let mut hasher = DefaultHasher::new();
        (&asked.host, &asked.model).hash(&mut hasher);
        asked.blocks.iter().for_each(|block| block.text.hash(&mut hasher));
        let body = hasher.finish();
        if times.len() >= REQUESTS_MAX && !times.contains_key(&body) {
            return (body, self.heals_after);
        }
        let before = times.entry(body).or_default();
        *before += 1;
        (body, *before - 1)
    }

    /// What happens to a request at its `nth` time, and whether its answer is cut.
    pub(super) fn decide(&self, body: u64, nth: u64) -> (Option<ModelFault>, bool) {
        if nth >= self.heals_after {
            return (None, false);
        }
        let mut state = beginning(self.seed, body.to_le_bytes(), nth);
        let mut left = fraction(&mut state);
        let faults = [
            (self.busy, Some(ModelFault::Busy(Some(Duration::from_secs(1))))),
            (self.busy_unsaid, Some(ModelFault::Busy(None))),
            (self.overloaded, Some(ModelFault::Overloaded)),
            (self.broken, Some(ModelFault::Broken)),
            (self.error_inside, Some(ModelFault::ErrorInside)),
            (self.disconnect, Some(ModelFault::Disconnect)),
            (self.lost, Some(ModelFault::Lost)),
            (self.cut, None),
            (self.no_usage, Some(ModelFault::Usage(UsageLie::Missing))),
        ];
        for (share, fault) in faults {
            if left < share {
                let is_cut = fault.is_none();
                return (fault, is_cut);
            }
            left -= share;
        }
        (None, false)
    }
}

#[cfg(test)]
mod tests {
    use super::ModelFaults;

    #[test]
    fn the_same_request_has_the_same_faults_and_none_in_the_end() {
        let of = |seed, nth| {
            let faults = ModelFaults::seeded(seed);
            (0..200).map(|body| format!("{:?}", faults.decide(body, nth))).collect::<Vec<_>>()
        };
        assert_eq!(of(1, 0), of(1, 0));
        assert_ne!(of(1, 0), of(2, 0));
        assert_ne!(of(1, 0), of(1, 1));
        assert!(of(1, 3).iter().all(|decided| decided == "(None, false)"));
    }
}
