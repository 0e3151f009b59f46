//! The chain itself: the file, the kept session, the browser's cookie and its exchange; one run at a time.

mod exchange;
mod sources;

use std::{path::Path, sync::Arc, time::Duration};

use tollgate_core::Timestamp;

pub(super) use self::exchange::{asking, shown};
use self::sources::FileFound;
use super::{Current, FAILED_FOR, Failed, Lease, Origin, REST_MAX, Session, SessionSource, print};
use crate::{Caller, Gate, Refused, Told};

/// Why the chain gave no session.
pub(super) enum NoSession {
    /// A person has to do something; the cookies of the browser that it was tried with.
    Person(String, Option<String>),
    /// The way to the exchange: by itself, later.
    Refused(Refused),
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
}

impl From<Refused> for NoSession {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
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
}
