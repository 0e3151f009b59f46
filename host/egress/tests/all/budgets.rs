//! A03 for proxies and sites: what is counted is what goes over the wire, and no budget is passed by more than is said.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tollgate_core::{
    Clock as _, Timestamp,
    budget::Spending,
    calendar::Zone,
    circuit::Circuit,
    http::HttpRequest,
    ledger::{Account, Cost, Periods},
    money::NanoUsd,
    outcome::RefusalKind,
};
use tollgate_egress::{MeterStatus, NotKept, Refused, Response, SiteMemory};
use tollgate_sim::{
    Reception, Sim,
    sites::scripted::{Scripted, Step},
};

use crate::world::{Still, World};

const SITE: &str = "a.example";

async fn fetch(world: &World, url: &str) -> Result<Response, Refused> {
    let request = HttpRequest { method: "GET".into(), url: url.into(), headers: Vec::new(), body: None, timeout: None };
    world.gate.fetch(&world.caller, request, &|_| {}).await
}

fn meter(world: &World, name: &str) -> MeterStatus {
    world.gate.status().spending.into_iter().find(|meter| meter.name == name).unwrap()
}

fn kind(refused: &Refused) -> RefusalKind {
    refused.refusal.as_ref().unwrap().kind
}

/// A wire to a proxy that counts every byte on it, both ways.
struct Wire {
    address: SocketAddr,
    to: Arc<OnceLock<SocketAddr>>,
    bytes: Arc<AtomicU64>,
}

impl Wire {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, bytes) = (Arc::new(OnceLock::new()), Arc::new(AtomicU64::new(0)));
        let (far, counted) = (to.clone(), bytes.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(*far.get().unwrap()).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(copy(near_in, far_out, counted.clone()));
                tokio::spawn(copy(far_in, near_out, counted.clone()));
            }
        });
        Self { address, to, bytes }
    }
}

async fn copy(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, counted: Arc<AtomicU64>) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut piece).await {
        counted.fetch_add(bytes as u64, SeqCst);
        if to.write_all(&piece[..bytes]).await.is_err() {
            break;
        }
    }
}

/// What was counted of so many requests, and what went over the wire.
async fn counted_and_true(scheme: &str, requests: usize) -> (u64, u64) {
    let wire = Wire::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let site = Scripted::new().path("/page", [Step::ok("words and words ".repeat(2_000))]);
    let more = format!(
        "[proxy.wire]\nurl = \"http://{}\"\nca = {ca:?}\nprice = \"8.40 USD/GB\"\n[site.\"*\"]\nproxy = \"wire\"\n",
        wire.address
    );
    let world = World::new(vec![(SITE, Arc::new(site))], &more).await;
    world.sim.write_ca(&ca).unwrap();
    wire.to.set(world.sim.proxy_addr()).unwrap();
    for _ in 0..requests {
        fetch(&world, &format!("{scheme}://{SITE}/page")).await.unwrap();
    }
    let meter = meter(&world, "proxy wire");
    assert_eq!(meter.bytes_today, self::meter(&world, "site *").bytes_today, "a site is counted as its proxy is");
    let money = meter.nano_usd_today.unwrap();
    assert_eq!(money.0, (meter.bytes_today * 84).div_ceil(10), "8.4 billionths a byte");
    (meter.bytes_today, wire.bytes.load(SeqCst))
}

#[tokio::test]
async fn a03_what_is_counted_is_what_goes_over_the_wire() {
    let (counted, wire) = counted_and_true("http", 10).await;
    println!("http: {counted} counted, {wire} on the wire");
    assert!(counted.abs_diff(wire) * 100 <= wire, "{counted} counted, {wire} on the wire");
    let (counted, wire) = counted_and_true("https", 10).await;
    println!("https: {counted} counted, {wire} on the wire");
    // The simulator's certificates are smaller than the world's: what is counted for the
    // handshake is more than it takes.
    assert!(
        counted + wire / 50 >= wire && counted <= wire + wire / 50 + 6_144,
        "{counted} counted, {wire} on the wire"
    );
}

#[tokio::test]
async fn a03_many_requests_at_once_pass_a_small_budget_by_no_more_than_is_said() {
    let site = Scripted::new().path("/endless", [Step::status(http::StatusCode::OK).endless(vec![b'x'; 16 << 10])]);
    let more = "budget = { day = \"300 kB\" }\n[site.\"*\"]\nconcurrency = 32\n";
    let world = World::new(vec![(SITE, Arc::new(site))], more).await;
    let url = format!("http://{SITE}/endless");
    let answers = join_all((0..32).map(|_| fetch(&world, &url))).await;
    for refused in answers.iter().map(|answer| answer.as_ref().unwrap_err()) {
        assert!(matches!(kind(refused), RefusalKind::Budget | RefusalKind::RateLimited), "uncounted: {refused:?}");
    }
    let asked = world.sim.counts().of_host(SITE);
    assert!(asked <= 5, "each of them holds 64 KiB of 300 kB: {asked}");
    // One piece of a body each: what hyper reads at once is 512 KiB at the most.
    let spent = meter(&world, "proxy main").bytes_today;
    assert!((300_000..300_000 + asked * (512 << 10)).contains(&spent), "{spent}");
}

#[tokio::test]
async fn a03_a_spent_budget_sends_nothing_and_says_when_it_goes_on() {
    let site = Scripted::new().path("/", [Step::ok("x".repeat(2_000))]);
    let more = "budget = { day = \"1 kB\" }\n[host]\ntime-zone = \"Europe/Zurich\"\n";
    let world = World::new(vec![(SITE, Arc::new(site))], more).await;
    let url = format!("http://{SITE}/");
    fetch(&world, &url).await.expect("it came whole, whatever is left after it");
    let refused = fetch(&world, &url).await.unwrap_err();
    assert_eq!(kind(&refused), RefusalKind::Budget);
    let refusal = refused.refusal.unwrap();
    assert!(refusal.message.contains("the budget of proxy main for this day is spent (2."), "{}", refusal.message);
    // The world's clock stands a quarter of an hour after 1970 began, when Zurich had an hour more.
    assert!(refusal.message.ends_with("it goes on at 1970-01-02 00:00 Europe/Zurich"), "{}", refusal.message);
    assert_eq!(refusal.after.unwrap().as_secs(), 23 * 3_600 - 1_000);
    assert_eq!(world.sim.counts().of_host(SITE), 1);
    assert_eq!(meter(&world, "proxy main").budgets[0].left, "0 B");
}

#[tokio::test]
async fn trap04_a_site_whose_budget_is_nothing_is_never_asked_and_another_proxy_stands_in_for_a_spent_one() {
    let site = || Arc::new(Scripted::new().path("/", [Step::ok("x")]));
    let more = "budget = { day = 0 }\n[site.\"b.example\"]\nbudget = { day = 0 }\n";
    let world = World::new(vec![(SITE, site()), ("b.example", site())], more).await;
    assert_eq!(kind(&fetch(&world, "http://b.example/").await.unwrap_err()), RefusalKind::Budget);
    assert_eq!(world.sim.counts().of_host("b.example"), 0);
    let other = tollgate_sim::Sim::builder().site(SITE, site()).start().await.unwrap();
    let both = format!(
        "budget = {{ day = 0 }}\n[proxy.other]\nurl = \"{}\"\n[site.\"*\"]\nproxy = [\"main\", \"other\"]\n",
        other.proxy_url()
    );
    let world = World::new(vec![(SITE, site())], &both).await;
    fetch(&world, &format!("http://{SITE}/")).await.unwrap();
    assert_eq!((world.sim.counts().of_host(SITE), other.counts().of_host(SITE)), (0, 1));
}

/// What a connection counts whose tunnel or TLS fails.
const HANDSHAKE: u64 = 6 << 10;

#[tokio::test]
async fn a03_a_handshake_that_fails_behind_a_paid_proxy_is_not_free() {
    let url = format!("https://{SITE}/");
    for reception in [Reception::Untrusted, Reception::OtherName, Reception::Expired, Reception::Refused] {
        let site = Scripted::new().path("/", [Step::ok("x")]);
        let builder = Sim::builder().site(SITE, Arc::new(site)).reception(SITE, reception);
        let priced = "price = \"8.00 USD/GB\"\nbudget = { day = \"12 kB\" }\n";
        let world = World::built(builder, Sim::proxy_url, priced).await;
        for nth in 1..=2 {
            assert_eq!(kind(&fetch(&world, &url).await.unwrap_err()), RefusalKind::Transport, "{reception:?}");
            let counted = meter(&world, "proxy main");
            assert_eq!(counted.bytes_today, nth * HANDSHAKE, "{reception:?}");
            assert_eq!(counted.nano_usd_today.unwrap().0, nth * HANDSHAKE * 8);
            assert_eq!(meter(&world, "site *").bytes_today, nth * HANDSHAKE);
        }
        assert_eq!(kind(&fetch(&world, &url).await.unwrap_err()), RefusalKind::Budget, "{reception:?}");
    }
    // A proxy that wasn't reached, or didn't take us, has carried nothing.
    for is_down in [true, false] {
        let builder = Sim::builder().site(SITE, Arc::new(Scripted::new())).proxy_auth("user", "secret");
        let world = World::built(builder, Sim::proxy_url, "price = \"8.00 USD/GB\"\n").await;
        if is_down {
            world.sim.proxy_down().await.unwrap();
        }
        assert_eq!(kind(&fetch(&world, &url).await.unwrap_err()), RefusalKind::Down);
        assert_eq!(meter(&world, "proxy main").bytes_today, 0);
    }
}

/// Keeps what was spent, but for the first time, when it fails once it is told to go on.
#[derive(Default)]
struct FailsOnce {
    kept: Mutex<BTreeMap<String, Spending>>,
    has_failed: AtomicBool,
    began: Notify,
    go_on: Notify,
}

impl SiteMemory for FailsOnce {
    fn keep(&self, _site: String, _circuit: Circuit, _now: Timestamp) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn keep_spending(&self, rows: Vec<(String, Spending)>) -> BoxFuture<'_, Result<(), NotKept>> {
        async move {
            if !self.has_failed.swap(true, SeqCst) {
                self.began.notify_one();
                self.go_on.notified().await;
                return Err(NotKept);
            }
            self.kept.lock().unwrap().extend(rows);
            Ok(())
        }
        .boxed()
    }
}

#[tokio::test]
async fn a03_what_could_not_be_kept_is_kept_the_next_time() {
    let memory = Arc::new(FailsOnce::default());
    let sites = ["a.example", "b.example"];
    let site = || Arc::new(Scripted::new().path("/", [Step::ok("x")]));
    let sim = sites.iter().fold(Sim::builder(), |sim, host| sim.site(host, site())).start().await.unwrap();
    let more = sites.map(|host| format!("[site.\"{host}\"]\nbudget = {{ day = \"1 GB\" }}\n")).concat();
    let proxy = sim.proxy_url();
    let world = World::over_with(sim, &proxy, &more, Arc::new(Still), memory.clone());
    fetch(&world, "http://a.example/").await.unwrap();
    memory.began.notified().await;
    // While the first row is being refused, the proxy's becomes another; that of the first site doesn't.
    fetch(&world, "http://b.example/").await.unwrap();
    memory.go_on.notify_one();
    world.gate.keep_spending().await;
    let kept = memory.kept.lock().unwrap().clone();
    for name in ["proxy main", "site a.example", "site b.example"] {
        let kept = kept.get(name).unwrap_or_else(|| panic!("{name} is forgotten"));
        assert_eq!(kept.day.bytes, meter(&world, name).bytes_today, "{name}: the latest is kept");
    }
}

#[tokio::test]
async fn a03_a_spent_budget_of_everything_lets_nothing_go_by_a_proxy_that_costs_money() {
    let site = || Arc::new(Scripted::new().path("/", [Step::ok("x".repeat(10_000))]));
    let sim = Sim::builder().site("a.example", site()).site("b.example", site()).start().await.unwrap();
    let proxy = sim.proxy_url();
    // A byte costs a millionth of a dollar.
    let more = format!(
        "price = \"1000 USD/GB\"\n[proxy.free]\nurl = {proxy:?}\n[site.\"*\"]\nproxy = \"main\"\n\
         [site.\"b.example\"]\nproxy = [\"main\", \"free\"]\n[budget]\nday = \"0.05 USD\"\n"
    );
    let world = World::over(sim, &proxy, &more);
    let asked = async |host: &str| fetch(&world, &format!("http://{host}/")).await;
    // What calls have cost, once they are settled.
    let limit = Cost::Known(NanoUsd(50_000_000));
    let mut calls = Account::default().at(Periods::default().turned(&Zone::default(), Still.now()));
    calls.reserve(limit).unwrap();
    calls.settle(calls.periods(), limit, limit).unwrap();
    world.gate.calls_are_charged(calls);
    assert_eq!(kind(&asked("a.example").await.unwrap_err()), RefusalKind::Budget);
    assert_eq!(world.sim.counts().of_host("a.example"), 0);
    // What the proxy costs by itself.
    world.gate.calls_are_charged(Account::default());
    let mut answered = 0;
    let refused = loop {
        match asked("a.example").await {
            Ok(_) => answered += 1,
            Err(refused) => break refused.refusal.unwrap(),
        }
    };
    assert_eq!((answered, world.sim.counts().of_host("a.example")), (5, 5));
    assert_eq!(refused.kind, RefusalKind::Budget);
    let said = "the budget of everything that is paid for this day is spent (0.0";
    assert!(refused.message.starts_with(said) && refused.after.is_some(), "{refused:?}");
    let before = meter(&world, "proxy main").bytes_today;
    asked("b.example").await.unwrap();
    assert_eq!(meter(&world, "proxy main").bytes_today, before, "one that costs nothing goes in its place");
}
