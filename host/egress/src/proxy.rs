//! A proxy: its client, made anew when its address changes, and whether it is up.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::header::{HeaderMap, VIA};
use tollgate_core::{Timestamp, spec::ProxySpec};

use crate::{
    ProxyStatus, Refused,
    exchange::{self, Probed, Via},
    outage::{Outages, Pass},
    route::{self, Keeping},
    secret,
};

/// How long work waits where no proxy is configured, or one that can't be used.
pub(crate) const UNSET_WAIT: Duration = Duration::from_secs(30);
/// Time for the proxy's own answer, when it is asked whether it is up.
const PROBE_TIME: Duration = Duration::from_secs(3);
/// What a proxy is asked for then: no name of the world (RFC 2606), so that it answers out of its own knowledge.
const PROBE_URL: &str = "http://tollgate-probe.invalid/";

/// A proxy of jobs.toml.
pub(crate) struct Proxy {
    pub(crate) spec: ProxySpec,
    outages: Outages,
    state: Mutex<ProxyState>,
}

#[derive(Default)]
struct ProxyState {
    /// The client, and the address and certificates that it was made for.
    client: Option<(Settings, ProxyClient)>,
    /// It closes connections after an answer that doesn't say so.
    closes_unsaid: bool,
    /// Why it can't be used at all: no address, or a wrong one.
    unusable: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Settings {
    url: String,
    ca: Option<CaFile>,
}

/// A file of certificates as it was when it was read: while it is the same, it isn't read again.
#[derive(Clone, PartialEq, Eq)]
struct CaFile {
    path: PathBuf,
    modified: Option<SystemTime>,
    bytes: u64,
}

/// A client bound to a proxy.
#[derive(Clone)]
pub(crate) struct ProxyClient {
    pub(crate) client: reqwest::Client,
    /// The same, for plain requests through a proxy that closes connections without a word: it keeps none.
    pub(crate) fresh: reqwest::Client,
    pub(crate) via: Via,
    /// Bytes of the header by which an HTTP proxy knows us.
    pub(crate) login_bytes: u64,
}

/// A request that a proxy has been found fit for. Dropped while it is the probe, it leaves the place to the next.
pub(crate) struct Admitted<'a> {
    proxy: &'a Proxy,
    pass: Pass<'a>,
}

impl Proxy {
    pub(crate) fn new(spec: ProxySpec) -> Self {
        let outages = Outages::new(format!("proxy {}", spec.name), spec.name.clone());
        Self { spec, outages, state: Mutex::default() }
    }

    /// Its name in jobs.toml.
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client through this proxy, unless it is down or has no address.
    pub(crate) fn client(&self, base: &Path, now: Timestamp) -> Result<ProxyClient, Refused> {
        let client = self.made(base)?;
        self.outages.check(now).map(|()| client)
    }

    /// Whether a connection to it may be closed though nothing says so.
    pub(crate) fn closes_unsaid(&self) -> bool {
        self.state().closes_unsaid
    }

    /// The client for the settings of now.
    fn made(&self, base: &Path) -> Result<ProxyClient, Refused> {
        let settings = self.settings(base)?;
        let mut state = self.state();
        state.unusable = None;
        if let Some((made_for, client)) = &state.client
            && made_for == &settings
        {
            return Ok(client.clone());
        }
        drop(state);
        let client = self.make(&settings).map_err(|message| self.unusable(message))?;
        let mut state = self.state();
        // Another address, another proxy: what was known of the old one says nothing.
        self.outages.replaced();
        state.closes_unsaid = false;
        state.client = Some((settings, client.clone()));
        Ok(client)
    }

    fn make(&self, settings: &Settings) -> Result<ProxyClient, String> {
        let read = |ca: &CaFile| {
            std::fs::read_to_string(&ca.path).map_err(|error| format!("its `ca`, {}: {error}", ca.path.display()))
        };
        let ca = settings.ca.as_ref().map(read).transpose()?;
        let client = route::through_proxy(&settings.url, ca.as_deref(), Keeping::Connections)?;
        let fresh = route::through_proxy(&settings.url, ca.as_deref(), Keeping::Nothing)?;
        let via = if settings.url.starts_with("socks") { Via::Socks } else { Via::Http };
        let login_bytes = if via == Via::Http { login_bytes(&settings.url) } else { 0 };
        Ok(ProxyClient { client, fresh, via, login_bytes })
    }

    fn settings(&self, base: &Path) -> Result<Settings, Refused> {
        let url = secret::read(&self.spec.url, base).map_err(|message| self.unusable(message))?;
        let Some(url) = url else {
            let how = secret::how_to_set(&self.spec.url);
            return Err(self.unusable(format!("it has no address: {how}")));
        };
        let ca = match &self.spec.ca {
            Some(secret) => secret::read(secret, base).map_err(|message| self.unusable(message))?,
            None => None,
        };
        let ca = ca.map(|file| {
            let path = base.join(&file);
            let found = std::fs::metadata(&path);
            let found = found.map_err(|error| self.unusable(format!("its `ca`, {file}: {error}")))?;
            // Not every file system knows when: the length is what is left.
            Ok(CaFile { path, modified: found.modified().ok(), bytes: found.len() })
        });
        Ok(Settings { url, ca: ca.transpose()? })
    }

    /// Its address, secrets and all, and the file of its certificates: for a tool that goes through it by itself.
    pub(crate) fn for_tool(&self, base: &Path) -> Result<(String, Option<PathBuf>), Refused> {
        let settings = self.settings(base)?;
        Ok((settings.url, settings.ca.map(|ca| ca.path)))
    }

    fn unusable(&self, message: String) -> Refused {
        let name = &self.spec.name;
        self.state().unusable = Some(message.clone());
        Refused::down(name, format!("proxy {name} can't be used, so nothing is sent: {message}"), UNSET_WAIT)
    }

    /// Lets a request through. Refuses while the proxy is down, but for one at a time once its time is over.
    pub(crate) fn admit(&self, now: Timestamp) -> Result<Admitted<'_>, Refused> {
        self.outages.admit(now).map(|pass| Admitted { proxy: self, pass })
    }

    pub(crate) fn status(&self) -> ProxyStatus {
        let (down, unusable) = (self.outages.now(), self.state().unusable.clone());
        ProxyStatus {
            name: self.spec.name.clone(),
            down_until: down.as_ref().map(|down| down.until),
            reason: unusable.or_else(|| down.map(|down| down.reason)),
        }
    }
}

impl Admitted<'_> {
    /// The proxy's name, as refusals have it.
    pub(crate) fn name(&self) -> &str {
        &self.proxy.spec.name
    }

    /// The proxy did its part of this request. One that began before an outage says nothing of how it is now.
    pub(crate) fn up(&self) {
        self.pass.up();
    }

    /// Its answers show whether it closes connections after them without a word, as tinyproxy does.
    pub(crate) fn heard(&self, headers: &HeaderMap) {
        let via = headers.get_all(VIA).iter().filter_map(|via| via.to_str().ok()).next_back();
        if via.is_some_and(|via| via.rsplit(',').next().is_some_and(|last| last.contains("(tinyproxy/"))) {
            self.proxy.state().closes_unsaid = true;
        }
    }

    /// Asks the proxy itself, after an exchange ended in a way that may be its fault or the site's. One that takes
    /// connections and says nothing, or wants other credentials, is of no use either.
    pub(crate) async fn answers(&self) -> Probed {
        let made = self.proxy.state().client.as_ref().map(|(_, made)| made.client.clone());
        let answers = match made {
            Some(client) => exchange::proxy_answers(&client, PROBE_URL, PROBE_TIME).await,
            None => Probed::Silent,
        };
        if answers == Probed::Up {
            self.pass.is_up();
        }
        answers
    }

    /// Whether a page may be the proxy's own: it sees plain requests, and secure ones where it reads TLS.
    pub(crate) fn may_answer(&self, is_secure: bool) -> bool {
        let via = self.proxy.state().client.as_ref().map(|(_, made)| made.via);
        via == Some(Via::Http) && (!is_secure || self.proxy.spec.ca.is_some())
    }

    /// The proxy failed: gives what the request is refused with. However many requests an outage meets, it counts once;
    /// one that began before the proxy came back marks it no more.
    pub(crate) fn failed(&self, reason: &str, now: Timestamp) -> Refused {
        self.pass.failed(reason, Duration::ZERO, now)
    }
}

/// Bytes of `proxy-authorization: Basic …` for the user and password of an address.
fn login_bytes(url: &str) -> u64 {
    let Ok(url) = url::Url::parse(url) else {
        return 0;
    };
    if url.username().is_empty() && url.password().is_none() {
        return 0;
    }
    let plain = |text: &str| percent_encoding::percent_decode_str(text).count();
    let secret = plain(url.username()) + 1 + url.password().map_or(0, plain);
    ("proxy-authorization: Basic \r\n".len() + secret.div_ceil(3) * 4) as u64
}

#[cfg(test)]
mod tests {
    use tollgate_core::{
        budget::Budget,
        spec::{Place, Secret},
    };

    use super::*;

    #[test]
    fn certificates_are_read_again_only_when_their_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "").unwrap();
        let url = Secret::Literal("http://127.0.0.1:9".to_owned());
        let ca = Some(Secret::Literal("ca.pem".to_owned()));
        let proxy = Proxy::new(ProxySpec {
            name: "main".to_owned(),
            url,
            ca,
            price: None,
            budget: Budget::default(),
            at: Place::default(),
        });
        let era = |proxy: &Proxy| proxy.outages.era();
        assert!(proxy.client(folder.path(), Timestamp(1)).is_ok());
        assert!(proxy.client(folder.path(), Timestamp(1)).is_ok());
        assert_eq!(era(&proxy), 1, "the client is made once");
        std::fs::write(&file, "# other\n").unwrap();
        assert!(proxy.client(folder.path(), Timestamp(1)).is_ok());
        assert_eq!(era(&proxy), 2);
    }
}
