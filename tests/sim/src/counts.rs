//! What was asked of the small internet: a count for each host and path, and a way to wait for one.

use crate::site::Via;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Paths kept apart for one host. More than any test asks for; beyond it requests still count for the host, so
/// that a runaway crawl can't fill the memory.
pub const PATHS_PER_HOST_MAX: usize = 200_000;
/// A test in which nothing has happened for so long has failed, and would hold up all the others.
pub(crate) const STUCK_TIME: std::time::Duration = std::time::Duration::from_secs(120);
/// Methods kept apart for one path: HTTP has nine, and a client may make up more.
const METHODS_MAX: usize = 16;

/// All requests since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that reached a site, however they came.
    pub total: u64,
    /// Of these, through the proxy.
    pub via_proxy: u64,
    /// Of these, on a site's own port.
    pub direct: u64,
    /// Bytes of bodies handed to connections, without headers and TLS.
    pub bytes: u64,
    /// Tunnels opened by CONNECT.
    pub connects: u64,
    /// Proxy requests for a host that the sim doesn't know (answered 502).
    pub unknown_host: u64,
    /// Proxy requests for a host on whose port nobody listens (answered 502).
    #[serde(default)]
    pub refused_host: u64,
    /// Proxy requests without the right credentials (answered 407).
    pub refused_auth: u64,
    /// By host name.
    pub hosts: BTreeMap<String, HostCounts>,
}

/// Requests to one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCounts {
    /// Through the proxy.
    pub via_proxy: u64,
    /// On the site's own port.
    pub direct: u64,
    /// Bytes of bodies handed to connections.
    pub bytes: u64,
    /// The site is making up these answers now.
    pub in_flight: u64,
    /// The most answers it ever made up at once.
    pub in_flight_max: u64,
    /// By path, with the query where there is one (`/a?b=1`).
    pub paths: BTreeMap<String, PathCounts>,
}

/// Requests to one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCounts {
    /// Through the proxy.
    pub via_proxy: u64,
    /// On the site's own port.
    pub direct: u64,
    /// Bytes of bodies handed to connections.
    pub bytes: u64,
    /// Requests by method, the first 16 that were seen.
    pub methods: BTreeMap<String, u64>,
    /// Answers by status. What isn't in here is still being answered, or ended in `unanswered`.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests that got no status: the site closed or reset the connection, or the client went away first.
    pub unanswered: u64,
}

impl PathCounts {
    /// However they came.
    pub fn total(&self) -> u64 {
        self.via_proxy + self.direct
    }
}

impl Counts {
    /// Requests for a path (with its query) of a host, however they came; 0 if it was never asked for.
    pub fn of(&self, host: &str, path: &str) -> u64 {
        self.hosts.get(host).and_then(|host| host.paths.get(path)).map_or(0, PathCounts::total)
    }

    /// Requests to a host, however they came.
    pub fn of_host(&self, host: &str) -> u64 {
        self.hosts.get(host).map_or(0, |host| host.via_proxy + host.direct)
    }

    /// Answers with this status from a path (with its query) of a host.
    pub fn answered(&self, host: &str, path: &str, status: u16) -> u64 {
        let path = self.hosts.get(host).and_then(|host| host.paths.get(path));
        path.and_then(|path| path.statuses.get(&status)).copied().unwrap_or(0)
    }

    /// Answers that a host's site is making up now.
    pub fn in_flight(&self, host: &str) -> u64 {
        self.hosts.get(host).map_or(0, |host| host.in_flight)
    }
}

/// The sim's one counter.
pub(crate) struct Counter {
    counts: Mutex<Counts>,
    changes: watch::Sender<u64>,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self { counts: Mutex::default(), changes: watch::Sender::new(0) }
    }

    // Counts are plain numbers: a panic in a caller's condition leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changes.send_modify(|version| *version += 1);
        changed
    }

    pub(crate) fn connect(&self) {
        self.change(|counts| counts.connects += 1);
    }

    pub(crate) fn unknown_host(&self) {
        self.change(|counts| counts.unknown_host += 1);
    }

    pub(crate) fn refused_host(&self) {
        self.change(|counts| counts.refused_host += 1);
    }

    pub(crate) fn refused_auth(&self) {
        self.change(|counts| counts.refused_auth += 1);
    }

    /// Counts a request; it is in flight until what this returns is dropped.
    pub(crate) fn request<'a>(
        self: &'a Arc<Self>,
        host: &'a Arc<str>,
        path: &'a str,
        via: Via,
        method: &str,
    ) -> InFlight<'a> {
        self.change(|counts| {
            counts.total += 1;
            *of_via(&mut counts.via_proxy, &mut counts.direct, via) += 1;
            if !counts.hosts.contains_key(host.as_ref()) {
                counts.hosts.insert(host.as_ref().to_owned(), HostCounts::default());
            }
            let Some(of_host) = counts.hosts.get_mut(host.as_ref()) else {
                return;
            };
            *of_via(&mut of_host.via_proxy, &mut of_host.direct, via) += 1;
            of_host.in_flight += 1;
            of_host.in_flight_max = of_host.in_flight_max.max(of_host.in_flight);
            if !of_host.paths.contains_key(path) {
                if of_host.paths.len() >= PATHS_PER_HOST_MAX {
                    return;
                }
                of_host.paths.insert(path.to_owned(), PathCounts::default());
            }
            let Some(of_path) = of_host.paths.get_mut(path) else {
                return;
            };
            *of_via(&mut of_path.via_proxy, &mut of_path.direct, via) += 1;
            if let Some(times) = of_path.methods.get_mut(method) {
                *times += 1;
            } else if of_path.methods.len() < METHODS_MAX {
                of_path.methods.insert(method.to_owned(), 1);
            }
        });
        InFlight { counter: self, host, path, status: None, bytes: 0 }
    }

    pub(crate) fn snapshot(&self) -> Counts {
        self.lock().clone()
    }

    /// Back to zero; what is in flight stays in flight.
    pub(crate) fn reset(&self) {
        self.change(|counts| {
            let fresh = counts
                .hosts
                .iter()
                .filter(|(_, host)| host.in_flight > 0)
                .map(|(name, host)| {
                    let in_flight = host.in_flight;
                    (name.clone(), HostCounts { in_flight, in_flight_max: in_flight, ..HostCounts::default() })
                })
                .collect();
            *counts = Counts { hosts: fresh, ..Counts::default() };
        });
    }

    /// Returns once `condition` holds.
    pub(crate) async fn wait_for(&self, mut condition: impl FnMut(&Counts) -> bool) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if condition(&self.lock()) {
                return;
            }
            match tokio::time::timeout(STUCK_TIME, changes.changed()).await {
                Ok(Ok(())) => {}
                // The sender lives in `self`.
                Ok(Err(closed)) => unreachable!("{closed}"),
                Err(_) => panic!("nobody asks for anything any more: {:#?}", self.lock()),
            }
        }
    }
}

fn of_via<'a>(via_proxy: &'a mut u64, direct: &'a mut u64, via: Via) -> &'a mut u64 {
    match via {
        Via::Proxy => via_proxy,
        Via::Direct => direct,
    }
}

fn add_bytes(counts: &mut Counts, host: &str, path: &str, bytes: u64) {
    counts.bytes += bytes;
    if let Some(of_host) = counts.hosts.get_mut(host) {
        of_host.bytes += bytes;
        if let Some(of_path) = of_host.paths.get_mut(path) {
            of_path.bytes += bytes;
        }
    }
}

/// A request that a site is answering.
pub(crate) struct InFlight<'a> {
    counter: &'a Arc<Counter>,
    host: &'a Arc<str>,
    path: &'a str,
    status: Option<u16>,
    bytes: u64,
}

impl InFlight<'_> {
    /// Notes the answer: its status, and its bytes as far as they are known.
    pub(crate) fn answered(&mut self, status: u16, bytes: u64) {
        self.status = Some(status);
        self.bytes = bytes;
    }

    /// Counts the bytes of a body whose length only shows as it goes.
    pub(crate) fn meter(&self) -> Meter {
        Meter { counter: self.counter.clone(), host: self.host.clone(), path: self.path.to_owned(), bytes: 0 }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.counter.change(|counts| {
            if let Some(host) = counts.hosts.get_mut(self.host.as_ref()) {
                host.in_flight = host.in_flight.saturating_sub(1);
                if let Some(path) = host.paths.get_mut(self.path) {
                    match self.status {
                        Some(status) => *path.statuses.entry(status).or_default() += 1,
                        None => path.unanswered += 1,
                    }
                }
            }
            add_bytes(counts, self.host, self.path, self.bytes);
        });
    }
}

/// The bytes of one body, counted when it ends.
pub(crate) struct Meter {
    counter: Arc<Counter>,
    host: Arc<str>,
    path: String,
    bytes: u64,
}

impl Meter {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("path", &self.path).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.counter.change(|counts| add_bytes(counts, &self.host, &self.path, self.bytes));
    }
}
