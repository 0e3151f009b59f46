//! Requests of the host's own to paid services: by the route and the budgets of their site, or at the pace of their endpoint,
//! never followed elsewhere, and not judged. What a status means, and what it costs, is for who pays to know; so is whether anything was sent.

use std::{borrow::Cow, pin::Pin, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, Method, Response,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tollgate_core::spec::{Secret, SitePattern};
use url::Url;

use crate::{
    Caller, Gate, Refused,
    address::{self, Address, Named},
    exchange::{self, Via},
    headers,
    meter::Passage,
    proxy::UNSET_WAIT,
    redact::Redactor,
    secret,
    site::Slot,
    ways,
    wire::{self, Form},
};

/// How long work waits that found no place at an endpoint.
const TAKEN_WAIT: Duration = Duration::from_secs(5);

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
    /// Nothing was sent: policy, a proxy or a budget of bytes stands in the way, the key isn't there,
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
    /// Sends a request to a paid service, and answers once status and headers are there.
    ///
    /// # Errors
    /// Nothing was sent, or no answer came; a status of whatever kind is none.
    pub async fn ask_service(&self, request: ServiceRequest) -> Result<ServiceAnswer, ServiceFailure> {
        let caller = Caller::of_host()?;
        address::check(&request.url)?;
        let address = address::decide(&self.deployment(), &caller, request.url.clone(), Named::Host)?;
        let head = self.head(&request, &address)?;
        let secrets = secrets(&head, request.key.as_ref());
        let deadline = Instant::now() + request.time;
        let mut slot = self.enter_endpoint(&address, &caller, deadline).await?;
        let now = || self.options.clock.now();
        let mut refused = ways::none(&address);
        for way in self.ways(&address)? {
            let (admitted, passage) = match self.admit(&way, &address, way.around(&address)) {
                Ok(let_through) => let_through,
                Err(shut) => {
                    refused = refused.or_sooner(shut);
                    continue;
                }
            };
            let form = form(&address, way.via, way.login_bytes);
            let wire_request = build(&way.client, &address, head.clone(), request.body.as_ref())?;
            slot.iter_mut().for_each(Slot::sent);
            let sent = timeout_at(deadline, wire::send(&way.client, wire_request, form, &passage)).await;
            let (host, time) = (address.host().to_owned(), request.time);
            let Ok(sent) = sent else {
                return Err(ServiceFailure::Late(format!("{host} didn't answer within {time:?}")));
            };
            match (sent, admitted) {
                (Ok(response), admitted) => {
                    admitted.iter().for_each(|admitted| admitted.up());
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
                (Err(error), _) if error.is_connect() => {
                    exchange::count_handshake(&error, &address, way.via, &passage);
                    let text = format!("{host} can't be reached: {}", exchange::chain(&error));
                    return Err(Refused::transport(&address.authority, text).into());
                }
                (Err(error), _) => {
                    return Err(ServiceFailure::Lost(format!("{host}: {}", exchange::chain(&error))));
                }
            }
        }
        Err(refused.into())
    }

    /// A place at an endpoint, and its rate's turn: services are no more to it than handlers are. A site has neither here, since
    /// how often a service behind one may be asked is said where the service is.
    async fn enter_endpoint(
        &self,
        address: &Address,
        caller: &Caller,
        deadline: Instant,
    ) -> Result<Option<Slot>, Refused> {
        if !matches!(address.site.pattern, SitePattern::Endpoint(_)) {
            return Ok(None);
        }
        let clock = &*self.options.clock;
        let endpoint = self.sites.get(&address.authority, &address.site, clock.now());
        match timeout_at(deadline, endpoint.enter(&address.site, clock, caller.held.attempt())).await {
            Ok(entered) => entered.map(Some),
            Err(_) => {
                let why = "its places, `concurrency` in jobs.toml, are taken";
                Err(Refused::rate_limited(&address.authority, why, TAKEN_WAIT))
            }
        }
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
