//! The gate itself: how it is set up and stands, who asks, and what a request is answered.

mod hops;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use arc_swap::ArcSwap;
use reqwest::{Client, Method, header::HeaderMap};
use tollgate_core::{
    Clock, Digest, JobName,
    budget::Spending,
    circuit::Circuit,
    http::{HttpError, HttpRequest},
    ledger::Account,
    outcome::{Refusal, RefusalKind},
    spec::{Deployment, SitePattern},
};

pub(crate) use self::hops::location;
use crate::{
    GateError, GateStatus, Refused,
    address::{self, Address, Named},
    archive::Archives,
    denial::Denials,
    endpoint::Endpoints,
    error::refusal,
    exchange::Outgoing,
    guard::{self, GUARDED_BYTES_MAX},
    guarding::{BESIDE_BYTES_MIN, Guarding},
    headers,
    meter::Meters,
    proxy::Proxy,
    receive::Whole,
    route,
    secret::KeyFiles,
    session::Sessions,
    site::{SiteMemory, Sites},
    spool::{self, Held, Spooled},
};

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

    /// The host itself, which no grant binds.
    pub(crate) fn of_host() -> Result<Self, Refused> {
        let name = JobName::new("host").map_err(|error| Refused::invalid(error.to_string()))?;
        Ok(Self::of(name, Vec::new()))
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

    /// Goes on by another policy: of sites alone, and of those only what `tollgate_core::spec::reload` takes. What was
    /// made of the first one, such as clients, places and meters, stays.
    pub fn reload(&self, deployment: Deployment) {
        self.deployment.store(Arc::new(deployment));
    }

    /// What paid calls are charged by now, as the ledger has it. It counts towards the budget of everything, and once
    /// that is spent, nothing is sent by a proxy that costs money either.
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

    /// Where scratch files lie.
    pub(crate) fn spool(&self) -> &Path {
        &self.options.spool
    }

    /// An attempt has ended. If it did `well`, the sites that answered it work, and their circuits are closed; else it
    /// said nothing of them, and where it was the one that tried, another may.
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
        let caller = Caller::of_host().ok()?;
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
