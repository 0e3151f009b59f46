//! `ideas.example`: a club of investors, whose ideas are for members; two layers of cookies, walls and limits.
//!
//! | address | what is there |
//! |---|---|
//! | `/ideas?page=N` | the listing, N from 1 to 6 (past it: no ideas), newest first; `a.idea`, `a[rel=next]` |
//! | `/idea/NNN` | an idea, 001 to 120; other numbers answer 404. Wants a valid `ideas_session` |
//! | `/session` | a new `ideas_session` for a right `remember_web_…`, and 302 to `/ideas`; else 302 to `/login` |
//! | `/account` | 200 with a valid `ideas_session` (no view of it is used up), else 401: for `test` of a session |
//! | `/login` | the login page |
//! | `/` | 302 to `/ideas` |
//! | `/_settings` | GET: the switches as JSON; POST JSON: sets them all (else the default); no cookie needed |
//!
//! The listing is open to all, unless `listing-needs-session`. An idea is an `article.thesis` with `h1.title`,
//! `span.company`, `span.ticker`, `span.author`, `time.posted`, `div.text p` (200 to 400 words in
//! all) and `ul.catalysts li`.
//!
//! The switches are [`Settings`], set by [`Ideas::set`] or at `/_settings`: after how many ideas a session expires
//! (`session-views`; [`Ideas::expire`] at once), what is served without one (`wall`: `login-page`, `redirect`,
//! `unauthorized`, or `teaser`, the same thesis for every idea), after how many ideas the limit's page comes
//! (`views-max`; [`Ideas::reset_views`]) and how it reads (`limit`: `access-limits`, `please-wait`, `unheard`), what
//! the exchange does (`exchange`: `gives`, `gives-dead`, `forgets`, `down`), whether the session's cookie changes with
//! each idea (`rotates`).
//!
//! Everything is made from the seed: [`facts()`] says what an idea's page must say, [`Ideas::remember`] what the
//! persistent cookie is, [`Ideas::cookie_file`] the file that a person would export from a browser.
//! Cookies are `Secure` over TLS.

mod facts;
mod pages;
mod settings;

pub use facts::{IDEAS, IdeaFacts, PER_PAGE, facts};
pub use pages::{PAGES, idea_path};
pub use settings::{Exchange, Limit, Settings, Wall};

use crate::answer::Answer;
use crate::release::Release;
use crate::site::{Answering, Request, Scheme, Site};
use facts::Sequence;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{Method, StatusCode};
use maud::Markup;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The site's host name.
pub const HOST: &str = "ideas.example";
/// The session's cookie.
pub const SESSION_COOKIE: &str = "ideas_session";
/// The persistent cookie that a browser keeps for a member who ticked "remember me".
pub const REMEMBER_COOKIE: &str = "remember_web_4be9a3b2f1c84d5aa0d7c6e1f2039485d6b7a8c9";

#[derive(Default)]
struct State {
    settings: Settings,
    /// Valid sessions, with how many ideas each has shown.
    sessions: HashMap<String, u64>,
    /// Sessions given since the start.
    given: u64,
    /// Ideas shown.
    views: u64,
    /// Ideas and teasers served: each bears another token.
    served: u64,
    /// Holds the exchange back.
    hold: Option<Release>,
}

/// The club.
pub struct Ideas {
    seed: u64,
    first: Settings,
    state: Mutex<State>,
}

impl Default for Ideas {
    fn default() -> Self {
        Self::seeded(0)
    }
}

impl Ideas {
    /// The club of a seed: the same addresses, other ideas and cookies.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, first: Settings::default(), state: Mutex::default() }
    }

    /// The same, with other switches; it goes back to them at a reset.
    #[must_use]
    pub fn with(self, settings: Settings) -> Self {
        self.set(settings);
        Self { first: settings, ..self }
    }

    /// Sets all switches, also while the sim runs.
    pub fn set(&self, settings: Settings) {
        self.lock().settings = settings;
    }

    /// The switches as they are.
    pub fn settings(&self) -> Settings {
        self.lock().settings
    }

    /// Ends every session.
    pub fn expire(&self) {
        self.lock().sessions.clear();
    }

    /// Forgets how many ideas were shown: the limit is far again.
    pub fn reset_views(&self) {
        self.lock().views = 0;
    }

    /// Holds what `/session` answers back until that is released.
    pub fn hold_exchange(&self, until: Release) {
        self.lock().hold = Some(until);
    }

    /// The right value of the persistent cookie.
    pub fn remember(&self) -> String {
        let mut chance = Sequence::of(self.seed ^ 0x5e55, 0);
        format!("remembered-{:016x}{:016x}", chance.next(), chance.next())
    }

    /// A new valid session, as a person gets one by logging in: the value of `ideas_session`.
    pub fn log_in(&self) -> String {
        self.lock().give(self.seed)
    }

    /// Sessions given since the start or the last reset.
    pub fn sessions_given(&self) -> u64 {
        self.lock().given
    }

    /// What a browser's extension exports: a Netscape file with the persistent cookie and, if there is one, a
    /// session's. `is_secure`: its cookies are for TLS alone.
    pub fn cookie_file(&self, session: Option<&str>, is_secure: bool) -> String {
        let secure = if is_secure { "TRUE" } else { "FALSE" };
        let mut text = "# Netscape HTTP Cookie File\n\n".to_owned();
        text += &format!("#HttpOnly_{HOST}\tFALSE\t/\t{secure}\t4000000000\t{REMEMBER_COOKIE}\t{}\n", self.remember());
        if let Some(session) = session {
            text += &format!("#HttpOnly_{HOST}\tFALSE\t/\t{secure}\t0\t{SESSION_COOKIE}\t{session}\n");
        }
        text
    }

    // Nothing that could panic half-way happens under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(&self, request: &Request) -> Answer {
        let hold = self.lock().hold.clone();
        if let Some(hold) = hold {
            hold.released().await;
        }
        let mut state = self.lock();
        let is_member = cookie(request, REMEMBER_COOKIE).is_some_and(|value| value == self.remember());
        let session = match state.settings.exchange {
            Exchange::Down => return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "back soon\n"),
            Exchange::Forgets => return Answer::redirect(StatusCode::FOUND, "/login"),
            Exchange::Gives | Exchange::GivesDead if !is_member => {
                return Answer::redirect(StatusCode::FOUND, "/login");
            }
            Exchange::Gives => state.give(self.seed),
            Exchange::GivesDead => {
                let session = state.give(self.seed);
                state.sessions.remove(&session);
                session
            }
        };
        set_cookie(Answer::redirect(StatusCode::FOUND, "/ideas"), request, &session)
    }

    fn idea(&self, request: &Request, number: u32) -> Answer {
        let mut state = self.lock();
        let settings = state.settings;
        let valid = state.valid(request);
        if valid.is_some() && settings.views_max.is_some_and(|most| state.views >= most) {
            return page(pages::limit(settings.limit));
        }
        let nth = state.served;
        let Some(session) = valid else {
            if settings.wall == Wall::Teaser {
                state.served += 1;
            }
            return wall(settings.wall, self.seed, nth);
        };
        state.served += 1;
        state.views += 1;
        let shown = state.sessions.remove(&session).unwrap_or_default() + 1;
        let answer = page(pages::idea(self.seed, number, nth));
        if settings.session_views > 0 && shown >= settings.session_views {
            return answer;
        }
        if !settings.rotates {
            state.sessions.insert(session, shown);
            return answer;
        }
        let next = state.give(self.seed);
        state.sessions.insert(next.clone(), shown);
        set_cookie(answer, request, &next)
    }

    fn listing(&self, request: &Request) -> Answer {
        let query = request.http.uri().query().unwrap_or_default();
        let number = query.split('&').find_map(|pair| pair.strip_prefix("page="));
        let Ok(number @ 1..) = number.unwrap_or("1").parse::<u32>() else {
            return Answer::text(StatusCode::NOT_FOUND, "no such page\n");
        };
        let mut state = self.lock();
        if state.settings.listing_needs_session && state.valid(request).is_none() {
            return wall(state.settings.wall, self.seed, 0);
        }
        page(pages::listing(self.seed, number))
    }

    fn switches(&self, request: &Request) -> Answer {
        if request.http.method() == Method::POST {
            match serde_json::from_slice(request.http.body()) {
                Ok(settings) => self.set(settings),
                Err(error) => return Answer::text(StatusCode::BAD_REQUEST, format!("no settings: {error}\n")),
            }
        }
        match serde_json::to_vec(&self.settings()) {
            Ok(json) => Answer::whole(StatusCode::OK, "application/json", json),
            Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

impl State {
    /// A new valid session.
    fn give(&mut self, seed: u64) -> String {
        self.given += 1;
        let mut chance = Sequence::of(seed ^ 0x1dea, self.given);
        let session = format!("session-{}-{:016x}{:016x}", self.given, chance.next(), chance.next());
        self.sessions.insert(session.clone(), 0);
        session
    }

    /// The valid session that a request bears.
    fn valid(&mut self, request: &Request) -> Option<String> {
        let session = cookie(request, SESSION_COOKIE)?;
        self.sessions.contains_key(session).then(|| session.to_owned())
    }
}

impl Site for Ideas {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            let number = request.path().strip_prefix("/idea/").filter(|number| number.len() == 3);
            let number = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(number) =
                number.and_then(|number| number.parse().ok()).filter(|number| (1..=IDEAS).contains(number))
            {
                return self.idea(&request, number);
            }
            match request.path() {
                "/" => Answer::redirect(StatusCode::FOUND, "/ideas"),
                "/ideas" => self.listing(&request),
                "/login" => page(pages::login()),
                "/session" => self.exchange(&request).await,
                "/account" => match self.lock().valid(&request) {
                    Some(_) => Answer::text(StatusCode::OK, "a member\n"),
                    None => Answer::text(StatusCode::UNAUTHORIZED, "who are you?\n"),
                },
                "/_settings" => self.switches(&request),
                _ => Answer::text(StatusCode::NOT_FOUND, "no such page\n"),
            }
        })
    }

    fn reset(&self) {
        *self.lock() = State { settings: self.first, ..State::default() };
    }
}

fn wall(wall: Wall, seed: u64, nth: u64) -> Answer {
    match wall {
        Wall::LoginPage => page(pages::login()),
        Wall::Redirect => Answer::redirect(StatusCode::FOUND, "/login"),
        Wall::Unauthorized => Answer::text(StatusCode::UNAUTHORIZED, "who are you?\n"),
        Wall::Teaser => page(pages::teaser(seed, nth)),
    }
}

fn page(markup: Markup) -> Answer {
    Answer::html(markup.into_string())
}

fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let cookies = request.http.headers().get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn set_cookie(answer: Answer, request: &Request, session: &str) -> Answer {
    let secure = if request.scheme == Scheme::Https { "; secure" } else { "" };
    let text = format!("{SESSION_COOKIE}={session}; path=/; httponly; samesite=lax{secure}");
    match HeaderValue::from_str(&text) {
        Ok(value) => answer.with(SET_COOKIE, value),
        Err(_) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the cookie is no header value\n"),
    }
}
