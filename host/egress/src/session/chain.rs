//! The chain itself: the file, the kept session, the browser's cookie and its exchange; one run at a time.

use std::{path::Path, sync::Arc, time::Duration};

use reqwest::{
    Method,
    header::{ACCEPT, HeaderMap, HeaderValue, SET_COOKIE},
};
use tollgate_core::{Timestamp, http::HttpError, spec::session::ExchangeSpec};
use url::Url;

use super::{
    Current, FAILED_FOR, Failed, FileStand, Jar, Lease, Origin, REST_MAX, Session, SessionSource,
    browser::{Browser, Stand},
    kept, netscape, print,
    renewal::signs_out,
};
use crate::{
    Caller, Gate, Held, Refused, Told,
    address::{self, Named},
    exchange::{Incoming, Outgoing},
    gate::location,
    receive::Whole,
};

/// Requests of one exchange. Honest ones need two.
const EXCHANGE_HOPS_MAX: usize = 6;
/// Largest cookie file that is read, in bytes: all cookies of a browser are less.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why the chain gave no session.
pub(super) enum NoSession {
    /// A person has to do something; the cookies of the browser that it was tried with.
    Person(String, Option<String>),
    /// The way to the exchange: by itself, later.
    Refused(Refused),
}

/// A cookie file as it was found.
enum FileFound {
    /// It isn't there, or jobs.toml names none.
    None,
    /// Its cookies for the session's sites.
    Cookies(Jar),
    /// It is of no use; says why.
    Unfit(String),
}

impl Gate {
    /// Sees to it that there is a session: the one that stands, or a new one. Whoever comes while the chain runs
    /// waits for what it gives.
    pub(super) async fn session(&self, session: &Arc<Session>, caller: &Caller, told: Told<'_>) -> Result<(), Refused> {
        let base = &self.options.base;
        if session.stands(base, self.options.clock.now()) {
            return Ok(());
        }
        let runs = session.state().runs;
        let _turn = session.renewing.lock().await;
        let now = self.options.clock.now();
        if session.stands(base, now) {
            return Ok(());
        }
        {
            let state = session.state();
            // Another's run has ended meanwhile, and what stood in its way stands in ours; or it stands for a while.
            let is_ours = state.runs != runs || now < state.rests_until;
            if let Some(refused) = state.last_refused.as_ref().filter(|_| is_ours) {
                return Err(refused.repeat());
            }
        }
        if let Some(text) = self.failure_that_stands(session, now).await {
            return Err(Refused::login_required(&session.about(), &text));
        }
        self.run_chain(session, caller, told).await
    }

    /// Renews a session that the site refused, unless that has been done since.
    pub(crate) async fn renew(&self, lease: &Lease, caller: &Caller, told: Told<'_>) -> Result<(), Refused> {
        lease.session.over(lease.generation);
        self.session(&lease.session, caller, told).await
    }

    /// Runs the chain; the caller holds `renewing`.
    pub(super) async fn run_chain(
        &self,
        session: &Arc<Session>,
        caller: &Caller,
        told: Told<'_>,
    ) -> Result<(), Refused> {
        let made = self.chain(session, caller, told).await;
        let (refused, rests) = match made {
            Ok(current) => {
                tracing::info!(session = session.spec.name, source = current.source.as_str(), "a session is there");
                {
                    let mut state = session.state();
                    state.generation += 1;
                    state.runs += 1;
                    state.renewed += 1;
                    (state.failed, state.last_refused, state.rests_until) = (None, None, Timestamp(0));
                    state.current = Some(current);
                }
                session.keep(&self.sessions.folder).await;
                return Ok(());
            }
            Err(NoSession::Person(text, print)) => {
                self.remember_failure(session, &text, print).await;
                // A session that is over isn't to come back with a restart.
                session.keep(&self.sessions.folder).await;
                (Refused::login_required(&session.about(), &text), Duration::ZERO)
            }
            Err(NoSession::Refused(refused)) => {
                let rests = refused.refusal.as_ref().and_then(|refusal| refusal.after).unwrap_or_default();
                (refused, rests.min(REST_MAX))
            }
        };
        let mut state = session.state();
        state.runs += 1;
        state.last_refused = Some(refused.repeat());
        state.rests_until = self.options.clock.now().after(rests);
        Err(refused)
    }

    async fn chain(&self, session: &Arc<Session>, caller: &Caller, told: Told<'_>) -> Result<Current, NoSession> {
        let now = self.options.clock.now();
        let (stand, found) = self.look_at_file(session).await?;
        let held = self.held_or_kept(session).await?;
        let refused = held.as_ref().filter(|held| held.is_over).map(|held| held.print.clone());
        let usable = held.filter(|held| !held.is_over && session.is_whole(&held.cookies, now));
        let new = |cookies, origin, source, print| Current {
            cookies,
            origin,
            source,
            print,
            since: now,
            file: stand,
            is_over: false,
            has_served: false,
        };
        let name = &session.spec.name;
        match found {
            FileFound::Unfit(reason) => Err(NoSession::Person(format!("session {name}: {reason}"), None)),
            FileFound::Cookies(cookies) => {
                let print = print(&cookies);
                if let Some(usable) = usable.filter(|usable| usable.origin == Origin::File && usable.print == print) {
                    return Ok(Current { file: stand, ..usable });
                }
                let is_whole = session.is_whole(&cookies, now);
                if is_whole && refused.as_ref() != Some(&print) {
                    return Ok(new(cookies, Origin::File, SessionSource::File, print));
                }
                let persistent = session.persistent(&cookies, now);
                if let Some(exchange) = session.spec.exchange.as_ref().filter(|_| !persistent.is_empty()) {
                    let made = self.exchange(session, exchange, (persistent, None), caller, told).await?;
                    return Ok(new(made, Origin::File, SessionSource::File, print));
                }
                let what = if is_whole { "the site no longer takes its cookies" } else { "its cookies are over" };
                let text = format!(
                    "session {name}: {}: {what}; {}",
                    session.shown_file(),
                    session.what_to_do(&self.options.base)
                );
                Err(NoSession::Person(text, None))
            }
            FileFound::None => {
                if let Some(usable) = usable.filter(|usable| usable.origin == Origin::Browser) {
                    return Ok(Current { file: stand, ..usable });
                }
                let (cookies, print) = self.look_at_browser(session).await?;
                if let Some(exchange) = &session.spec.exchange {
                    let persistent = session.persistent(&cookies, now);
                    let made = self.exchange(session, exchange, (persistent, Some(&print)), caller, told).await?;
                    return Ok(new(made, Origin::Browser, SessionSource::Browser, print));
                }
                if refused.as_ref() == Some(&print) || !session.is_whole(&cookies, now) {
                    let text = format!(
                        "session {name}: the site no longer takes the browser's cookie; {}",
                        session.what_to_do(&self.options.base)
                    );
                    return Err(NoSession::Person(text, Some(print)));
                }
                Ok(new(cookies, Origin::Browser, SessionSource::Browser, print))
            }
        }
    }

    /// Asks the exchange with persistent cookies, and takes those that it is to give. Its redirects are followed as long as
    /// they stay with the session's sites. `print`: that of the browser's cookies.
    async fn exchange(
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

    /// What a former process kept, if this one has made nothing yet.
    async fn held_or_kept(&self, session: &Arc<Session>) -> Result<Option<Current>, NoSession> {
        let is_read = {
            let state = session.state();
            state.is_kept_read || state.current.is_some()
        };
        if !is_read {
            let (folder, name) = (self.sessions.folder.clone(), session.spec.name.clone());
            let kept = blocking(move || kept::read(&folder, &name)).await?;
            let mut state = session.state();
            state.is_kept_read = true;
            state.current = kept.map(|kept| Current::of_kept(kept, session));
        }
        Ok(session.state().current.clone())
    }

    async fn look_at_file(&self, session: &Arc<Session>) -> Result<(FileStand, FileFound), NoSession> {
        let (session, base) = (session.clone(), self.options.base.clone());
        let look = move || {
            // Before it is read: one that changes meanwhile is read again.
            let stand = session.file_stand(&base);
            let found = if stand.is_some() { session.read_file(&base) } else { FileFound::None };
            (stand, found)
        };
        Ok(blocking(look).await?)
    }

    async fn look_at_browser(&self, session: &Arc<Session>) -> Result<(Jar, String), NoSession> {
        let name = &session.spec.name;
        let Some(browser) = &session.spec.browser else {
            let text = format!(
                "session {name}: {} isn't there; {}",
                session.shown_file(),
                session.what_to_do(&self.options.base)
            );
            return Err(NoSession::Person(text, None));
        };
        let (of, browser, base) = (session.clone(), browser.clone(), self.options.base.clone());
        let (scratch, now) = (self.options.spool.clone(), self.options.clock.now());
        let read =
            move || Browser::new(&browser, &base).read(&scratch, &|cookie| cookie.is_live(now) && of.is_its(cookie));
        let cookies = blocking(read).await?;
        let cookies = cookies.map_err(|reason| NoSession::Person(format!("session {name}: {reason}"), None))?;
        let print = print(&cookies);
        Ok((cookies, print))
    }

    /// The failure of a former run, while there is nothing new to try.
    async fn failure_that_stands(&self, session: &Arc<Session>, now: Timestamp) -> Option<String> {
        let failed = session.state().failed.clone()?;
        if now >= failed.at.after(FAILED_FOR) || failed.file != session.file_stand(&self.options.base) {
            return None;
        }
        if failed.file.is_some() {
            // The browser isn't asked.
            return Some(failed.text);
        }
        let browser = self.browser_stand(session).await;
        if browser == failed.browser {
            return Some(failed.text);
        }
        // It writes while it runs; what counts is whether the cookie is another.
        let print = self.look_at_browser(session).await.ok().map(|(_, print)| print);
        if print.is_none() || print != failed.print {
            return None;
        }
        if let Some(failed) = &mut session.state().failed {
            failed.browser = browser;
        }
        Some(failed.text)
    }

    /// Remembers that the chain gives no session that the site takes.
    pub(super) async fn remember_failure(&self, session: &Arc<Session>, text: &str, print: Option<String>) {
        let of_browser = || {
            session
                .state()
                .current
                .as_ref()
                .filter(|held| held.origin == Origin::Browser)
                .map(|held| held.print.clone())
        };
        let print = print.or_else(of_browser);
        let browser = self.browser_stand(session).await;
        let file = session.file_stand(&self.options.base);
        tracing::warn!(session = session.spec.name, reason = text, "no session is to be had");
        let (at, text) = (self.options.clock.now(), text.to_owned());
        session.state().failed = Some(Failed { at, text, file, browser, print });
    }

    async fn browser_stand(&self, session: &Session) -> Option<Stand> {
        let (browser, base) = (session.spec.browser.clone()?, self.options.base.clone());
        blocking(move || Browser::new(&browser, &base).stand()).await.ok()
    }
}

impl From<Refused> for NoSession {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Current {
    pub(super) fn of_kept(kept: kept::Kept, session: &Session) -> Self {
        Self {
            cookies: kept.cookies.of_sites(&session.sites),
            origin: kept.from,
            source: SessionSource::Cached,
            print: kept.print,
            since: kept.since,
            file: None,
            is_over: false,
            has_served: false,
        }
    }
}

impl Session {
    /// The site that a refusal is about.
    fn about(&self) -> String {
        self.sites.first().map(ToString::to_string).unwrap_or_default()
    }

    fn shown_file(&self) -> String {
        self.spec.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
    }

    /// What a person does about a session that can't be had. A file that is there has to be replaced, or to go.
    pub(super) fn what_to_do(&self, base: &Path) -> String {
        let site = self.about();
        let browser = self.spec.browser.as_ref().map(|browser| browser.store.as_str());
        let export =
            |file: &Path| format!("export the cookies of a browser that is logged in to {site} to {}", file.display());
        let file = self.spec.file.as_deref();
        match (file, browser) {
            (Some(file), None) => export(file),
            (Some(file), Some(browser)) if self.file_stand(base).is_some() => {
                format!("{}, or remove it, so that the cookie of {browser} serves", export(file))
            }
            (Some(file), Some(browser)) => {
                format!("log in to {site} with {browser} on this machine, or {}", export(file))
            }
            (None, browser) => format!("log in to {site} with {} on this machine", browser.unwrap_or("a browser")),
        }
    }

    /// The cookies that an exchange is asked with: all but those that it gives.
    fn persistent(&self, cookies: &Jar, now: Timestamp) -> Jar {
        let keeps = self.spec.exchange.as_ref().map_or(&[][..], |exchange| &exchange.keeps);
        cookies.only(|cookie| cookie.is_live(now) && !keeps.iter().any(|keeps| keeps.matches(&cookie.name)))
    }

    fn is_its(&self, cookie: &super::cookie::Cookie) -> bool {
        self.sites.iter().any(|pattern| cookie.is_for_site(pattern))
    }

    fn read_file(&self, base: &Path) -> FileFound {
        let Some(path) = self.file(base) else {
            return FileFound::None;
        };
        let shown = self.shown_file();
        let read = std::fs::metadata(&path).and_then(|found| {
            if found.len() > FILE_BYTES_MAX {
                return Err(std::io::Error::other("it is too large for a file of cookies"));
            }
            std::fs::read_to_string(&path)
        });
        let cookies = match read {
            Ok(text) => netscape::read(&text, |cookie| cookie.is_of(&self.sites)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return FileFound::None,
            Err(error) => Err(error.to_string()),
        };
        match cookies {
            Err(reason) => {
                FileFound::Unfit(format!("{shown}: {reason}; export it anew as a Netscape file, or remove it"))
            }
            Ok(cookies) if cookies.is_empty() => {
                FileFound::Unfit(format!("{shown} has no cookie of {}; {}", self.about(), self.what_to_do(base)))
            }
            Ok(cookies) => FileFound::Cookies(cookies),
        }
    }
}

/// The request of an exchange or a test: a GET as a browser sends it.
pub(super) fn asking() -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/html,application/json;q=0.9,*/*;q=0.8"));
    Outgoing { method: Method::GET, headers, body: None }
}

/// An address without its query, in which a secret may stand.
pub(super) fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Work on the disk, beside the threads that wait for the network.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refused::storage(&std::io::Error::other(error)))
}
