//! A gate over `ideas.example`, with a clock that the test turns and a log that it reads.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use rusqlite::Connection;
use tollgate_core::{Clock, JobName, Timestamp, http::HttpRequest, spec};
use tollgate_egress::{Caller, Gate, GateOptions, NoMemory, Refused, Response};
use tollgate_sim::{
    Sim, Site,
    sites::ideas::{HOST, Ideas, REMEMBER_COOKIE},
};

/// An idea's address.
pub(crate) const IDEA: &str = "http://ideas.example/idea/001";
/// Where the chain begins.
const NOW: u64 = 1_800_000_000_000;

/// A clock that stands until it is turned. Who waits for a turn gets it at once.
#[derive(Default)]
pub(crate) struct Turned(AtomicU64);

impl Clock for Turned {
    fn now(&self) -> Timestamp {
        Timestamp(NOW + self.0.load(SeqCst))
    }

    fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

/// All that any part of the process logs, from the first world on.
pub(crate) fn log() -> &'static Mutex<Vec<u8>> {
    static LOG: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Logged);
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        Mutex::default()
    })
}

struct Logged;

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        log().lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) site: Arc<Ideas>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<Turned>,
    pub(crate) folder: tempfile::TempDir,
    jobs: String,
}

/// The session's chain with a browser and an exchange.
pub(crate) const FIREFOX: &str = "browser = { store = \"firefox\", cookie = \"remember_web_*\", \
     profile = \"profile\" }\n\
     exchange = { url = \"http://ideas.example/session\", keeps = \"ideas_session\" }\n\
     test = \"http://ideas.example/account\"\nfile = \"cookies/ideas.txt\"\n";

impl World {
    /// The club behind a proxy, others beside it, and the lines of its session.
    pub(crate) async fn new(site: Ideas, others: Vec<(&str, Arc<dyn Site>)>, session: &str, more: &str) -> Self {
        drop(log().lock());
        let site = Arc::new(site);
        let builder = Sim::builder().site(HOST, site.clone());
        let builder = others.into_iter().fold(builder, |builder, (host, site)| builder.site(host, site));
        let sim = builder.start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let jobs = format!(
            "[proxy.main]\nurl = \"{}\"\n[site.\"*\"]\nconcurrency = 50\n[site.\"ideas.example\"]\nconcurrency = 50\n\
             session = \"ideas\"\n{more}\n[session.ideas]\n{session}",
            sim.proxy_url()
        );
        let clock = Arc::new(Turned::default());
        let gate = gate(&jobs, &clock, folder.path());
        Self { sim, site, gate, clock, folder, jobs }
    }

    /// The club, and a Firefox in which a member ticked "remember me".
    pub(crate) async fn with_firefox(seed: u64) -> Self {
        let world = Self::new(Ideas::seeded(seed), Vec::new(), FIREFOX, "").await;
        let remember = world.site.remember();
        firefox(&world.folder.path().join("profile"), &[(REMEMBER_COOKIE, &remember, HOST)]);
        world
    }

    /// The same gate after a restart.
    pub(crate) fn restart(&mut self) {
        self.gate = gate(&self.jobs, &self.clock, self.folder.path());
    }

    pub(crate) fn turn(&self, by: Duration) {
        self.clock.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), SeqCst);
    }

    pub(crate) async fn ask(&self, method: &str, url: &str) -> Result<Response, Refused> {
        let headers = vec![("Cookie".to_owned(), "ideas_session=a-guests-own".to_owned())];
        let request = HttpRequest { method: method.into(), url: url.into(), headers, body: None, timeout: None };
        let caller = Caller::of(JobName::new("test").unwrap(), Vec::new());
        self.gate.fetch(&caller, request, &|_| {}).await
    }

    pub(crate) async fn get(&self, url: &str) -> Result<Response, Refused> {
        self.ask("GET", url).await
    }

    /// Whether the page is the idea itself.
    pub(crate) async fn gives_idea(&self) -> bool {
        let body = self.get(IDEA).await.unwrap().body.bytes().await.unwrap();
        String::from_utf8_lossy(&body).contains("<article class=\"thesis\">")
    }

    pub(crate) fn drop_file(&self, text: &str) {
        let folder = self.folder.path().join("cookies");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ideas.txt"), text).unwrap();
    }

    /// Requests for an address of the club.
    pub(crate) fn asked(&self, path: &str) -> u64 {
        self.sim.counts().of(HOST, path)
    }
}

fn gate(jobs: &str, clock: &Arc<Turned>, folder: &Path) -> Arc<Gate> {
    let deployment = spec::parse(jobs, "jobs.toml").unwrap();
    let options = GateOptions {
        spool: folder.join("spool"),
        sessions: folder.join("sessions"),
        clock: clock.clone(),
        base: folder.to_owned(),
        memory: Arc::new(NoMemory),
        remembered: Vec::new(),
        spent: Vec::new(),
    };
    Gate::new(&deployment, options).unwrap()
}

/// Makes a store as Firefox has it, with cookies by name, value and host, and leaves it open as Firefox does.
pub(crate) fn firefox(profile: &Path, cookies: &[(&str, &str, &str)]) -> Connection {
    std::fs::create_dir_all(profile).unwrap();
    let store = Connection::open(profile.join("cookies.sqlite")).unwrap();
    store
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE IF NOT EXISTS moz_cookies (id INTEGER PRIMARY KEY, originAttributes TEXT NOT NULL DEFAULT \
             '', name TEXT, value TEXT, host TEXT, path TEXT, expiry INTEGER, lastAccessed INTEGER, creationTime \
             INTEGER, isSecure INTEGER, isHttpOnly INTEGER, inBrowserElement INTEGER DEFAULT 0, sameSite INTEGER \
             DEFAULT 0, schemeMap INTEGER DEFAULT 0, isPartitionedAttributeSet INTEGER DEFAULT 0);",
        )
        .unwrap();
    for (name, value, host) in cookies {
        let insert = "INSERT INTO moz_cookies (name, value, host, path, expiry, creationTime, isSecure, isHttpOnly) \
                      VALUES (?1, ?2, ?3, '/', 4000000000000, (SELECT COUNT(*) FROM moz_cookies), 0, 1)";
        store.execute(insert, [name, value, host]).unwrap();
    }
    store
}
