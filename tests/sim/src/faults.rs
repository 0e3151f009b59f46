//! Faults by seed: any site made unreliable, in the same way each time.

use crate::answer::Answer;
use crate::counts::PATHS_PER_HOST_MAX;
use crate::site::{Answering, Request, Site};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong, and how often. Probabilities lie between 0 and 1 and are taken in the order of the fields; a
/// sum over 1 leaves the last ones less than their share.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// Another seed, other faults.
    pub seed: u64,
    /// How often the connection is reset without an answer.
    pub reset: f64,
    /// How often the answer is 429 with `Retry-After: 1`.
    pub busy: f64,
    /// How often the answer is 503.
    pub unavailable: f64,
    /// How often the body ends half-way.
    pub truncate: f64,
    /// The longest time an answer waits; how long it does is evenly spread below it.
    pub latency_max: Duration,
    /// From this request on (counted from 0) an address has no faults but latency, so that every crawl can end.
    pub heals_after: u64,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The site's own answer.
    None,
    /// The connection is reset.
    Reset,
    /// 429 with `Retry-After: 1`.
    Busy,
    /// 503.
    Unavailable,
    /// The body ends half-way.
    Truncate,
}

impl Faults {
    /// None at all, to set some: `Faults { reset: 0.1, ..Faults::none(7) }`. Addresses heal after 3 requests.
    pub fn none(seed: u64) -> Self {
        let latency_max = Duration::ZERO;
        Self { seed, reset: 0.0, busy: 0.0, unavailable: 0.0, truncate: 0.0, latency_max, heals_after: 3 }
    }

    /// What happens to the `nth` request (from 0) for an address, and how long it waits. The same for the same
    /// seed, host, path with query, and `nth`, whatever else is asked in between.
    pub fn decide(&self, host: &str, path: &str, nth: u64) -> (Fault, Duration) {
        let mut state = beginning(self.seed, host.bytes().chain([0]).chain(path.bytes()), nth);
        let latency = self.latency_max.mul_f64(fraction(&mut state));
        if nth >= self.heals_after {
            return (Fault::None, latency);
        }
        let mut left = fraction(&mut state);
        for (fault, share) in [
            (Fault::Reset, self.reset),
            (Fault::Busy, self.busy),
            (Fault::Unavailable, self.unavailable),
            (Fault::Truncate, self.truncate),
        ] {
            if left < share {
                return (fault, latency);
            }
            left -= share;
        }
        (Fault::None, latency)
    }
}

/// Where the numbers for the `nth` request of its kind begin.
pub(crate) fn beginning(seed: u64, kind: impl IntoIterator<Item = u8>, nth: u64) -> u64 {
    // FNV-1a's step: enough to tell addresses apart before the mixing below.
    let step = |state: u64, byte| (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    kind.into_iter().fold(seed, step) ^ nth.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The next number of a splitmix64 sequence, as a fraction of 1.
pub(crate) fn fraction(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // 53 bits are what an f64 holds exactly.
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// A site with faults.
pub struct Faulty {
    site: Arc<dyn Site>,
    faults: Faults,
    requests: Mutex<HashMap<String, u64>>,
}

impl Faulty {
    /// The site, with faults.
    pub fn new(site: Arc<dyn Site>, faults: Faults) -> Self {
        Self { site, faults, requests: Mutex::default() }
    }

    // Nothing that could panic half-way happens under the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which request of its address this is, from 0. Addresses beyond the limit have no faults: they count as healed.
    fn nth(&self, path: &str) -> u64 {
        let mut requests = self.lock();
        if let Some(next) = requests.get_mut(path) {
            *next += 1;
            return *next - 1;
        }
        if requests.len() >= PATHS_PER_HOST_MAX {
            return self.faults.heals_after;
        }
        requests.insert(path.to_owned(), 1);
        0
    }
}

impl Site for Faulty {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            let target = request.http.uri().path_and_query().map_or("/", |target| target.as_str());
            let (fault, latency) = self.faults.decide(&request.host, target, self.nth(target));
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            match fault {
                Fault::None => self.site.answer(request).await,
                Fault::Reset => Answer::Reset,
                Fault::Busy => Answer::text(StatusCode::TOO_MANY_REQUESTS, "please wait\n")
                    .with(RETRY_AFTER, HeaderValue::from(1u64)),
                Fault::Unavailable => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "back soon\n"),
                Fault::Truncate => match self.site.answer(request).await {
                    Answer::Respond(response) => Answer::Respond(response.map(crate::body::AnswerBody::broken_off)),
                    other => other,
                },
            }
        })
    }

    fn reset(&self) {
        self.lock().clear();
        self.site.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults};
    use std::time::Duration;

    fn rough(seed: u64) -> Faults {
        Faults { reset: 0.1, busy: 0.2, unavailable: 0.1, truncate: 0.1, ..Faults::none(seed) }
    }

    #[test]
    fn the_same_request_has_the_same_fault() {
        for nth in 0..3 {
            assert_eq!(rough(1).decide("a.example", "/x", nth), rough(1).decide("a.example", "/x", nth));
        }
        let of = |seed| (0..100).map(|at| rough(seed).decide("a.example", &format!("/{at}"), 0).0).collect::<Vec<_>>();
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn shares_are_kept_roughly() {
        let faults = rough(3);
        let decided = (0..10_000).map(|at| faults.decide("a.example", &format!("/{at}"), 0).0);
        let busy = decided.filter(|fault| *fault == Fault::Busy).count();
        assert!((1_800..2_200).contains(&busy), "{busy} of 10000");
    }

    #[test]
    fn an_address_heals_but_stays_slow() {
        let faults = Faults { reset: 1.0, latency_max: Duration::from_secs(1), ..Faults::none(3) };
        assert_eq!(faults.decide("a.example", "/", 2).0, Fault::Reset);
        let (fault, latency) = faults.decide("a.example", "/", 3);
        assert_eq!(fault, Fault::None);
        assert!(latency > Duration::ZERO && latency < Duration::from_secs(1));
    }
}
