//! Which headers pass: a guest's that are its own to send, a site's that are its own to know (trap 16).

use std::path::Path;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, RANGE};
use tollgate_core::{
    http::{HttpRequest, is_host_header},
    spec::SiteSpec,
};

use crate::{Refused, proxy::UNSET_WAIT, secret};

/// What the gate says of itself where a guest says nothing.
pub(crate) const USER_AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
/// Bytes of all headers of one request: what servers commonly take.
const HEADERS_BYTES_MAX: usize = 32 << 10;
/// A guest's headers without those that are ours.
pub(crate) fn of_guest(request: &HttpRequest) -> Result<HeaderMap, Refused> {
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for (name, value) in &request.headers {
        let lower = name.to_ascii_lowercase();
        if is_host_header(&lower) {
            continue;
        }
        bytes += name.len() + value.len();
        let name =
            HeaderName::try_from(lower).map_err(|_| Refused::invalid(format!("{name:?} is no header's name")))?;
        let value =
            HeaderValue::try_from(value).map_err(|_| Refused::invalid(format!("the value of {name} is none")))?;
        headers.append(name, value);
    }
    // A range is one of the file's own bytes, never of a compressed form of it.
    if headers.contains_key(RANGE) && !headers.contains_key(ACCEPT_ENCODING) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if bytes > HEADERS_BYTES_MAX {
        return Err(Refused::invalid(format!("{bytes} bytes of headers; {HEADERS_BYTES_MAX} is the limit")));
    }
    Ok(headers)
}

/// Lays a site's own headers over a request's: secrets are read where they live, each time anew.
pub(crate) fn of_site(headers: &mut HeaderMap, site: &SiteSpec, base: &Path) -> Result<(), Refused> {
    for (name, secret) in &site.headers {
        let unset = |why: String| {
            let text =
                format!("the header {name} of {} can't be set, so nothing is sent: {why}", site.pattern.section());
            Refused::down(&site.pattern.to_string(), text, UNSET_WAIT)
        };
        let value = secret::read(secret, base).map_err(unset)?;
        let value = value.ok_or_else(|| unset(secret::how_to_set(secret)))?;
        let mut value = HeaderValue::try_from(value).map_err(|_| unset("its value is no line of text".to_owned()))?;
        value.set_sensitive(true);
        let name = HeaderName::try_from(name).map_err(|_| unset("its name is none".to_owned()))?;
        headers.insert(name, value);
    }
    Ok(())
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
