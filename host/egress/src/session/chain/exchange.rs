//! The exchange of a chain: persistent cookies are shown at an address, which gives those of a session.

use std::sync::Arc;

use reqwest::{
    Method,
    header::{ACCEPT, HeaderMap, HeaderValue, SET_COOKIE},
};
use tollgate_core::{Timestamp, http::HttpError, spec::session::ExchangeSpec};
use url::Url;

use super::NoSession;
use crate::{
    Caller, Gate, Held, Refused, Told,
    address::{self, Named},
    exchange::{Incoming, Outgoing},
    gate::location,
    receive::Whole,
    session::{Jar, Session, renewal::signs_out},
};

/// Requests of one exchange. Honest ones need two.
const EXCHANGE_HOPS_MAX: usize = 6;

impl Gate {
    /// Asks the exchange with persistent cookies, and takes those that it is to give. Its redirects are followed as
    /// long as they stay with the session's sites. `print`: that of the browser's cookies.
    pub(super) async fn exchange(
        &self,
        session: &Arc<Session>,
        exchange: &ExchangeSpec,
        (persistent, print): (Jar, Option<&String>),
        caller: &Caller,
        told: Told<'_>,
    ) -> Result<Jar, NoSession> {
        let failed = |what: &str| {
            let text = format!(
                "session {}: the exchange at {} {what}; {}",
                session.spec.name,
                shown(&exchange.url),
                session.what_to_do(&self.options.base)
            );
            NoSession::Person(text, print.cloned())
        };
        let mut cookies = persistent;
        let mut given = Jar::default();
        let mut url = address::parse(&exchange.url)?;
        for _ in 0..EXCHANGE_HOPS_MAX {
            let address = address::decide(&self.deployment(), caller, url.clone(), Named::Host)?;
            if address.site.session.as_ref() != Some(&session.spec.name) {
                return Err(failed(&format!("leads to {}, which isn't a site of the session", address.authority)));
            }
            let outgoing = asking();
            let header = cookies.header(&address.url, self.options.clock.now());
            // Its bodies are nobody's: they don't count for the attempt.
            let held = Held::default();
            let mut body = Whole::new(&self.options.spool, &held);
            let incoming = match self.hop((caller, &address), outgoing, header, None, told, &mut body).await {
                Ok(incoming) => incoming,
                Err(refused) if matches!(refused.error, HttpError::LoginRequired(_)) => {
                    return Err(failed("wants a login"));
                }
                Err(refused) => return Err(NoSession::Refused(refused)),
            };
            let (now, set) = (self.options.clock.now(), incoming.headers.get_all(SET_COOKIE));
            cookies.take(&set, &address.url, now);
            given.take(&set, &address.url, now);
            if given.has_all(&exchange.keeps, now) && incoming.status < 400 {
                let kept = given.only(|cookie| exchange.keeps.iter().any(|keeps| keeps.matches(&cookie.name)));
                return Ok(kept.of_sites(&session.sites));
            }
            url = self.next_of_exchange(&address, &incoming).map_err(|stopped| match stopped {
                Ok(refused) => NoSession::Refused(refused),
                Err(what) => failed(&what),
            })?;
        }
        Err(failed(&format!("redirected {EXCHANGE_HOPS_MAX} times and gave no session")))
    }

    /// Where an exchange goes on; else what stopped it: a refusal that passes, or what a person has to know.
    fn next_of_exchange(
        &self,
        address: &address::Address,
        incoming: &Incoming,
    ) -> Result<Url, Result<Refused, String>> {
        if let Some(text) = signs_out(address, incoming) {
            return Err(Err(format!("gave no session: {text}")));
        }
        let status = incoming.status;
        if status >= 500 {
            // The whole session waits for it, not one address.
            let text = format!("{} answered {status} to the exchange of its session", address.authority);
            return Err(Ok(Refused::down(
                &address.authority,
                text,
                address.site.cool_down.max(crate::gate::COOL_DOWN_MIN),
            )));
        }
        let next = location(incoming).ok_or_else(|| Err(format!("answered {status} and gave no session")))?;
        let next = address.url.join(&next).map_err(|_| Err("redirected to what is no address".to_owned()))?;
        let next = address::parse(next.as_str()).map_err(Ok)?;
        let is_secret_told = address.url.scheme() == "https" && next.scheme() == "http";
        if is_secret_told { Err(Err("redirected from https to http".to_owned())) } else { Ok(next) }
    }
}

impl Session {
    /// The cookies that an exchange is asked with: all but those that it gives.
    pub(super) fn persistent(&self, cookies: &Jar, now: Timestamp) -> Jar {
        let keeps = self.spec.exchange.as_ref().map_or(&[][..], |exchange| &exchange.keeps);
        cookies.only(|cookie| cookie.is_live(now) && !keeps.iter().any(|keeps| keeps.matches(&cookie.name)))
    }
}

/// The request of an exchange or a test: a GET as a browser sends it.
pub(in crate::session) fn asking() -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/html,application/json;q=0.9,*/*;q=0.8"));
    Outgoing { method: Method::GET, headers, body: None }
}

/// An address without its query, in which a secret may stand.
pub(in crate::session) fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
