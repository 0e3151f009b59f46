//! Retry-After: seconds or a date, RFC 9110 section 10.2.3.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use tollgate_core::Timestamp;

/// Longest cool-down taken from a header: a site that says more is looked at again after a day.
const AFTER_MAX: Duration = Duration::from_hours(24);

/// How long a site asks to be left alone.
pub(crate) fn read(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    parse(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// How long a value of the header asks for.
pub(crate) fn parse(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let after = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            let millis = date.duration_since(UNIX_EPOCH).ok()?.as_millis();
            Timestamp(u64::try_from(millis).ok()?).since(now)
        }
    };
    Some(after.min(AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        read(&headers, Timestamp(784_111_777_000))
    }

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(of("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(of("999999999"), Some(AFTER_MAX));
        assert_eq!(of("soon"), None);
    }
}
