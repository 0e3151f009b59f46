//! From requests to renewals: which session a request is sent with, and what its answer says of it.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method,
    header::{HeaderValue, SET_COOKIE},
};
use tollgate_core::http::HttpError;
use url::Url;

use super::{Session, netscape};
use crate::{
    Caller, Gate, Refused, Told,
    address::Address,
    exchange::{Incoming, Outgoing},
    gate::{Answer, location},
    guard,
    receive::Receive,
    tool::Cookies,
};

/// A session that a request is sent with.
#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) session: Arc<Session>,
    pub(crate) generation: u64,
    /// The cookies for that address; absent: none is.
    pub(crate) cookies: Option<HeaderValue>,
}

/// Why there is no answer.
pub(crate) enum Stopped {
    /// It is refused.
    Refused(Refused),
    /// The site doesn't take the session any more, and said so in that way.
    SessionOver(Lease, Refused),
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Stopped {
    /// The same, with what was received before.
    pub(crate) fn after(self, bytes: u64) -> Self {
        match self {
            Self::Refused(refused) => Self::Refused(refused.after(bytes)),
            Self::SessionOver(lease, refused) => Self::SessionOver(lease, refused.after(bytes)),
        }
    }
}

impl Gate {
    /// Sends a request hop by hop. One that meets the end of its site's session is sent once more with a renewed one.
    /// `receive` takes the body of the last hop.
    pub(crate) async fn send(
        &self,
        caller: &Caller,
        url: Url,
        outgoing: Outgoing,
        shorter: Option<Duration>,
        told: Told<'_>,
        receive: &mut dyn Receive,
    ) -> Result<Answer, Refused> {
        let is_repeatable = matches!(outgoing.method, Method::GET | Method::HEAD);
        let first = self.hops(caller, url.clone(), outgoing.clone(), shorter, told, receive).await;
        let (lease, refused) = match first {
            Ok(answer) => return Ok(answer),
            Err(Stopped::Refused(refused)) => return Err(refused),
            Err(Stopped::SessionOver(lease, refused)) => (lease, refused),
        };
        let spent = refused.bytes_received;
        self.renew(&lease, caller, told).await.map_err(|refused| refused.after(spent))?;
        if !is_repeatable {
            let text = format!(
                "session {} has been renewed, but a {} isn't sent twice: resume the job",
                lease.session.spec.name, outgoing.method
            );
            return Err(refused.saying(&text));
        }
        match self.hops(caller, url, outgoing, shorter, told, receive).await {
            Ok(answer) => Ok(Answer { received: answer.received.saturating_add(spent), ..answer }),
            Err(Stopped::Refused(refused)) => Err(refused.after(spent)),
            Err(Stopped::SessionOver(lease, refused)) => Err(self.refused_again(&lease, refused).await.after(spent)),
        }
    }

    /// The session of an address, made if there is none yet; absent, if its site has none.
    pub(crate) async fn lease(
        &self,
        caller: &Caller,
        address: &Address,
        told: Told<'_>,
    ) -> Result<Option<Lease>, Refused> {
        let Some(session) = self.sessions.of_site(&address.site) else {
            return Ok(None);
        };
        self.session(session, caller, told).await?;
        let (generation, cookies) = session.header(&address.url, self.options.clock.now());
        Ok(Some(Lease { session: session.clone(), generation, cookies }))
    }

    /// Looks at what the site made of the session: a page that guards take for one of signing in, a 401 and a redirect
    /// to a place of signing in say that it is over.
    pub(crate) async fn sift(
        &self,
        lease: Option<Lease>,
        address: &Address,
        answer: Result<Incoming, Refused>,
    ) -> Result<Incoming, Stopped> {
        let Some(lease) = lease else {
            return Ok(answer?);
        };
        let incoming = match answer {
            Ok(incoming) => incoming,
            Err(refused) if matches!(refused.error, HttpError::LoginRequired(_)) => {
                return Err(Stopped::SessionOver(lease, refused));
            }
            Err(refused) => return Err(refused.into()),
        };
        if let Some(text) = signs_out(address, &incoming) {
            let refused = Refused::login_required(&address.authority, &text).after(incoming.received);
            return Err(Stopped::SessionOver(lease, refused));
        }
        if incoming.status < 400 {
            let set = incoming.headers.get_all(SET_COOKIE);
            if lease.session.served(lease.generation, set, &address.url, self.options.clock.now()) {
                lease.session.keep(&self.sessions.folder).await;
            }
        }
        Ok(incoming)
    }

    /// What a tool is given of a session: the cookies for the session's sites.
    pub(crate) fn cookies(&self, lease: &Lease) -> Cookies {
        let now = self.options.clock.now();
        let cookies =
            lease.session.state().current.as_ref().map(|current| current.cookies.only(|one| one.is_live(now)));
        let cookies = cookies.unwrap_or_default();
        let values = cookies.iter().map(|cookie| cookie.value.reveal().to_owned()).collect();
        Cookies { file: netscape::write(&cookies), values }
    }

    /// A tool has got something with it: the site takes it.
    pub(crate) fn session_served(&self, lease: &Lease) {
        lease.session.mark_served(lease.generation);
    }

    /// The site took neither a session nor the renewed one after it: a person has to look. Where the new one has served
    /// nobody, it is no use to others either.
    pub(crate) async fn refused_again(&self, lease: &Lease, refused: Refused) -> Refused {
        let session = &lease.session;
        let text = session.what_to_do(&self.options.base);
        let has_served = {
            let state = session.state();
            let of_it = state.current.as_ref().filter(|_| state.generation == lease.generation);
            of_it.is_none_or(|current| current.has_served)
        };
        if has_served {
            return refused.saying(&format!(
                "session {} was renewed, and this page refuses it again, though others took it: it may be for another \
                 account; {text}",
                session.spec.name
            ));
        }
        session.over(lease.generation);
        session.keep(&self.sessions.folder).await;
        let text = format!("session {} was renewed, and refused again; {text}", session.spec.name);
        self.remember_failure(session, &text, None).await;
        refused.saying(&text)
    }
}

/// How an answer says that its visitor isn't signed in, beside what guards see in its page.
pub(super) fn signs_out(address: &Address, incoming: &Incoming) -> Option<String> {
    let about = &address.authority;
    if incoming.status == 401 {
        return Some(format!("{about} answered 401"));
    }
    let next = address.url.join(&location(incoming)?).ok()?;
    let is_sent_away = guard::is_place_of_signing_in(&next) && !guard::is_place_of_signing_in(&address.url);
    is_sent_away.then(|| format!("{about} redirected to {}", next.path()))
}
