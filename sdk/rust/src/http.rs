//! Requests through the host's gate: the only way out to the network.
//!
//! The host owns proxy, rate, concurrency, cookies and secrets: a handler's `Host`, `Cookie`, `Authorization` and
//! hop-by-hop headers are dropped.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    artifacts::Saved,
    backend, charset,
    error::{HttpError, Result, StageError},
};

/// A request in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` unless said otherwise.
    pub method: String,
    /// An absolute http or https URL.
    pub url: String,
    /// In the order in which they were added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// Absent: the site's own limit. It can only be shortened.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request of any method.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Self {
        Self { method: method.to_owned(), url: url.to_owned(), headers: Vec::new(), body: None, timeout: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body and its media type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut request = self.header("content-type", content_type);
        request.body = Some(body.into());
        request
    }

    /// Sets the body to a value as JSON.
    ///
    /// # Errors
    /// The value can't be written as JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        Ok(self.body("application/json", serde_json::to_vec(value)?))
    }

    /// Shortens the site's time limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it. Any status is an answer here; see [`Response::ok`].
    ///
    /// # Errors
    /// The gate gave no response.
    pub fn send(self) -> Result<Response, HttpError> {
        backend::fetch(self).map(Response)
    }
}

/// Fetches a page. A status of 400 and above is an error, as [`Response::ok`] says.
///
/// # Errors
/// The gate gave no response, or the site no page.
pub fn get(url: &str) -> Result<Response> {
    Request::new("GET", url).send()?.ok()
}

/// Fetches pages side by side, within each site's limits; answers stand in their order. A status of 400 and above is
/// an error, as [`Response::ok`] says.
pub fn get_all(urls: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Result<Response>> {
    let requests = urls.into_iter().map(|url| Request::new("GET", url.as_ref())).collect();
    send_all(requests).into_iter().map(|answer| answer?.ok()).collect()
}

/// A request of any method: `http::request("POST", url).json(&query)?.send()?.ok()?`.
#[must_use]
pub fn request(method: &str, url: &str) -> Request {
    Request::new(method, url)
}

/// Names of the members of a remote ZIP archive, by range requests.
///
/// # Errors
/// The gate gave no response, or it is no archive.
pub fn zip_members(url: &str) -> Result<Vec<String>, HttpError> {
    backend::zip_members(url)
}

/// One member of a remote ZIP archive, by range requests.
///
/// # Errors
/// The gate gave no response, or the archive has no such member.
pub fn zip_member(url: &str, member: &str) -> Result<Response, HttpError> {
    backend::zip_member(url, member).map(Response)
}

/// Sends requests side by side, within each site's limits; answers stand in their order.
pub fn send_all(requests: Vec<Request>) -> Vec<Result<Response, HttpError>> {
    backend::fetch_all(requests).into_iter().map(|answer| answer.map(Response)).collect()
}

/// A complete answer. The body stays with the host until it is asked for.
pub struct Response(backend::RawResponse);

impl Response {
    /// Turns a status of 400 and above into the stage error that fits: 404 and 410 are permanent, 408, 425 and 429 come
    /// later, all others are failures that are tried again. So are 401, 403, 407 and 451: one forbidden page says
    /// nothing of its site, and a site that refuses all of them trips the job's breaker. Who knows better says
    /// [`StageError::Blocked`] or [`StageError::LoginRequired`].
    ///
    /// # Errors
    /// As above.
    pub fn ok(self) -> Result<Self> {
        let status = self.status();
        if status < 400 {
            return Ok(self);
        }
        let reason = format!("{} answered {status}", self.url());
        Err(match status {
            404 | 410 => StageError::Permanent(reason),
            408 | 425 | 429 => StageError::retry_later(reason),
            _ => StageError::Failed(reason),
        })
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status()
    }

    /// The address, after redirects.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// A header's value, by its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.header(name)
    }

    /// All headers but cookies, which are the host's.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        self.0.headers()
    }

    /// Bytes of the body.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// The media type without its parameters, in lower case; absent if the site gave none.
    #[must_use]
    pub fn media_type(&self) -> Option<String> {
        let header = self.header("content-type")?;
        let media_type = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(media_type).filter(|media_type| !media_type.is_empty())
    }

    /// Keeps the body as an artifact of this stage, without taking it into the handler.
    ///
    /// # Errors
    /// The host could not keep it.
    pub fn save(&self, name: &str) -> Result<Saved, HttpError> {
        self.0.save(name)
    }

    /// The whole body. The host keeps it as a raw artifact first, unless it is saved already.
    ///
    /// # Errors
    /// It is larger than a handler may take at once, or the host could not read or keep it.
    pub fn bytes(&self) -> Result<Vec<u8>, HttpError> {
        self.0.bytes()
    }

    /// The whole body as text, by the charset that the site or the page names, else UTF-8; what fits it not is
    /// replaced.
    ///
    /// # Errors
    /// As [`Response::bytes`].
    pub fn text(&self) -> Result<String, HttpError> {
        Ok(charset::decode(self.bytes()?, self.header("content-type").as_deref()))
    }

    /// The whole body as a parsed page.
    ///
    /// # Errors
    /// As [`Response::bytes`].
    #[cfg(feature = "html")]
    pub fn html(&self) -> Result<crate::html::Html, HttpError> {
        Ok(crate::html::Html::parse(&self.text()?, Some(&self.url())))
    }

    /// The whole body as JSON.
    ///
    /// # Errors
    /// As [`Response::bytes`], or it doesn't have the shape of `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.bytes()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock;

    #[test]
    fn a_status_becomes_the_error_that_fits() {
        let of = |status: u16| {
            let host = mock::Host::new().status("https://a.example/", status);
            host.run(|| get("https://a.example/").map(drop))
        };
        assert_eq!(of(200), Ok(()));
        for status in [400, 401, 403, 407, 451, 500, 503] {
            assert!(matches!(of(status), Err(StageError::Failed(_))), "{status}");
        }
        for status in [404, 410] {
            assert!(matches!(of(status), Err(StageError::Permanent(_))), "{status}");
        }
        for status in [408, 425, 429] {
            assert!(matches!(of(status), Err(StageError::RetryLater { .. })), "{status}");
        }
    }
}
