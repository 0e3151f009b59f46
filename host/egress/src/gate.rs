//! The gate itself: a request from its caller to its answer, hop by hop.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use arc_swap::ArcSwap;
use reqwest::{
    Client, Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION},
};
use tollgate_core::{
    Clock, Digest, JobName,
    budget::Spending,
    circuit::Circuit,
    http::{HttpError, HttpRequest},
    ledger::Account,
    outcome::{Refusal, RefusalKind},
    spec::{Deployment, SitePattern},
};
use url::Url;

use crate::{
    Denial, GateError, GateStatus, Refused,
    address::{self, Address, Named},
    archive::Archives,
    denial::Denials,
    endpoint::{self, Endpoints},
    error::refusal,
    exchange::{self, ExchangeError, ExchangeLimits, Incoming, Outgoing, Via},
    guard::{self, GUARDED_BYTES_MAX},
    guarding::{BESIDE_BYTES_MIN, Guarding},
    headers,
    meter::Meters,
    proxy::Proxy,
    receive::{Receive, Whole},
    route,
    secret::KeyFiles,
    session::{Sessions, Stopped},
    site::{SiteMemory, Sites, Trying},
    spool::{self, Held, Spooled},
};

/// Hops of one request: what browsers allow is 20, and honest sites need few.
const HOPS_MAX: u32 = 10;
/// Shortest time that a site is left alone once it asked for it, whatever it and jobs.toml say: `Retry-After: 0` is no
/// leave to ask again and again.
pub(crate) const COOL_DOWN_MIN: Duration = Duration::from_secs(1);

/// How a gate is set up.
pub struct GateOptions {
    /// Scratch folder for bodies.
    pub spool: PathBuf,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The folder of jobs.toml: relative files of secrets are read from there.
    pub base: PathBuf,
    /// What keeps the circuits of sites.
    pub memory: Arc<dyn SiteMemory>,
    /// Folder of sessions that are kept: a file each, for its owner alone.
    pub sessions: PathBuf,
    /// The circuits that were kept, by site.
    pub remembered: Vec<(String, Circuit)>,
    /// What was kept of what was spent.
    pub spent: Vec<(String, Spending)>,
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The job.
    pub job: JobName,
    /// Host patterns that its grants name; empty: all that the policies allow.
    pub allowed: Vec<SitePattern>,
    /// Tools that its grants name; empty: all of jobs.toml. Absent: none is granted.
    pub tools: Option<Vec<String>>,
    /// What the bodies of its attempt take.
    pub held: Held,
}

impl Caller {
    /// A job that may ask `allowed`, may run no tool, and holds nothing yet.
    #[must_use]
    pub fn of(job: JobName, allowed: Vec<SitePattern>) -> Self {
        Self { job, allowed, tools: None, held: Held::default() }
    }
}

/// How far a request is, told to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop<'a> {
    /// It waits for its turn at the site of this address: the one asked for, or one that it was redirected to.
    Waits(&'a str),
    /// It is being sent, and its answer received.
    Runs,
    /// That site, by host name and port, has answered, and nothing of it was refused.
    Answered(&'a str),
}

/// Whom a request tells how far it is. It must not block.
pub type Told<'a> = &'a (dyn Fn(Hop<'_>) + Send + Sync);

/// A complete answer.
#[derive(Debug)]
pub struct Response {
    /// The status code of the last hop.
    pub status: u16,
    /// The address of the last hop.
    pub url: String,
    /// Headers without cookies; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Spooled,
    /// Bytes of bodies received for it, unpacked.
    pub bytes_received: u64,
    /// Host name and port of the last hop.
    pub site: String,
    /// A 5xx counts as a failure of the address, should the stage fail over it.
    pub transport_failure: Option<Refusal>,
}

impl Response {
    /// By what copies of the page are known, if it is a page that says enough (`guard::signature`).
    ///
    /// # Errors
    /// The body's scratch file can't be read.
    pub async fn signature(&self) -> Result<Option<Digest>, HttpError> {
        let content_type = self.headers.iter().find(|(name, _)| name == "content-type");
        let content_type = content_type.map(|(_, value)| value.clone()).unwrap_or_default();
        let storage = |error: std::io::Error| HttpError::Storage(format!("the scratch folder: {error}"));
        let body = self.body.head(GUARDED_BYTES_MAX).await.map_err(storage)?;
        if body.len() < BESIDE_BYTES_MIN {
            return Ok(guard::signature(&content_type, &body));
        }
        let signed = tokio::task::spawn_blocking(move || guard::signature(&content_type, &body)).await;
        signed.map_err(|error| storage(std::io::Error::other(error)))
    }
}

/// The only way to the network.
pub struct Gate {
    /// What policy says, as of its last reading.
    deployment: ArcSwap<Deployment>,
    pub(crate) options: GateOptions,
    pub(crate) proxies: BTreeMap<String, Proxy>,
    pub(crate) direct: Client,
    pub(crate) endpoints: Endpoints,
    pub(crate) sites: Sites,
    /// Requests over proxies that take turns.
    pub(crate) turns: AtomicUsize,
    pub(crate) guarding: Guarding,
    pub(crate) archives: Archives,
    pub(crate) sessions: Sessions,
    pub(crate) keys: KeyFiles,
    pub(crate) meters: Meters,
    pub(crate) denials: Denials,
}

/// The last hop of a request.
pub(crate) struct Answer {
    pub(crate) address: Address,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Bytes of bodies received, over all hops.
    pub(crate) received: u64,
    /// The body, if the receiver of it keeps all of it.
    pub(crate) body: Option<Spooled>,
}

impl Gate {
    /// Sets the gate up. Nothing is sent.
    ///
    /// # Errors
    /// The scratch folder can't be used, or no client can be made.
    pub fn new(deployment: &Deployment, mut options: GateOptions) -> Result<Arc<Self>, GateError> {
        spool::prepare(&options.spool).map_err(GateError::Spool)?;
        let proxies = deployment.proxies.iter().map(|proxy| (proxy.name.clone(), Proxy::new(proxy.clone()))).collect();
        let direct = route::direct().map_err(GateError::Client)?;
        let endpoints = Endpoints::new(deployment).map_err(GateError::Client)?;
        let sites = Sites::new(std::mem::take(&mut options.remembered));
        let spent = std::mem::take(&mut options.spent);
        let meters = Meters::new(deployment, options.clock.clone(), options.memory.clone(), spent);
        let (turns, archives, guarding) = (AtomicUsize::new(0), Archives::default(), Guarding::default());
        let sessions = Sessions::new(deployment, options.sessions.clone());
        let deployment = ArcSwap::from_pointee(deployment.clone());
        let gate = Self {
            deployment,
            options,
            proxies,
            direct,
            endpoints,
            sites,
            turns,
            archives,
            guarding,
            sessions,
            keys: KeyFiles::default(),
            meters,
            denials: Denials::default(),
        };
        Ok(Arc::new(gate))
    }

    /// What policy says now. A request that is under way goes on by what it began with, up to its next hop.
    #[must_use]
    pub fn deployment(&self) -> Arc<Deployment> {
        self.deployment.load_full()
    }

    /// Goes on by another policy: of sites alone, and of those only what `tollgate_core::spec::reload` takes. What was made
    /// of the first one, such as clients, places and meters, stays.
    pub fn reload(&self, deployment: Deployment) {
        self.deployment.store(Arc::new(deployment));
    }

    /// What paid calls are charged by now, as the ledger has it. It counts towards the budget of everything, and once that is
    /// spent, nothing is sent by a proxy that costs money either.
    pub fn calls_are_charged(&self, calls: Account) {
        self.meters.calls_are_charged(calls);
    }

    /// Sends a request by the policy of its site, following redirects as far as policy allows each.
    ///
    /// # Errors
    /// Policy, the site, the proxy or the request itself stands in the way.
    pub async fn fetch(&self, caller: &Caller, request: HttpRequest, told: Told<'_>) -> Result<Response, Refused> {
        let answer = self.fetch_page(caller, request, told).await;
        answer.inspect_err(|refused| self.denials.count(refused.denial))
    }

    async fn fetch_page(&self, caller: &Caller, request: HttpRequest, told: Told<'_>) -> Result<Response, Refused> {
        let url = address::parse(&request.url)?;
        let method = Method::from_bytes(request.method.as_bytes());
        let method = method.ok().filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE));
        let method = method.ok_or_else(|| Refused::invalid(format!("the method {:?}", request.method)))?;
        let headers = headers::of_guest(&request)?;
        let outgoing = Outgoing { method, headers, body: request.body };
        let mut whole = Whole::new(&self.options.spool, &caller.held);
        let answer = self.send(caller, url, outgoing, request.timeout, told, &mut whole).await?;
        let status = answer.status;
        let failed = || {
            let text = format!("{} answered {status}", answer.address.url);
            refusal(RefusalKind::ServerError, &answer.address.authority, &text, None)
        };
        Ok(Response {
            status,
            url: answer.address.url.to_string(),
            headers: headers::for_guest(&answer.headers),
            body: answer
                .body
                .ok_or_else(|| Refused::transport(&answer.address.authority, "no body came".to_owned()))?,
            bytes_received: answer.received,
            site: answer.address.authority.clone(),
            transport_failure: (status >= 500).then(failed),
        })
    }

    /// Sends a request hop by hop, each decided anew and sent with its own site's session. `receive` takes the body of the last one.
    pub(crate) async fn hops(
        &self,
        caller: &Caller,
        url: Url,
        mut outgoing: Outgoing,
        shorter: Option<Duration>,
        told: Told<'_>,
        receive: &mut dyn Receive,
    ) -> Result<Answer, Stopped> {
        let asked = url.to_string();
        let mut address = address::decide(&self.deployment(), caller, url, Named::Caller)?;
        let (mut hops, mut received) = (0, 0);
        loop {
            let lease = self.lease(caller, &address, told).await.map_err(|refused| refused.after(received))?;
            let cookies = lease.as_ref().and_then(|lease| lease.cookies.clone());
            let incoming = self.hop((caller, &address), outgoing.clone(), cookies, shorter, told, receive).await;
            let incoming = self.sift(lease, &address, incoming).await.map_err(|stopped| stopped.after(received))?;
            hops += 1;
            received += incoming.received;
            let Some(location) = location(&incoming) else {
                let Incoming { status, headers, body, .. } = incoming;
                return Ok(Answer { address, status, headers, received, body });
            };
            if hops >= HOPS_MAX {
                let text = format!("{asked} redirected {HOPS_MAX} times");
                return Err(Refused::transport(&address.authority, text).after(received).into());
            }
            let next = address::next(&self.deployment(), caller, &address, &location);
            let next = next.map_err(|refused| refused.after(received))?;
            outgoing = follow(outgoing, incoming.status);
            address = next;
        }
    }

    /// Where scratch files lie.
    pub(crate) fn spool(&self) -> &Path {
        &self.options.spool
    }

    /// One request and its answer, with those cookies. The route is looked at first: where it is shut, nothing waits for a turn. It is taken
    /// last, since the turn may be long in coming.
    pub(crate) async fn hop(
        &self,
        (caller, address): (&Caller, &Address),
        mut request: Outgoing,
        cookies: Option<HeaderValue>,
        shorter: Option<Duration>,
        told: Told<'_>,
        receive: &mut dyn Receive,
    ) -> Result<Incoming, Refused> {
        told(Hop::Waits(address.url.as_str()));
        let clock = &*self.options.clock;
        let ways = self.ways(address)?;
        headers::of_site(&mut request.headers, &address.site, &self.options.base)?;
        if let Some(cookies) = cookies {
            request.headers.insert(COOKIE, cookies);
        }
        let site = self.sites.get(&address.authority, &address.site, clock.now());
        let mut slot = site.enter(&address.site, clock, caller.held.attempt()).await?;
        let standing = self.endpoints.admit(address, clock.now())?;
        let mut refused = Refused::denied(Denial::NoPolicy, format!("site {} names no proxy", address.site.pattern));
        for way in ways {
            let admitted = match way.proxy.map(|proxy| proxy.admit(clock.now())).transpose() {
                Ok(admitted) => admitted,
                Err(down) => {
                    refused = refused.or_sooner(down);
                    continue;
                }
            };
            let (is_secure, is_socks) = (address.is_secure(), way.via == Via::Socks);
            let proxy = way.proxy.map(Proxy::name);
            let passage = match self.meters.admit(&address.site.pattern.to_string(), proxy, (is_secure, is_socks)) {
                Ok(passage) => passage,
                Err(spent) => {
                    refused = refused.or_sooner(spent);
                    continue;
                }
            };
            slot.sent();
            told(Hop::Runs);
            let limits = ExchangeLimits {
                time: shorter.map_or(address.site.timeout, |shorter| shorter.min(address.site.timeout)),
                body_max: address.site.body_max,
                via: way.via,
                login_bytes: way.login_bytes,
            };
            let answer = exchange::run(&way.client, address, request.clone(), limits, &passage, receive).await;
            let answer = endpoint::judge(standing.as_ref(), answer, clock.now()).await;
            match (answer, admitted) {
                // It was not even reached: nothing was sent, and another may do it.
                (Err((ExchangeError::Proxy(reason), _)), Some(admitted)) => {
                    refused = refused.or_sooner(admitted.failed(&reason, clock.now()));
                }
                (answer, admitted) => {
                    // Its place is another's only then: else one who waits for it would be let in after a refusal.
                    let incoming = self.answered(address, &site, way.via, admitted, answer).await?;
                    slot.end().into_iter().for_each(Trying::answered);
                    told(Hop::Answered(&address.authority));
                    return Ok(incoming);
                }
            }
        }
        Err(refused)
    }

    /// An attempt has ended. If it did `well`, the sites that answered it work, and their circuits are closed; else it said
    /// nothing of them, and where it was the one that tried, another may.
    pub async fn ended(&self, caller: &Caller, answered: &BTreeSet<String>, well: bool) {
        if well {
            answered.iter().for_each(|authority| self.trust_session(authority));
        }
        for site in answered.iter().filter_map(|authority| self.sites.known(authority)) {
            if well {
                site.works(self.options.clock.now(), &*self.options.memory).await;
            } else {
                site.trial_is_over(caller.held.attempt());
            }
        }
    }

    /// An address that was asked for, whoever asked.
    pub(crate) fn address_of(&self, url: &str) -> Option<Address> {
        let caller = Caller::of(JobName::new("host").ok()?, Vec::new());
        address::decide(&self.deployment(), &caller, address::parse(url).ok()?, Named::Host).ok()
    }

    /// Keeps what was spent and isn't kept yet: at the end of a host.
    pub async fn keep_spending(&self) {
        self.meters.keep().await;
    }

    /// How the gate stands.
    #[must_use]
    pub fn status(&self) -> GateStatus {
        let now = self.options.clock.now();
        let mut sites = self.sites.status(now);
        self.endpoints.tell(&mut sites, now);
        GateStatus {
            proxies: self.proxies.values().map(Proxy::status).collect(),
            sites,
            guards: self.guarding.status(),
            spending: self.meters.status(now),
            denials: self.denials.status(),
            renewals: self.sessions.renewals(),
        }
    }
}

/// Where an answer sends us, if it does.
pub(crate) fn location(incoming: &Incoming) -> Option<String> {
    let redirects = matches!(incoming.status, 301 | 302 | 303 | 307 | 308);
    let location = incoming.headers.get(LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The request of the next hop: 303, and a POST over 301 or 302, become a GET without a body (RFC 9110 section 15.4).
fn follow(mut request: Outgoing, status: u16) -> Outgoing {
    let becomes_get = (status == 303 && request.method != Method::HEAD)
        || (matches!(status, 301 | 302) && request.method == Method::POST);
    if becomes_get {
        request.method = Method::GET;
        request.body = None;
        drop_body_headers(&mut request.headers);
    }
    request
}

fn drop_body_headers(headers: &mut HeaderMap) {
    headers.remove(CONTENT_TYPE);
    headers.remove(CONTENT_LENGTH);
}
