//! What a proxy says for itself in place of a site, told from what the site says.
//!
//! A secure request has its tunnel refused, and no page comes. A plain one is answered by a page of the proxy's own,
//! which looks like the site's: squid marks it with a header, tinyproxy by its name and by the
//! `Via` that it leaves out.

use reqwest::header::{HeaderMap, SERVER, VIA};

/// What squid says where it asked the site, or tried to, and got nothing of use.
/// <https://wiki.squid-cache.org/Features/CustomErrors>
const SQUID_UNREACHABLE: [&str; 10] = [
    "ERR_CONNECT_FAIL",
    "ERR_DNS_FAIL",
    "ERR_INVALID_RESP",
    "ERR_LIFETIME_EXP",
    "ERR_READ_ERROR",
    "ERR_READ_TIMEOUT",
    "ERR_SECURE_CONNECT_FAIL",
    "ERR_SOCKET_FAILURE",
    "ERR_WRITE_ERROR",
    "ERR_ZERO_SIZE_OBJECT",
];

/// What a proxy says for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnWord {
    /// It could not get an answer of the site: a failure of that address, as a refused tunnel is.
    Unreachable(String),
    /// It doesn't take our user and password.
    Unauthorized,
    /// It doesn't serve us, which says nothing of the site.
    Trouble(String),
}

/// The proxy's own word, if the page bears one of those that are known for sure; guards know more.
pub(crate) fn read(status: u16, headers: &HeaderMap) -> Option<OwnWord> {
    if status < 400 {
        return None;
    }
    let squid = headers.get("x-squid-error").and_then(|value| value.to_str().ok());
    if let Some(code) = squid.and_then(|value| value.split_ascii_whitespace().next()) {
        let is_sites = SQUID_UNREACHABLE.contains(&code);
        return is_sites.then(|| OwnWord::Unreachable(format!("squid says {code}")));
    }
    let server = headers.get(SERVER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !server.starts_with("tinyproxy/") || headers.contains_key(VIA) {
        return None;
    }
    Some(match status {
        // 407 to who brings no password, 401 to who brings a wrong one.
        401 => OwnWord::Unauthorized,
        500 => OwnWord::Unreachable("tinyproxy answers 500, as it does where it can't connect".to_owned()),
        503 => OwnWord::Unreachable("tinyproxy answers 503, as it does where no headers come".to_owned()),
        other => OwnWord::Trouble(format!("tinyproxy itself answers {other}")),
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn said(status: u16, headers: &[(&'static str, &str)]) -> Option<OwnWord> {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        read(status, &headers.collect())
    }

    #[test]
    fn r06_squid_says_whether_the_site_or_itself_is_in_the_way() {
        let unreachable = |code: &str| Some(OwnWord::Unreachable(format!("squid says {code}")));
        assert_eq!(said(503, &[("x-squid-error", "ERR_DNS_FAIL 0")]), unreachable("ERR_DNS_FAIL"));
        assert_eq!(said(503, &[("x-squid-error", "ERR_CONNECT_FAIL 111")]), unreachable("ERR_CONNECT_FAIL"));
        assert_eq!(said(403, &[("x-squid-error", "ERR_ACCESS_DENIED 0")]), None, "guards know it for the proxy's");
        assert_eq!(said(200, &[("x-squid-error", "ERR_DNS_FAIL 0")]), None);
    }

    #[test]
    fn r06_tinyproxy_says_its_name_and_leaves_out_via() {
        let own = [("server", "tinyproxy/1.11.1")];
        assert!(matches!(said(500, &own), Some(OwnWord::Unreachable(_))));
        assert!(matches!(said(403, &own), Some(OwnWord::Trouble(_))));
        assert_eq!(said(401, &own), Some(OwnWord::Unauthorized));
        assert_eq!(said(200, &own), None);
        assert_eq!(said(500, &[("server", "tinyproxy/1.11.1"), ("via", "1.1 proxy (tinyproxy/1.11.1)")]), None);
        assert_eq!(said(500, &[("via", "1.1 proxy (tinyproxy/1.11.1)"), ("server", "nginx")]), None);
    }
}
