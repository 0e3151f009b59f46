//! Guards at the gate: asked of each answer, their hits counted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tollgate_core::Timestamp;

use crate::{
    GuardHits, Refused,
    address::Address,
    exchange::Incoming,
    guard::{self, GUARDED_BYTES_MAX, Guarded, GuardedPage, Page},
    headers,
};

/// Rules whose hits are counted: all of those that Tollgate brings along, and hundreds of jobs.toml's.
const COUNTED_MAX: usize = 512;
/// Bytes from which on a body is looked at beside the workers, as it may take milliseconds.
pub(crate) const BESIDE_BYTES_MIN: usize = 256 << 10;

/// Asks guards, and counts which of them caught something.
#[derive(Default)]
pub(crate) struct Guarding(Mutex<BTreeMap<String, u64>>);

impl Guarding {
    /// Looks at an answer. Redirects aren't pages; a part of one can't be judged by what it says.
    ///
    /// # Errors
    /// The body's scratch file can't be read.
    pub(crate) async fn look(
        &self,
        address: &Address,
        incoming: &Incoming,
        now: Timestamp,
    ) -> Result<Option<Guarded>, Refused> {
        let status = incoming.status;
        if (300..400).contains(&status) {
            return Ok(None);
        }
        let most = if status == 206 { 0 } else { GUARDED_BYTES_MAX };
        let body = match &incoming.body {
            Some(body) => body.head(most).await.map_err(|error| Refused::storage(&error))?,
            // A part of a file, or what came in its place.
            None => incoming.head.clone(),
        };
        let is_cut = incoming.received > body.len() as u64;
        let (url, guards) = (address.url.to_string(), address.site.guard.clone());
        let headers = headers::for_guest(&incoming.headers);
        let is_long = body.len() >= BESIDE_BYTES_MIN;
        let judge = move || {
            let page = Page { url: &url, status, headers: &headers, body: &body, is_cut };
            guard::judge(&page, &guards, now)
        };
        let guarded = if is_long {
            let judged = tokio::task::spawn_blocking(judge).await;
            judged.map_err(|error| Refused::storage(&std::io::Error::other(error)))?
        } else {
            judge()
        };
        if let Some(guarded) = &guarded {
            tracing::info!(site = address.authority, %guarded, "a page is no content");
            self.count(&guarded.rule);
        }
        Ok(guarded)
    }

    pub(crate) fn count(&self, rule: &str) {
        let mut hits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hits) = hits.get_mut(rule) {
            *hits += 1;
        } else if hits.len() < COUNTED_MAX {
            hits.insert(rule.to_owned(), 1);
        }
    }

    /// Hits since the start, by rule.
    pub(crate) fn status(&self) -> Vec<GuardHits> {
        let hits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hits.iter().map(|(rule, hits)| GuardHits { rule: rule.clone(), hits: *hits }).collect()
    }
}

/// A guarded page, to be kept apart, if its body is there.
pub(crate) fn page(guarded: Guarded, address: &Address, incoming: Incoming) -> Option<GuardedPage> {
    let body = incoming.body?;
    let content_type = incoming.headers.get(reqwest::header::CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Some(GuardedPage { guarded, url: address.url.to_string(), status: incoming.status, content_type, body })
}

#[cfg(test)]
mod tests;
