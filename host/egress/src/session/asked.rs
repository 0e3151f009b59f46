//! What people and the engine ask of sessions: how they stand, whether a site takes one, a new one. Never a value.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tollgate_core::{Timestamp, spec::diagnostic::did_you_mean};

use super::{
    Session,
    chain::{asking, shown},
    kept,
    renewal::Stopped,
};
use crate::{
    Caller, Gate, Held, Refused,
    address::{self, Named},
    receive::Whole,
};

/// Where a session came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionSource {
    /// The file that a person dropped, as it is or exchanged.
    File,
    /// The data folder, where a former process kept it.
    Cached,
    /// A browser's store, as it is or exchanged.
    Browser,
    /// Nowhere: there is none, or none yet.
    None,
}

impl SessionSource {
    /// As it is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Cached => "cached",
            Self::Browser => "browser",
            Self::None => "none",
        }
    }
}

/// How a session stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its name in jobs.toml.
    pub name: String,
    /// Where the one in use came from.
    pub source: SessionSource,
    /// The patterns of the sites that have it.
    pub sites: Vec<String>,
    /// Since when there is the one in use.
    pub since: Option<Timestamp>,
    /// When the first of its cookies is over, by the site's own word; absent: not said.
    pub expires: Option<Timestamp>,
    /// Why there is none, and what to do.
    pub last_error: Option<String>,
}

/// What a site makes of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTest {
    /// What was asked, without its query.
    pub url: String,
    /// The site takes it.
    pub is_taken: bool,
    /// What the site answered.
    pub said: String,
}

/// Why a session can't be tested or renewed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is none of that name.
    #[error("no session is named {name:?}; {help}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest one, and all.
        help: String,
    },
    /// Nothing says what to ask.
    #[error(
        "session {0} has no `test`, and no `exchange`: add test = \"https://…\" to [session.{0}], an address that is \
         for members"
    )]
    NoTest(String),
    /// The site, the way to it, or a step of the chain stands in the way.
    #[error("{}", .0.error)]
    Refused(Box<Refused>),
}

impl SessionError {
    /// A person has to log in, or to leave a cookie.
    #[must_use]
    pub fn is_for_a_person(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.is_login())
    }
}

impl From<Refused> for SessionError {
    fn from(refused: Refused) -> Self {
        Self::Refused(Box::new(refused))
    }
}

impl Gate {
    /// Why there is no session, a sentence each with what to do, of those whose chain ended at a person when it was
    /// last run, and whose file is as it was then. One look at the disk for each of these.
    #[must_use]
    pub fn sessions_lacking(&self) -> Vec<String> {
        let failed = self.sessions.all.values().filter_map(|session| {
            let failed = session.state().failed.clone()?;
            (failed.file == session.file_stand(&self.options.base)).then_some(failed.text)
        });
        failed.collect()
    }

    /// How each session stands, by name. Looks at the disk, briefly; nothing is sent.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionStatus> {
        self.sessions.all.values().map(|session| self.session_status(session)).collect()
    }

    fn session_status(&self, session: &Session) -> SessionStatus {
        let now = self.options.clock.now();
        let has_file = session.file_stand(&self.options.base).is_some();
        let (current, failed, is_read) = {
            let state = session.state();
            (state.current.clone(), state.failed.clone(), state.is_kept_read)
        };
        let current = match current {
            None if !is_read => {
                kept::read(&self.sessions.folder, &session.spec.name).map(|kept| super::Current::of_kept(kept, session))
            }
            current => current,
        };
        let current = current.filter(|current| !current.is_over && session.is_whole(&current.cookies, now));
        let expires = current.as_ref().and_then(|current| {
            let keeps = session.spec.exchange.as_ref().map(|exchange| &exchange.keeps);
            let is_of_it = |name: &str| keeps.is_none_or(|keeps| keeps.iter().any(|keeps| keeps.matches(name)));
            current.cookies.iter().filter(|cookie| is_of_it(&cookie.name)).filter_map(|cookie| cookie.expires).min()
        });
        let nothing_yet = if has_file { SessionSource::File } else { SessionSource::None };
        SessionStatus {
            name: session.spec.name.clone(),
            source: current.as_ref().map_or(nothing_yet, |current| current.source),
            sites: session.sites.iter().map(ToString::to_string).collect(),
            since: current.map(|current| current.since),
            expires,
            last_error: failed.map(|failed| failed.text),
        }
    }

    /// Asks a session's `test` with the session as it is, made if there is none; without `test` it is renewed,
    /// which asks its exchange.
    ///
    /// # Errors
    /// An unknown name, nothing to ask, or whatever stands between us and an answer.
    pub async fn test_session(&self, name: &str) -> Result<SessionTest, SessionError> {
        let session = self.named_session(name)?;
        let Some(test) = &session.spec.test else {
            let Some(exchange) = &session.spec.exchange else {
                return Err(SessionError::NoTest(name.to_owned()));
            };
            let url = shown(&exchange.url).to_owned();
            return match self.renew_session(name).await {
                Ok(_) => Ok(SessionTest { url, is_taken: true, said: "it gave a session".to_owned() }),
                Err(SessionError::Refused(refused)) if refused.is_login() => {
                    Ok(SessionTest { url, is_taken: false, said: refused.error.to_string() })
                }
                Err(error) => Err(error),
            };
        };
        let caller = Caller::of_host()?;
        let address = address::decide(&self.deployment(), &caller, address::parse(test)?, Named::Host)?;
        let not_taken = |said| SessionTest { url: shown(test).to_owned(), is_taken: false, said };
        let lease = match self.lease(&caller, &address, &|_| {}).await {
            Ok(lease) => lease,
            Err(refused) if refused.is_login() => return Ok(not_taken(refused.error.to_string())),
            Err(refused) => return Err(refused.into()),
        };
        let held = Held::default();
        let mut body = Whole::new(&self.options.spool, &held);
        let cookies = lease.as_ref().and_then(|lease| lease.cookies.clone());
        let answer = self.hop((&caller, &address), asking(), cookies, None, &|_| {}, &mut body).await;
        // As with any request: what the site sets by its answer is the session from now on.
        let (is_taken, said) = match self.sift(lease, &address, answer).await {
            Ok(incoming) => {
                let said = format!("{} answered {}", address.authority, incoming.status);
                ((200..300).contains(&incoming.status), said)
            }
            Err(Stopped::SessionOver(_, refused)) => (false, refused.error.to_string()),
            Err(Stopped::Refused(refused)) if refused.is_login() => (false, refused.error.to_string()),
            Err(Stopped::Refused(refused)) => return Err(refused.into()),
        };
        Ok(SessionTest { is_taken, ..not_taken(said) })
    }

    /// Makes a session anew: the file is read again, or the browser's cookie exchanged, whatever there was before.
    ///
    /// # Errors
    /// An unknown name, a step of the chain that failed with what to do, or the way to the exchange.
    pub async fn renew_session(&self, name: &str) -> Result<SessionStatus, SessionError> {
        let session = self.named_session(name)?;
        let caller = Caller::of_host()?;
        let _turn = session.renewing.lock().await;
        let before = {
            let mut state = session.state();
            (state.failed, state.is_kept_read) = (None, true);
            state.current.take()
        };
        let made = self.run_chain(session, &caller, &|_| {}).await;
        if made.as_ref().is_err_and(|refused| !refused.is_login()) {
            // The way to a new one is shut for now: the old one goes on serving.
            let mut state = session.state();
            state.current = state.current.take().or(before);
        }
        made?;
        Ok(self.session_status(session))
    }

    fn named_session(&self, name: &str) -> Result<&Arc<Session>, SessionError> {
        self.sessions.all.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.sessions.all.keys().map(String::as_str).collect();
            let help = if known.is_empty() {
                "jobs.toml has no [session.NAME]".to_owned()
            } else {
                did_you_mean(name, &known, "the sessions are")
            };
            SessionError::Unknown { name: name.to_owned(), help }
        })
    }
}
