//! A real squid and a real tinyproxy, chained to the proxy of the small internet.
//!
//! Behind the feature `real-proxies`, since they must be installed; once asked for, a missing one is a failure. The
//! chore: `cargo xtask test`, or `apt-get install squid tinyproxy-bin`.
#![expect(clippy::unwrap_used, reason = "a test's helpers panic as its own lines do")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use tokio::net::TcpSocket;
use tollgate_core::{
    Clock, JobName, Timestamp,
    http::{HttpError, HttpRequest},
    outcome::RefusalKind,
    spec,
};
use tollgate_egress::{Caller, Gate, GateOptions, NoMemory, Refused, Response};
use tollgate_sim::{
    RealKind, RealProxy, Release, Sim,
    real_proxy::{LOST, PASSWORD},
    sites::scripted::{Scripted, Step},
};

const SITE: &str = "site.example";
/// Requests of a run in whose middle the proxy dies.
const REQUESTS: usize = 50;

/// A clock that goes when it is told to.
struct Told(AtomicI64);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.0.load(SeqCst)).unwrap())
    }

    fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

struct World {
    sim: Sim,
    proxy: RealProxy,
    gate: Arc<Gate>,
    caller: Caller,
    clock: Arc<Told>,
    _folder: tempfile::TempDir,
}

/// `password`: what jobs.toml says, of a proxy that asks for one.
async fn world(kind: RealKind, site: Scripted, password: Option<&str>, more: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::builder().site(SITE, Arc::new(site)).start().await.unwrap();
    let proxy = RealProxy::start(kind, folder.path(), &sim, password.is_some()).await.unwrap();
    sim.write_ca(folder.path().join("ca.pem")).unwrap();
    let text = format!("[proxy.main]\nurl = \"{}\"\nca = \"ca.pem\"\n{more}", proxy.url(password));
    let clock = Arc::new(Told(AtomicI64::new(1_000_000)));
    let options = GateOptions {
        spool: folder.path().join("spool"),
        clock: clock.clone(),
        base: folder.path().to_owned(),
        memory: Arc::new(NoMemory),
        remembered: Vec::new(),
        sessions: folder.path().join("sessions"),
        spent: Vec::new(),
    };
    let gate = Gate::new(&spec::parse(&text, "jobs.toml").unwrap(), options).unwrap();
    let caller = Caller::of(JobName::new("test").unwrap(), Vec::new());
    World { sim, proxy, gate, caller, clock, _folder: folder }
}

impl World {
    async fn fetch(&self, url: &str) -> Result<Response, Refused> {
        let (method, url) = ("GET".to_owned(), url.to_owned());
        let request = HttpRequest { method, url, headers: Vec::new(), body: None, timeout: None };
        self.gate.fetch(&self.caller, request, &|_| {}).await
    }

    /// What the proxy is said to be down for.
    fn reason(&self) -> Option<String> {
        self.gate.status().proxies[0].reason.clone()
    }

    /// Nothing went around the proxies, and no site is left alone.
    fn is_clean(&self) {
        assert_eq!(self.sim.counts().direct, 0);
        let sites = self.gate.status().sites;
        assert!(sites.iter().all(|site| site.cooling_until.is_none()), "{sites:?}");
    }
}

fn fine() -> Scripted {
    Scripted::new().path("/", [Step::ok("fine")])
}

/// Holds that a refusal is of that kind, about that site or proxy, a connection's, and says so.
fn is(refused: &Refused, kind: RefusalKind, about: &str, words: &str) {
    let refusal = refused.refusal.as_deref().unwrap();
    assert_eq!((refusal.kind, refusal.about.as_str()), (kind, about), "{refused:?}");
    assert!(matches!(&refused.error, HttpError::Connection(text) if text.contains(words)), "{refused:?}");
    assert!(!format!("{refused:?}").contains(PASSWORD), "{refused:?}");
}

/// Sites over http and https, and what isn't there behind a proxy that is.
async fn sites(kind: RealKind) {
    // Taken, and not listened on.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = format!("localhost:{}", nobody.local_addr().unwrap().port());
    let world = world(kind, fine(), None, &format!("[site.\"{dead}\"]\nproxy = \"main\"\n")).await;
    for scheme in ["http", "https"] {
        let response = world.fetch(&format!("{scheme}://{SITE}/")).await.unwrap();
        assert_eq!((response.status, response.body.bytes().await.unwrap().as_ref()), (200, &b"fine"[..]), "{scheme}");
    }
    assert_eq!((world.sim.counts().via_proxy, world.sim.counts().connects), (2, 1));
    let name = match kind {
        RealKind::Squid => "squid says ERR_",
        RealKind::Tinyproxy => "tinyproxy answers 500",
    };
    // Longer than any name may be, so that no name server of the world is asked for it.
    let label = "a".repeat(64);
    for (host, scheme, authority, words) in [
        (format!("{label}.{LOST}"), "http", format!("{label}.{LOST}:80"), name),
        (format!("{label}.{LOST}"), "https", format!("{label}.{LOST}:443"), "made no tunnel"),
        (dead.clone(), "http", dead.clone(), name),
        (dead.clone(), "https", dead.clone(), "made no tunnel"),
    ] {
        let refused = world.fetch(&format!("{scheme}://{host}/")).await.unwrap_err();
        is(&refused, RefusalKind::Transport, &authority, words);
        assert_eq!(world.reason(), None, "no site's fault is the proxy's");
    }
    world.is_clean();
}

/// What a site breaks off, or never begins, behind a proxy.
async fn broken(kind: RealKind) {
    let site = Scripted::new()
        .path("/reset", [Step::reset()])
        .path("/closed", [Step::hang_up()])
        .path("/cut", [Step::ok("").truncated("fi", 4)])
        .path("/chunked", [Step::ok("").cut_after("fi")])
        .path("/down", [Step::status(http::StatusCode::BAD_GATEWAY)]);
    let world = world(kind, site, None, "").await;
    for scheme in ["http", "https"] {
        let authority = format!("{SITE}:{}", if scheme == "http" { 80 } else { 443 });
        for path in ["/reset", "/closed", "/cut"] {
            let refused = world.fetch(&format!("{scheme}://{SITE}{path}")).await;
            let refused = refused.unwrap_err();
            is(&refused, RefusalKind::Transport, &authority, SITE);
            assert_eq!(world.reason(), None, "{path}");
        }
        let own = world.fetch(&format!("{scheme}://{SITE}/down")).await.unwrap();
        assert_eq!((own.status, own.transport_failure.unwrap().about), (502, authority), "a site's own 502 is its own");
    }
    is(
        &world.fetch(&format!("https://{SITE}/chunked")).await.unwrap_err(),
        RefusalKind::Transport,
        "site.example:443",
        "",
    );
    world.is_clean();
}

async fn passwords(kind: RealKind) {
    let right = world(kind, fine(), Some(PASSWORD), "").await;
    let wrong = world(kind, fine(), Some("wrong"), "").await;
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{SITE}/");
        assert_eq!(right.fetch(&url).await.unwrap().status, 200, "{scheme}");
        is(
            &wrong.fetch(&url).await.unwrap_err(),
            RefusalKind::Down,
            "main",
            "it asks for other credentials (407): it doesn't",
        );
        assert!(wrong.reason().unwrap().contains("407"));
        // As long as a proxy is left alone at the most: the next scheme is asked anew.
        wrong.clock.0.fetch_add(30_000, SeqCst);
    }
    assert_eq!(wrong.sim.counts().total, 0);
    right.is_clean();
    wrong.is_clean();
}

/// The proxy dies in the middle of a run, and comes back.
async fn dies(kind: RealKind, scheme: &str) {
    let release = Release::new();
    let site = Scripted::new();
    for number in 0..REQUESTS {
        site.set(&format!("/{number}"), [Step::ok("fine")]);
    }
    // The first that are under way when it dies are never answered; asked again, they are.
    let under_way = 20..24;
    for number in under_way.clone() {
        site.set(&format!("/{number}"), [Step::ok("fine").hang_until(&release), Step::ok("fine")]);
    }
    let mut world = world(kind, site, None, "").await;
    let url = |number: usize| format!("{scheme}://{SITE}/{number}");
    let mut left = Vec::new();
    for number in 0..under_way.start {
        assert_eq!(world.fetch(&url(number)).await.unwrap().status, 200);
    }
    let proxy = {
        // The proxy is killed while requests that borrow the world are under way.
        let (gate, caller) = (world.gate.clone(), world.caller.clone());
        let asking = under_way.clone().map(|number| {
            let (gate, caller, url) = (gate.clone(), caller.clone(), url(number));
            async move {
                let request = HttpRequest { method: "GET".into(), url, headers: Vec::new(), body: None, timeout: None };
                gate.fetch(&caller, request, &|_| {}).await
            }
        });
        let killing = async {
            let expected = u64::try_from(under_way.len()).unwrap();
            world.sim.wait_for(|counts| counts.in_flight(SITE) == expected).await;
            world.proxy.kill().await.unwrap();
        };
        tokio::join!(join_all(asking), killing).0
    };
    for (number, got) in under_way.clone().zip(proxy) {
        is(&got.unwrap_err(), RefusalKind::Down, "main", "proxy main is down");
        left.push(number);
    }
    let before = world.sim.counts().total;
    for number in under_way.end..REQUESTS {
        is(&world.fetch(&url(number)).await.unwrap_err(), RefusalKind::Down, "main", "proxy main is down");
        left.push(number);
    }
    assert_eq!(world.sim.counts().total, before, "nothing finds another way");
    assert!(world.reason().is_some());
    // While it is down it is tried now and then.
    world.clock.0.fetch_add(1_000, SeqCst);
    is(&world.fetch(&url(left[0])).await.unwrap_err(), RefusalKind::Down, "main", "proxy main is down");
    world.proxy.again().await.unwrap();
    let after = Duration::from_secs(2);
    world.clock.0.fetch_add(i64::try_from(after.as_millis()).unwrap(), SeqCst);
    for number in left {
        assert_eq!(world.fetch(&url(number)).await.unwrap().status, 200, "{number} goes on by itself");
    }
    assert_eq!(world.reason(), None);
    release.release();
    world.is_clean();
}

#[tokio::test]
async fn r06_r09_squid_serves_and_tells_a_site_from_itself() {
    sites(RealKind::Squid).await;
}

#[tokio::test]
async fn r06_r09_tinyproxy_serves_and_tells_a_site_from_itself() {
    sites(RealKind::Tinyproxy).await;
}

#[tokio::test]
async fn r06_what_breaks_behind_squid_is_the_sites() {
    broken(RealKind::Squid).await;
}

#[tokio::test]
async fn r06_what_breaks_behind_tinyproxy_is_the_sites() {
    broken(RealKind::Tinyproxy).await;
}

#[tokio::test]
async fn r09_squid_that_wants_another_password_is_down_and_says_so() {
    passwords(RealKind::Squid).await;
}

#[tokio::test]
async fn r09_tinyproxy_that_wants_another_password_is_down_and_says_so() {
    passwords(RealKind::Tinyproxy).await;
}

#[tokio::test]
async fn r06_a_squid_that_dies_costs_no_attempt_and_the_run_goes_on() {
    dies(RealKind::Squid, "http").await;
    dies(RealKind::Squid, "https").await;
}

#[tokio::test]
async fn r06_a_tinyproxy_that_dies_costs_no_attempt_and_the_run_goes_on() {
    dies(RealKind::Tinyproxy, "http").await;
    dies(RealKind::Tinyproxy, "https").await;
}
