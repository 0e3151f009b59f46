//! The handler `pages`, through the real host: what it asks for, and how often.

use std::sync::Arc;

use serde_json::json;
use tollgate_core::item::ItemStatus;
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

use crate::world::{SITE, World, detail, open_items, stop, wait};

#[tokio::test]
async fn a_page_that_a_link_led_to_is_not_asked_for_again_when_a_sitemap_dates_it() {
    let release = Release::new();
    let sitemap = format!("<urlset><url><loc>http://{SITE}/a</loc><lastmod>2026-01-02</lastmod></url></urlset>");
    let site = Scripted::new()
        .path("/", [Step::ok("<a href=/a>a</a>")])
        .path("/a", [Step::ok("<h1>A</h1>")])
        .path("/sitemap.xml", [Step::ok(sitemap).hang_until(&release)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = format!(
        "[job.test]\nkind = \"backfill\"\nhandler = \"pages\"\ngrant = [\"http {SITE}\", \"artifacts\"]\n\
         discover = \"once\"\n\
         params = {{ seeds = [\"http://{SITE}/\"], sitemap = [\"http://{SITE}/sitemap.xml\"], follow = true }}\n"
    );
    let host = world.start(&world.jobs(&jobs)).await;
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    wait(&mut progress, &operations, |job| job.job.items.get(&ItemStatus::Done) == Some(&2)).await;
    release.release();
    wait(&mut progress, &operations, |job| job.job.discovery.finished && open_items(job) == 0).await;
    let counts = world.sim.counts();
    assert_eq!((counts.of(SITE, "/a"), counts.of(SITE, "/sitemap.xml")), (1, 1));
    let page = detail(&host, &format!("http://{SITE}/a")).await;
    assert_eq!(page.item.data["depth"], json!(1), "what it was fetched by stays");
    stop(host).await;
}
