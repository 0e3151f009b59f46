//! `[endpoint.NAME]`: a local or internal service with its pacing, which handlers reach by its name alone (S02).

use std::net::IpAddr;

use url::{Host, Url};

use super::{Deployment, SitePattern, SiteSpec};

/// The scheme of addresses that name an endpoint: `endpoint://ibkr/v1/quotes`.
pub const ENDPOINT_SCHEME: &str = "endpoint";

/// `[endpoint.NAME]`, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSpec {
    /// Its name: a letter, then letters, digits, `-`, `_`.
    pub name: String,
    /// Where the service is: http or https, without user, password, query and fragment. What a handler asks for is
    /// joined to its path. Handlers and pages never see it.
    pub url: Url,
    /// Its pacing and all else that a site's entry may say. Nothing of it comes from `[site."*"]`.
    pub policy: SiteSpec,
}

impl EndpointSpec {
    /// Whether a URL of that host and port leads to this service, past its pacing. All names of this machine are one.
    fn is_at(&self, host: &str, port: u16) -> bool {
        let is_same_host = match self.url.host() {
            Some(own) if is_this_machine(&own.to_string()) => is_this_machine(host),
            Some(Host::Domain(own)) => own.eq_ignore_ascii_case(host),
            Some(Host::Ipv4(own)) => host.parse() == Ok(own),
            Some(Host::Ipv6(own)) => host.parse() == Ok(own),
            None => false,
        };
        is_same_host && self.url.port_or_known_default() == Some(port)
    }
}

/// Whether a URL's host is a name of this machine.
pub(super) fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl Deployment {
    /// The endpoint of that name.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<&EndpointSpec> {
        self.endpoints.iter().find(|endpoint| endpoint.name == name)
    }

    /// Sites whose entry names the host of an endpoint: by them it is reached past its pacing.
    pub fn ways_around_endpoints(&self) -> impl Iterator<Item = (&SiteSpec, &EndpointSpec)> {
        self.endpoints.iter().flat_map(|endpoint| {
            let leads_there = |site: &&SiteSpec| match &site.pattern {
                SitePattern::Host { host, port } => {
                    let port = port.or(endpoint.url.port_or_known_default()).unwrap_or(0);
                    endpoint.is_at(host, port)
                }
                SitePattern::Any | SitePattern::Below(_) | SitePattern::Endpoint(_) => false,
            };
            self.sites.iter().filter(leads_there).map(move |site| (site, endpoint))
        })
    }
}
