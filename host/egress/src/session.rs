//! Sessions: the chain that gives a site its cookies, and what of it is under way (R10).
//!
//! A session is asked for before each request to a site that has one (`Gate::lease`), and what the site answers says
//! whether it is over (`Gate::sift`). Then one renewal runs the chain (`chain`), however many ask; a generation's
//! number tells who asked with a session that another has renewed since. No cookie's value is in
//! any message, error or log.

mod asked;
mod browser;
mod chain;
pub(crate) mod cookie;
mod doubt;
mod kept;
pub(crate) mod netscape;
mod renewal;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::header::HeaderValue;
use sha2::{Digest as _, Sha256};
use tollgate_core::{
    Timestamp,
    spec::{Deployment, SitePattern, SiteSpec, session::SessionSpec},
};
use url::Url;

pub use self::asked::{SessionError, SessionSource, SessionStatus, SessionTest};
use self::{
    browser::Stand,
    cookie::Jar,
    kept::{Kept, Origin},
};
pub(crate) use self::{
    doubt::{Doubt, Doubter},
    renewal::{Lease, Stopped},
};
use crate::{Refused, Renewals};

/// How long a chain that gave no session isn't tried again, unless its file or its browser's cookie changes: each try
/// may be an exchange, and a person has to come.
const FAILED_FOR: Duration = Duration::from_mins(5);

/// Longest time for which an exchange that waits for its site or proxy isn't tried again, whatever they ask for: they
/// are asked whether they are there.
const REST_MAX: Duration = Duration::from_mins(1);

/// All sessions of jobs.toml, by name.
pub(crate) struct Sessions {
    all: BTreeMap<String, Arc<Session>>,
    folder: PathBuf,
}

impl Sessions {
    pub(crate) fn new(deployment: &Deployment, folder: PathBuf) -> Self {
        let of = |spec: &SessionSpec| {
            let sites = deployment.sites.iter().filter(|site| site.session.as_deref() == Some(&spec.name));
            let sites = sites.map(|site| site.pattern.clone()).collect();
            (spec.name.clone(), Arc::new(Session::new(spec.clone(), sites)))
        };
        Self { all: deployment.sessions.iter().map(of).collect(), folder }
    }

    /// The session of a site, if it has one.
    pub(crate) fn of_site(&self, site: &SiteSpec) -> Option<&Arc<Session>> {
        self.all.get(site.session.as_ref()?)
    }

    /// How often each chain has run, of those that have.
    pub(crate) fn renewals(&self) -> Vec<Renewals> {
        let of = |(name, session): (&String, &Arc<Session>)| {
            let State { runs, renewed, .. } = *session.state();
            (runs > 0).then(|| Renewals { session: name.clone(), renewed, failed: runs.saturating_sub(renewed) })
        };
        self.all.iter().filter_map(of).collect()
    }
}

/// One session.
pub(crate) struct Session {
    spec: SessionSpec,
    /// The sites that have it: no other is sent its cookies.
    sites: Vec<SitePattern>,
    state: Mutex<State>,
    /// Held while the chain runs.
    renewing: tokio::sync::Mutex<()>,
    /// Held while it is written, so that what is kept last is the latest.
    keeping: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Grows with each renewal.
    generation: u64,
    current: Option<Current>,
    /// What a former process kept has been looked at.
    is_kept_read: bool,
    failed: Option<Failed>,
    /// It was taken as expired without its site's word (`doubt`), and nothing has ended well since.
    is_doubted: bool,
    /// The same because of a check, and none has taken a page since that was fetched with another.
    is_doubted_by_check: bool,
    /// How often it was renewed for an address because of what a stage saw there.
    renewed_for: BTreeMap<String, (u8, Timestamp)>,
    /// How often it was taken as expired without its site's word, lately, and when last.
    doubts: (u32, Timestamp),
    /// Runs of the chain that came to an end, how many of them gave a session, and what stood in
    /// the way of the last one.
    runs: u64,
    renewed: u64,
    last_refused: Option<Refused>,
    /// Until then it stands, for those too who come later.
    rests_until: Timestamp,
}

/// A session that was made.
#[derive(Clone)]
struct Current {
    cookies: Jar,
    origin: Origin,
    source: SessionSource,
    /// What it was made from, by its digest.
    print: String,
    since: Timestamp,
    /// How the file stood then: where it differs, the file is read again.
    file: FileStand,
    /// The site no longer takes it.
    is_over: bool,
    /// The site has taken it.
    has_served: bool,
}

/// A chain that gave no session.
#[derive(Clone)]
struct Failed {
    at: Timestamp,
    /// Which step failed, and what to do.
    text: String,
    file: FileStand,
    browser: Option<Stand>,
    /// The browser's cookies that it was tried with.
    print: Option<String>,
}

/// How a file stands, to see whether it changed; absent: it isn't there.
type FileStand = Option<(SystemTime, u64)>;

impl Session {
    fn new(spec: SessionSpec, sites: Vec<SitePattern>) -> Self {
        Self {
            spec,
            sites,
            state: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
            keeping: tokio::sync::Mutex::default(),
        }
    }

    // Nothing that could panic half-way happens under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, base: &Path) -> Option<PathBuf> {
        self.spec.file.as_ref().map(|file| base.join(file))
    }

    /// One look at the disk. A file that can't be looked at is there: reading it says what is wrong.
    fn file_stand(&self, base: &Path) -> FileStand {
        match fs::metadata(self.file(base)?) {
            Ok(found) => Some((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some((SystemTime::UNIX_EPOCH, 0)),
        }
    }

    /// Whether cookies are a session: those of the exchange are there, or any where there is none.
    fn is_whole(&self, cookies: &Jar, now: Timestamp) -> bool {
        match &self.spec.exchange {
            Some(exchange) => cookies.has_all(&exchange.keeps, now),
            None => cookies.iter().any(|cookie| cookie.is_live(now)),
        }
    }

    /// Whether there is a session that requests can be sent with.
    fn stands(&self, base: &Path, now: Timestamp) -> bool {
        let file = self.file_stand(base);
        let state = self.state();
        let current = state.current.as_ref();
        current.is_some_and(|held| !held.is_over && held.file == file && self.is_whole(&held.cookies, now))
    }

    /// The cookies of a request, and the generation that they are of.
    fn header(&self, url: &Url, now: Timestamp) -> (u64, Option<HeaderValue>) {
        let state = self.state();
        (state.generation, state.current.as_ref().and_then(|current| current.cookies.header(url, now)))
    }

    /// The site no longer takes that generation.
    fn over(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation
            && let Some(current) = &mut state.current
        {
            current.is_over = true;
        }
    }

    /// The site took that generation.
    fn mark_served(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation
            && let Some(current) = &mut state.current
        {
            current.has_served = true;
        }
    }

    /// The site took that generation. True: what it set by its answer changed the session.
    fn served<'a>(
        &self,
        generation: u64,
        set: impl IntoIterator<Item = &'a HeaderValue>,
        from: &Url,
        now: Timestamp,
    ) -> bool {
        let mut state = self.state();
        if state.generation != generation {
            // What was set belongs to a session that another replaced.
            return false;
        }
        let Some(current) = &mut state.current else { return false };
        current.has_served = true;
        if !current.cookies.take(set, from, now) {
            return false;
        }
        current.cookies = current.cookies.of_sites(&self.sites);
        true
    }

    /// Keeps the session as it is for after a restart; one that is over is kept no more.
    async fn keep(self: &Arc<Self>, folder: &Path) {
        let _in_turn = self.keeping.lock().await;
        let (session, folder) = (self.clone(), folder.to_owned());
        let kept = tokio::task::spawn_blocking(move || {
            let current = session.state().current.clone().filter(|current| !current.is_over);
            let name = &session.spec.name;
            match current {
                Some(Current { cookies, origin, print, since, .. }) => {
                    kept::write(&folder, name, &Kept::new(origin, print, since, cookies))
                }
                None => kept::remove(&folder, name),
            }
        });
        if let Err(error) = kept.await.map_err(io::Error::other).and_then(|kept| kept) {
            tracing::warn!(
                session = self.spec.name, %error,
                "a session can't be kept: it is made anew after a restart"
            );
        }
    }
}

/// Tells one set of cookies from another without showing it.
fn print(cookies: &Jar) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(netscape::write(cookies).as_bytes());
    digest.iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a text can't fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
