//! Where a request may go: its address is parsed once, and each hop of a redirect is decided anew (traps 12, 16, 17).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tollgate_core::spec::{Deployment, Route, SitePattern, SiteSpec};
use url::{Host, Url};

use crate::{Denial, Refused, endpoint, gate::Caller};

/// An address that policy allows.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// As handlers and people see it.
    pub(crate) url: Url,
    /// What is asked in its place, for an endpoint.
    target: Option<Url>,
    /// Host name and port, as the site's state is kept by.
    pub(crate) authority: String,
    pub(crate) site: SiteSpec,
}

impl Address {
    /// That of an endpoint, which is at `target`.
    pub(crate) fn of_endpoint(url: Url, target: Url, authority: String, site: SiteSpec) -> Self {
        Self { url, target: Some(target), authority, site }
    }

    /// Where it really is. Shown to no handler.
    pub(crate) fn target(&self) -> &Url {
        self.target.as_ref().unwrap_or(&self.url)
    }

    /// Whether it is asked over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.target().scheme() == "https"
    }

    /// As messages call it.
    pub(crate) fn host(&self) -> &str {
        if self.target.is_some() { &self.authority } else { self.url.host_str().unwrap_or_default() }
    }
}

/// Who named the address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<'a> {
    /// Configuration or the handler.
    Caller,
    /// A page, by a redirect from this address.
    Page(&'a Address),
    /// The host itself, of an address that was asked for: no grant is looked at.
    Host,
}

/// Parses an address as a guest wrote it.
pub(crate) fn parse(text: &str) -> Result<Url, Refused> {
    let url = Url::parse(text).map_err(|error| Refused::invalid(format!("{text:?} is no absolute URL: {error}")))?;
    check(&url)?;
    Ok(url)
}

/// Whether an address is one that can pass, wherever it leads.
pub(crate) fn check(url: &Url) -> Result<(), Refused> {
    if !matches!(url.scheme(), "http" | "https") && !endpoint::is_named_by(url) {
        return Err(Refused::invalid(format!("{}: only http, https and endpoint pass the gate", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::invalid("a URL with a user or password: secrets stand in jobs.toml"));
    }
    Ok(())
}

/// Decides one address.
pub(crate) fn decide(
    deployment: &Deployment,
    caller: &Caller,
    mut url: Url,
    named: Named<'_>,
) -> Result<Address, Refused> {
    if endpoint::is_named_by(&url) {
        return endpoint::decide(deployment, caller, url, named);
    }
    url.set_fragment(None);
    let port = url.port_or_known_default().unwrap_or(0);
    let host = match url.host() {
        // A name with a dot at its end is the same name.
        Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
        Some(host) => host.to_string(),
        None => return Err(Refused::invalid(format!("{url} names no host"))),
    };
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let Some(site) = deployment.site(name, port) else {
        return Err(Refused::denied(
            Denial::NoPolicy,
            format!("no site policy covers {name}; add [site.\"{name}\"] to jobs.toml"),
        ));
    };
    let is_asked = !matches!(named, Named::Host);
    if is_asked {
        check_jobs(caller, site, name)?;
    }
    if is_asked && !caller.allowed.is_empty() && !caller.allowed.iter().any(|pattern| pattern.matches(name, port)) {
        let text = format!(
            "job {} is not granted {name}; add \"http {name}\" to `grant` of [job.{}] in jobs.toml",
            caller.job, caller.job
        );
        return Err(Refused::denied(Denial::NotGranted, text));
    }
    let authority = format!("{name}:{port}");
    let is_own = matches!(&site.pattern, SitePattern::Host { .. });
    let is_local = is_local(&url);
    if is_local && !is_own {
        let why = if matches!(named, Named::Page(_)) { Denial::Redirect } else { Denial::Local };
        let text =
            format!("{name} is on this machine or its own network; only an entry [site.\"{name}:{port}\"] opens it");
        return Err(Refused::denied(why, text));
    }
    if let Named::Page(from) = named
        && (is_local || site.route == Route::Direct)
        && from.authority != authority
    {
        let text = format!(
            "{} redirects to {name}, which no page may send us to: it is local or reached directly",
            from.authority
        );
        return Err(Refused::denied(Denial::Redirect, text));
    }
    Ok(Address { url, target: None, authority, site: site.clone() })
}

/// Whether a policy is for the job that asks for `name`.
pub(crate) fn check_jobs(caller: &Caller, site: &SiteSpec, name: &str) -> Result<(), Refused> {
    let Some(jobs) = site.jobs.as_ref().filter(|jobs| !jobs.contains(&caller.job)) else {
        return Ok(());
    };
    let jobs = jobs.iter().map(|job| job.as_str()).collect::<Vec<_>>().join(", ");
    let section = site.pattern.section();
    let text = format!("{name} is for {jobs}; add \"{}\" to `jobs` of {section} in jobs.toml", caller.job);
    Err(Refused::denied(Denial::OtherJobs, text))
}

/// Decides where a redirect from an address leads.
pub(crate) fn next(
    deployment: &Deployment,
    caller: &Caller,
    from: &Address,
    location: &str,
) -> Result<Address, Refused> {
    if from.target.is_some() {
        return endpoint::next(deployment, from, location);
    }
    let next = from.url.join(location);
    let next = next.map_err(|error| Refused::invalid(format!("a redirect to {location:?}: {error}")))?;
    decide(deployment, caller, parse(next.as_str())?, Named::Page(from))
}

/// Whether an address is this machine, or a network that isn't the world's.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_local_address(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => is_local_address(IpAddr::V6(address)),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
        }
        None => false,
    }
}

/// Loopback, private, link-local (the metadata services of clouds among them), shared, unspecified, multicast.
pub(crate) fn is_local_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_local_v4(address),
        IpAddr::V6(address) => is_local_v6(address),
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || a == 0
        // RFC 6598: shared by carriers.
        || (a == 100 && (64..128).contains(&b))
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    // ::ffff:a.b.c.d and 64:ff9b::a.b.c.d lead to an IPv4 address.
    let of_v4 = address.to_ipv4_mapped().or_else(|| {
        let segments = address.segments();
        let [.., high, low] = segments;
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        (segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0]).then(|| Ipv4Addr::new(a, b, c, d))
    });
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || of_v4.is_some_and(is_local_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap12_local_addresses_are_known_in_every_form() {
        let local = [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://169.254.169.254/latest/",
            "http://10.1.2.3/",
            "http://192.168.0.1/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://[fd00::1]/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
        ];
        for text in local {
            assert!(is_local(&parse(text).unwrap()), "{text}");
        }
        for text in
            ["http://93.184.216.34/", "https://example.com/", "http://[2606:2800::1]/", "http://localhost.example/"]
        {
            assert!(!is_local(&parse(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn trap16_what_could_hide_the_authority_is_refused() {
        assert!(parse("http://user@a.example/").is_err());
        assert!(parse("ftp://a.example/").is_err());
        assert!(parse("//a.example/").is_err());
        assert!(parse("file:///etc/passwd").is_err());
    }
}
