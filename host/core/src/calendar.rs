//! Days and months of a time zone: when a budget begins anew. Its tables are the program's own, so that no machine has
//! other days.

use std::{fmt, str::FromStr};

use jiff::{
    SignedDuration, Span,
    civil::Date,
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A time zone by its name, such as `Europe/Zurich`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A day or a month: from its first moment to that of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Period {
    /// Its first moment.
    pub begins: Timestamp,
    /// The next one's.
    pub ends: Timestamp,
}

impl Period {
    /// This one while it goes on at `now`, else that of the zone. One that has begun keeps its end, whatever the zone.
    #[must_use]
    pub fn turned(self, kind: PeriodKind, zone: &Zone, now: Timestamp) -> Self {
        if self.ends <= now { zone.period(kind, now) } else { self }
    }
}

/// A day by its date, in whatever zone it was lived: `2026-11-28`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(Date);

/// Why a text or a number is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no day; write one as 2026-11-28")]
pub struct DayError(pub String);

impl Day {
    /// Year, month and day as one number, in the order of days: 20261128.
    #[must_use]
    pub fn number(self) -> u32 {
        let [year, month, day] = [self.0.year(), self.0.month().into(), self.0.day().into()].map(i16::unsigned_abs);
        u32::from(year) * 10_000 + u32::from(month) * 100 + u32::from(day)
    }

    /// The day of such a number.
    ///
    /// # Errors
    /// No calendar has it.
    pub fn from_number(number: u32) -> Result<Self, DayError> {
        let part = |value: u32| i8::try_from(value % 100).unwrap_or(0);
        let year = i16::try_from(number / 10_000).map_err(|_| DayError(number.to_string()))?;
        Date::new(year, part(number / 100), part(number)).map(Self).map_err(|_| DayError(number.to_string()))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let refuse = || DayError(text.to_owned());
        let digits: String = text.split('-').collect();
        let is_date = text.len() == 10 && digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let day = digits.parse().ok().filter(|_| is_date).and_then(|number| Self::from_number(number).ok());
        // What is shown is what was written: dashes stand where they belong.
        day.filter(|day| day.to_string() == text).ok_or_else(refuse)
    }
}

impl TryFrom<String> for Day {
    type Error = DayError;

    fn try_from(text: String) -> Result<Self, DayError> {
        text.parse()
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeriodKind {
    /// From midnight to midnight; 23 to 25 hours where clocks are changed.
    Day,
    /// From the first day's midnight.
    Month,
}

impl PeriodKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

impl Default for Zone {
    /// UTC.
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl Zone {
    /// The zone of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self, String> {
        let zone = TimeZoneDatabase::bundled().get(name);
        zone.map(Self).map_err(|_| format!("{name:?} is no time zone that is known"))
    }

    /// Names of all zones.
    #[must_use]
    pub fn names() -> Vec<String> {
        TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
    }

    /// The day or month that `at` is in. Beyond the calendar's end, in the year 9999, it has no end.
    #[must_use]
    pub fn period(&self, kind: PeriodKind, at: Timestamp) -> Period {
        self.find(kind, at).unwrap_or(Period { begins: Timestamp(0), ends: Timestamp(u64::MAX) })
    }

    /// The date that it is at `at`; beyond the calendar's end, its last.
    #[must_use]
    pub fn day(&self, at: Timestamp) -> Day {
        Day(self.date(at).unwrap_or(Date::MAX))
    }

    fn date(&self, at: Timestamp) -> Option<Date> {
        let moment = jiff::Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_millis(i64::try_from(at.0).ok()?));
        Some(moment.ok()?.to_zoned_datetime(self.0.clone()).date())
    }

    fn find(&self, kind: PeriodKind, at: Timestamp) -> Option<Period> {
        let today = self.date(at)?;
        let (first, length) = match kind {
            PeriodKind::Day => (today, Span::new().days(1)),
            PeriodKind::Month => (today.first_of_month(), Span::new().months(1)),
        };
        Some(Period { begins: self.begin_of(first)?, ends: self.begin_of(first.checked_add(length).ok()?)? })
    }

    fn begin_of(&self, date: Date) -> Option<Timestamp> {
        let begin = date.to_zoned_datetime(self.0.clone()).ok()?.timestamp().as_millisecond();
        // Before 1970 there was no host.
        Some(Timestamp(u64::try_from(begin).unwrap_or(0)))
    }

    /// A point in time as a person reads it there: `2026-11-29 00:00 Europe/Zurich`.
    #[must_use]
    pub fn show(&self, at: Timestamp) -> String {
        let millis = SignedDuration::from_millis(i64::try_from(at.0).unwrap_or(i64::MAX));
        match jiff::Timestamp::UNIX_EPOCH.checked_add(millis) {
            Ok(moment) => {
                let there = moment.to_zoned_datetime(self.0.clone());
                let (date, hour, minute) = (there.date(), there.hour(), there.minute());
                format!("{date} {hour:02}:{minute:02} {self}")
            }
            Err(_) => "the end of time".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond().try_into().unwrap())
    }

    #[test]
    fn a_day_begins_at_midnight_of_its_zone_and_has_the_hours_that_it_has() {
        let zurich = Zone::named("Europe/Zurich").unwrap();
        for (now, begins, hours) in [
            ("2026-07-01T12:00:00Z", "2026-06-30T22:00:00Z", 24),
            ("2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", 23),
            ("2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", 25),
            ("2026-10-24T22:00:00Z", "2026-10-24T22:00:00Z", 25),
            ("2026-10-24T21:59:59Z", "2026-10-23T22:00:00Z", 24),
        ] {
            let Period { begins: found, ends } = zurich.period(PeriodKind::Day, at(now));
            assert_eq!((found, ends.0 - found.0), (at(begins), hours * HOUR), "{now}");
        }
    }

    #[test]
    fn a_month_goes_to_the_next_one_and_utc_is_what_nobody_names() {
        let february = Zone::default().period(PeriodKind::Month, at("2028-02-29T23:59:59Z"));
        assert_eq!((february.begins, february.ends), (at("2028-02-01T00:00:00Z"), at("2028-03-01T00:00:00Z")));
        assert_eq!(Zone::default().show(at("2028-03-01T00:00:00Z")), "2028-03-01 00:00 UTC");
        let end = Zone::default().period(PeriodKind::Day, Timestamp(u64::MAX));
        assert_eq!(end.ends, Timestamp(u64::MAX), "no panic at the end of time");
    }

    #[test]
    fn a_day_has_the_date_of_its_zone_and_is_read_as_it_is_shown() {
        let zurich = Zone::named("Europe/Zurich").unwrap();
        let day = zurich.day(at("2026-06-30T22:00:00Z"));
        assert_eq!((day.to_string().as_str(), day.number()), ("2026-07-01", 20_260_701));
        assert_eq!(Zone::default().day(at("2026-06-30T22:00:00Z")).to_string(), "2026-06-30");
        assert_eq!((Day::from_number(20_260_701), "2026-07-01".parse()), (Ok(day), Ok(day)));
        assert_eq!(Zone::default().day(Timestamp(u64::MAX)).to_string(), "9999-12-31", "no panic at the end of time");
        for bad in ["", "2026-7-01", "20260701", "2026-02-29", "2026-13-01", "-026-07-01", "2026-0-701", "2026-07-01 "]
        {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
        for bad in [0, 20_260_732, 20_261_301, u32::MAX] {
            assert!(Day::from_number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zones_are_known_by_their_names_alone() {
        assert!(Zone::named("Europe/Zürich").is_err());
        assert!(Zone::named("").is_err());
        assert!(Zone::names().iter().any(|name| name == "Europe/Zurich"));
    }
}
