//! How the gate stands: proxies, sites, counts. Figures for pages, and what "why does nothing come?" is answered by.

use serde::{Deserialize, Serialize};
use tollgate_core::{Timestamp, time::Short};

/// How the gate stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GateStatus {
    /// Each proxy.
    pub proxies: Vec<ProxyStatus>,
    /// Sites asked for since the start, by name.
    pub sites: Vec<SiteStatus>,
    /// What guards caught since the start, by rule.
    #[serde(default)]
    pub guards: Vec<GuardHits>,
}

/// How often a guard caught a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardHits {
    /// The rule: `wall.challenge` of those that Tollgate brings along, `jobs.toml:12` of a site's own.
    pub rule: String,
    /// Pages.
    pub hits: u64,
}

/// How a proxy stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Its name in jobs.toml.
    pub name: String,
    /// It is left alone until then; absent: it is up, as far as we know.
    pub down_until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

/// How a site stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// Host name and port.
    pub site: String,
    /// Requests sent.
    pub requests: u64,
    /// Bytes of bodies received, unpacked.
    pub bytes_received: u64,
    /// Requests refused before they were sent, or answered by a refusal.
    pub refused: u64,
    /// Requests that waited for a place or for the rate's turn.
    pub waits: u64,
    /// How long they waited together, in milliseconds.
    pub waited_ms: u64,
    /// It blocked us several times in a row: once it has cooled down, one request tries while the others wait.
    pub is_open: bool,
    /// It is left alone until then; absent: it isn't.
    pub cooling_until: Option<Timestamp>,
    /// What it said last, as long as it isn't known to work again.
    pub reason: Option<String>,
}

impl GateStatus {
    /// What stands in the way, a sentence each: proxies that are down, and sites that are left alone, with what was said
    /// last. `ago` says how a time until then is written.
    pub fn sentences(&self, now: Timestamp, ago: impl Fn(Short) -> String) -> Vec<String> {
        let left = |until: Timestamp| ago(Short(until.since(now)));
        let proxies = self.proxies.iter().filter_map(|proxy| {
            proxy.reason.as_ref().map(|reason| format!("proxy {} can't be used now: {reason}", proxy.name))
        });
        let sites = self.sites.iter().filter_map(|SiteStatus { site, reason, cooling_until, is_open, .. }| {
            let reason = reason.as_ref()?;
            Some(match (cooling_until, is_open) {
                (Some(until), false) => format!("{site} is left alone for another {}: {reason}", left(*until)),
                (Some(until), true) => {
                    format!("{site} goes on blocking us; one request tries in {}; last: {reason}", left(*until))
                }
                (None, _) => format!("{site} goes on blocking us; one request at a time tries; last: {reason}"),
            })
        });
        proxies.chain(sites).collect()
    }
}
