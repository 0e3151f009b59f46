//! A request sent by a client, with every byte of it counted on its passage: heads, bodies as they were transferred,
//! and the connections that were made for it.
//!
//! reqwest lets nobody look at its sockets. So bodies are counted below the unpacking, which is done here and not by
//! reqwest; heads by what stands in them; connections where they are made.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use reqwest::{
    Body, Client, Request, Response,
    header::{ACCEPT, CONTENT_LENGTH, HOST, HeaderMap, USER_AGENT},
};
use tower::{Layer, Service, ServiceExt as _, service_fn};
use tower_http::decompression::Decompression;

use crate::{headers, meter::Passage};

tokio::task_local! {
    /// For whom connections are made in this task.
    static PASSAGE: Passage;
}

/// How a request stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// Its whole address is its first line's, as an HTTP proxy wants it.
    pub(crate) is_whole: bool,
    /// Bytes of the header by which the proxy knows us.
    pub(crate) login_bytes: u64,
}

/// Sends it; the answer's body is unpacked.
pub(crate) async fn send(
    client: &Client,
    request: Request,
    form: Form,
    passage: &Passage,
) -> Result<Response, reqwest::Error> {
    let request = http::Request::<Body>::try_from(request)?;
    let (client, for_it) = (client.clone(), passage.clone());
    let transfer = service_fn(move |request: http::Request<Body>| {
        let (client, passage) = (client.clone(), for_it.clone());
        async move {
            let bytes = request_bytes(&request, form);
            let mut sending = Sending { passage: &passage, bytes };
            let response = client.execute(Request::try_from(request)?).await;
            if response.as_ref().is_err_and(reqwest::Error::is_connect) {
                // Nothing of it went out.
                sending.bytes = 0;
            }
            drop(sending);
            let response = http::Response::<Body>::from(response?);
            passage.count(response_bytes(&response));
            Ok::<_, reqwest::Error>(response.map(|body| Counted { body, passage }))
        }
    });
    let answer = PASSAGE.scope(passage.clone(), Decompression::new(transfer).oneshot(request)).await;
    answer.map(|response| Response::from(response.map(Body::wrap)))
}

/// A request that is being sent: whatever becomes of it, even if nobody waits for it any more, it has been.
struct Sending<'a> {
    passage: &'a Passage,
    bytes: u64,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.passage.count(self.bytes);
        }
    }
}

/// `name: value` and an end of line, each.
fn header_bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

/// What a request's head and body take on the wire by HTTP/1.1, with the headers that reqwest and hyper add.
fn request_bytes(request: &http::Request<Body>, form: Form) -> u64 {
    let (uri, headers) = (request.uri(), request.headers());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(1, |path| path.as_str().len());
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + 3);
    let address = if form.is_whole { scheme + authority + path } else { path };
    let first = request.method().as_str().len() + address + " HTTP/1.1".len() + 3;
    let body = request.body().size_hint().lower();
    let absent = |name, bytes: usize| if headers.contains_key(name) { 0 } else { bytes as u64 };
    let added = absent(ACCEPT, "accept: */*\r\n".len())
        + absent(USER_AGENT, "user-agent: \r\n".len() + headers::USER_AGENT.len())
        + absent(HOST, "host: \r\n".len() + authority)
        + if body > 0 { absent(CONTENT_LENGTH, "content-length: \r\n".len() + body.to_string().len()) } else { 0 };
    first as u64 + header_bytes(headers) + added + form.login_bytes + 2 + body
}

fn response_bytes(response: &http::Response<Body>) -> u64 {
    let reason = response.status().canonical_reason().unwrap_or_default();
    ("HTTP/1.1 200 \r\n\r\n".len() + reason.len()) as u64 + header_bytes(response.headers())
}

/// A body, counted as it comes.
struct Counted {
    body: Body,
    passage: Passage,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.passage.count(data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts connections for the request that has them made.
#[derive(Clone)]
pub(crate) struct Connections;

impl<S> Layer<S> for Connections {
    type Service = Connecting<S>;

    fn layer(&self, connector: S) -> Connecting<S> {
        Connecting(connector)
    }
}

/// A connector whose connections are counted.
#[derive(Clone)]
pub(crate) struct Connecting<S>(S);

impl<S, To> Service<To> for Connecting<S>
where
    S: Service<To>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, to: To) -> Self::Future {
        // A probe of the proxy is for no request.
        let passage = PASSAGE.try_with(Clone::clone).ok();
        let connecting = self.0.call(to);
        Box::pin(async move {
            let connection = connecting.await?;
            passage.iter().for_each(Passage::connected);
            Ok(connection)
        })
    }
}
