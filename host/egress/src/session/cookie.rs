//! Cookies: which of them a request bears, and what an answer makes of them (RFC 6265).

use std::{fmt, net::IpAddr, time::Duration};

use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use tollgate_core::{
    Timestamp,
    spec::{SitePattern, session::CookiePattern},
};
use url::Url;

/// Cookies of one session. Browsers keep 180 of one domain.
const COOKIES_MAX: usize = 200;
/// Bytes of a cookie's name and value, as browsers have it.
const COOKIE_BYTES_MAX: usize = 4 << 10;
/// Bytes of the header that a request bears: what servers commonly take.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// A cookie's value. It is shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Value(String);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Value {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value itself, on its way to its site, to a tool or to its file.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// One cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: Value,
    /// In lower case, without a dot in front.
    pub(crate) domain: String,
    /// For that host alone, not for those below it.
    pub(crate) is_host_only: bool,
    pub(crate) path: String,
    pub(crate) is_secure: bool,
    /// Absent: as long as its site takes it.
    pub(crate) expires: Option<Timestamp>,
}

impl Cookie {
    /// Whether it is one that can be sent: its parts stand in a header.
    pub(super) fn is_sound(&self) -> bool {
        let value = self.value.reveal();
        !self.name.is_empty()
            && !self.domain.is_empty()
            && self.name.len() + value.len() <= COOKIE_BYTES_MAX
            && self.name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'=' | b';' | b','))
            && value.bytes().all(|byte| (byte >= b' ' && byte != 0x7f) && byte != b';')
    }

    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }

    fn is_for_host(&self, host: &str) -> bool {
        if self.is_host_only { self.domain == host } else { is_within(host, &self.domain) }
    }

    fn is_for(&self, url: &Url) -> bool {
        host(url).is_some_and(|host| self.is_for_host(&host))
            && is_path_within(url.path(), &self.path)
            && (!self.is_secure || url.scheme() == "https")
    }

    /// Whether some host of one of these sites may be sent it.
    pub(super) fn is_of(&self, sites: &[SitePattern]) -> bool {
        sites.iter().any(|pattern| self.is_for_site(pattern))
    }

    /// Whether some host of a site may be sent it.
    pub(super) fn is_for_site(&self, pattern: &SitePattern) -> bool {
        match pattern {
            SitePattern::Any => true,
            SitePattern::Endpoint(_) => false,
            SitePattern::Host { host, .. } => self.is_for_host(host),
            SitePattern::Below(domain) => {
                is_within(&self.domain, domain) || (!self.is_host_only && is_within(domain, &self.domain))
            }
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.domain == other.domain && self.path == other.path
    }
}

/// The cookies of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Jar(Vec<Cookie>);

impl Jar {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cookie> {
        self.0.iter()
    }

    /// Puts a cookie in, over one of the same name, domain and path. False: it is no sound one, or there are too many.
    pub(super) fn put(&mut self, cookie: Cookie) -> bool {
        if !cookie.is_sound() {
            return false;
        }
        if let Some(known) = self.0.iter_mut().find(|known| known.is_same(&cookie)) {
            *known = cookie;
            return true;
        }
        let has_room = self.0.len() < COOKIES_MAX;
        if has_room {
            self.0.push(cookie);
        }
        has_room
    }

    /// Those that some host of one of these sites may be sent.
    pub(super) fn of_sites(&self, sites: &[SitePattern]) -> Self {
        self.only(|cookie| cookie.is_of(sites))
    }

    pub(super) fn only(&self, wanted: impl Fn(&Cookie) -> bool) -> Self {
        Self(self.0.iter().filter(|cookie| wanted(cookie)).cloned().collect())
    }

    /// Whether a cookie is here, and not over, for each of these names.
    pub(super) fn has_all(&self, names: &[CookiePattern], now: Timestamp) -> bool {
        names.iter().all(|pattern| self.0.iter().any(|cookie| pattern.matches(&cookie.name) && cookie.is_live(now)))
    }

    /// The header of a request to an address: its own cookies alone, the longest path first.
    pub(crate) fn header(&self, url: &Url, now: Timestamp) -> Option<HeaderValue> {
        let mut mine: Vec<&Cookie> = self.0.iter().filter(|cookie| cookie.is_for(url) && cookie.is_live(now)).collect();
        mine.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let mut text = String::new();
        for cookie in mine {
            let more = cookie.name.len() + cookie.value.reveal().len() + 3;
            if text.len() + more > HEADER_BYTES_MAX {
                tracing::warn!(cookie = cookie.name, "a request bears no more cookies: they are too long together");
                break;
            }
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(&cookie.name);
            text.push('=');
            text.push_str(cookie.value.reveal());
        }
        let mut value = HeaderValue::from_bytes(text.as_bytes()).ok().filter(|_| !text.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Takes what an answer from an address sets. True: something has changed.
    pub(super) fn take<'a>(
        &mut self,
        set: impl IntoIterator<Item = &'a HeaderValue>,
        from: &Url,
        now: Timestamp,
    ) -> bool {
        let mut has_changed = false;
        for cookie in
            set.into_iter().filter_map(|set| parse_set_cookie(&String::from_utf8_lossy(set.as_bytes()), from, now))
        {
            if !cookie.is_live(now) {
                let before = self.0.len();
                self.0.retain(|known| !known.is_same(&cookie));
                has_changed |= self.0.len() != before;
            } else if !self.0.contains(&cookie) {
                has_changed |= self.put(cookie);
            }
        }
        has_changed
    }
}

/// A cookie as an answer sets it; absent, if it can't be that answer's to set.
pub(super) fn parse_set_cookie(text: &str, from: &Url, now: Timestamp) -> Option<Cookie> {
    let mut parts = text.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let host = host(from)?;
    let mut cookie = Cookie {
        name: name.trim().to_owned(),
        value: Value::new(value.trim()),
        domain: host.clone(),
        is_host_only: true,
        path: default_path(from.path()),
        is_secure: false,
        expires: None,
    };
    let mut has_age = false;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "domain" if !value.is_empty() => {
                let domain = value.trim_start_matches('.').to_ascii_lowercase();
                // Its own host, or what that is below of; never a whole top-level domain.
                if domain != host && (!is_within(&host, &domain) || !domain.contains('.')) {
                    return None;
                }
                cookie.is_host_only = host.parse::<IpAddr>().is_ok();
                cookie.domain = domain;
            }
            "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
            "secure" => cookie.is_secure = true,
            "max-age" => {
                if let Ok(seconds) = value.parse::<i64>() {
                    has_age = true;
                    let age = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
                    cookie.expires = Some(now.after(age));
                }
            }
            "expires" if !has_age => cookie.expires = parse_date(value),
            _ => {}
        }
    }
    let is_its_to_set = !cookie.is_secure || from.scheme() == "https";
    (is_its_to_set && cookie.is_sound()).then_some(cookie)
}

/// A date as servers write it in cookies: with blanks, or with dashes as the first browsers did.
fn parse_date(text: &str) -> Option<Timestamp> {
    let at = httpdate::parse_http_date(text).or_else(|_| {
        // "Wed, 21-Oct-2026 07:28:00 GMT"; of a year of two digits httpdate knows the form.
        httpdate::parse_http_date(&text.replace('-', " "))
    });
    let since = at.ok()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Some(Timestamp(0).after(since))
}

fn default_path(path: &str) -> String {
    match path.rfind('/') {
        Some(at) if at > 0 => path[..at].to_owned(),
        _ => "/".to_owned(),
    }
}

fn is_path_within(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || of.ends_with('/') || rest.starts_with('/'))
}

/// Whether a host is a domain's own or below it. An address is below nothing.
fn is_within(host: &str, domain: &str) -> bool {
    host == domain
        || (host.strip_suffix(domain).is_some_and(|before| before.ends_with('.')) && host.parse::<IpAddr>().is_err())
}

/// The host that cookies are kept by.
fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?.trim_end_matches('.');
    Some(host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn jar(set: &str, from: &str) -> Jar {
        let mut jar = Jar::default();
        jar.take([&HeaderValue::from_str(set).unwrap()], &url(from), NOW);
        jar
    }

    fn sent(jar: &Jar, to: &str) -> String {
        jar.header(&url(to), NOW).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn r10_a_cookie_goes_to_its_own_domain_path_and_scheme_alone() {
        let from = "https://www.ideas.example/members/in?x=1";
        for (set, to, wanted) in [
            ("a=1", "https://www.ideas.example/members/7", true),
            ("a=1", "https://www.ideas.example/membership", false),
            ("a=1; Path=/", "https://www.ideas.example/", true),
            ("a=1; Path=/", "https://ideas.example/", false),
            ("a=1; Path=/", "https://a.www.ideas.example/", false),
            ("a=1; Path=/; Domain=ideas.example", "https://b.ideas.example/", true),
            ("a=1; Path=/; Domain=.IDEAS.example", "https://ideas.example/", true),
            ("a=1; Path=/; Domain=ideas.example", "https://badideas.example/", false),
            ("a=1; Path=/; Domain=other.example", "https://other.example/", false),
            ("a=1; Path=/; Domain=example", "https://other.example/", false),
            ("a=1; Path=/; Domain=b.www.ideas.example", "https://b.www.ideas.example/", false),
            ("a=1; Path=/; Secure", "https://www.ideas.example/", true),
            ("a=1; Path=/; Secure", "http://www.ideas.example/", false),
            ("a=1; Path=/; Max-Age=0", "https://www.ideas.example/", false),
            ("a=1; Path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://www.ideas.example/", true),
            ("a=1; Path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "https://www.ideas.example/", false),
            ("a=1; Path=/; Expires=Wed, 21 Oct 2065 07:28:00 GMT", "https://www.ideas.example/", true),
            ("a=1; Path=/; Expires=never", "https://www.ideas.example/", true),
        ] {
            assert_eq!(sent(&jar(set, from), to) == "a=1", wanted, "{set} to {to}");
        }
        assert!(jar("a=1; Secure", "http://ideas.example/").is_empty(), "a plain answer sets no secure cookie");
        assert!(
            jar("a=1; Path=/; Domain=127.0.0.1", "http://127.0.0.1/").header(&url("http://127.0.0.1/"), NOW).is_some()
        );
        assert!(jar("=1", from).is_empty() && jar("a", from).is_empty());
    }

    #[test]
    fn an_answer_replaces_and_removes_and_the_longest_path_comes_first() {
        let mut jar = jar("a=1; path=/", "https://ideas.example/x");
        let from = url("https://ideas.example/x/y");
        let mut take = |set: &'static str| jar.take([&HeaderValue::from_static(set)], &from, NOW);
        assert!(!take("a=1; path=/"), "the same again");
        assert!(take("a=2; path=/"));
        assert!(take("b=3"));
        assert_eq!(sent(&jar, "https://ideas.example/x/y"), "b=3; a=2");
        assert!(jar.take([&HeaderValue::from_static("a=; path=/; max-age=-1")], &from, NOW));
        assert_eq!(sent(&jar, "https://ideas.example/x/y"), "b=3");
    }

    #[test]
    fn r10_no_value_is_shown() {
        let jar = jar("a=secret-of-ours; path=/", "https://ideas.example/");
        let header = jar.header(&url("https://ideas.example/"), NOW);
        assert!(!format!("{jar:?} {header:?}").contains("secret-of-ours"));
    }

    #[test]
    fn what_is_no_site_s_is_left_out() {
        let mut all = jar("a=1; domain=ideas.example", "https://ideas.example/");
        all.put(jar("b=1", "https://other.example/").0[0].clone());
        all.put(jar("c=1", "https://www.ideas.example/").0[0].clone());
        let of = |pattern: &str| {
            let jar = all.of_sites(&[SitePattern::parse(pattern).unwrap()]);
            jar.iter().map(|cookie| cookie.name.clone()).collect::<String>()
        };
        assert_eq!(
            [of("ideas.example"), of("www.ideas.example"), of("*.ideas.example"), of("*.x.ideas.example")],
            ["a", "ac", "ac", "a"]
        );
    }
}
