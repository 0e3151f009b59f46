//! Named endpoints: services that a handler reaches by name alone, `endpoint://NAME/…`, each with its pacing. One that
//! is down is left alone and probed as a proxy is, and no work is blamed for it (S02).

use std::{collections::BTreeMap, time::Duration};

use reqwest::Client;
use tokio::net::TcpStream;
use tollgate_core::{
    Timestamp,
    spec::{Deployment, ENDPOINT_SCHEME, EndpointSpec, SitePattern, diagnostic::did_you_mean},
};
use url::Url;

use crate::{
    Denial, Refused, SiteStatus,
    address::{self, Address, Named},
    exchange::{self, ExchangeError, Incoming},
    gate::Caller,
    outage::{Outages, Pass},
    resolve::PinnedResolver,
    retry_after, route,
};

/// Longest time for a connection to an endpoint; half of its `timeout`, if that is less.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The status by which a service says itself that it is down.
pub(crate) const UNAVAILABLE: u16 = 503;
/// Time for a connection that is made only to see whether it is there.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// Whether an address names an endpoint.
pub(crate) fn is_named_by(url: &Url) -> bool {
    url.scheme() == ENDPOINT_SCHEME
}

/// Decides the address of an endpoint. No page ever leads into one (trap 12).
pub(crate) fn decide(
    deployment: &Deployment,
    caller: &Caller,
    mut url: Url,
    named: Named<'_>,
) -> Result<Address, Refused> {
    if let Named::Page(from) = named {
        let text = format!("{} redirects to {url}: no page may send us to an endpoint", from.authority);
        return Err(Refused::denied(Denial::Redirect, text));
    }
    url.set_fragment(None);
    let name = url.host_str().unwrap_or_default().to_owned();
    let Some(endpoint) = deployment.endpoint(&name) else {
        let known: Vec<&str> = deployment.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        let help = if known.is_empty() {
            format!("add [endpoint.{name}] with its url to jobs.toml")
        } else {
            did_you_mean(&name, &known, "the endpoints are")
        };
        return Err(Refused::denied(Denial::NoPolicy, format!("no endpoint is named {name:?}; {help}")));
    };
    if url.port().is_some() {
        return Err(Refused::invalid(format!("{url}: an endpoint has no port; jobs.toml says where it is")));
    }
    if !matches!(named, Named::Host) {
        address::check_jobs(caller, &endpoint.policy, &endpoint.policy.pattern.to_string())?;
        let granted = |pattern: &SitePattern| *pattern == endpoint.policy.pattern;
        if !caller.allowed.is_empty() && !caller.allowed.iter().any(granted) {
            let text = format!(
                "job {} is not granted endpoint {name}; add \"http endpoint:{name}\" to `grant` of [job.{}] in \
                 jobs.toml",
                caller.job, caller.job
            );
            return Err(Refused::denied(Denial::NotGranted, text));
        }
    }
    let mut target = endpoint.url.clone();
    target.set_path(&format!("{}{}", base_of(endpoint), url.path()));
    target.set_query(url.query());
    let outside = || Refused::invalid(format!("{url} leads out of the path of its endpoint's url"));
    // As it is sent: `\` and the like may have become a way out only there.
    shown(endpoint, &target, url.clone()).map(|url| address_of(endpoint, url, target)).ok_or_else(outside)
}

/// Where a redirect of an endpoint leads: it stays within its origin and path.
pub(crate) fn next(deployment: &Deployment, from: &Address, location: &str) -> Result<Address, Refused> {
    let SitePattern::Endpoint(name) = &from.site.pattern else {
        return Err(Refused::denied(Denial::NoPolicy, format!("{} is no endpoint", from.authority)));
    };
    let unknown = || Refused::denied(Denial::NoPolicy, format!("no endpoint is named {name}"));
    let endpoint = deployment.endpoint(name).ok_or_else(unknown)?;
    let target = from.target().join(location);
    let mut target = target.map_err(|error| Refused::invalid(format!("a redirect to {location:?}: {error}")))?;
    target.set_fragment(None);
    let has_login = !target.username().is_empty() || target.password().is_some();
    match shown(endpoint, &target, from.url.clone()).filter(|_| target.origin() == endpoint.url.origin() && !has_login)
    {
        Some(url) => Ok(address_of(endpoint, url, target)),
        None => Err(Refused::denied(
            Denial::Redirect,
            format!("{} redirects out of what its `url` in jobs.toml opens, where nothing follows it", from.authority),
        )),
    }
}

fn address_of(endpoint: &EndpointSpec, url: Url, target: Url) -> Address {
    Address::of_endpoint(url, target, endpoint.policy.pattern.to_string(), endpoint.policy.clone())
}

/// The path of an endpoint's own url, without the slash at its end.
fn base_of(endpoint: &EndpointSpec) -> &str {
    endpoint.url.path().trim_end_matches('/')
}

/// A real address as handlers see it; absent, if it is outside of the endpoint's path. `url`: any other of that
/// endpoint.
fn shown(endpoint: &EndpointSpec, target: &Url, mut url: Url) -> Option<Url> {
    let path = target.path().strip_prefix(base_of(endpoint))?;
    if !path.is_empty() && !path.starts_with('/') {
        return None;
    }
    url.set_path(if path.is_empty() { "/" } else { path });
    url.set_query(target.query());
    Some(url)
}

/// All endpoints, by how they are called: `endpoint NAME`.
#[derive(Default)]
pub(crate) struct Endpoints(BTreeMap<String, Endpoint>);

/// One endpoint.
struct Endpoint {
    url: Url,
    outages: Outages,
    pinned: PinnedResolver,
    client: Client,
}

/// A request that its endpoint has been found fit for.
pub(crate) struct Standing<'a> {
    endpoint: &'a Endpoint,
    pass: Pass<'a>,
    is_direct: bool,
}

impl Endpoints {
    /// # Errors
    /// No client can be made.
    pub(crate) fn new(deployment: &Deployment) -> Result<Self, String> {
        let all = deployment.endpoints.iter().map(|endpoint| {
            let title = endpoint.policy.pattern.to_string();
            let pinned = PinnedResolver::of_endpoint();
            let connect_time = CONNECT_TIME_MAX.min(endpoint.policy.timeout / 2);
            let client = route::to_endpoint(pinned.clone(), connect_time)?;
            let outages = Outages::new(title.clone(), title.clone());
            Ok((title, Endpoint { url: endpoint.url.clone(), outages, pinned, client }))
        });
        all.collect::<Result<_, String>>().map(Self)
    }

    fn of(&self, address: &Address) -> Option<&Endpoint> {
        self.0.get(&address.authority)
    }

    /// The client of an endpoint that is reached directly; absent for a site.
    pub(crate) fn client(&self, address: &Address) -> Option<Client> {
        self.of(address).map(|endpoint| endpoint.client.clone())
    }

    /// Whether a request has a chance. A site always has.
    ///
    /// # Errors
    /// Its endpoint is down.
    pub(crate) fn check(&self, address: &Address, now: Timestamp) -> Result<(), Refused> {
        self.of(address).map_or(Ok(()), |endpoint| endpoint.outages.check(now))
    }

    /// Lets a request through; absent for a site.
    ///
    /// # Errors
    /// Its endpoint is down, but for one request at a time once its time is over.
    pub(crate) fn admit(&self, address: &Address, now: Timestamp) -> Result<Option<Standing<'_>>, Refused> {
        let is_direct = address.site.route == tollgate_core::spec::Route::Direct;
        let of = self.of(address);
        of.map(|endpoint| endpoint.outages.admit(now).map(|pass| Standing { endpoint, pass, is_direct })).transpose()
    }

    /// Adds to the sites' figures which endpoints are down.
    pub(crate) fn tell(&self, sites: &mut [SiteStatus], now: Timestamp) {
        for site in sites {
            if let Some(down) = self.0.get(&site.site).and_then(|endpoint| endpoint.outages.now()) {
                site.cooling_until = site.cooling_until.max(Some(down.until.max(now)));
                site.reason = Some(format!("it is down: {}", down.reason));
            }
        }
    }
}

/// What an exchange says of its endpoint, if it has one: that it is down is no failure of the request.
pub(crate) async fn judge(
    standing: Option<&Standing<'_>>,
    answer: Result<Incoming, (ExchangeError, u64)>,
    now: Timestamp,
) -> Result<Incoming, (ExchangeError, u64)> {
    match standing {
        Some(standing) => standing.judge(answer, now).await,
        None => answer,
    }
}

impl Standing<'_> {
    async fn judge(
        &self,
        answer: Result<Incoming, (ExchangeError, u64)>,
        now: Timestamp,
    ) -> Result<Incoming, (ExchangeError, u64)> {
        let (refused, received) = match answer {
            Ok(incoming) if incoming.status == UNAVAILABLE => {
                let asked = retry_after::read(&incoming.headers, now);
                (self.is_down("it answered 503", asked.unwrap_or_default(), now), incoming.received)
            }
            Ok(incoming) => {
                self.up();
                return Ok(incoming);
            }
            Err((error, received)) => match self.failed(&error, now).await {
                Some(refused) => (refused, received),
                None => return Err((error, received)),
            },
        };
        Err((ExchangeError::Refused(Box::new(refused)), received))
    }

    /// It has answered.
    pub(crate) fn up(&self) {
        self.pass.up();
    }

    /// An exchange with it has failed so. Gives what the request is refused with, where that means that it is down.
    pub(crate) async fn failed(&self, error: &ExchangeError, now: Timestamp) -> Option<Refused> {
        let reason = match error {
            ExchangeError::Unreached(reason) => reason.clone(),
            ExchangeError::Transport(_) | ExchangeError::NoAnswer(_) => self.is_gone(error).await?,
            // The proxy's trouble, or a budget's, says nothing of it.
            ExchangeError::Proxy(_) | ExchangeError::Refused(_) => return None,
            ExchangeError::Timeout(_)
            | ExchangeError::TooLarge
            | ExchangeError::HeldTooLarge(_)
            | ExchangeError::Spool(_)
            | ExchangeError::Unfit(_) => {
                self.up();
                return None;
            }
        };
        Some(self.is_down(&reason, Duration::ZERO, now))
    }

    fn is_down(&self, reason: &str, least: Duration, now: Timestamp) -> Refused {
        // It may come back at another address.
        self.endpoint.pinned.forget();
        self.pass.failed(reason, least, now)
    }

    /// An exchange that broke off or hung may have met a service that went away meanwhile: it takes no connection then.
    async fn is_gone(&self, error: &ExchangeError) -> Option<String> {
        if !self.is_direct {
            let no_tunnel = matches!(error, ExchangeError::Transport(text) if text.contains(exchange::NO_TUNNEL));
            return no_tunnel.then(|| exchange::NO_TUNNEL.to_owned());
        }
        let url = &self.endpoint.url;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
        let connected = TcpStream::connect((host, url.port_or_known_default()?));
        match tokio::time::timeout(PROBE_TIME, connected).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it takes no connection any more".to_owned()),
        }
    }
}
