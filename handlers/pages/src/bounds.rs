//! Bounds of a crawl: which addresses belong to it.

use tollgate_sdk::prelude::*;

/// What to crawl.
#[params]
#[derive(Clone, Default)]
pub(crate) struct Crawl {
    /// Pages to begin with.
    #[serde(default)]
    pub(crate) seeds: Vec<Address>,
    /// Sitemaps, or indexes of sitemaps, whose pages to take.
    #[serde(default)]
    pub(crate) sitemap: Vec<Address>,
    /// Whether links of pages are followed.
    #[serde(default)]
    pub(crate) follow: bool,
    /// Hosts (`docs.example`), or beginnings of addresses (`https://docs.example/guide/`), one of which an address must
    /// have; empty: the sites of seeds and sitemaps.
    #[serde(default)]
    #[schemars(inner(regex(
        pattern = r"^(https?://[^\s/?#]+\S*|[^\s/?#:]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?)$"
    )))]
    pub(crate) within: Vec<String>,
    /// Patterns of addresses to leave out; `*` stands for anything.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// How many links away from a seed; absent: any number.
    #[serde(default)]
    pub(crate) max_depth: Option<u32>,
}

impl Crawl {
    /// Whether an address belongs to the crawl.
    pub(crate) fn takes(&self, address: &str) -> bool {
        let is_within = if self.within.is_empty() {
            self.seeds.iter().chain(&self.sitemap).any(|start| site(start) == site(address))
        } else {
            self.within.iter().any(|bound| is_within(bound, address))
        };
        is_within && !self.exclude.iter().any(|pattern| matches(pattern, address))
    }

    /// Whether a page so many links away from a seed is followed further.
    pub(crate) fn follows(&self, depth: u32) -> bool {
        self.follow && self.max_depth.is_none_or(|max| depth < max)
    }
}

/// Whether an address is on a host (`docs.example`, with its port if it has one), or begins as `bound` does.
fn is_within(bound: &str, address: &str) -> bool {
    if bound.contains("://") {
        // A bound without a path is a site: `https://a.example` isn't the beginning of `https://a.example.evil/`.
        return if site(bound) == bound { site(address) == bound } else { address.starts_with(bound) };
    }
    site(address).split_once("://").is_some_and(|(_, host)| host.eq_ignore_ascii_case(bound))
}

/// Scheme, host and port of an address.
fn site(address: &str) -> &str {
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let end = address[after_scheme..].find(['/', '?', '#']).map_or(address.len(), |at| after_scheme + at);
    &address[..end]
}

/// Whether a pattern matches the whole of a text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_addresses() {
        assert!(matches("*.pdf", "https://a.example/x.pdf"));
        assert!(matches("https://a.example/*/print*", "https://a.example/1/print?x"));
        assert!(!matches("https://a.example/private", "https://a.example/private/x"));
        assert!(!matches("*/print", "https://a.example/print/x"));
        assert!(matches("*", ""));
    }

    #[test]
    fn without_bounds_the_seeds_own_sites_are_the_bounds() {
        let crawl = Crawl { seeds: vec!["https://a.example/start".into()], ..Crawl::default() };
        assert!(crawl.takes("https://a.example/x"));
        assert!(!crawl.takes("https://a.example.evil/x"));
        assert!(!crawl.takes("http://a.example/x"));
    }

    #[test]
    fn bounds_are_hosts_sites_or_beginnings() {
        assert!(is_within("a.example", "http://a.example/x"));
        assert!(!is_within("a.example", "http://b.a.example/x"));
        assert!(is_within("a.example:81", "http://a.example:81/x"));
        assert!(is_within("https://a.example", "https://a.example/x"));
        assert!(!is_within("https://a.example", "https://a.example.evil/x"));
        assert!(is_within("https://a.example/docs/", "https://a.example/docs/x"));
        assert!(!is_within("https://a.example/docs/", "https://a.example/x"));
    }

    #[test]
    fn depth_ends_the_following() {
        let crawl = Crawl { follow: true, max_depth: Some(1), ..Crawl::default() };
        assert!(crawl.follows(0));
        assert!(!crawl.follows(1));
    }
}
