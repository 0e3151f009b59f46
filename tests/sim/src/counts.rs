//! What was asked of the small internet: a count for each host and path, and a way to wait for one.

use crate::site::Via;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Paths kept apart for one host. More than any test asks for; beyond it requests still count for the host, so
/// that a runaway crawl can't fill the memory.
pub const PATHS_PER_HOST_MAX: usize = 200_000;

/// All requests since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that reached a site, however they came.
    pub total: u64,
    /// Of these, through the proxy.
    pub via_proxy: u64,
    /// Of these, on a site's own port.
    pub direct: u64,
    /// Tunnels opened by CONNECT.
    pub connects: u64,
    /// Proxy requests for a host that the sim doesn't know (answered 502).
    pub unknown_host: u64,
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
    /// The site is making up these answers now.
    pub in_flight: u64,
    /// The most answers it ever made up at once.
    pub in_flight_max: u64,
    /// By path, with the query where there is one (`/a?b=1`).
    pub paths: BTreeMap<String, PathCounts>,
}

/// Requests to one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCounts {
    /// Through the proxy.
    pub via_proxy: u64,
    /// On the site's own port.
    pub direct: u64,
}

impl PathCounts {
    /// However they came.
    pub fn total(self) -> u64 {
        self.via_proxy + self.direct
    }
}

impl Counts {
    /// Requests for a path (with its query) of a host, however they came; 0 if it was never asked for.
    pub fn of(&self, host: &str, path: &str) -> u64 {
        self.hosts.get(host).and_then(|host| host.paths.get(path)).map_or(0, |path| path.total())
    }

    /// Requests to a host, however they came.
    pub fn of_host(&self, host: &str) -> u64 {
        self.hosts.get(host).map_or(0, |host| host.via_proxy + host.direct)
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

    pub(crate) fn refused_auth(&self) {
        self.change(|counts| counts.refused_auth += 1);
    }

    /// Counts a request; it is in flight until the returned guard is dropped.
    pub(crate) fn request<'a>(&'a self, host: &'a str, path: &str, via: Via) -> InFlight<'a> {
        self.change(|counts| {
            counts.total += 1;
            if !counts.hosts.contains_key(host) {
                counts.hosts.insert(host.to_owned(), HostCounts::default());
            }
            match via {
                Via::Proxy => counts.via_proxy += 1,
                Via::Direct => counts.direct += 1,
            }
            let Some(of_host) = counts.hosts.get_mut(host) else { return };
            match via {
                Via::Proxy => of_host.via_proxy += 1,
                Via::Direct => of_host.direct += 1,
            }
            of_host.in_flight += 1;
            of_host.in_flight_max = of_host.in_flight_max.max(of_host.in_flight);
            if !of_host.paths.contains_key(path) {
                if of_host.paths.len() >= PATHS_PER_HOST_MAX {
                    return;
                }
                of_host.paths.insert(path.to_owned(), PathCounts::default());
            }
            if let Some(of_path) = of_host.paths.get_mut(path) {
                match via {
                    Via::Proxy => of_path.via_proxy += 1,
                    Via::Direct => of_path.direct += 1,
                }
            }
        });
        InFlight { counter: self, host }
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
            // The sender lives in `self`, so this ends by a change only.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A request that a site is answering.
pub(crate) struct InFlight<'a> {
    counter: &'a Counter,
    host: &'a str,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.counter.change(|counts| {
            if let Some(host) = counts.hosts.get_mut(self.host) {
                host.in_flight = host.in_flight.saturating_sub(1);
            }
        });
    }
}
