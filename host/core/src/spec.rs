//! The job specification: what jobs.toml says, checked and complete.
//!
//! These types hold what the rest of the host works by; [`parse()`] makes them from text. Every default is
//! filled in, every name resolved, and what a person may have to correct keeps its place in the file.

pub mod check;
pub mod diagnostic;
pub mod endpoint;
pub mod guard;
pub mod job;
pub mod models;
pub mod parse;
pub mod places;
mod raw;
pub mod reload;
pub mod services;
pub mod session;
pub mod tools;
mod values;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    budget::{Budget, MoneyBudget, Price},
    calendar::Zone,
    gcra::Rate,
    ids::JobName,
};

pub use check::CheckSpec;
pub use diagnostic::{Diagnostic, Place};
pub use endpoint::{ENDPOINT_SCHEME, EndpointSpec};
pub use guard::{GuardOutcome, GuardRule, GuardSpec};
pub use job::{CONCURRENCY_DEFAULT, CONCURRENCY_MAX, DiscoverSpec, JobKind, JobSpec, StageSpec, TASK_TIMEOUT_DEFAULT};
pub use models::ModelSpec;
pub use parse::parse;
pub use places::Places;
pub use reload::{ReadSpec, Reloaded};
pub use services::{
    Allowance, AudioPrice, SearchProvider, SearchSpec, ServiceSpec, Services, SpeechProvider, SpeechSpec,
};
pub use session::SessionSpec;
pub use tools::ToolSpec;

/// A whole jobs.toml.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// `[host]`.
    pub host: HostSpec,
    /// `[proxy.NAME]`.
    pub proxies: Vec<ProxySpec>,
    /// `[site."PATTERN"]`, the most specific first, each complete.
    pub sites: Vec<SiteSpec>,
    /// `[endpoint.NAME]`, by name.
    pub endpoints: Vec<EndpointSpec>,
    /// `[session.NAME]`, by name.
    pub sessions: Vec<SessionSpec>,
    /// `[tool.NAME]`, by name.
    pub tools: Vec<ToolSpec>,
    /// `[model.ALIAS]`, by alias.
    pub models: Vec<ModelSpec>,
    /// `[search.NAME]`, by name.
    pub searches: Vec<SearchSpec>,
    /// `[speech.ALIAS]`, by alias.
    pub speeches: Vec<SpeechSpec>,
    /// `[budget]`: the most of all that is paid, models, search, speech and priced proxies together.
    pub budget: MoneyBudget,
    /// `[job.NAME]`, in the file's order.
    pub jobs: Vec<JobSpec>,
}

impl Deployment {
    /// The job of that name.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<&JobSpec> {
        self.jobs.iter().find(|job| job.name.as_str() == name)
    }

    /// The session of that name.
    #[must_use]
    pub fn session(&self, name: &str) -> Option<&SessionSpec> {
        self.sessions.iter().find(|session| session.name == name)
    }

    /// The tool of that name.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&ToolSpec> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// The most specific policy for a host name and port, as it stands in a URL.
    #[must_use]
    pub fn site(&self, host: &str, port: u16) -> Option<&SiteSpec> {
        self.sites.iter().find(|site| site.pattern.matches(host, port))
    }
}

/// `[host]`: paths are as written, relative to the folder of jobs.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// The data folder.
    pub data: PathBuf,
    /// The drop folder.
    pub handlers: PathBuf,
    /// Where the API and the pages listen; loopback only, for now.
    pub listen: SocketAddr,
    /// How long running tasks may go on once the host was asked to stop.
    pub grace: Duration,
    /// Attempts kept for each task.
    pub keep_attempts: u32,
    /// Bytes that all pages' and tasks' guests may have of memory, each.
    pub guest_memory_max: u64,
    /// Where the days of budgets begin.
    pub zone: Zone,
}

/// A text that may live elsewhere: never shown, never logged.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Stands in jobs.toml itself.
    Literal(String),
    /// In a variable of the environment.
    Env(String),
    /// In a file, read again when it changes.
    File(PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::Env(name) => write!(f, "Env({name})"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// `[proxy.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySpec {
    /// Its name.
    pub name: String,
    /// `http://…`, `https://…` or `socks5h://…`, with user and password where it wants them.
    pub url: Secret,
    /// A file of PEM certificates to trust besides the web's own: for a proxy that reads TLS.
    pub ca: Option<Secret>,
    /// What its bytes cost; absent: nobody said.
    pub price: Option<Price>,
    /// The most of it in a day or a month. Money only with a price.
    pub budget: Budget,
    /// Where it stands.
    pub at: Place,
}

/// A host-name pattern: `*`, `*.example.com` (that name and all below it), or a name with an optional port; or an
/// endpoint, which is reached by its name alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SitePattern {
    /// Everything.
    Any,
    /// A name and all below it.
    Below(String),
    /// One name; with a port, that port alone.
    Host {
        /// In lower case, as it stands in a URL.
        host: String,
        /// Absent: any port.
        port: Option<u16>,
    },
    /// The endpoint of that name: no URL's host falls under it.
    Endpoint(String),
}

impl SitePattern {
    /// Whether a URL's host and port fall under it.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Below(domain) => {
                let rest = host.len().checked_sub(domain.len()).map(|at| host.split_at(at));
                rest.is_some_and(|(before, end)| {
                    end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with('.'))
                })
            }
            Self::Host { host: name, port: only } => {
                name.eq_ignore_ascii_case(host) && only.is_none_or(|only| only == port)
            }
            Self::Endpoint(_) => false,
        }
    }

    /// Narrower patterns have a higher figure.
    #[must_use]
    pub fn specificity(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Below(domain) => 1 + domain.len(),
            Self::Host { port: None, .. } => 100_000,
            Self::Host { port: Some(_), .. } | Self::Endpoint(_) => 100_001,
        }
    }

    /// The section of jobs.toml that says how it is reached.
    #[must_use]
    pub fn section(&self) -> String {
        match self {
            Self::Endpoint(name) => format!("[endpoint.{name}]"),
            site => format!("[site.\"{site}\"]"),
        }
    }
}

impl std::fmt::Display for SitePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(domain) => write!(f, "*.{domain}"),
            Self::Host { host, port: None } => f.write_str(host),
            Self::Host { host, port: Some(port) } => write!(f, "{host}:{port}"),
            Self::Endpoint(name) => write!(f, "endpoint {name}"),
        }
    }
}

/// Which of several proxies a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// The first in the list that is up.
    #[default]
    Failover,
    /// Each request the next one.
    Request,
    /// One for each host name, always the same while it is up.
    Host,
}

impl Rotation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Failover, Self::Request, Self::Host];

    /// As it stands in jobs.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Request => "request",
            Self::Host => "host",
        }
    }
}

/// How a site is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Through one of these proxies, by name; at least one.
    Proxy(Vec<String>, Rotation),
    /// From this machine's own address. Only for exact names.
    Direct,
    /// No proxy is configured: every request is refused, and the text is the line to add.
    Unset,
}

/// `[site."PATTERN"]`, complete: what it doesn't say comes from `[site."*"]`, then from the defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteSpec {
    /// Which hosts.
    pub pattern: SitePattern,
    /// How they are reached.
    pub route: Route,
    /// Requests a time; absent: no limit.
    pub rate: Option<Rate>,
    /// Requests side by side, for each host name.
    pub concurrency: usize,
    /// From the start of a request to the end of its body.
    pub timeout: Duration,
    /// Largest body, in bytes after unpacking.
    pub body_max: u64,
    /// How long a site is left alone that blocks us or says 429 without a time.
    pub cool_down: Duration,
    /// Headers that each request to it bears, by name in lower case; the guest never sees them.
    pub headers: Vec<(String, Secret)>,
    /// The only jobs that may ask it; absent: all that are granted it.
    pub jobs: Option<Vec<JobName>>,
    /// The most of its bytes in a day or a month, of all hosts under the pattern together. Never money.
    pub budget: Budget,
    /// Which of its pages aren't content. Shared: a site's policy is copied for each request.
    pub guard: Arc<GuardSpec>,
    /// The session that gives its requests their cookies, by name.
    pub session: Option<String>,
    /// Most items that may be served one and the same page at different addresses (S11): one more, and it is no
    /// content. Absent: nobody looks.
    pub duplicates: Option<u32>,
    /// Where it stands; absent for the built-in one.
    pub at: Option<Place>,
}
