//! How the gate stands: proxies, sites, counts. Figures for pages, and what "why does nothing come?" is answered by.

use serde::{Deserialize, Serialize};
use tollgate_core::Timestamp;

/// How the gate stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GateStatus {
    /// Each proxy.
    pub proxies: Vec<ProxyStatus>,
    /// Sites asked for since the start, by name.
    pub sites: Vec<SiteStatus>,
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
    /// It is left alone until then; absent: it isn't.
    pub cooling_until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}
