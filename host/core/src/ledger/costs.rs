//! What calls came to together.

use serde::{Deserialize, Serialize};

use super::{CallEnd, Cost, Units};
use crate::{model::Tokens, money::NanoUsd};

/// A sum of settled calls, whatever they are summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Costs {
    /// How many.
    pub calls: u64,
    /// Their tokens.
    pub tokens: Tokens,
    /// What else was billed.
    pub units: Units,
    /// What they cost, but for the unpriced ones.
    pub cost: NanoUsd,
    /// How much of the cost is an estimate.
    pub estimated: NanoUsd,
    /// How many of them are estimates.
    pub estimates: u64,
    /// How many of them have no price: the cost is without them.
    pub unpriced: u64,
}

impl Costs {
    /// Those of one call.
    #[must_use]
    pub fn of(end: &CallEnd) -> Self {
        let (cost, unpriced) = match end.cost {
            Cost::Known(cost) => (cost, 0),
            Cost::Unpriced => (NanoUsd::ZERO, 1),
        };
        let (estimated, estimates) = if end.is_estimate { (cost, 1) } else { (NanoUsd::ZERO, 0) };
        Self { calls: 1, tokens: end.tokens, units: end.units, cost, estimated, estimates, unpriced }
    }

    /// The sum of both; stops at what can be held, which no order of summing changes.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            tokens: self.tokens.and(&other.tokens),
            units: Units {
                credits: self.units.credits.saturating_add(other.units.credits),
                audio_ms: self.units.audio_ms.saturating_add(other.units.audio_ms),
            },
            cost: self.cost.saturating_add(other.cost),
            estimated: self.estimated.saturating_add(other.estimated),
            estimates: self.estimates.saturating_add(other.estimates),
            unpriced: self.unpriced.saturating_add(other.unpriced),
        }
    }
}
