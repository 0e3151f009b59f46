//! A site's circuit: how long it is left alone after what it said, and how it is found out whether it works again.
//!
//! A cool-down is one answer's doing: so long nobody asks. Blocks that follow each other open the circuit: then each
//! cool-down is twice the last one, and after it a single request tries, while all others wait for what becomes of it.

use std::time::Duration;

use crate::time::Timestamp;

/// Blocks in a row that open the circuit: one may be a page's own, three are the site's.
pub const BLOCKS_TO_OPEN: u32 = 3;
/// Longest cool-down of an open circuit.
pub const OPEN_MAX: Duration = Duration::from_hours(6);
/// How long those wait that come while another request tries.
pub const TRIAL_WAIT: Duration = Duration::from_secs(5);

/// What a site said that makes us leave it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoolingKind {
    /// We ask too often.
    RateLimited,
    /// It blocks us.
    Blocked,
}

/// Why a site is left alone, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooling {
    /// Until then.
    pub until: Timestamp,
    /// What it said.
    pub kind: CoolingKind,
    /// In words.
    pub reason: String,
}

/// Why a request isn't let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shut {
    /// What the site said last.
    pub kind: CoolingKind,
    /// In words.
    pub reason: String,
    /// How long to wait at least.
    pub after: Duration,
}

/// The circuit of one site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Circuit {
    /// The last cool-down; it may be over.
    cooling: Option<Cooling>,
    /// Blocks since the site was last known to work.
    blocks: u32,
    /// Until when blocks are those of requests that were under way when the site blocked us.
    blocked_until: Option<Timestamp>,
    /// Who tries an open circuit.
    trial: Option<Trial>,
}

/// An attempt that tries whether a site works again: all its requests may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trial {
    by: usize,
    /// Until when it has time to come to something.
    until: Timestamp,
}

impl Circuit {
    /// As it was remembered: its last cool-down, and blocks in a row.
    #[must_use]
    pub fn remembered(cooling: Option<Cooling>, blocks: u32) -> Self {
        Self { cooling, blocks, blocked_until: None, trial: None }
    }

    /// Blocks since the site was last known to work.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The cool-down that goes on at `now`.
    #[must_use]
    pub fn cooling(&self, now: Timestamp) -> Option<&Cooling> {
        self.cooling.as_ref().filter(|cooling| cooling.until > now)
    }

    /// What the site said last, as long as it isn't known to work again.
    #[must_use]
    pub fn last(&self) -> Option<&Cooling> {
        self.cooling.as_ref()
    }

    /// Whether the site blocked us so often in a row that a single request has to try it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.blocks >= BLOCKS_TO_OPEN
    }

    /// Whether nothing is to be remembered of it at `now`.
    #[must_use]
    pub fn is_clear(&self, now: Timestamp) -> bool {
        self.blocks == 0 && self.cooling(now).is_none()
    }

    /// Whether a request of the attempt `by` may go at `now`. With an open circuit the first attempt tries, for `trial`
    /// at the most, and the others wait meanwhile.
    ///
    /// # Errors
    /// The site is left alone, or is being tried by another.
    pub fn admit(&mut self, now: Timestamp, trial: Duration, by: usize) -> Result<(), Shut> {
        self.check(now, by)?;
        if self.is_open() {
            self.trial = Some(Trial { by, until: now.after(trial) });
        }
        Ok(())
    }

    /// As [`Circuit::admit`], for who only asks.
    ///
    /// # Errors
    /// The site is left alone, or is being tried by another.
    pub fn check(&self, now: Timestamp, by: usize) -> Result<(), Shut> {
        if let Some(Cooling { until, kind, reason }) = self.cooling(now).cloned() {
            return Err(Shut { kind, reason, after: until.since(now) });
        }
        let others = self.trial.filter(|trial| self.is_open() && trial.by != by && trial.until > now);
        let Some(Trial { until, .. }) = others else {
            return Ok(());
        };
        let last = self.cooling.as_ref().map_or("it blocked us", |cooling| cooling.reason.as_str());
        let reason = format!("one request tries whether it works again; last: {last}");
        Err(Shut { kind: CoolingKind::Blocked, reason, after: until.since(now).min(TRIAL_WAIT) })
    }

    /// If it is the attempt `by` that tries, it has come to nothing: another may.
    pub fn trial_is_over(&mut self, by: usize) {
        self.trial = self.trial.filter(|trial| trial.by != by);
    }

    /// The site asked to be left alone for `after`, or blocked us: then that is the first cool-down of its kind, and of
    /// an open circuit it is doubled with each block. A longer one stands. Answers the cool-down, if it is a new one.
    pub fn refused(&mut self, kind: CoolingKind, reason: &str, after: Duration, now: Timestamp) -> Option<&Cooling> {
        self.trial = None;
        let mut after = after;
        if kind == CoolingKind::Blocked {
            // Those that were under way when the first one was blocked say nothing new.
            if self.blocked_until.is_none_or(|until| until <= now) {
                self.blocks = self.blocks.saturating_add(1);
            }
            let doublings = self.blocks.saturating_sub(BLOCKS_TO_OPEN - 1).min(20);
            after = after.max(after.saturating_mul(1 << doublings).min(OPEN_MAX));
            self.blocked_until = self.blocked_until.max(Some(now.after(after)));
        }
        let until = now.after(after);
        if self.cooling.as_ref().is_some_and(|cooling| cooling.until >= until) {
            return None;
        }
        self.cooling = Some(Cooling { until, kind, reason: reason.to_owned() });
        self.cooling.as_ref()
    }

    /// A task that asked the site has ended well: it works. Answers whether that is news.
    pub fn works(&mut self, now: Timestamp) -> bool {
        if self.cooling(now).is_some() || (self.blocks == 0 && self.cooling.is_none()) {
            // What was under way when it was blocked doesn't unblock it.
            return false;
        }
        *self = Self::default();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const AFTER: Duration = Duration::from_secs(60);
    const TRIAL: Duration = Duration::from_secs(90);
    const ME: usize = 1;
    const OTHER: usize = 2;

    fn block(circuit: &mut Circuit, now: Timestamp) -> Timestamp {
        circuit.refused(CoolingKind::Blocked, "a wall", AFTER, now).unwrap().until
    }

    /// Blocked as often as it takes; and when its last cool-down is over.
    fn open() -> (Circuit, Timestamp) {
        let (mut circuit, mut now) = (Circuit::default(), NOW);
        for _ in 0..BLOCKS_TO_OPEN {
            circuit.admit(now, TRIAL, ME).unwrap();
            now = block(&mut circuit, now);
        }
        (circuit, now)
    }

    #[test]
    fn a_cool_down_refuses_until_it_is_over_and_a_longer_one_stands() {
        let mut circuit = Circuit::default();
        assert!(circuit.refused(CoolingKind::RateLimited, "429", AFTER, NOW).is_some());
        let shut = circuit.admit(NOW.after(AFTER / 2), TRIAL, ME).unwrap_err();
        assert_eq!((shut.kind, shut.after, shut.reason.as_str()), (CoolingKind::RateLimited, AFTER / 2, "429"));
        assert!(circuit.refused(CoolingKind::RateLimited, "429 again", AFTER / 2, NOW).is_none());
        assert!(circuit.admit(NOW.after(AFTER), TRIAL, ME).is_ok());
        assert!(!circuit.is_open(), "a rate is no wall");
    }

    #[test]
    fn r03_blocks_in_a_row_open_the_circuit_and_its_cool_downs_double() {
        let (mut circuit, mut now) = open();
        assert!(circuit.is_open());
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            circuit.admit(now, TRIAL, ME).unwrap();
            let until = block(&mut circuit, now);
            let after = until.since(now);
            assert!(after > last || after == OPEN_MAX, "{after:?} after {last:?}");
            (now, last) = (until, after);
        }
        assert_eq!(last, OPEN_MAX);
    }

    #[test]
    fn an_open_circuit_lets_one_request_try_and_the_others_wait() {
        let (mut circuit, now) = open();
        circuit.admit(now, TRIAL, ME).unwrap();
        assert!(circuit.admit(now, TRIAL, ME).is_ok(), "a redirect of the one that tries");
        let shut = circuit.admit(now, TRIAL, OTHER).unwrap_err();
        assert_eq!(shut.after, TRIAL_WAIT);
        assert!(shut.reason.ends_with("last: a wall"), "{}", shut.reason);
        circuit.trial_is_over(OTHER);
        assert!(circuit.admit(now, TRIAL, OTHER).is_err(), "who waits ends nobody's trial");
        circuit.trial_is_over(ME);
        circuit.admit(now, TRIAL, ME).unwrap();
        // One that never says what became of it holds nobody for ever.
        assert!(circuit.admit(now.after(TRIAL), TRIAL, OTHER).is_ok());
        assert!(circuit.works(now.after(TRIAL)));
        assert!(circuit.is_clear(now) && circuit.last().is_none());
        assert!(!circuit.works(now), "no news");
    }

    #[test]
    fn many_that_meet_the_same_wall_are_one_block_and_one_that_was_on_its_way_unblocks_nothing() {
        let mut circuit = Circuit::default();
        let until = block(&mut circuit, NOW);
        for _ in 0..30 {
            circuit.refused(CoolingKind::Blocked, "a wall", AFTER, NOW);
        }
        assert!(!circuit.is_open());
        assert!(!circuit.works(NOW));
        assert_eq!(circuit.cooling(NOW).map(|cooling| cooling.until), Some(until));
    }

    #[test]
    fn a_circuit_outlives_the_process_without_its_trial() {
        let (mut circuit, now) = open();
        circuit.admit(now, TRIAL, ME).unwrap();
        let mut again = Circuit::remembered(circuit.last().cloned(), circuit.blocks());
        assert!(again.is_open() && again.admit(now, TRIAL, OTHER).is_ok());
    }
}
