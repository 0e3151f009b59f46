//! The small internet as a value: built, started, asked, and stopped when dropped.

use crate::admin;
use crate::authority::{Authority, AuthorityError, Validity};
use crate::counts::{Counter, Counts};
use crate::handshake::Reception;
use crate::proxy::{Proxy, basic};
use crate::serve::{Entry, World, direct};
use crate::site::Site;
use crate::sites::bill::Billed;
use crate::speech::ProxyKind;
use crate::wire::{Listening, reserve};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Any free port of the loopback interface.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Why the sim could not start or do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A port could not be taken.
    #[error("listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// An address outside the machine was asked for.
    #[error("listen on {0}: the sim listens on loopback only")]
    NotLoopback(SocketAddr),
    /// A certificate could not be made for this name.
    #[error("make a certificate for {0:?}")]
    Certificate(String, #[source] AuthorityError),
    /// The credentials can't stand in a header.
    #[error("use the proxy's credentials: not fit for a header")]
    Credentials,
    /// A file could not be written.
    #[error("write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

/// What a small internet is to be.
#[derive(Default)]
pub struct Builder {
    sites: BTreeMap<String, Arc<dyn Site>>,
    receptions: HashMap<String, Reception>,
    credentials: Option<(String, String)>,
    proxy_kind: ProxyKind,
    proxy_addr: Option<SocketAddr>,
    admin_addr: Option<SocketAddr>,
    /// Whether proxy and sites may listen elsewhere than on loopback.
    is_beyond_loopback: bool,
}

impl Builder {
    /// Puts a site under a host name; a later one under the same name replaces it.
    #[must_use]
    pub fn site(mut self, host: &str, site: Arc<dyn Site>) -> Self {
        self.sites.insert(host.to_ascii_lowercase(), site);
        self
    }

    /// Makes a site receive connections in its own way.
    #[must_use]
    pub fn reception(mut self, host: &str, reception: Reception) -> Self {
        self.receptions.insert(host.to_ascii_lowercase(), reception);
        self
    }

    /// Makes the proxy speak like another where it speaks for itself.
    #[must_use]
    pub fn proxy_kind(mut self, kind: ProxyKind) -> Self {
        self.proxy_kind = kind;
        self
    }

    /// Makes the proxy ask for these credentials (Basic); without them it answers 407.
    #[must_use]
    pub fn proxy_auth(mut self, user: &str, password: &str) -> Self {
        self.credentials = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// The proxy's address; by default any free loopback port.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.proxy_addr = Some(addr);
        self
    }

    /// Lets the proxy listen where [`Builder::listen`] says, on loopback or not, and every site on a free port beside
    /// it: for a network namespace whose only other end is the host under test.
    #[must_use]
    pub fn beyond_loopback(mut self) -> Self {
        self.is_beyond_loopback = true;
        self
    }

    /// The admin endpoint's address; by default any free loopback port.
    #[must_use]
    pub fn admin(mut self, addr: SocketAddr) -> Self {
        self.admin_addr = Some(addr);
        self
    }

    /// Starts to listen. Must be called within a tokio runtime, on which the sim then runs.
    pub async fn start(self) -> Result<Sim, SimError> {
        let authority = Authority::new("Tollgate sim authority");
        let authority = authority.map_err(|error| SimError::Certificate("the authority".to_owned(), error))?;
        let proxy_auth = match &self.credentials {
            Some((user, password)) => Some(basic(user, password).ok_or(SimError::Credentials)?),
            None => None,
        };
        let mut entries = HashMap::new();
        for (host, site) in self.sites {
            let reception = self.receptions.get(&host).copied().unwrap_or_default();
            let tls = server_config(&authority, &host, reception);
            let tls = tls.map_err(|error| SimError::Certificate(host.clone(), error))?;
            let host: Arc<str> = host.into();
            entries.insert(host.clone(), Arc::new(Entry { host, site, tls, reception }));
        }
        let ca_pem = authority.pem().to_owned();
        let (counter, proxy_kind) = (Arc::new(Counter::new()), self.proxy_kind);
        let world = Arc::new(World { entries, counter, proxy_auth, proxy_kind, ca_pem });

        let addr = match self.proxy_addr {
            Some(addr) if self.is_beyond_loopback => addr,
            addr => loopback(addr)?,
        };
        let any_port = SocketAddr::new(addr.ip(), 0);
        let proxy = Proxy::start(world.clone(), addr).map_err(|error| SimError::Listen(addr, error))?;
        let proxy = Arc::new(proxy);
        let addr = loopback(self.admin_addr)?;
        let admin = admin::start(world.clone(), proxy.clone(), addr).map_err(|error| SimError::Listen(addr, error))?;
        let mut naked = HashMap::new();
        for (host, entry) in &world.entries {
            let (shared, entry) = (world.clone(), entry.clone());
            let listening = reserve(any_port)
                .and_then(|socket| Listening::start(socket, move |wire| direct(shared.clone(), entry.clone(), wire)))
                .map_err(|error| SimError::Listen(any_port, error))?;
            naked.insert(host.clone(), listening);
        }
        Ok(Sim { world, proxy, admin, naked, credentials: self.credentials })
    }
}

/// What a server for `host` shows, in the way in which it receives connections.
fn server_config(
    authority: &Authority,
    host: &str,
    reception: Reception,
) -> Result<Arc<rustls::ServerConfig>, AuthorityError> {
    match reception {
        Reception::Untrusted => Authority::new("An authority of nobody's")?.server_config(host, Validity::Now),
        Reception::OtherName => authority.server_config("other.example", Validity::Now),
        Reception::Expired => authority.server_config(host, Validity::Over),
        _ => authority.server_config(host, Validity::Now),
    }
}

fn loopback(addr: Option<SocketAddr>) -> Result<SocketAddr, SimError> {
    match addr.unwrap_or(ANY_PORT) {
        addr if addr.ip().is_loopback() => Ok(addr),
        addr => Err(SimError::NotLoopback(addr)),
    }
}

/// A small internet at work. Dropped, it stops: its ports close and its connections are cut.
pub struct Sim {
    world: Arc<World>,
    proxy: Arc<Proxy>,
    admin: Listening,
    naked: HashMap<Arc<str>, Listening>,
    credentials: Option<(String, String)>,
}

impl Sim {
    /// An empty one, to add sites to.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The proxy's URL, without credentials: `http://127.0.0.1:PORT`.
    pub fn proxy_url(&self) -> String {
        format!("http://{}", self.proxy.addr())
    }

    /// The proxy's URL with the credentials it asks for, if any. They stand there as they were given: choose some
    /// that need no escaping in a URL.
    pub fn proxy_url_with_auth(&self) -> String {
        match &self.credentials {
            Some((user, password)) => format!("http://{user}:{password}@{}", self.proxy.addr()),
            None => self.proxy_url(),
        }
    }

    /// The proxy's address; it stays the same through down and up.
    pub fn proxy_addr(&self) -> SocketAddr {
        self.proxy.addr()
    }

    /// The admin endpoint's address.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// A site's own port, around the proxy, for HTTP and HTTPS both; `None` for an unknown host.
    pub fn direct_addr(&self, host: &str) -> Option<SocketAddr> {
        self.naked.get(host).map(Listening::addr)
    }

    /// Every site's own port, by host name.
    pub fn direct_addrs(&self) -> BTreeMap<String, SocketAddr> {
        self.naked.iter().map(|(host, listening)| (host.to_string(), listening.addr())).collect()
    }

    /// The certificate authority's certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.world.ca_pem
    }

    /// Writes the authority's certificate to a file.
    pub fn write_ca(&self, path: impl AsRef<Path>) -> Result<(), SimError> {
        let path = path.as_ref();
        std::fs::write(path, self.ca_pem()).map_err(|error| SimError::Write(path.to_owned(), error))
    }

    /// What was asked so far.
    pub fn counts(&self) -> Counts {
        self.world.counter.snapshot()
    }

    /// What all services would have billed so far, by host name and in the order in which they were asked.
    pub fn bill(&self) -> Vec<Billed> {
        self.world.bill()
    }

    /// Returns once `condition` holds of the counts. The condition must not call the sim: the counts are locked.
    pub async fn wait_for(&self, condition: impl FnMut(&Counts) -> bool) {
        self.world.counter.wait_for(condition).await;
    }

    /// Counts back to zero, and the sites as if just started.
    pub fn reset(&self) {
        self.world.reset();
    }

    /// Takes the proxy down: its port refuses, its connections are cut. Returns once that is so.
    pub async fn proxy_down(&self) -> Result<(), SimError> {
        self.proxy.down().await.map_err(|error| SimError::Listen(self.proxy.addr(), error))
    }

    /// Brings the proxy up again, on the same port.
    pub async fn proxy_up(&self) -> Result<(), SimError> {
        self.proxy.up().await.map_err(|error| SimError::Listen(self.proxy.addr(), error))
    }

    /// Stops it, and returns once every port and connection is closed. (Dropping it stops it too, but a little later.)
    pub async fn shutdown(self) -> Result<(), SimError> {
        self.proxy_down().await?;
        self.admin.stop().await;
        for listening in self.naked.into_values() {
            listening.stop().await;
        }
        Ok(())
    }
}
