//! How long a provider asks to wait: in a header, in a detail, or in its words alone.

use std::time::Duration;

use serde_json::Value;
use tollgate_core::{
    Timestamp,
    http::{RETRY_AFTER_MAX, retry_after},
};

/// What stands before a delay in words.
const WORDS: [&str; 3] = ["try again in ", "retry in ", "retry after "];

/// By headers. OpenAI's own has milliseconds.
pub(super) fn of_headers(headers: &[(&str, &str)], now: Timestamp) -> Option<Duration> {
    let value =
        |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value);
    let millis = value("retry-after-ms").and_then(|text| text.trim().parse().ok()).map(Duration::from_millis);
    let after = millis.or_else(|| retry_after(value("retry-after")?, now));
    after.map(|after| after.min(RETRY_AFTER_MAX))
}

/// By an error and its message. A point in time, as OpenRouter gives it, needs the present one.
pub(super) fn of_body(error: &Value, message: &str, now: Option<Timestamp>) -> Option<Duration> {
    let details = error.get("details").and_then(Value::as_array).into_iter().flatten();
    let told = details.filter_map(|detail| detail.get("retryDelay")?.as_str()).find_map(duration);
    let at = || {
        let reset = error.pointer("/metadata/headers/X-RateLimit-Reset")?;
        let millis = reset.as_u64().or_else(|| reset.as_str()?.parse().ok())?;
        Some(Timestamp(millis).since(now?))
    };
    let after = told.or_else(at).or_else(|| in_words(message));
    after.map(|after| after.min(RETRY_AFTER_MAX))
}

fn in_words(message: &str) -> Option<Duration> {
    let lower = message.to_ascii_lowercase();
    WORDS.iter().find_map(|words| {
        let (_, rest) = lower.split_once(words)?;
        duration(rest.split_whitespace().next()?.trim_end_matches(['.', ',', ')']))
    })
}

/// Reads `45.837906927s`, `6m0s`, `1h2m3s`, `820ms`: numbers with their units, one after another.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let unit_at = rest.find(|char: char| char.is_ascii_alphabetic())?;
        let number: f64 = rest[..unit_at].parse().ok()?;
        let unit_end =
            rest[unit_at..].find(|char: char| !char.is_ascii_alphabetic()).map_or(rest.len(), |end| unit_at + end);
        seconds += number
            * match &rest[unit_at..unit_end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn r07_a_delay_is_read_wherever_it_stands() {
        let now = Timestamp(1_000_000);
        let seconds = |after: Option<Duration>| after.map(|after| after.as_secs_f64());
        assert_eq!(seconds(of_headers(&[("Retry-After-Ms", "1500"), ("retry-after", "9")], now)), Some(1.5));
        assert_eq!(seconds(of_headers(&[("Retry-After", "9")], now)), Some(9.0));
        assert_eq!(of_headers(&[("retry-after-ms", "x")], now), None);
        let none = Value::Null;
        for (words, expected) in [
            ("Rate limit reached for gpt-4o. Please try again in 6m0.5s. Visit …", Some(360.5)),
            ("Limit 30000. Please try again in 20ms.", Some(0.02)),
            ("Please retry in 45.837906927s.", Some(45.837_906_927)),
            ("please try again in 2h1m1s (limit)", Some(7_261.0)),
            ("Please try again in a while.", None),
            ("Please try again in 5 minutes", None),
            ("try again in -3s", None),
        ] {
            assert_eq!(seconds(of_body(&none, words, None)), expected, "{words}");
        }
        let detail = json!({"details": [{"@type": "x"}, {"retryDelay": "3.5s"}]});
        assert_eq!(seconds(of_body(&detail, "Please retry in 9s.", None)), Some(3.5));
        let reset = json!({"metadata": {"headers": {"X-RateLimit-Reset": "1002500"}}});
        assert_eq!((seconds(of_body(&reset, "", Some(now))), of_body(&reset, "", None)), (Some(2.5), None));
        assert_eq!(of_body(&none, "try again in 900h", None), Some(RETRY_AFTER_MAX));
    }
}
