//! One exchange: a request, its status and headers, its body to the end, under the site's limits.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use reqwest::{
    Client, Method, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};

use crate::{
    Refused,
    address::Address,
    meter::Passage,
    own_word::{self, OwnWord},
    receive::Receive,
    spool::Spooled,
    wire::{self, Form},
};

/// Bytes that guards are given of a text that nobody wanted: a wall says what it is at its beginning.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes given to the receiver at once. Unpacked they may be a thousand times as many, and others wait meanwhile.
const PIECE_BYTES: usize = 16 << 10;
/// Bytes of a body that nobody wants which are received all the same: less than what another connection costs.
const UNWANTED_BYTES_MAX: u64 = 16 << 10;

/// A request on its way out; everything in it is decided.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
}

/// An answer, complete. Its body is with the receiver.
pub(crate) struct Incoming {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Bytes of the body, without its content coding.
    pub(crate) received: u64,
    /// The body, if its receiver kept all of it.
    pub(crate) body: Option<Spooled>,
    /// How a text begins that came in place of what the receiver wanted: for guards.
    pub(crate) head: Bytes,
}

/// Why there is no answer.
pub(crate) enum ExchangeError {
    /// The connection to the proxy, to which the client is bound, could not be made.
    Proxy(String),
    /// No connection to the site itself, which is reached directly.
    Unreached(String),
    /// TLS, reset, a body that ends too soon; through a proxy, no connection to the site.
    Transport(String),
    /// The time ran out before there was any answer.
    NoAnswer(String),
    /// The time ran out in the middle of the answer.
    Timeout(String),
    /// The body is larger than the limit.
    TooLarge,
    /// The body is larger than what the attempt may still hold, in bytes.
    HeldTooLarge(u64),
    /// The scratch file can't be written.
    Spool(std::io::Error),
    /// The body isn't what was asked for; says what is wrong with it.
    Unfit(String),
    /// A budget allows no more of it, or its endpoint is down.
    Refused(Box<Refused>),
}

/// What a client goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// Nothing.
    Direct,
    /// An HTTP proxy: a plain request is for it to forward, a secure one asks for a tunnel first.
    Http,
    /// A SOCKS proxy: a tunnel for every request.
    Socks,
}

/// Limits of an exchange.
#[derive(Clone, Copy)]
pub(crate) struct ExchangeLimits {
    pub(crate) time: Duration,
    pub(crate) body_max: u64,
    pub(crate) via: Via,
    /// Bytes of the header by which the proxy knows us.
    pub(crate) login_bytes: u64,
}

/// Runs an exchange, counted on `passage`. The second part of an error is how many bytes of the body had come.
pub(crate) async fn run(
    client: &Client,
    address: &Address,
    request: Outgoing,
    limits: ExchangeLimits,
    passage: &Passage,
    receive: &mut dyn Receive,
) -> Result<Incoming, (ExchangeError, u64)> {
    let deadline = tokio::time::Instant::now() + limits.time;
    let url = address.target();
    let late = |part: &str| format!("no {part} from {} within {:?}", address.host(), limits.time);
    let mut builder = client.request(request.method, url.clone()).headers(request.headers);
    if let Some(body) = request.body {
        builder = builder.body(body);
    }
    let request = builder.build().map_err(|error| (classify(&error, address, limits.via), 0))?;
    let is_whole = limits.via == Via::Http && url.scheme() == "http";
    let form = Form { is_whole, login_bytes: if is_whole { limits.login_bytes } else { 0 } };
    let answer = tokio::time::timeout_at(deadline, wire::send(client, request, form, passage)).await;
    let answer = answer.map_err(|_| (ExchangeError::NoAnswer(late("answer")), 0))?;
    let mut response = answer.map_err(|error| {
        count_handshake(&error, address, limits.via, passage);
        (classify(&error, address, limits.via), 0)
    })?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut received = 0;
    let is_wanted = receive.begin(status, &headers, limits.body_max).map_err(|error| (error, 0))?;
    let keeps_head = !is_wanted && is_text(&headers);
    let mut head = Vec::new();
    let ends_here = |received, head: Vec<u8>| {
        // Dropped with its connection, so that nothing more is sent.
        Ok(Incoming { status, headers: headers.clone(), received, body: None, head: head.into() })
    };
    if !is_wanted && !keeps_head && response.content_length().is_none_or(|length| length > UNWANTED_BYTES_MAX) {
        return ends_here(received, head);
    }
    loop {
        let chunk = match passage.over() {
            None => tokio::time::timeout_at(deadline, response.chunk()).await,
            // What has come is all that may. If it is all that there was, it is an answer like any other.
            Some(over) => match response.chunk().now_or_never() {
                Some(Ok(None)) => Ok(Ok(None)),
                _ => return Err((ExchangeError::Refused(Box::new(over)), received)),
            },
        };
        match chunk.map_err(|_| (ExchangeError::Timeout(late("end of the body")), received))? {
            Ok(Some(chunk)) if is_wanted => {
                for (number, piece) in chunk.chunks(PIECE_BYTES).enumerate() {
                    if number > 0 {
                        tokio::task::yield_now().await;
                    }
                    receive.take(piece).map_err(|error| (error, received))?;
                    received += piece.len() as u64;
                }
            }
            Ok(Some(chunk)) => {
                received += chunk.len() as u64;
                if keeps_head {
                    head.extend_from_slice(&chunk);
                    if head.len() >= HEAD_BYTES_MAX {
                        head.truncate(HEAD_BYTES_MAX);
                        return ends_here(received, head);
                    }
                }
            }
            Ok(None) => return Ok(Incoming { status, headers, received, body: receive.whole(), head: head.into() }),
            Err(error) => {
                let text = format!("{}: the body broke off: {}", address.host(), chain(&error));
                return Err((ExchangeError::Transport(text), received));
            }
        }
    }
}

/// Whether a body may be a page that says why it isn't what was asked for.
fn is_text(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["text/", "application/json", "application/problem+json", "application/xhtml", "application/xml"]
        .iter()
        .any(|begins| media.starts_with(begins))
}

/// Whose fault a failed request is. reqwest marks errors of connecting, and the chain of causes tells the rest: with a
/// proxy, an https request opens a tunnel first ("tunnel error: …"), and every request over SOCKS does ("SOCKS error:
/// …"). Whatever the connection to the proxy itself meets, or that it doesn't take our credentials, is the proxy's;
/// what it answers else to the wish for a tunnel, and TLS within it, may be the site's. A plain http request connects
/// to an HTTP proxy alone, so an error of connecting is the proxy's.
pub(crate) fn classify(error: &reqwest::Error, address: &Address, via: Via) -> ExchangeError {
    let said = chain(error);
    if is_proxys(error, address, via) {
        return ExchangeError::Proxy(if said.contains(UNAUTHORIZED_WORDS) { UNAUTHORIZED.to_owned() } else { said });
    }
    let why = if said.contains(NO_TUNNEL_WORDS) { NO_TUNNEL } else { &said };
    let text = format!("{}: {why}", address.host());
    if via == Via::Direct && error.is_connect() {
        return ExchangeError::Unreached(text);
    }
    if error.is_timeout() { ExchangeError::NoAnswer(text) } else { ExchangeError::Transport(text) }
}

/// Whether a failed request came no further than to the proxy.
pub(crate) fn is_proxys(error: &reqwest::Error, address: &Address, via: Via) -> bool {
    let plain = via == Via::Http && !address.is_secure();
    via != Via::Direct && error.is_connect() && (plain || is_of_proxy(&chain(error)))
}

/// Counts a connection that failed behind its proxy, which was asked for a tunnel: what went through it counts,
/// whatever became of it. Where the time was up before, it may be the proxy that was never reached.
pub(crate) fn count_handshake(error: &reqwest::Error, address: &Address, via: Via, passage: &Passage) {
    let is_made = via != Via::Direct && error.is_connect() && !error.is_timeout();
    if is_made && !is_proxys(error, address, via) {
        passage.connected();
    }
}

/// What is wrong with a proxy that answers 407, or as tinyproxy does 401.
pub(crate) const UNAUTHORIZED: &str =
    "it asks for other credentials (407): it doesn't take the user and password in its `url`";
/// How hyper-util says that.
const UNAUTHORIZED_WORDS: &str = "proxy authorization required";
/// What is said of a site to which a proxy makes no tunnel; its status and page are lost.
pub(crate) const NO_TUNNEL: &str = "the proxy can't connect to it, or may not: it made no tunnel";
/// How hyper-util says that.
const NO_TUNNEL_WORDS: &str = "tunnel error: unsuccessful";

/// How hyper-util says that a proxy could not be reached, or refused us. It has no public types for them.
const PROXY_WORDS: [&str; 5] = [
    "failed to create underlying connection",
    UNAUTHORIZED_WORDS,
    "credentials not accepted",
    "does not support user/pass authentication",
    "implements authentication incorrectly",
];

fn is_of_proxy(text: &str) -> bool {
    PROXY_WORDS.iter().any(|words| text.contains(words))
}

/// How it says that a SOCKS proxy gave no proper answer.
const SOCKS_SILENT_WORDS: [&str; 2] = ["io error during SOCKS handshake", "failed parsing server response"];

/// How a proxy answers for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probed {
    /// It is there, and takes us.
    Up,
    /// It wants another user and password.
    Unauthorized,
    /// Not at all.
    Silent,
}

/// How a proxy answers for itself within `time`. `url` names nothing that exists: over HTTP any status but 407 shows
/// that it is there and takes us, over SOCKS its refusal does.
pub(crate) async fn proxy_answers(client: &Client, url: &str, time: Duration) -> Probed {
    match client.get(url).timeout(time).send().await {
        Ok(response) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => Probed::Unauthorized,
        Ok(response) => match own_word::read(response.status().as_u16(), response.headers()) {
            Some(OwnWord::Unauthorized) => Probed::Unauthorized,
            _ => Probed::Up,
        },
        Err(error) => {
            let text = chain(&error);
            let replied = text.contains("SOCKS error") && !SOCKS_SILENT_WORDS.iter().any(|words| text.contains(words));
            if replied && !is_of_proxy(&text) { Probed::Up } else { Probed::Silent }
        }
    }
}

/// An error with its causes, without the URL, which may be long.
pub(crate) fn chain(error: &reqwest::Error) -> String {
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
