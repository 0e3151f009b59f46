//! One HTTP connection to one site, however it came: counts the request, lets the site answer, sends that.

use crate::answer::Answer;
use crate::body::{AnswerBody, Broken, End, asks_reset};
use crate::counts::{Counter, InFlight};
use crate::handshake::Reception;
use crate::raw::{RawIo, RawSlot};
use crate::site::{Request, Scheme, Site, Via};
use crate::sites::bill::Billed;
use crate::speech::ProxyKind;
use crate::wire::{ResetFlag, Wire};
use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// The largest request body a site is given, in bytes; a larger one is answered 413. Bodies are held in memory.
/// Services that refuse 25 or 32 MiB in their own words get a little more.
const REQUEST_BODY_MAX: usize = 40 * 1024 * 1024;

/// A host name and what stands behind it.
pub(crate) struct Entry {
    pub(crate) host: Arc<str>,
    pub(crate) site: Arc<dyn Site>,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) reception: Reception,
}

/// Everything the listeners share.
pub(crate) struct World {
    pub(crate) entries: HashMap<Arc<str>, Arc<Entry>>,
    pub(crate) counter: Arc<Counter>,
    /// The one value of `Proxy-Authorization` that the proxy takes; absent, it asks for none.
    pub(crate) proxy_auth: Option<HeaderValue>,
    pub(crate) proxy_kind: ProxyKind,
    pub(crate) ca_pem: String,
}

impl World {
    /// The site under a host name, whatever its case.
    pub(crate) fn entry(&self, host: &str) -> Option<&Arc<Entry>> {
        match self.entries.get(host) {
            Some(entry) => Some(entry),
            None if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                self.entries.get(host.to_ascii_lowercase().as_str())
            }
            None => None,
        }
    }

    /// What all services would have billed, by host name and in the order in which they were asked.
    pub(crate) fn bill(&self) -> Vec<Billed> {
        let mut hosts: Vec<_> = self.entries.iter().collect();
        hosts.sort_by_key(|(host, _)| (*host).clone());
        // A service that stands under several names has the rows of all of them.
        let rows = |(host, entry): (&Arc<str>, &Arc<Entry>)| {
            let mut rows = entry.site.bill();
            rows.retain(|row| row.host == **host);
            rows
        };
        hosts.into_iter().flat_map(rows).collect()
    }

    pub(crate) fn reset(&self) {
        for entry in self.entries.values() {
            entry.site.reset();
        }
        self.counter.reset();
    }
}

/// Serves a site's own port: plain HTTP and TLS on the same one, told apart by the first byte.
pub(crate) async fn direct(world: Arc<World>, entry: Arc<Entry>, wire: Wire) {
    let flag = wire.reset_flag();
    match wire.begins_with_tls().await {
        Ok(true) => tls(world, entry, Via::Direct, wire, flag).await,
        Ok(false) => connection(world, entry, Scheme::Http, Via::Direct, wire, flag).await,
        Err(error) => tracing::debug!(%error, "connection ended before its first byte"),
    }
}

/// Serves a site under TLS over any stream.
pub(crate) async fn tls<S>(world: Arc<World>, entry: Arc<Entry>, via: Via, mut stream: S, flag: ResetFlag)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match entry.reception.spoils(&mut stream).await {
        Ok(false) => {}
        Ok(true) => return,
        Err(error) => return tracing::debug!(%error, host = %entry.host, "the client went away"),
    }
    match TlsAcceptor::from(entry.tls.clone()).accept(stream).await {
        Ok(stream) => connection(world, entry, Scheme::Https, via, stream, flag).await,
        // A client that doesn't trust the authority is something tests provoke.
        Err(error) => tracing::debug!(%error, host = %entry.host, "TLS handshake failed"),
    }
}

async fn connection<S>(world: Arc<World>, entry: Arc<Entry>, scheme: Scheme, via: Via, stream: S, flag: ResetFlag)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let raw = RawSlot::default();
    let service = service_fn(|request| {
        let (world, entry, raw) = (world.clone(), entry.clone(), raw.clone());
        async move { answer(&world, &entry, (scheme, via), request, &raw).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(RawIo::new(stream, &raw)), service);
    let mut connection = std::pin::pin!(connection);
    ended(connection.as_mut().await, &flag);
}

/// Notes how a connection ended; must be called before its stream is dropped, so that a reset can be one.
pub(crate) fn ended(result: Result<(), hyper::Error>, flag: &ResetFlag) {
    if let Err(error) = result {
        if asks_reset(&error) {
            flag.raise();
        }
        tracing::debug!(%error, "connection ended early");
    }
}

/// Lets a site answer one request. An error closes the connection without an answer.
pub(crate) async fn answer(
    world: &World,
    entry: &Entry,
    (scheme, via): (Scheme, Via),
    request: http::Request<Incoming>,
    raw: &RawSlot,
) -> Result<Response<AnswerBody>, io::Error> {
    let (mut head, body) = request.into_parts();
    let target = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let authority = match (head.uri.authority(), head.headers.get(HOST).and_then(|host| host.to_str().ok())) {
        (Some(authority), _) => authority.as_str().to_owned(),
        (None, Some(host)) => host.to_owned(),
        (None, None) => entry.host.as_ref().to_owned(),
    };
    let mut in_flight = world.counter.request(&entry.host, target.as_str(), via, head.method.as_str());
    let is_head = head.method == Method::HEAD;
    head.uri = Uri::from(target.clone());
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        match Limited::new(body, REQUEST_BODY_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let refusal = Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "request body over 40 MiB\n");
                return respond(noted(refusal, is_head, &mut in_flight));
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    };
    let host = entry.host.clone();
    let http = http::Request::from_parts(head, body);
    match entry.site.answer(Request { host, authority, via, scheme, http }).await {
        Answer::Raw(bytes) => {
            raw.set(bytes);
            // Whatever is written now, the bytes go out in its place.
            respond(Answer::text(StatusCode::OK, "").with(CONNECTION, HeaderValue::from_static("close")))
        }
        answer => respond(noted(answer, is_head, &mut in_flight)),
    }
}

/// Notes an answer's status and bytes with its request; bytes that aren't known yet are counted as they go.
fn noted(answer: Answer, is_head: bool, in_flight: &mut InFlight<'_>) -> Answer {
    let Answer::Respond(response) = answer else {
        return answer;
    };
    let status = response.status().as_u16();
    match response.body().known_bytes() {
        // An answer to HEAD has the length of a body but not the body.
        _ if is_head => in_flight.answered(status, 0),
        Some(bytes) => in_flight.answered(status, bytes),
        None => {
            in_flight.answered(status, 0);
            let meter = in_flight.meter();
            return Answer::Respond(response.map(|body| body.metered(meter)));
        }
    }
    Answer::Respond(response)
}

/// An answer as hyper wants it.
pub(crate) fn respond(answer: Answer) -> Result<Response<AnswerBody>, io::Error> {
    match answer {
        Answer::Respond(response) => Ok(response),
        Answer::HangUp | Answer::Raw(_) => Err(io::Error::other(Broken(End::Close))),
        Answer::Reset => Err(io::Error::other(Broken(End::Reset))),
    }
}
