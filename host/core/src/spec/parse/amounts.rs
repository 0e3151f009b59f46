//! Amounts of a jobs.toml: counts, times, sizes and rates, each within its bounds.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde_spanned::Spanned;

use super::Reader;
use crate::{
    spec::{
        raw::RawAmount,
        values::{parse_bytes, parse_rate},
    },
    time::parse_duration,
};

/// Longest time of any kind: longer ones are slips, and no clock reaches them.
const TIME_MAX: Duration = Duration::from_hours(24 * 3_650);
/// Shortest time that something may be given.
const TIME_MIN: Duration = Duration::from_millis(1);

/// Whether a time of zero says something: no wait does, no time for a request doesn't.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Zero {
    Allowed,
    Refused,
}

impl Reader<'_> {
    /// A count within bounds.
    pub(super) fn count<T: Copy + TryFrom<i64> + PartialOrd + fmt::Display>(
        &mut self,
        key: &str,
        value: Option<&Spanned<RawAmount>>,
        bounds: RangeInclusive<T>,
        default: T,
    ) -> T {
        let Some(value) = value else {
            return default;
        };
        let count = match value.as_ref() {
            RawAmount::Whole(count) => T::try_from(*count).ok(),
            RawAmount::Text(_) | RawAmount::Other(_) => None,
        };
        count.filter(|count| bounds.contains(count)).unwrap_or_else(|| {
            let help = format!("write a whole number, {} to {}", bounds.start(), bounds.end());
            self.say(value.span(), format!("{key} is {}", value.as_ref()), Some(help));
            default
        })
    }

    /// A time within bounds; absent after saying what is wrong.
    pub(super) fn time(&mut self, key: &str, value: &Spanned<RawAmount>, zero: Zero) -> Option<Duration> {
        let parsed = self.or_say(value.span(), key, parse_duration(&value.as_ref().text()))?;
        let least = if zero == Zero::Allowed { Duration::ZERO } else { TIME_MIN };
        if (least..=TIME_MAX).contains(&parsed) {
            return Some(parsed);
        }
        let least = if zero == Zero::Allowed { "0s" } else { "1ms" };
        self.say(value.span(), format!("{key} is {}", value.as_ref()), Some(format!("write {least} to 3650d")));
        None
    }

    /// A time within bounds, or the default where nothing is said.
    pub(super) fn duration(
        &mut self,
        key: &str,
        value: Option<&Spanned<RawAmount>>,
        zero: Zero,
        default: Duration,
    ) -> Duration {
        value.and_then(|value| self.time(key, value, zero)).unwrap_or(default)
    }

    /// A size in bytes within bounds, which `possible` names; the default where nothing is said.
    pub(super) fn bytes(
        &mut self,
        key: &str,
        value: Option<&Spanned<RawAmount>>,
        (bounds, possible): (RangeInclusive<u64>, &str),
        default: u64,
    ) -> u64 {
        let Some(value) = value else {
            return default;
        };
        let parsed = self.or_say(value.span(), key, parse_bytes(&value.as_ref().text()));
        if let Some(bytes) = parsed.filter(|bytes| !bounds.contains(bytes)) {
            self.say(value.span(), format!("{key} is {bytes} bytes"), Some(format!("write {possible}")));
        }
        parsed.unwrap_or(default)
    }

    /// The time between two requests of a rate.
    pub(super) fn rate(&mut self, key: &str, value: &Spanned<RawAmount>) -> Option<Duration> {
        self.or_say(value.span(), key, parse_rate(&value.as_ref().text()))
    }
}
