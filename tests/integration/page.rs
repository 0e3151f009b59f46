//! The overview page, in a real browser.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use http::{StatusCode, header::CONTENT_TYPE};
use serde_json::json;
use tollgate_core::Clock as _;
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::{
    clock::TestClock,
    paying::{MODELS, SERVICES, leave_alone},
    world::{SITE, World, first, item, outcomes, run_items, stop},
};

/// Names under which Chromium is installed; `cargo xtask test` looks there too, and may install it.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The browser: what CHROME names, or the first that runs.
fn browser() -> String {
    let named = std::env::var("CHROME").ok();
    let mut names = named.into_iter().chain(BROWSERS.map(str::to_owned));
    let runs = |name: &String| {
        let version = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    names.find(runs).expect("no browser: install Chromium, or name one in CHROME; `cargo xtask test` says more")
}

/// Loads a page in the browser, runs its scripts, and gives what it has become.
fn dump(url: &str, profile: &Path, more: &[String]) -> String {
    let output = Command::new(browser())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(more)
        .args(["--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_the_overview_shows_jobs_counts_errors_and_liveness() {
    let world = World::new(vec![]).await;
    let jobs =
        format!("[budget]\nday = \"0 USD\"\n{MODELS}{SERVICES}{}", outcomes("[job.test.stage.first]\nattempts = 1\n"));
    leave_alone(&world.path("data"), TestClock::new().now()).await;
    let host = world.start(&world.jobs(&jobs)).await;
    let evil = "permanent"; // The item's key below is what a hostile site might have for an address.
    run_items(&host, vec![item("<script>alert(1)</script>", &first(evil)), item("fine", &json!({}))]).await;
    let (url, profile) = (format!("http://{}/", host.listen()), world.path("profile"));
    let page = tokio::task::spawn_blocking(move || dump(&url, &profile, &[])).await.unwrap();
    assert!(page.contains("id=\"job-test\""), "{page}");
    assert!(page.contains("Running, process"), "{page}");
    assert!(page.contains("<th scope=\"row\">first</th>"), "{page}");
    assert!(page.contains("asked to: permanent"), "{page}");
    assert!(
        page.contains("id=\"budgets\"") && page.contains("<th scope=\"row\">everything that is paid</th>"),
        "{page}"
    );
    assert!(page.contains("everything that is paid for this day is spent (0.00 USD of 0.00 USD)"), "{page}");
    for name in ["model bare", "search web", "speech ear"] {
        assert!(page.contains(&format!("{name} is left alone for another ")), "{page}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert(1)"), "texts are escaped: {page}");
    stop(host).await;
}

/// What a host answers with at `path`.
pub(crate) fn get(listen: std::net::SocketAddr, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(listen).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// An open page keeps what the host last said; here the page is a host's own, and nobody answers for it any more.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_d02_an_open_page_says_that_the_host_is_gone() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes(""))).await;
    let listen = host.listen();
    let of_host = |path: &'static str| tokio::task::spawn_blocking(move || get(listen, path));
    let (page, script) = (of_host("/").await.unwrap(), of_host("/live.js").await.unwrap());
    stop(host).await;
    assert!(page.contains("Running, process"), "{page}");
    let with_type = |body: String, media: &'static str| Step::ok(body).header(CONTENT_TYPE, media);
    let left = Scripted::new()
        .path("/", [with_type(page, "text/html")])
        .path("/live.js", [with_type(script, "text/javascript")])
        .path("/events", [Step::status(StatusCode::BAD_GATEWAY)]);
    let left_behind = World::new(vec![(SITE, Arc::new(left))]).await;
    let more = [format!("--proxy-server={}", left_behind.sim.proxy_url()), "--virtual-time-budget=10000".to_owned()];
    let profile = world.path("profile");
    let dumped = tokio::task::spawn_blocking(move || dump(&format!("http://{SITE}/"), &profile, &more)).await.unwrap();
    assert!(dumped.contains("No word from the host"), "{dumped}");
    assert!(!dumped.contains("Running, process"), "{dumped}");
    assert!(dumped.contains("id=\"job-test\""), "the rest stays: {dumped}");
}
