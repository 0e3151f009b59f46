//! Clients: one a route, each with its proxy or with none, and nothing of the environment (trap 11).

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Proxy, redirect};

use crate::{headers::USER_AGENT, resolve::PinnedResolver, wire::Connections};

/// Time for a connection: proxy, tunnel and TLS together.
const CONNECT_TIME: Duration = Duration::from_secs(15);

/// What every client has in common. Redirects, retries and proxies of the environment are never the client's choice.
fn builder() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIME)
        .tcp_nodelay(true)
        .user_agent(USER_AGENT)
        .connector_layer(Connections)
}

/// What a client keeps from one request to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Connections, for the next ones.
    Connections,
    /// Nothing: each request has a connection of its own.
    Nothing,
}

/// The client through a proxy. `ca`: certificates in PEM to trust besides the web's own.
///
/// # Errors
/// What is wrong with the address or the certificates; the address itself, which may hold a password, is left out.
pub(crate) fn through_proxy(url: &str, ca: Option<&str>, keeping: Keeping) -> Result<Client, String> {
    let parsed = url::Url::parse(url).map_err(|error| format!("its address is no URL: {error}"))?;
    match parsed.scheme() {
        "http" | "https" | "socks5h" => {}
        "socks5" => return Err("socks5:// resolves names on this machine; write socks5h://".to_owned()),
        other => return Err(format!("{other}:// is no proxy; write http://, https:// or socks5h://")),
    }
    let proxy = Proxy::all(parsed).map_err(|_| "its address can't be used".to_owned())?;
    let mut builder = builder().proxy(proxy);
    if keeping == Keeping::Nothing {
        builder = builder.pool_max_idle_per_host(0);
    }
    if let Some(ca) = ca {
        let certificates = Certificate::from_pem_bundle(ca.as_bytes()).map_err(|error| format!("its `ca`: {error}"))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| format!("no client can be made: {error}"))
}

/// The client of an endpoint: wherever its name leads, within `connect_time`.
pub(crate) fn to_endpoint(pinned: PinnedResolver, connect_time: Duration) -> Result<Client, String> {
    let client = builder().dns_resolver(pinned).connect_timeout(connect_time).build();
    client.map_err(|error| error.to_string())
}

/// The client that goes out from this machine's own address, for the exact names that jobs.toml lists.
pub(crate) fn direct() -> Result<Client, String> {
    let client = builder().dns_resolver(PinnedResolver::default()).build();
    client.map_err(|error| error.to_string())
}
