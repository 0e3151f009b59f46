//! Values as people write them: rates, sizes, grants, host patterns.

use std::time::Duration;

use super::{Allowance, SitePattern};
use crate::{
    handler::{Capability, Grant},
    ids::JobName,
    time::unit_of_time,
};

/// Reads `30/min`, `6/s`, `100/h`: the time between two requests.
pub(super) fn parse_rate(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no rate; write a number and a time, such as \"30/min\", \"6/s\", \"100/h\"");
    let (number, unit) = text.split_once('/').ok_or_else(refuse)?;
    let seconds = unit_of_time(unit.trim()).ok_or_else(refuse)?.as_secs_f64();
    let number: f64 = number.trim().parse().map_err(|_| refuse())?;
    if !(number.is_finite() && number > 0.0) {
        return Err(refuse());
    }
    Duration::try_from_secs_f64(seconds / number).map_err(|_| refuse())
}

/// Reads `60/min`, `100000/min`, `1500/d`: whole numbers alone.
pub(super) fn parse_allowance(text: &str) -> Result<Allowance, String> {
    let refuse = || {
        format!("{text:?} is no limit; write a whole number and a time, such as \"60/min\", \"100000/min\", \"1500/d\"")
    };
    let (number, unit) = text.split_once('/').ok_or_else(refuse)?;
    let per = unit_of_time(unit.trim()).ok_or_else(refuse)?;
    let count: u64 = number.trim().parse().map_err(|_| refuse())?;
    if count == 0 { Err(refuse()) } else { Ok(Allowance { count, per }) }
}

/// Reads `20 MiB`, `500 kB`, `1 GiB`, `4096`.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no size; write a number and a unit, such as \"20 MiB\", \"500 kB\"");
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(unit_at);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(refuse()),
    };
    let number: u64 = number.trim().parse().map_err(|_| refuse())?;
    number.checked_mul(factor).ok_or_else(refuse)
}

/// Reads `http ideas.example *.other.example`, `artifacts`.
pub(super) fn parse_grant(text: &str) -> Result<Grant, String> {
    let mut words = text.split_whitespace();
    let word = words.next().unwrap_or_default();
    let known = || Capability::ALL.iter().map(|capability| capability.as_str()).collect::<Vec<_>>().join(", ");
    let capability =
        Capability::from_word(word).ok_or_else(|| format!("{word:?} is no capability; there are {}", known()))?;
    let names: Vec<String> = words.map(ToOwned::to_owned).collect();
    match capability {
        Capability::Http => match names.iter().find(|name| SitePattern::of_grant(name).is_none()) {
            Some(name) => Err(format!(
                "{name:?} is no host pattern; write \"example.com\", \"*.example.com\" or \"endpoint:NAME\""
            )),
            None => Ok(Grant { capability, names }),
        },
        Capability::Artifacts | Capability::State | Capability::Log if names.is_empty() => {
            Ok(Grant { capability, names })
        }
        Capability::Artifacts | Capability::State | Capability::Log => Err(format!("{word} takes no names")),
        Capability::Search if names.is_empty() => Ok(Grant { capability, names }),
        Capability::Search => Err("search takes no names; which one is asked is said by search = \"NAME\"".to_owned()),
        // Whether jobs.toml has such tools and models is seen where they are known.
        Capability::Tools | Capability::Llm | Capability::Speech => Ok(Grant { capability, names }),
    }
}

impl SitePattern {
    /// Reads `*`, `*.example.com`, `example.com`, `localhost:7497`, `[::1]:80`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        if let Some(domain) = text.strip_prefix("*.") {
            return is_name(domain).then(|| Self::Below(domain.to_ascii_lowercase()));
        }
        let (host, port) = match text.rsplit_once(':') {
            // A bare IPv6 address has colons of its own, and no port.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_address = bare.parse::<std::net::IpAddr>().is_ok();
        (is_address || is_name(bare)).then(|| Self::Host { host: bare.to_ascii_lowercase(), port })
    }
}

impl SitePattern {
    /// Reads what a grant may name: a host pattern, or `endpoint:NAME`, whose name begins with
    /// a letter as no port does.
    #[must_use]
    pub fn of_grant(text: &str) -> Option<Self> {
        let endpoint = text.strip_prefix("endpoint:").filter(|name| name.starts_with(|c: char| !c.is_ascii_digit()));
        match endpoint {
            Some(name) => JobName::new(name).ok().map(|name| Self::Endpoint(name.as_str().to_owned())),
            None => Self::parse(text),
        }
    }
}

fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || !c.is_ascii())
    };
    name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_sizes_read_as_written() {
        assert_eq!(parse_rate("30/min"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_rate("4/s"), Ok(Duration::from_millis(250)));
        assert!(parse_rate("0/s").is_err());
        assert!(parse_rate("fast").is_err());
        assert_eq!(parse_bytes("20 MiB"), Ok(20 << 20));
        assert_eq!(parse_bytes("500 kB"), Ok(500_000));
        assert!(parse_bytes("-1").is_err());
        assert!(parse_bytes("20 MiX").is_err());
    }

    #[test]
    fn patterns_match_names_and_what_is_below_them() {
        let below = SitePattern::parse("*.example.com").unwrap();
        assert!(below.matches("example.com", 443) && below.matches("A.Example.com", 443));
        assert!(!below.matches("badexample.com", 443) && !below.matches("example.com.evil", 443));
        let one = SitePattern::parse("localhost:7497").unwrap();
        assert!(one.matches("localhost", 7497) && !one.matches("localhost", 80));
        assert!(SitePattern::parse("[::1]:80").unwrap().matches("::1", 80));
        for bad in ["", "a..b", "*.*", "a b", "a/b", "a:port"] {
            assert_eq!(SitePattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn grants_are_read_as_they_are_shown() {
        for grant in ["http a.example *.b.example", "llm cheap dear", "llm", "search", "speech whisper"] {
            assert_eq!(parse_grant(grant).unwrap().to_string(), grant);
        }
        assert!(parse_grant("search serper").unwrap_err().contains("takes no names"));
        assert!(parse_grant("htpp").unwrap_err().contains("no capability"));
        assert!(parse_grant("artifacts all").is_err());
    }
}
