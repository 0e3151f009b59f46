//! Requests of the host's own to paid services: by the route and the budgets of their site, or at the pace of their
//! endpoint, never followed elsewhere, and not judged. What a status means, and what it costs, is for who pays to know;
//! so is whether anything was sent.

use std::{borrow::Cow, pin::Pin, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, Method, Response,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tollgate_core::{
    Timestamp,
    spec::{Secret, SitePattern},
};
use url::Url;

use crate::{
    Caller, Gate, Refused,
    address::{self, Address, Named},
    endpoint::{self, Standing},
    exchange::{self, ExchangeError, Via},
    headers,
    meter::Passage,
    proxy::UNSET_WAIT,
    redact::Redactor,
    secret,
    site::Slot,
    ways,
    wire::{self, Form},
};

/// How long work waits whose turn at an endpoint came too late.
const LATE_WAIT: Duration = Duration::from_secs(1);

/// Asked when a request to a paid service has waited for all that stands before it: whether it is sent still. It must not
/// block.
pub type MayGo<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// A request to a paid service. It is a POST, unless it has no body.
#[derive(Debug, Clone)]
pub struct ServiceRequest {
    /// Its address. The site's policy says how it is reached.
    pub url: Url,
    /// Headers beside the site's own.
    pub headers: Vec<(&'static str, &'static str)>,
    /// What bears the key; absent: the service wants none.
    pub key: Option<ServiceKey>,
    /// The body with its media type.
    pub body: Option<(Bytes, Cow<'static, str>)>,
    /// From its start to the end of the answer.
    pub time: Duration,
    /// With less than so much of its time left it isn't sent: it would be paid for, and cut off.
    pub time_min: Duration,
    /// Most bytes of the answer's body.
    pub body_max: u64,
}

/// The key of a paid service: looked at where it lives when it is used, shown nowhere, not even where
/// the service says it again.
#[derive(Debug, Clone)]
pub struct ServiceKey {
    /// The header's name.
    pub header: &'static str,
    /// What stands before the key: `Bearer `.
    pub before: &'static str,
    /// Where it is.
    pub secret: Secret,
}

/// An answer whose body is on its way.
pub struct ServiceAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers; names in lower case.
    pub headers: Vec<(String, String)>,
    response: Response,
    passage: Passage,
    host: String,
    /// One timer for all of it: it may come in many pieces.
    deadline: Pin<Box<Sleep>>,
    time: Duration,
    left: u64,
    redactor: Redactor,
    is_whole: bool,
    /// Its place at an endpoint, until it is read.
    _slot: Option<Slot>,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFailure {
    /// Nothing was sent: policy, a proxy, an endpoint or a budget of bytes stands in the way, the key isn't there,
    /// or no connection was made.
    #[error("{}", .0.error)]
    NotSent(Box<Refused>),
    /// It was sent, and what came of it is lost. It may be billed.
    #[error("{0}")]
    Lost(String),
    /// It was sent, and not answered in time. It may be billed.
    #[error("{0}")]
    Late(String),
}

impl From<Refused> for ServiceFailure {
    fn from(refused: Refused) -> Self {
        Self::NotSent(Box::new(refused))
    }
}

impl Gate {
    /// Sends a request to a paid service, and answers once status and headers are there. `may_go` is asked when it has
    /// waited for all that it has to wait for; where its connection isn't made then, nothing was sent all the same.
    ///
    /// # Errors
    /// Nothing was sent, or no answer came; a status of whatever kind is none.
    pub async fn ask_service(
        &self,
        request: ServiceRequest,
        may_go: MayGo<'_>,
    ) -> Result<ServiceAnswer, ServiceFailure> {
        let caller = Caller::of_host()?;
        address::check(&request.url)?;
        let address = address::decide(&self.deployment(), &caller, request.url.clone(), Named::Host)?;
        let head = self.head(&request, &address)?;
        let secrets = secrets(&head, request.key.as_ref());
        let deadline = Instant::now() + request.time;
        // The way is looked at first: where it is shut, nothing waits for a turn.
        let ways = self.ways(&address)?;
        let mut slot = self.enter_endpoint(&address, &caller, &request).await?;
        let now = || self.options.clock.now();
        let standing = self.endpoints.admit(&address, now())?;
        let mut refused = ways::none(&address);
        for way in ways {
            let (admitted, passage) = match self.admit(&way, &address, way.around(&address)) {
                Ok(let_through) => let_through,
                Err(shut) => {
                    refused = refused.or_sooner(shut);
                    continue;
                }
            };
            let form = form(&address, way.via, way.login_bytes);
            let wire_request = build(&way.client, &address, head.clone(), request.body.as_ref())?;
            if !may_go() {
                return Err(
                    Refused::rate_limited(&address.authority, "what it pays for waits by now", LATE_WAIT).into()
                );
            }
            slot.iter_mut().for_each(Slot::sent);
            let came = timeout_at(deadline, wire::send(&way.client, wire_request, form, &passage)).await;
            let (host, time) = (address.host().to_owned(), request.time);
            let Ok(came) = came else {
                let text = format!("{host} didn't answer within {time:?}");
                failed(standing.as_ref(), &ExchangeError::NoAnswer(text.clone()), now()).await;
                return Err(ServiceFailure::Late(text));
            };
            match (came, admitted) {
                (Ok(response), admitted) => {
                    admitted.iter().for_each(|admitted| admitted.up());
                    // By a 503 a service's account is left alone. Others behind the same endpoint may be asked all the
                    // same.
                    if response.status() != endpoint::UNAVAILABLE {
                        standing.iter().for_each(Standing::up);
                    }
                    let (status, mut headers) = (response.status().as_u16(), headers::for_guest(response.headers()));
                    let mut redactor = Redactor::new(&secrets, status);
                    headers.iter_mut().for_each(|(_, value)| redactor.clean(value));
                    let (left, is_whole, deadline) = (request.body_max, false, Box::pin(sleep_until(deadline)));
                    return Ok(ServiceAnswer {
                        status,
                        headers,
                        response,
                        passage,
                        host,
                        deadline,
                        time,
                        left,
                        redactor,
                        is_whole,
                        _slot: slot,
                    });
                }
                (Err(error), Some(admitted)) if exchange::is_proxys(&error, &address, way.via) => {
                    refused = refused.or_sooner(admitted.failed(&exchange::chain(&error), now()));
                }
                (Err(error), _) => {
                    exchange::count_handshake(&error, &address, way.via, &passage);
                    let failure = exchange::classify(&error, &address, way.via);
                    let down = failed(standing.as_ref(), &failure, now()).await;
                    let chain = exchange::chain(&error);
                    if !error.is_connect() {
                        return Err(ServiceFailure::Lost(format!("{host}: {chain}")));
                    }
                    let unreached =
                        || Refused::transport(&address.authority, format!("{host} can't be reached: {chain}"));
                    return Err(down.unwrap_or_else(unreached).into());
                }
            }
        }
        Err(refused.into())
    }

    /// A place at an endpoint, and its rate's turn: services are no more to it than handlers are, but that they have to
    /// have time left then. A site has neither here, since how often a service behind one may be asked is said where
    /// the service is.
    async fn enter_endpoint(
        &self,
        address: &Address,
        caller: &Caller,
        request: &ServiceRequest,
    ) -> Result<Option<Slot>, Refused> {
        if !matches!(address.site.pattern, SitePattern::Endpoint(_)) {
            return Ok(None);
        }
        let clock = &*self.options.clock;
        let began = clock.now();
        let endpoint = self.sites.get(&address.authority, &address.site, began);
        let may_wait = request.time.saturating_sub(request.time_min);
        let slot = endpoint.enter_within(&address.site, clock, caller.held.attempt(), Some(may_wait)).await?;
        if clock.now().since(began) > may_wait {
            let why = "the turn came with too little of the call's time left";
            return Err(Refused::rate_limited(&address.authority, why, LATE_WAIT));
        }
        Ok(Some(slot))
    }

    /// The headers of a request, the site's own and the key among them.
    fn head(&self, request: &ServiceRequest, address: &Address) -> Result<HeaderMap, Refused> {
        let mut head = HeaderMap::new();
        let invalid = |name: &str| Refused::invalid(format!("the header {name} can't be sent"));
        for (name, value) in &request.headers {
            let value = HeaderValue::try_from(*value).map_err(|_| invalid(name))?;
            head.insert(HeaderName::try_from(*name).map_err(|_| invalid(name))?, value);
        }
        if let Some((_, media_type)) = &request.body {
            head.insert(CONTENT_TYPE, HeaderValue::try_from(&**media_type).map_err(|_| invalid("content-type"))?);
        }
        headers::of_site(&mut head, &address.site, &self.options.base)?;
        if let Some(ServiceKey { header, before, secret }) = &request.key {
            let unset = |why: String| {
                let text = format!("the key for {} isn't there, so nothing is sent: {why}", address.host());
                Refused::down(&address.authority, text, UNSET_WAIT)
            };
            let key = self.keys.read(secret, &self.options.base).map_err(unset)?;
            let key = key.ok_or_else(|| unset(secret::how_to_set(secret)))?;
            let value = HeaderValue::try_from(format!("{before}{key}"));
            let mut value = value.map_err(|_| unset("it is no line of text".to_owned()))?;
            value.set_sensitive(true);
            head.insert(HeaderName::try_from(*header).map_err(|_| invalid(header))?, value);
        }
        Ok(head)
    }
}

/// An exchange has failed so. Gives what the request is refused with, where that means that its endpoint is down.
async fn failed(standing: Option<&Standing<'_>>, error: &ExchangeError, now: Timestamp) -> Option<Refused> {
    match standing {
        Some(standing) => standing.failed(error, now).await,
        None => None,
    }
}

/// What no answer may say again: the values of its headers that are secret, and the key alone.
fn secrets(head: &HeaderMap, key: Option<&ServiceKey>) -> Vec<String> {
    let values = head.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
    let before = key.map_or("", |key| key.before);
    values.flat_map(|value| [Some(value), value.strip_prefix(before)]).flatten().map(str::to_owned).collect()
}

fn form(address: &Address, via: Via, login_bytes: u64) -> Form {
    let is_whole = via == Via::Http && !address.is_secure();
    Form { is_whole, login_bytes: if is_whole { login_bytes } else { 0 } }
}

fn build(
    client: &Client,
    address: &Address,
    head: HeaderMap,
    body: Option<&(Bytes, Cow<'static, str>)>,
) -> Result<reqwest::Request, Refused> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let mut builder = client.request(method, address.target().clone()).headers(head);
    if let Some((body, _)) = body {
        builder = builder.body(body.clone());
    }
    builder.build().map_err(|error| Refused::invalid(format!("{}: {}", address.host(), exchange::chain(&error))))
}

impl ServiceAnswer {
    /// The next bytes of the body, without what it says of the secrets that it was sent; absent: it is whole.
    ///
    /// # Errors
    /// It broke off, took too long, or is more than was allowed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ServiceFailure> {
        let had_found = self.redactor.has_found();
        let mut told = Bytes::new();
        while told.is_empty() && !self.is_whole {
            told = match self.received().await? {
                Some(bytes) => self.redactor.pass(bytes),
                None => {
                    self.is_whole = true;
                    self.redactor.end()
                }
            };
        }
        if self.redactor.has_found() && !had_found {
            tracing::warn!(
                host = self.host,
                status = self.status,
                "a service says the key again that it was sent: it is left out"
            );
        }
        Ok(Some(told).filter(|told| !told.is_empty()))
    }

    /// The next bytes of the body as they come.
    async fn received(&mut self) -> Result<Option<Bytes>, ServiceFailure> {
        if let Some(over) = self.passage.over() {
            return Err(ServiceFailure::Lost(format!("{}: {}", self.host, over.error)));
        }
        let came = tokio::select! {
            biased;
            came = self.response.chunk() => came,
            () = &mut self.deadline => {
                return Err(ServiceFailure::Late(format!("{} wasn't done within {:?}", self.host, self.time)));
            }
        };
        match came {
            Err(error) => {
                Err(ServiceFailure::Lost(format!("{}: the answer broke off: {}", self.host, exchange::chain(&error))))
            }
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => {
                let left = self.left.checked_sub(bytes.len() as u64);
                self.left = left.ok_or_else(|| ServiceFailure::Lost(format!("{} answers without end", self.host)))?;
                Ok(Some(bytes))
            }
        }
    }
}
