//! One exchange: a request, its status and headers, its body to the end, under the site's limits.

use std::{error::Error, path::Path, time::Duration};

use reqwest::{Client, Method, header::HeaderMap};
use url::Url;

use crate::spool::{Spooled, Spooling};

/// A request on its way out; everything in it is decided.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
}

/// An answer, complete.
pub(crate) struct Incoming {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Spooled,
}

/// Why there is no answer.
pub(crate) enum ExchangeError {
    /// The connection to the proxy, to which the client is bound, could not be made.
    Proxy(String),
    /// Connect, TLS, reset, a body that ends too soon.
    Transport(String),
    /// The time ran out; says in which part.
    Timeout(String),
    /// The body is larger than the limit.
    TooLarge,
    /// The scratch file can't be written.
    Spool(std::io::Error),
}

/// Limits of an exchange.
#[derive(Clone, Copy)]
pub(crate) struct ExchangeLimits<'a> {
    pub(crate) time: Duration,
    pub(crate) body_max: u64,
    pub(crate) spool: &'a Path,
    pub(crate) proxied: bool,
}

/// Runs an exchange. The second part of an error is how many bytes of the body had come.
pub(crate) async fn run(
    client: &Client,
    url: &Url,
    request: Outgoing,
    limits: ExchangeLimits<'_>,
) -> Result<Incoming, (ExchangeError, u64)> {
    let deadline = tokio::time::Instant::now() + limits.time;
    let late = |part: &str| ExchangeError::Timeout(format!("no {part} from {} within {:?}", host(url), limits.time));
    let mut builder = client.request(request.method, url.clone()).headers(request.headers);
    if let Some(body) = request.body {
        builder = builder.body(body);
    }
    let answer = tokio::time::timeout_at(deadline, builder.send()).await.map_err(|_| (late("answer"), 0))?;
    let mut response = answer.map_err(|error| (classify(&error, url, limits.proxied), 0))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut spooling = Spooling::new(limits.spool);
    loop {
        let chunk = tokio::time::timeout_at(deadline, response.chunk()).await;
        let so_far = spooling.size();
        match chunk.map_err(|_| (late("end of the body"), so_far))? {
            Ok(Some(chunk)) => {
                if so_far.saturating_add(chunk.len() as u64) > limits.body_max {
                    return Err((ExchangeError::TooLarge, so_far));
                }
                spooling.take(&chunk).map_err(|error| (ExchangeError::Spool(error), so_far))?;
            }
            Ok(None) => return Ok(Incoming { status, headers, body: spooling.end() }),
            Err(error) => {
                return Err((ExchangeError::Transport(format!("the body broke off: {}", chain(&error))), so_far));
            }
        }
    }
}

/// Whose fault a failed request is. reqwest marks errors of connecting, and the chain of causes tells the rest: with a
/// proxy, an https request opens a tunnel first ("tunnel error: …"); whatever the tunnel's own connection meets, or a
/// 407, is the proxy's; a CONNECT that it answers with another status, and TLS within it, is the site's. A plain
/// http request connects to the proxy alone, so an error of connecting is the proxy's.
fn classify(error: &reqwest::Error, url: &Url, proxied: bool) -> ExchangeError {
    let text = format!("{}: {}", host(url), chain(error));
    if error.is_timeout() && !error.is_connect() {
        return ExchangeError::Timeout(text);
    }
    let lower = text.to_ascii_lowercase();
    let of_proxy = lower.contains("failed to create underlying connection")
        || lower.contains("proxy auth")
        || lower.contains("socks")
        || url.scheme() == "http";
    if proxied && error.is_connect() && of_proxy {
        ExchangeError::Proxy(chain(error))
    } else {
        ExchangeError::Transport(text)
    }
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// An error with its causes, without the URL, which may be long.
fn chain(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        cause = error.source();
    }
    if parts.is_empty() { error.to_string() } else { parts.join(": ") }
}
