//! `wasi:http`: requests of a guest that brings a client of its own. They pass the same gate, whose answer is complete,
//! guarded and spooled before the guest sees its head.

use std::{sync::Arc, time::Duration};

use futures::stream::{self, StreamExt};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use tollgate_core::{
    JobName,
    http::{HttpError, HttpRequest},
    spec::ENDPOINT_SCHEME,
};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceTable},
};
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
    p2::{
        bindings::http::{outgoing_handler::Host as _, types},
        types::{HostFutureIncomingResponse, HostOutgoingRequest},
    },
};

use super::http::FETCH_ALL_MAX;
use crate::{
    gates::{Fetched, Gates, HttpGate, LogLevel},
    guest::{Guest, LimitReached, LogBudget, TransferBudget},
};

/// The interface by which a guest sends, as wasmtime has it: any 0.2 of a guest fits.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";
/// Bytes of one set of fields, with what they take in memory: twice what the gate sends.
const FIELDS_BYTES_MAX: usize = 64 << 10;
/// Bytes that a guest writes into a request's body at once: what is written and not taken yet is the host's memory.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Requests under way and responses not dropped, side by side: as many as one `fetch-all` has.
const OPEN_MAX: usize = FETCH_ALL_MAX;

/// Links the types, and the one function that sends.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let options = types::LinkOptions::default();
    types::add_to_linker::<Guest, WasiHttp>(linker, &options, Guest::http)?;
    linker.instance(OUTGOING_HANDLER)?.func_wrap("handle", |mut store: StoreContextMut<'_, Guest>, asked| {
        let (request, options) = asked;
        Ok((handle(store.data_mut(), request, options)?,))
    })
}

/// Begins to send a request.
fn handle(
    guest: &mut Guest,
    request: Resource<HostOutgoingRequest>,
    options: Option<Resource<RequestOptions>>,
) -> wasmtime::Result<Result<Resource<HostFutureIncomingResponse>, types::ErrorCode>> {
    // wasmtime-wasi-http reads the options, and leaves them in the table for good.
    let given = options.as_ref().map(|options| Resource::<RequestOptions>::new_own(options.rep()));
    let sent = guest.http().handle(request, options);
    if let Some(options) = given {
        guest.table.delete(options)?;
    }
    sent.map(Ok).or_else(|error| error.downcast().map(Err))
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.own_client.view(&mut self.table)
    }
}

/// A guest's own client, as far as it is the host's.
pub(crate) struct OwnClient {
    context: WasiHttpCtx,
    sender: Sender,
}

impl OwnClient {
    /// The client of one task.
    pub(crate) fn new(gates: &Gates, job: Option<&JobName>, log: Arc<LogBudget>, budget: Arc<TransferBudget>) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(FIELDS_BYTES_MAX);
        let gate = gates.http.clone().ok_or_else(|| format!("http is {}", super::not_granted(job, "http")));
        Self { context, sender: Sender { gate, log, budget, open: Arc::default() } }
    }

    /// Whether a request is under way, or a response is held whose body isn't read to its end.
    pub(crate) fn is_open(&self) -> bool {
        self.sender.opened() > 0
    }

    fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { hooks: &mut self.sender, table, ctx: &mut self.context }
    }
}

/// Held by each request that is under way, then by its response.
type Open = Arc<()>;

/// What sends the requests of one task.
#[derive(Clone)]
struct Sender {
    /// Absent: not granted, and the line to add.
    gate: Result<Arc<dyn HttpGate>, String>,
    log: Arc<LogBudget>,
    budget: Arc<TransferBudget>,
    open: Open,
}

/// A future that the sandbox's own library spawns, and ends where its guest lets go of it.
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, BodySent), Error>> + Send>;
/// The rest of a request's body on its way: there is none, since it is complete when it is sent.
type BodySent = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Sender {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        // The gate drops what is the host's own, and no client stumbles over the refusal of a
        // header that it always sets.
        Arc::new(|_| false)
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn is_supported_scheme(&mut self, scheme: &http::uri::Scheme) -> bool {
        matches!(scheme.as_str(), "http" | "https" | ENDPOINT_SCHEME)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WRITE_BYTES_MAX
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: BodySent,
    ) -> Sent {
        let (opened, open, sender) = (self.opened(), self.open.clone(), Self { open: Arc::default(), ..self.clone() });
        Box::new(async move {
            if opened >= OPEN_MAX {
                let text = format!("{opened} requests and responses side by side; {OPEN_MAX} is the limit");
                return Err(Error::InternalError(Some(text)));
            }
            let response = sender.send(request, options, open).await?;
            Ok((response, Box::new(std::future::ready(Ok(()))) as BodySent))
        })
    }
}

impl Sender {
    /// Requests under way, and responses held.
    fn opened(&self) -> usize {
        Arc::strong_count(&self.open).saturating_sub(1)
    }

    async fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        open: Open,
    ) -> Result<Response<WasiBody>, Error> {
        // The whole body first, whatever becomes of the request: a client whose body nobody takes would report that
        // instead of the refusal.
        let request = self.take_request(request, options).await?;
        let gate = self.gate.as_ref().map_err(|text| self.told(HttpError::Denied(text.clone())))?;
        let fetched = gate.fetch(request).await.map_err(|error| self.told(error))?;
        self.response(fetched, open)
    }

    async fn take_request(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<HttpRequest, Error> {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string();
        let mut headers = Vec::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            let value = std::str::from_utf8(value.as_bytes()).map_err(|_| {
                self.told(HttpError::InvalidRequest(format!("the value of {name} is no text in UTF-8")))
            })?;
            headers.push((name.as_str().to_owned(), value.to_owned()));
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.take(url.len() + bytes)?;
        let body = self.collect(body).await?;
        let timeout = options.and_then(time_of);
        Ok(HttpRequest { method: head.method.to_string(), url, headers, body, timeout })
    }

    /// The whole body of a request, once its guest has finished it.
    async fn collect(&self, mut body: WasiBody) -> Result<Option<Vec<u8>>, Error> {
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            // The gate sends no trailers.
            let part = frame?.into_data().map_err(|_| Error::HttpRequestTrailerSectionSize(Some(0)))?;
            let taken = self.budget.take_part(whole.len() as u64, part.len() as u64);
            taken.map_err(|_| Error::HttpRequestBodySize(Some(whole.len() as u64)))?;
            whole.extend_from_slice(&part);
        }
        Ok((!whole.is_empty()).then_some(whole))
    }

    /// A response whose body is read from the spool when it is asked for.
    fn response(&self, fetched: Arc<dyn Fetched>, open: Open) -> Result<Response<WasiBody>, Error> {
        let unfit = |what: String| self.told(HttpError::Other(format!("the site's answer can't be shown: {what}")));
        let mut response = Response::new(());
        *response.status_mut() =
            http::StatusCode::from_u16(fetched.status()).map_err(|error| unfit(error.to_string()))?;
        self.take(fetched.headers().iter().map(|(name, value)| name.len() + value.len()).sum())?;
        for (name, value) in fetched.headers() {
            let name = HeaderName::try_from(name).map_err(|error| unfit(error.to_string()))?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|error| unfit(error.to_string()))?;
            response.headers_mut().append(name, value);
        }
        let sender = self.clone();
        let whole = stream::once(async move {
            let size = fetched.size();
            sender.budget.take(size).map_err(|_| Error::HttpResponseBodySize(Some(size)))?;
            let bytes = fetched.bytes().await.map_err(|error| sender.told(error))?;
            Ok::<_, Error>(http_body::Frame::data(bytes))
        });
        // What follows the body is its end, which comes when the guest has read it: it is held until then.
        let end = stream::poll_fn(move |_| {
            let _held = &open;
            std::task::Poll::Ready(None)
        });
        Ok(response.map(|()| StreamBody::new(whole.chain(end)).boxed_unsync()))
    }

    fn take(&self, bytes: usize) -> Result<(), Error> {
        let taken = self.budget.take(bytes as u64);
        taken.map_err(|LimitReached(text)| Error::InternalError(Some(text)))
    }

    /// A refusal in the words of `wasi:http`. Where its code has no room for the text, the log has.
    fn told(&self, error: HttpError) -> Error {
        let text = error.to_string();
        let code = match error {
            HttpError::Denied(_) => Error::HttpRequestDenied,
            HttpError::Timeout(_) => Error::HttpResponseTimeout,
            HttpError::Connection(_) => Error::ConnectionTerminated,
            HttpError::TooLarge(bytes) => return Error::HttpResponseBodySize(Some(bytes)),
            HttpError::RateLimited { .. }
            | HttpError::Blocked(_)
            | HttpError::LoginRequired(_)
            | HttpError::NotContent(_)
            | HttpError::InvalidRequest(_)
            | HttpError::Storage(_)
            | HttpError::Other(_) => return Error::InternalError(Some(text)),
        };
        if let Err(limit) = self.log.line(LogLevel::Warn, &format!("wasi:http: {text}")) {
            self.budget.reach(limit);
        }
        code
    }
}

/// The time of a whole request: its answer comes complete, so that what a client gives it for connecting, for the first
/// byte and between two bytes is one.
fn time_of(options: RequestOptions) -> Option<Duration> {
    let RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout } = options;
    let given = [connect_timeout, first_byte_timeout, between_bytes_timeout].into_iter().flatten();
    given.reduce(Duration::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        call::CallLimits,
        gates::{LogEvent, LogGate},
    };

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl LogGate for Log {
        fn event(&self, event: LogEvent) {
            self.0.lock().unwrap().push(event.message);
        }
    }

    fn sender(log: &Arc<Log>, limits: &CallLimits) -> Sender {
        let budget = Arc::new(TransferBudget::new(limits));
        let log = Arc::new(LogBudget::new(log.clone(), limits.log_bytes));
        Sender { gate: Err("not granted".to_owned()), log, budget, open: Arc::default() }
    }

    #[test]
    fn r06_each_refusal_has_its_code_and_no_text_of_one_is_lost() {
        let log = Arc::new(Log::default());
        let sender = sender(&log, &CallLimits::default());
        let logged = || std::mem::take(&mut *log.0.lock().unwrap());
        let text = || "add the line".to_owned();
        assert!(matches!(sender.told(HttpError::Denied(text())), Error::HttpRequestDenied));
        assert_eq!(logged(), ["wasi:http: denied: add the line"]);
        assert!(matches!(sender.told(HttpError::Timeout(text())), Error::HttpResponseTimeout));
        assert!(matches!(sender.told(HttpError::Connection(text())), Error::ConnectionTerminated));
        assert_eq!(logged().len(), 2);
        assert!(matches!(sender.told(HttpError::TooLarge(7)), Error::HttpResponseBodySize(Some(7))));
        for error in [
            HttpError::RateLimited { after: None },
            HttpError::Blocked(text()),
            HttpError::LoginRequired(text()),
            HttpError::NotContent(text()),
            HttpError::InvalidRequest(text()),
            HttpError::Storage(text()),
            HttpError::Other(text()),
        ] {
            let shown = error.to_string();
            assert!(matches!(sender.told(error), Error::InternalError(Some(told)) if told == shown), "{shown}");
        }
        assert_eq!(logged(), [""; 0], "the code has room for it");
    }

    #[test]
    fn trap18_what_a_refusal_logs_is_within_the_budget_of_the_log() {
        let log = Arc::new(Log::default());
        let sender = sender(&log, &CallLimits { log_bytes: 200, ..CallLimits::default() });
        (0..100).for_each(|_| drop(sender.told(HttpError::Denied("x".to_owned()))));
        assert!(log.0.lock().unwrap().len() < 4);
        assert_eq!(sender.budget.reached(), Some(&LimitReached("it logged more than 200 bytes".to_owned())));
    }

    #[tokio::test]
    async fn trap18_a_body_past_the_limit_is_not_collected() {
        let sender = sender(&Arc::default(), &CallLimits { transfer_bytes: 1_000, ..CallLimits::default() });
        let body = |parts: usize| {
            let parts = (0..parts).map(|_| Ok(http_body::Frame::data(bytes::Bytes::from_static(&[b'x'; 100]))));
            StreamBody::new(stream::iter(parts)).boxed_unsync()
        };
        assert_eq!(sender.collect(body(5)).await.unwrap().map(|whole| whole.len()), Some(500));
        assert!(sender.budget.reached().is_none());
        assert!(matches!(sender.collect(body(6)).await, Err(Error::HttpRequestBodySize(Some(500)))));
        assert!(sender.budget.reached().is_some_and(|LimitReached(text)| text.contains("1000 bytes")));
    }

    #[test]
    fn what_a_client_gives_for_parts_of_a_request_is_one() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let options = |connect_timeout, first_byte_timeout, between_bytes_timeout| {
            time_of(RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout })
        };
        assert_eq!(options(None, None, None), None, "the site's own");
        assert_eq!(options(seconds(1), None, None), seconds(1));
        assert_eq!(options(seconds(1), seconds(2), seconds(4)), seconds(7));
        assert_eq!(options(seconds(1), Some(Duration::MAX), None), Some(Duration::MAX));
    }
}
