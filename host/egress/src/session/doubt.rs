//! Whether a session is over though the gate saw no answer that says so: its site served several items one and the same
//! page (S11), or a stage saw that it wants a login.

use std::{sync::Arc, time::Duration};

use tollgate_core::Timestamp;

use super::{Session, State};
use crate::Gate;

/// Renewals for one and the same address, after which a person has to look though others are served meanwhile: without
/// this, an address that is for another account would be an exchange each time it is tried.
const RENEWALS_MAX: u8 = 2;
/// What is longer ago than that is no "again and again": sessions do expire.
const LATELY: Duration = Duration::from_hours(1);
/// Addresses that are remembered so; past it, all are forgotten.
const ADDRESSES_MAX: usize = 256;

/// What becomes of the session of a site that seems to serve a stranger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The site has none.
    NoSession,
    /// It is taken as expired, and the next request renews it.
    Expired {
        /// How often it has been so lately, this time included.
        lately: u32,
    },
    /// Another one than the page was fetched with may be there already.
    Newer,
    /// It was renewed for such a page, and nothing has ended well since, or not that page: a person has
    /// to look. Says what to do.
    InVain(String),
}

/// Who takes a session as expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubter {
    /// An attempt: the next one that ends well vouches for the session.
    Attempt,
    /// A check of a stored page. The attempt that brought the page ended well, and vouches for nothing: only a check
    /// that takes a page does.
    Check,
}

impl State {
    fn is_doubted(&mut self, by: Doubter) -> &mut bool {
        match by {
            Doubter::Attempt => &mut self.is_doubted,
            Doubter::Check => &mut self.is_doubted_by_check,
        }
    }
}

impl Gate {
    /// A site, by host name and port, served several items one and the same page. `began`: when the request for it was
    /// yet to be sent. A session that is not older may be a newer one than the page was fetched with.
    pub(crate) async fn doubt_session(&self, site: &str, began: Timestamp, by: Doubter) -> Doubt {
        let Some(session) = self.session_of(site) else {
            return Doubt::NoSession;
        };
        let now = self.options.clock.now();
        let lately = {
            let mut state = session.state();
            let is_doubted = *state.is_doubted(by);
            let Some(current) = state.current.as_mut().filter(|current| current.since < began && !current.is_over)
            else {
                return Doubt::Newer;
            };
            if is_doubted {
                let name = &session.spec.name;
                let text = session.what_to_do(&self.options.base);
                return Doubt::InVain(format!("session {name} was renewed for it, and it came again; {text}"));
            }
            current.is_over = true;
            *state.is_doubted(by) = true;
            let (times, at) = state.doubts;
            let times = if now.since(at) < LATELY { times.saturating_add(1) } else { 1 };
            state.doubts = (times, now);
            times
        };
        tracing::info!(session = session.spec.name, site, "a session is taken as expired");
        session.keep(&self.sessions.folder).await;
        Doubt::Expired { lately }
    }

    /// The same, where one address says so: not again and again for it, though others are served meanwhile.
    pub(crate) async fn doubt_session_for(&self, site: &str, url: &str, began: Timestamp, by: Doubter) -> Doubt {
        let now = self.options.clock.now();
        if let Some(session) = self.session_of(site) {
            let mut state = session.state();
            let is_older = state.current.as_ref().is_some_and(|current| current.since < began && !current.is_over);
            let is_too_often = |(times, at): (u8, Timestamp)| times >= RENEWALS_MAX && now.since(at) < LATELY;
            if is_older && state.renewed_for.get(url).is_some_and(|renewed| is_too_often(*renewed)) {
                // Once a person has looked, it is as any other.
                state.renewed_for.remove(url);
                drop(state);
                return Doubt::InVain(format!(
                    "session {} was renewed for this page {RENEWALS_MAX} times, and others were served: it may be for \
                     another account; {}",
                    session.spec.name,
                    session.what_to_do(&self.options.base)
                ));
            }
        }
        let doubt = self.doubt_session(site, began, by).await;
        if let (Doubt::Expired { .. }, Some(session)) = (&doubt, self.session_of(site)) {
            let mut state = session.state();
            if state.renewed_for.len() >= ADDRESSES_MAX && !state.renewed_for.contains_key(url) {
                state.renewed_for.clear();
            }
            let renewed = state.renewed_for.entry(url.to_owned()).or_default();
            let times = if now.since(renewed.1) < LATELY { renewed.0.saturating_add(1) } else { 1 };
            *renewed = (times, now);
        }
        doubt
    }

    /// What came of a site has served its purpose: its session is what it should be.
    pub(crate) fn trust_session(&self, site: &str) {
        if let Some(session) = self.session_of(site) {
            session.state().is_doubted = false;
        }
    }

    /// Whether the session of the site of `url` was renewed because of a check, and no check has vouched for it since.
    #[must_use]
    pub fn awaits_check(&self, url: &str) -> bool {
        let address = self.address_of(url);
        let session = address.and_then(|address| self.session_of(&address.authority).cloned());
        session.is_some_and(|session| session.state().is_doubted_by_check)
    }

    /// A check took the page of `url` for what it should be. `began`: when the attempt that brought it began. A page
    /// that was fetched with the session as it is vouches for it.
    pub fn check_passed(&self, url: &str, began: Timestamp) {
        let address = self.address_of(url);
        if let Some(session) = address.and_then(|address| self.session_of(&address.authority).cloned()) {
            let mut state = session.state();
            let is_with_it = state.current.as_ref().is_some_and(|current| current.since < began && !current.is_over);
            state.is_doubted_by_check &= !is_with_it;
        }
    }

    fn session_of(&self, site: &str) -> Option<&Arc<Session>> {
        let with_port = site.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = with_port?;
        self.sessions.of_site(self.deployment().site(host, port)?)
    }
}
