//! The gate itself: a request from its caller to its answer, hop by hop.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::{
    Client, Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION},
};
use tollgate_core::{
    Clock, Digest, JobName, Timestamp,
    budget::Spending,
    circuit::{Circuit, CoolingKind},
    http::{HttpError, HttpRequest},
    outcome::{Refusal, RefusalKind},
    spec::{Deployment, GuardOutcome, Rotation, Route, SitePattern},
};
use url::Url;

use crate::{
    GateError, GateStatus, Refused,
    address::{self, Address, Named},
    archive::Archives,
    endpoint::{self, Endpoints},
    error::refusal,
    exchange::{self, ExchangeError, ExchangeLimits, Incoming, Outgoing, Probed, Via},
    guard::{self, GUARDED_BYTES_MAX, Guarded},
    guarding::{self, BESIDE_BYTES_MIN, Guarding},
    headers,
    meter::Meters,
    own_word::{self, OwnWord},
    proxy::{Admitted, Proxy, ProxyClient, UNSET_WAIT},
    receive::{Receive, Whole},
    retry_after, route,
    session::{Sessions, Stopped},
    site::{Site, SiteMemory, Sites, Trying},
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
    pub(crate) deployment: Deployment,
    pub(crate) options: GateOptions,
    proxies: BTreeMap<String, Proxy>,
    direct: Client,
    endpoints: Endpoints,
    pub(crate) sites: Sites,
    /// Requests over proxies that take turns.
    turns: AtomicUsize,
    pub(crate) guarding: Guarding,
    pub(crate) archives: Archives,
    pub(crate) sessions: Sessions,
    pub(crate) meters: Meters,
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
        let deployment = deployment.clone();
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
            meters,
        };
        Ok(Arc::new(gate))
    }

    /// Sends a request by the policy of its site, following redirects as far as policy allows each.
    ///
    /// # Errors
    /// Policy, the site, the proxy or the request itself stands in the way.
    pub async fn fetch(&self, caller: &Caller, request: HttpRequest, told: Told<'_>) -> Result<Response, Refused> {
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
        let mut address = address::decide(&self.deployment, caller, url, Named::Caller)?;
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
            let next = address::next(&self.deployment, caller, &address, &location);
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
        let mut refused = Refused::denied(format!("site {} names no proxy", address.site.pattern));
        for way in ways {
            let admitted = match way.proxy.map(|proxy| proxy.admit(clock.now())).transpose() {
                Ok(admitted) => admitted,
                Err(down) => {
                    refused = down;
                    continue;
                }
            };
            let (is_secure, is_socks) = (address.is_secure(), way.via == Via::Socks);
            let proxy = way.proxy.map(Proxy::name);
            let passage = match self.meters.admit(&address.site.pattern.to_string(), proxy, (is_secure, is_socks)) {
                Ok(passage) => passage,
                Err(spent) => {
                    refused = spent;
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
                    refused = admitted.failed(&reason, clock.now());
                }
                (answer, admitted) => {
                    let trying = slot.end();
                    let incoming = self.answered(address, &site, way.via, admitted, answer).await?;
                    trying.into_iter().for_each(Trying::answered);
                    told(Hop::Answered(&address.authority));
                    return Ok(incoming);
                }
            }
        }
        Err(refused)
    }

    /// What an exchange came to, for its site, its proxy and its caller.
    async fn answered(
        &self,
        address: &Address,
        site: &Site,
        via: Via,
        admitted: Option<Admitted<'_>>,
        answer: Result<Incoming, (ExchangeError, u64)>,
    ) -> Result<Incoming, Refused> {
        match answer {
            Ok(incoming) => {
                site.received(incoming.received);
                if let Some(admitted) = &admitted {
                    if via == Via::Http && !address.is_secure() {
                        admitted.heard(&incoming.headers);
                    }
                    let judged = self.judge_proxy(address, via, admitted, &incoming).await;
                    judged.map_err(|refused| refused.after(incoming.received))?;
                    admitted.up();
                }
                self.judge(address, site, admitted.as_ref(), incoming).await
            }
            Err((error, received)) => {
                site.received(received);
                Err(self.refuse(address, admitted.as_ref(), error).await.after(received))
            }
        }
    }

    /// How an address may be reached, in the order in which the ways are tried; an error if all are shut.
    pub(crate) fn ways(&self, address: &Address) -> Result<Vec<Way<'_>>, Refused> {
        self.endpoints.check(address, self.options.clock.now())?;
        self.meters.check_site(&address.site.pattern.to_string())?;
        match &address.site.route {
            Route::Direct => {
                let client = self.endpoints.client(address).unwrap_or_else(|| self.direct.clone());
                Ok(vec![Way { client, via: Via::Direct, login_bytes: 0, proxy: None }])
            }
            Route::Proxy(names, rotation) => self.ways_through(names, *rotation, address),
            Route::Unset => {
                let host = &address.authority;
                let text = format!(
                    "no proxy is configured for {host}, so nothing is sent; add [proxy.main] with its url to jobs.toml, \
                     and proxy = \"main\" to [site.\"*\"]"
                );
                Err(Refused::down(host, text, UNSET_WAIT))
            }
        }
    }

    /// The ways through proxies that are up, beginning with the one whose turn it is.
    fn ways_through(&self, names: &[String], rotation: Rotation, address: &Address) -> Result<Vec<Way<'_>>, Refused> {
        let first = match rotation {
            Rotation::Failover => 0,
            Rotation::Request => self.turns.fetch_add(1, Relaxed),
            Rotation::Host => {
                address.authority.bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
            }
        };
        let (mut ways, mut refused) = (Vec::new(), None);
        for turn in 0..names.len() {
            let name = &names[first.wrapping_add(turn) % names.len()];
            let Some(proxy) = self.proxies.get(name) else {
                let text = format!("site {} names proxy {name}, which isn't in jobs.toml", address.site.pattern);
                return Err(Refused::denied(text));
            };
            let open = self.meters.check_proxy(name);
            match open.and_then(|()| proxy.client(&self.options.base, self.options.clock.now())) {
                Ok(ProxyClient { client, fresh, via, login_bytes }) => {
                    let is_fresh = proxy.closes_unsaid() && !address.is_secure();
                    let client = if is_fresh { fresh } else { client };
                    ways.push(Way { client, via, login_bytes, proxy: Some(proxy) });
                }
                Err(shut) => refused = refused.or(Some(shut)),
            }
        }
        match refused {
            Some(refused) if ways.is_empty() => Err(refused),
            _ => Ok(ways),
        }
    }

    /// A page that came in place of the site's may be the proxy's own. A 407 to a plain request is, unless the site makes
    /// it up: ask the proxy. Of a site that it could not reach it says so, as it does by a tunnel that it doesn't make.
    async fn judge_proxy(
        &self,
        address: &Address,
        via: Via,
        admitted: &Admitted<'_>,
        incoming: &Incoming,
    ) -> Result<(), Refused> {
        let may_be_its_own = incoming.status == 407 && via == Via::Http && !address.is_secure();
        let may_answer = admitted.may_answer(address.is_secure());
        let word = own_word::read(incoming.status, &incoming.headers).filter(|_| may_answer);
        let asks_credentials = may_be_its_own || word == Some(OwnWord::Unauthorized);
        if asks_credentials && admitted.answers().await != Probed::Up {
            return Err(admitted.failed(exchange::UNAUTHORIZED, self.options.clock.now()));
        }
        let (about, name) = (&address.authority, admitted.name());
        match word {
            None | Some(OwnWord::Unauthorized) => Ok(()),
            Some(OwnWord::Unreachable(said)) => {
                admitted.up();
                Err(Refused::transport(about, format!("{about}: proxy {name} got no answer of it: {said}")))
            }
            Some(OwnWord::Trouble(said)) => {
                admitted.up();
                Err(Refused::down(name, format!("proxy {name} doesn't serve {about}: {said}"), wait(None, address)))
            }
        }
    }

    /// Looks at an answer before anyone else does: guards first, then what its status says by itself.
    async fn judge(
        &self,
        address: &Address,
        site: &Site,
        proxy: Option<&Admitted<'_>>,
        incoming: Incoming,
    ) -> Result<Incoming, Refused> {
        let now = self.options.clock.now();
        let (about, status) = (&address.authority, incoming.status);
        let looked = self.guarding.look(address, &incoming, now).await;
        if let Some(guarded) = looked.map_err(|refused| refused.after(incoming.received))? {
            let refused = self.guarded(address, site, proxy, (&guarded, status), now).await;
            let refused = refused.after(incoming.received);
            return Err(match guarding::page(guarded, address, incoming) {
                Some(page) => refused.with_page(page),
                None => refused,
            });
        }
        let asked = retry_after::read(&incoming.headers, now);
        if status != 429 && !(status == 503 && asked.is_some()) {
            return Ok(incoming);
        }
        let after = wait(asked, address);
        let reason = format!("{about} answered {status}");
        let after = site.refused(CoolingKind::RateLimited, &reason, after, now, &*self.options.memory).await;
        Err(Refused::rate_limited(about, &reason, after).after(incoming.received))
    }

    /// What follows from a guarded page.
    async fn guarded(
        &self,
        address: &Address,
        site: &Site,
        proxy: Option<&Admitted<'_>>,
        (guarded, status): (&Guarded, u16),
        now: Timestamp,
    ) -> Refused {
        let reason = format!("{} answered {status}: {guarded}", address.authority);
        // The proxy's own page: uncounted, and the site isn't left alone for it.
        let is_secure = address.is_secure();
        if let Some(proxy) = proxy.filter(|proxy| guarded.is_proxys && proxy.may_answer(is_secure)) {
            return Refused::down(proxy.name(), format!("proxy {}: {reason}", proxy.name()), wait(None, address));
        }
        self.caught(address, site, guarded, &reason, now).await
    }

    /// What follows from a guarded page that isn't the proxy's.
    pub(crate) async fn caught(
        &self,
        address: &Address,
        site: &Site,
        guarded: &Guarded,
        reason: &str,
        now: Timestamp,
    ) -> Refused {
        let (about, memory) = (&address.authority, &*self.options.memory);
        match guarded.outcome {
            GuardOutcome::RateLimited => {
                let after = wait(guarded.after, address);
                let after = site.refused(CoolingKind::RateLimited, reason, after, now, memory).await;
                Refused::rate_limited(about, reason, after)
            }
            GuardOutcome::Blocked => {
                let after = site.refused(CoolingKind::Blocked, reason, wait(None, address), now, memory).await;
                Refused::blocked(about, reason, after)
            }
            GuardOutcome::LoginRequired => Refused::login_required(about, reason),
            GuardOutcome::NotContent => Refused::not_content(about, reason),
        }
    }

    async fn refuse(&self, address: &Address, proxy: Option<&Admitted<'_>>, error: ExchangeError) -> Refused {
        let about = &address.authority;
        let has_answered =
            !matches!(error, ExchangeError::Proxy(_) | ExchangeError::Transport(_) | ExchangeError::NoAnswer(_));
        if let Some(proxy) = proxy.filter(|_| has_answered) {
            proxy.up();
        }
        match (error, proxy) {
            (ExchangeError::Proxy(reason), Some(proxy)) => proxy.failed(&reason, self.options.clock.now()),
            (ExchangeError::Proxy(reason), None) => Refused::transport(about, reason),
            (ExchangeError::Transport(text) | ExchangeError::Unreached(text), _) => {
                self.down(proxy, &text).await.unwrap_or_else(|| Refused::transport(about, text))
            }
            (ExchangeError::NoAnswer(text), _) => {
                self.down(proxy, &text).await.unwrap_or_else(|| Refused::timeout(about, text))
            }
            (ExchangeError::Timeout(text), _) => Refused::timeout(about, text),
            (ExchangeError::TooLarge, _) => Refused::too_large(address.site.body_max),
            (ExchangeError::HeldTooLarge(left), _) => {
                tracing::warn!(site = about, left, "an attempt holds as many bytes of responses as it may");
                Refused::too_large(left)
            }
            (ExchangeError::Refused(refused), _) => *refused,
            (ExchangeError::Spool(error), _) => Refused::storage(&error),
            (ExchangeError::Unfit(text), _) => Refused::unfit(HttpError::Other(text)),
        }
    }

    /// A site's failure looks like the proxy's own when that went away in the middle, or hangs: ask it.
    pub(crate) async fn down(&self, proxy: Option<&Admitted<'_>>, text: &str) -> Option<Refused> {
        let proxy = proxy?;
        let reason = match proxy.answers().await {
            Probed::Up => return None,
            Probed::Unauthorized => exchange::UNAUTHORIZED,
            Probed::Silent => text,
        };
        Some(proxy.failed(reason, self.options.clock.now()))
    }

    /// A stage found that the site of `url` blocks us: it is left alone for its cool-down, whichever job asks.
    pub async fn block(&self, url: &str, reason: &str) -> Duration {
        let Some(address) = self.address_of(url) else {
            return UNSET_WAIT;
        };
        let now = self.options.clock.now();
        let site = self.sites.get(&address.authority, &address.site, now);
        let after = address.site.cool_down.max(COOL_DOWN_MIN);
        site.refused(CoolingKind::Blocked, reason, after, now, &*self.options.memory).await
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
        address::decide(&self.deployment, &caller, address::parse(url).ok()?, Named::Host).ok()
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
        let proxies = self.proxies.values().map(Proxy::status).collect();
        GateStatus { proxies, sites, guards: self.guarding.status(), spending: self.meters.status(now) }
    }
}

/// How an address is reached.
pub(crate) struct Way<'a> {
    client: Client,
    via: Via,
    login_bytes: u64,
    pub(crate) proxy: Option<&'a Proxy>,
}

/// How long a site is left alone: no time at all, or one that is over, is no time.
fn wait(asked: Option<Duration>, address: &Address) -> Duration {
    asked.filter(|asked| !asked.is_zero()).unwrap_or(address.site.cool_down).max(COOL_DOWN_MIN)
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
