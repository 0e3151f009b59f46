//! What a site is: something that answers requests for a host name.

use crate::answer::Answer;
use crate::sites::bill::Billed;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// An answer on its way; boxed, so that sites of different types stand side by side.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// A site of the small internet. One file a site, under `sites/`.
pub trait Site: Send + Sync + 'static {
    /// Answers one request. It may take its time: the future is dropped when the client goes away.
    fn answer(&self, request: Request) -> Answering<'_>;

    /// Forgets what earlier requests did (first tries, scripts), as if the sim had just started.
    fn reset(&self) {}

    /// What it would have billed so far, under any of its names; empty for what costs nothing.
    fn bill(&self) -> Vec<Billed> {
        Vec::new()
    }
}

/// How a request reached the sim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// Through the proxy.
    Proxy,
    /// On the site's own port, around the proxy.
    Direct,
}

/// Whether the request came under TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP under TLS with a certificate of the sim's authority.
    Https,
}

impl Scheme {
    /// The scheme as it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// One request as a site sees it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The host name under which the site stands, lower case and without a port.
    pub host: Arc<str>,
    /// Host and port as the client wrote them, for absolute URLs in answers.
    pub authority: String,
    /// How it came.
    pub via: Via,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Method, path, headers and the whole body (at most 40 MiB; larger ones never reach a site).
    pub http: http::Request<Bytes>,
}

impl Request {
    /// The path without its query.
    pub fn path(&self) -> &str {
        self.http.uri().path()
    }

    /// An absolute URL of this site, for a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme.as_str(), self.authority)
    }
}
