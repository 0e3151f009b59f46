//! Routes, through the real host: direct and proxied sites, the environment's proxies, and proxies that fail oddly.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tollgate::Host;
use tollgate_core::{
    item::ItemStatus,
    task::{ErrorKind, LaterKind, TaskState},
};
use tollgate_sim::{
    Sim,
    sites::scripted::{Scripted, Step},
};

use crate::{
    clock::TestClock,
    world::{
        SITE, World, advance, detail, first, gate, item, open_items, outcomes, program, retrying, run_one, state, stop,
        wait,
    },
};

/// Adds the nth item, which fetches the address, and waits until it is put off because the proxy is down.
async fn is_down(host: &Host, nth: u64, url: &str) {
    let (mut progress, key) = (host.progress(), nth.to_string());
    host.operations().add("test", vec![item(&key, &first(&format!("fetch {url}")))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == nth).await;
    let one = detail(host, &key).await;
    let TaskState::RetryLater { reason, .. } = state(&one, "first") else {
        panic!("{one:?}");
    };
    assert_eq!((reason.kind, one.item.tasks[0].tally.counted), (LaterKind::Down, 0), "{}", reason.message);
    assert!(gate(host).await.proxies[0].reason.is_some(), "the proxy is shown as down");
}

fn with_proxy(url: &str, more: &str) -> String {
    format!("[proxy.main]\nurl = {url:?}\n{}", outcomes(more))
}

fn near(world: &World) -> SocketAddr {
    world.sim.direct_addr(SITE).unwrap()
}

#[tokio::test]
async fn a_direct_site_is_reached_from_this_machine() {
    let site = Scripted::new().path("/", [Step::ok("fine")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let port = near(&world).port();
    let host = world.start(&world.jobs(&outcomes(&format!("[site.\"localhost:{port}\"]\ndirect = true\n")))).await;
    let one = run_one(&host, first(&format!("fetch http://localhost:{port}/"))).await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:?}");
    assert_eq!((world.sim.counts().direct, world.sim.counts().via_proxy), (1, 0));
    stop(host).await;
}

/// The control is the test above: the same address, where policy says so, is reached and counted.
#[tokio::test]
async fn r09_an_address_that_could_be_reached_directly_is_not() {
    let site = Scripted::new().path("/", [Step::ok("fine")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let port = near(&world).port();
    let more =
        format!("breaker = 10\n[job.test.stage.first]\nattempts = 1\n[site.\"localhost:{port}\"]\nproxy = \"main\"\n");
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&outcomes(&more)), clock.clone()).await;
    let url = format!("http://localhost:{port}/");
    run_one(&host, first(&format!("fetch {url}"))).await;
    assert_eq!((world.sim.counts().unknown_host, world.sim.counts().direct), (1, 0), "it went to the proxy");
    world.sim.proxy_down().await.unwrap();
    let mut progress = host.progress();
    host.operations().add("test", vec![item("two", &first(&format!("fetch {url}")))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    assert_eq!(world.sim.counts().direct, 0);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap11_the_environment_names_no_proxy_and_opens_no_way_around_one() {
    let site = Scripted::new().path("/", [Step::ok("fine")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let port = near(&world).port();
    let job = |name: &str, url: &str| {
        let more = format!("discover = \"once\"\nparams = {{ count = 1, first = \"fetch {url}\" }}\n");
        outcomes(&more).replace("job.test", &format!("job.{name}"))
    };
    let proxied = job("proxied", &format!("http://{SITE}/"));
    let direct = job("direct", &format!("http://localhost:{port}/"));
    world.jobs(&format!("{proxied}{direct}[site.\"localhost:{port}\"]\ndirect = true\n"));
    for no_proxy in ["*", ""] {
        let mut run = std::process::Command::new(program("tollgate"));
        run.arg("--file").arg(world.path("jobs.toml")).arg("--data").arg(world.path(&format!("data-{no_proxy}x")));
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            // Nobody listens there: who goes there fails.
            run.env(name, "http://127.0.0.1:9").env(name.to_lowercase(), "http://127.0.0.1:9");
        }
        run.env("NO_PROXY", no_proxy).env("no_proxy", no_proxy).args(["run", "--until-idle"]);
        let output = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let counts = world.sim.counts();
        assert_eq!((counts.via_proxy, counts.direct), (1, 1), "NO_PROXY={no_proxy}");
        world.sim.reset();
    }
}

#[tokio::test]
async fn r09_a_proxy_that_wants_other_credentials_is_down_and_no_site_is_blamed() {
    for scheme in ["http", "https"] {
        let site = Arc::new(Scripted::new().path("/", [Step::ok("fine")]));
        let world = World::of(Sim::builder().site(SITE, site).proxy_auth("user", "secret")).await;
        let host = world.start_at(&world.jobs(&outcomes("")), TestClock::new()).await;
        is_down(&host, 1, &format!("{scheme}://{SITE}/")).await;
        assert_eq!(world.sim.counts().total, 0);
        assert!(world.sim.counts().refused_auth > 0);
        stop(host).await;
    }
}

#[tokio::test]
async fn a_site_that_answers_407_itself_takes_no_proxy_down() {
    let site = Scripted::new().path("/", [Step::status(http::StatusCode::PROXY_AUTHENTICATION_REQUIRED)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&outcomes("[job.test.stage.first]\nattempts = 1\n"))).await;
    let one = run_one(&host, first(&format!("fetch http://{SITE}/"))).await;
    assert!(state(&one, "first").why().contains("answered 407"), "{one:?}");
    assert_eq!(gate(&host).await.proxies[0].reason, None);
    stop(host).await;
}

#[tokio::test]
async fn r09_a_proxy_that_hangs_uses_no_attempt() {
    // The system takes connections for it; nobody ever says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (url, scheme) in [("http", "http"), ("http", "https"), ("socks5h", "http")] {
        let world = World::new(vec![]).await;
        let url = format!("{url}://{}", silent.local_addr().unwrap());
        let file = world.file(&with_proxy(&url, "[site.\"*\"]\ntimeout = \"100ms\"\n"));
        let host = world.start_at(&file, TestClock::new()).await;
        is_down(&host, 1, &format!("{scheme}://{SITE}/")).await;
        stop(host).await;
    }
}

/// A SOCKS proxy that works, and reaches nobody.
async fn socks_reaching_nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async |mut stream: TcpStream| -> std::io::Result<()> {
        let mut bytes = [0; 512];
        let _greeting = stream.read(&mut bytes).await?;
        stream.write_all(&[5, 0]).await?;
        let _request = stream.read(&mut bytes).await?;
        // RFC 1928 section 6: host unreachable.
        stream.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn r06_a_dead_target_behind_socks_takes_no_proxy_down() {
    let world = World::new(vec![]).await;
    let url = format!("socks5h://{}", socks_reaching_nobody().await);
    let more = "[job.test.stage.first]\nattempts = 2\nbackoff = \"1ms\"\n";
    let host = world.start(&world.file(&with_proxy(&url, more))).await;
    for (key, scheme) in [("one", "http"), ("two", "https")] {
        let mut progress = host.progress();
        let dead = item(key, &first(&format!("fetch {scheme}://{SITE}/")));
        host.operations().add("test", vec![dead]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let one = detail(&host, key).await;
        let TaskState::Failed { error } = state(&one, "first") else {
            panic!("{one:?}");
        };
        assert_eq!(error.kind, ErrorKind::Transport, "{error}");
        assert_eq!(gate(&host).await.proxies[0].reason, None);
    }
    stop(host).await;
}

#[tokio::test]
async fn r09_where_the_route_is_shut_no_turn_at_the_site_is_used() {
    let world = World::new(vec![]).await;
    let more = "[site.\"*\"]\nrate = \"100/d\"\n";
    let file = world.file(&format!("[proxy.main]\nurl = {{ file = \"proxy.url\" }}\n{}", outcomes(more)));
    let clock = TestClock::new();
    let host = world.start_at(&file, clock.clone()).await;
    for nth in 1..=2 {
        // The second time it is the route again, and not the rate, that stands in the way.
        is_down(&host, nth, &format!("http://{SITE}/")).await;
        advance(&host, &clock, Duration::from_mins(1)).await;
    }
    let requests: BTreeMap<_, _> = gate(&host).await.sites.into_iter().map(|one| (one.site, one.requests)).collect();
    assert!(requests.values().all(|requests| *requests == 0), "{requests:?}");
    stop(host).await;
}
