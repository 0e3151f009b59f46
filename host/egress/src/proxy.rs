//! A proxy: its client, made anew when its address changes, and whether it is up.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tollgate_core::{Timestamp, spec::ProxySpec};

use crate::{ProxyStatus, Refused, route, secret};

/// How long a proxy is left alone after its first failure; doubled with each further one.
const DOWN_FIRST: Duration = Duration::from_secs(1);
/// Longest time that a proxy is left alone: how late its return is noticed.
const DOWN_MAX: Duration = Duration::from_secs(30);
/// How long work waits for a proxy that nobody configured.
const UNSET_WAIT: Duration = Duration::from_secs(30);
/// Time for a connection to the proxy itself, when it is asked whether it is up.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// A proxy of jobs.toml.
pub(crate) struct Proxy {
    pub(crate) spec: ProxySpec,
    state: Mutex<ProxyState>,
}

#[derive(Default)]
struct ProxyState {
    /// The client, and the address and certificates that it was made for.
    client: Option<(Settings, reqwest::Client)>,
    down: Option<Down>,
    /// Why it can't be used at all: no address, or a wrong one.
    unusable: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Settings {
    url: String,
    ca: Option<String>,
}

#[derive(Clone)]
struct Down {
    until: Timestamp,
    failures: u32,
    reason: String,
    /// One request is let through to see whether it is up again.
    probing: bool,
}

impl Proxy {
    pub(crate) fn new(spec: ProxySpec) -> Self {
        Self { spec, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client through this proxy, unless it is down or has no address.
    pub(crate) fn client(&self, base: &Path, now: Timestamp) -> Result<reqwest::Client, Refused> {
        let settings = self.settings(base)?;
        let mut state = self.state();
        state.unusable = None;
        if let Some((made_for, client)) = &state.client
            && made_for == &settings
        {
            let client = client.clone();
            self.admit(&mut state, now)?;
            return Ok(client);
        }
        let client = route::through_proxy(&settings.url, settings.ca.as_deref());
        let client = match client {
            Ok(client) => client,
            Err(message) => {
                drop(state);
                return Err(self.unusable(message));
            }
        };
        // Another address, another proxy: what was known of the old one says nothing.
        state.down = None;
        state.client = Some((settings, client.clone()));
        Ok(client)
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
            std::fs::read_to_string(base.join(&file))
                .map_err(|error| self.unusable(format!("its `ca`, {file}: {error}")))
        });
        Ok(Settings { url, ca: ca.transpose()? })
    }

    fn unusable(&self, message: String) -> Refused {
        let name = &self.spec.name;
        self.state().unusable = Some(message.clone());
        Refused::down(name, format!("proxy {name} can't be used, so nothing is sent: {message}"), UNSET_WAIT)
    }

    /// Refuses while the proxy is down, but for one request at a time once its time is over.
    fn admit(&self, state: &mut ProxyState, now: Timestamp) -> Result<(), Refused> {
        let Some(down) = &mut state.down else {
            return Ok(());
        };
        if down.until <= now && !down.probing {
            down.probing = true;
            return Ok(());
        }
        let after = down.until.since(now).max(DOWN_FIRST);
        Err(Refused::down(&self.spec.name, format!("proxy {} is down: {}", self.spec.name, down.reason), after))
    }

    /// The proxy did its part.
    pub(crate) fn up(&self) {
        let mut state = self.state();
        if state.down.take().is_some() {
            tracing::info!(proxy = self.spec.name, "the proxy is up again");
        }
    }

    /// The proxy failed: gives what the request is refused with.
    pub(crate) fn failed(&self, reason: &str, now: Timestamp) -> Refused {
        let mut state = self.state();
        let failures = state.down.as_ref().map_or(0, |down| down.failures) + 1;
        let wait = DOWN_FIRST.saturating_mul(1 << (failures - 1).min(6)).min(DOWN_MAX);
        tracing::warn!(proxy = self.spec.name, reason, "the proxy is down");
        state.down = Some(Down { until: now.after(wait), failures, reason: reason.to_owned(), probing: false });
        Refused::down(&self.spec.name, format!("proxy {} is down: {reason}", self.spec.name), wait)
    }

    /// A probe that was dropped before it ended leaves the place to the next.
    pub(crate) fn probe_dropped(&self) {
        if let Some(down) = &mut self.state().down {
            down.probing = false;
        }
    }

    /// Asks the proxy itself, after an exchange failed in a way that may be its fault or the site's.
    pub(crate) async fn answers(&self) -> bool {
        let url = self.state().client.as_ref().map(|(settings, _)| settings.url.clone());
        let Some(url) = url.and_then(|url| url::Url::parse(&url).ok()) else {
            return false;
        };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return false;
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        matches!(tokio::time::timeout(PROBE_TIME, tokio::net::TcpStream::connect((host, port))).await, Ok(Ok(_)))
    }

    pub(crate) fn status(&self) -> ProxyStatus {
        let state = self.state();
        let (down, unusable) = (state.down.clone(), state.unusable.clone());
        ProxyStatus {
            name: self.spec.name.clone(),
            down_until: down.as_ref().map(|down| down.until),
            reason: unusable.or_else(|| down.map(|down| down.reason)),
        }
    }
}
