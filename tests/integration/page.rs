//! The overview page, in a real browser.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::world::{World, first, item, outcomes, run_items, stop};

/// Where Debian's package puts it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Loads a page in headless Chromium, runs its scripts, and gives what it has become.
fn dump(url: &str, profile: &Path) -> String {
    assert!(Path::new(CHROMIUM).exists(), "Chromium isn't there: run `cargo xtask test`, which installs it");
    let output = Command::new(CHROMIUM)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_shows_jobs_counts_errors_and_liveness() {
    let world = World::new(vec![]).await;
    let host = world.start(&world.jobs(&outcomes("[job.test.stage.first]\nattempts = 1\n"))).await;
    let evil = "permanent"; // The item's key below is what a hostile site might have for an address.
    run_items(&host, vec![item("<script>alert(1)</script>", &first(evil)), item("fine", &json!({}))]).await;
    let (url, profile) = (format!("http://{}/", host.listen()), world.path("profile"));
    let page = tokio::task::spawn_blocking(move || dump(&url, &profile)).await.unwrap();
    assert!(page.contains("id=\"job-test\""), "{page}");
    assert!(page.contains("Running, process"), "{page}");
    assert!(page.contains("<th scope=\"row\">first</th>"), "{page}");
    assert!(page.contains("asked to: permanent"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert(1)"), "texts are escaped: {page}");
    stop(host).await;
}
