//! Which headers pass: a guest's that are its own to send, a site's that are its own to know (trap 16).

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tollgate_core::http::HttpRequest;

use crate::Refused;

/// What the gate says of itself where a guest says nothing.
pub(crate) const USER_AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
/// Bytes of all headers of one request: what servers commonly take.
const HEADERS_BYTES_MAX: usize = 32 << 10;
/// Headers that the host owns: authority, connection, credentials.
const OURS: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A guest's headers without those that are ours.
pub(crate) fn of_guest(request: &HttpRequest) -> Result<HeaderMap, Refused> {
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for (name, value) in &request.headers {
        let lower = name.to_ascii_lowercase();
        if OURS.contains(&lower.as_str()) || lower.starts_with("proxy-") {
            continue;
        }
        bytes += name.len() + value.len();
        let name =
            HeaderName::try_from(lower).map_err(|_| Refused::invalid(format!("{name:?} is no header's name")))?;
        let value =
            HeaderValue::try_from(value).map_err(|_| Refused::invalid(format!("the value of {name} is none")))?;
        headers.append(name, value);
    }
    if bytes > HEADERS_BYTES_MAX {
        return Err(Refused::invalid(format!("{bytes} bytes of headers; {HEADERS_BYTES_MAX} is the limit")));
    }
    Ok(headers)
}

/// A site's headers as a guest sees them: no cookies, which are the session's.
pub(crate) fn for_guest(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = headers.iter().filter(|(name, _)| !matches!(name.as_str(), "set-cookie" | "set-cookie2"));
    shown
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap16_headers_that_are_ours_are_dropped() {
        let headers = ["Host", "cookie", "Authorization", "Proxy-Authorization", "Proxy-X", "Connection", "Accept"];
        let headers = headers.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        let request = HttpRequest { method: "GET".into(), url: String::new(), headers, body: None, timeout: None };
        let kept = of_guest(&request).unwrap();
        assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn headers_that_split_a_request_are_refused() {
        let headers = vec![("x".to_owned(), "a\r\nHost: b".to_owned())];
        let request = HttpRequest { method: "GET".into(), url: String::new(), headers, body: None, timeout: None };
        assert!(of_guest(&request).is_err());
    }
}
