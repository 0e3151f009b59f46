//! Points in time, durations as people write them, and the clock that the host is given.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This point, `by` later; stops at the end of time.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it isn't.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Where time comes from. The host never asks the system for it in another way, so tests own time.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
    /// Ready once `now() >= until`.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;
}

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write a number and a unit, such as \"250ms\", \"30s\", \"5min\", \"6h\", \"14d\"")]
pub struct DurationError(pub String);

/// Reads `250ms`, `30s`, `5min`, `6h`, `14d`; fractions are allowed.
///
/// # Errors
/// The text has another form, or is too long for a [`Duration`].
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let refuse = || DurationError(text.to_owned());
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(refuse)?;
    let (number, unit) = trimmed.split_at(unit_at);
    let number: f64 = number.trim().parse().map_err(|_| refuse())?;
    let seconds = match unit {
        "ms" => 0.001,
        unit => unit_of_time(unit).ok_or_else(refuse)?.as_secs_f64(),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| refuse())
}

/// The time that a word of jobs.toml stands for: `s`, `m` or `min`, `h`, `d`.
pub(crate) fn unit_of_time(unit: &str) -> Option<Duration> {
    match unit {
        "s" => Some(Duration::from_secs(1)),
        "m" | "min" => Some(Duration::from_mins(1)),
        "h" => Some(Duration::from_hours(1)),
        "d" => Some(Duration::from_hours(24)),
        _ => None,
    }
}

/// A duration as a person reads it at a glance: `0 ms`, `<1 ms`, `250 ms`, `1.5 s`, `12 min`, `6 h`, `14 d`.
#[derive(Debug, Clone, Copy)]
pub struct Short(pub Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if self.0.is_zero() {
            f.pad("0 ms")
        } else if seconds < 0.001 {
            f.pad("<1 ms")
        } else if seconds < 1.0 {
            f.pad(&format!("{} ms", self.0.as_millis()))
        } else if seconds < 120.0 {
            f.pad(&format!("{seconds:.1} s"))
        } else if seconds < 7_200.0 {
            f.pad(&format!("{:.0} min", seconds / 60.0))
        } else if seconds < 172_800.0 {
            f.pad(&format!("{:.1} h", seconds / 3_600.0))
        } else {
            f.pad(&format!("{:.1} d", seconds / 86_400.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5 h"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("14d"), Ok(Duration::from_secs(14 * 86_400)));
        for bad in ["", "5", "s", "-1s", "5 weeks", "1e400s", "NaNs"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn d05_zero_is_shown_as_zero() {
        assert_eq!(Short(Duration::ZERO).to_string(), "0 ms");
        assert_eq!(Short(Duration::from_micros(3)).to_string(), "<1 ms");
        assert_eq!(Short(Duration::from_millis(1_500)).to_string(), "1.5 s");
    }
}
