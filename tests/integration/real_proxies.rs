//! A whole crawl through a real squid and a real tinyproxy that die in its middle: nothing is blamed, nothing is lost,
//! nothing finds another way.
//!
//! Behind the feature `real-proxies`, since they must be installed; once asked for, a missing one is a failure. The
//! chore: `cargo xtask test`, or `apt-get install squid tinyproxy-bin`.

use std::{ops::Range, sync::Arc};

use tollgate::Host;
use tollgate_core::{StageName, item::ItemStatus, task::Tally};
use tollgate_engine::operations::JobDetail;
use tollgate_sim::{
    RealKind, RealProxy,
    real_proxy::PASSWORD,
    sites::scripted::{Release, Scripted, Step},
};

use crate::world::{SITE, World, detail, gate, keys, open_items, retrying, stop, wait};

/// Pages of the site, a tree: each links to the next four that no other does.
const PAGES: usize = 60;
/// The first that are asked for under way when the proxy dies: as many as the site takes at once,
/// so that nothing else is.
const CUT: Range<usize> = 9..13;

fn path(number: usize) -> String {
    format!("/{number}")
}

/// The site. Pages of `CUT` are never answered at first; asked again, they are.
fn site(release: &Release) -> Scripted {
    let site = Scripted::new();
    for number in 0..PAGES {
        let links = (4 * number + 1..=4 * number + 4).filter(|next| *next < PAGES);
        let links: String = links.map(|next| format!("<a href={}>{next}</a>", path(next))).collect();
        let page = Step::ok(format!("<h1>{number}</h1>{links}"));
        let steps = if CUT.contains(&number) { vec![page.clone().hang_until(release), page] } else { vec![page] };
        site.set(&path(number), steps);
    }
    site
}

/// A crawl where one failure that counts would fail its item, pause its job and show.
fn jobs(scheme: &str, proxy: &RealProxy) -> String {
    let stages = ["fetch", "extract"].map(|stage| format!("[job.test.stage.{stage}]\nattempts = 1\n")).concat();
    format!(
        "[proxy.main]\nurl = {:?}\nca = \"ca.pem\"\n[site.\"*\"]\nconcurrency = {}\nrate = \"1000/s\"\nburst = 1000\n\
         [job.test]\nkind = \"backfill\"\nhandler = \"pages\"\ngrant = [\"http {SITE}\", \"artifacts\"]\n\
         discover = \"once\"\n\
         breaker = 1\nparams = {{ seeds = [\"{scheme}://{SITE}{}\"], follow = true, fields = {{ number = \"h1\" }} }}\n\
         {stages}",
        proxy.url(Some(PASSWORD)),
        CUT.len(),
        path(0)
    )
}

/// Nothing is held against the job.
fn is_blameless(job: &JobDetail) {
    assert_eq!((&job.job.pause, job.job.stages.iter().map(|stage| stage.breaker).max()), (&None, Some(0)), "{job:#?}");
    assert_eq!(job.job.items.get(&ItemStatus::Failed).copied().unwrap_or(0), 0, "{job:#?}");
}

async fn crawls(kind: RealKind, scheme: &str) {
    let (folder, release) = (tempfile::tempdir().unwrap(), Release::new());
    let world = World::new(vec![(SITE, Arc::new(site(&release)))]).await;
    let mut proxy = RealProxy::start(kind, folder.path(), &world.sim, true).await.unwrap();
    let host = world.start(&world.file(&jobs(scheme, &proxy))).await;
    let (operations, mut progress) = (host.operations().clone(), host.progress());

    let cut = u64::try_from(CUT.len()).unwrap();
    world
        .sim
        .wait_for(|counts| {
            CUT.into_iter().all(|number| counts.of(SITE, &path(number)) == 1) && counts.in_flight(SITE) == cut
        })
        .await;
    proxy.kill().await.unwrap();
    wait(&mut progress, &operations, |job| {
        is_blameless(job);
        retrying(job) >= cut
    })
    .await;
    let asked = world.sim.counts().total;
    assert!(gate(&host).await.proxies[0].reason.is_some(), "the proxy is shown as down");
    // It is tried now and then, and found down.
    let settled = progress.borrow_and_update().settled;
    progress.wait_for(|now| now.settled > settled).await.unwrap();
    assert_eq!(world.sim.counts().total, asked, "nothing finds another way");

    proxy.again().await.unwrap();
    wait(&mut progress, &operations, |job| {
        is_blameless(job);
        job.job.discovery.finished && open_items(job) == 0
    })
    .await;
    is_complete(&world, &host, scheme).await;
    release.release();
    stop(host).await;
}

/// All is done, each page was asked for as often as it had to be, by the proxy alone, and no attempt was counted.
async fn is_complete(world: &World, host: &Host, scheme: &str) {
    let counts = world.sim.counts();
    for number in 0..PAGES {
        let times = if CUT.contains(&number) { 2 } else { 1 };
        assert_eq!(counts.of(SITE, &path(number)), times, "{number}");
        let one = detail(host, &format!("{scheme}://{SITE}{}", path(number))).await;
        assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
        assert_eq!(one.item.outputs[&StageName::new("extract").unwrap()]["number"], number.to_string());
        for Tally { counted, crashes, .. } in one.item.tasks.iter().map(|task| task.tally) {
            assert_eq!((counted, crashes), (0, 0), "{one:#?}");
        }
        if CUT.contains(&number) {
            let attempts = &one.attempts[&StageName::new("fetch").unwrap()];
            let first = attempts.iter().find(|attempt| attempt.number == 1).unwrap();
            assert!(first.reason.as_ref().unwrap().contains("proxy main is down"), "{first:?}");
        }
    }
    assert_eq!(keys(host.operations(), "test").await.len(), PAGES);
    assert_eq!((counts.direct, counts.total), (0, counts.via_proxy), "nothing went around the proxy");
    let overview = host.operations().overview().await.unwrap();
    assert_eq!(overview.gate.as_ref().unwrap().proxies[0].reason, None, "it is up again");
    assert!(!format!("{overview:?}").contains(PASSWORD), "{overview:?}");
}

#[tokio::test]
async fn r06_r09_a_squid_that_dies_in_a_crawl_costs_nothing_and_the_crawl_goes_on() {
    tokio::join!(crawls(RealKind::Squid, "http"), crawls(RealKind::Squid, "https"));
}

#[tokio::test]
async fn r06_r09_a_tinyproxy_that_dies_in_a_crawl_costs_nothing_and_the_crawl_goes_on() {
    tokio::join!(crawls(RealKind::Tinyproxy, "http"), crawls(RealKind::Tinyproxy, "https"));
}
