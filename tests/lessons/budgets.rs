//! A03 for proxies: a spent budget pauses the job with its reason until the next day, and outlives the host.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tollgate_core::{budget::Size, item::ItemStatus, pause::PauseReason};
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::{
    clock::TestClock,
    world::{SITE, World, advance, detail, first, gate, item, open_items, outcomes, stop, wait},
};

#[tokio::test]
async fn a03_a_spent_budget_pauses_the_job_until_the_next_day_and_outlives_the_host() {
    let endless = |_: &tollgate_sim::Request, before: u64| match before {
        0 => Step::status(StatusCode::OK).endless(vec![b'x'; 16 << 10]),
        _ => Step::ok("fine"),
    };
    let world = World::new(vec![(SITE, Arc::new(Scripted::new().respond("/", endless)))]).await;
    let proxy = format!("[proxy.main]\nurl = {:?}\nbudget = {{ day = \"100 kB\" }}\n", world.sim.proxy_url());
    let file = world.file(&format!("{proxy}{}", outcomes("breaker = 1\n[job.test.stage.first]\nconcurrency = 1\n")));
    let clock = TestClock::new();
    let host = world.start_at(&file, clock.clone()).await;
    let mut progress = host.progress();
    let fetch = || first(&format!("fetch http://{SITE}/"));
    host.operations().add("test", vec![item("one", &fetch()), item("two", &fetch())]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    assert_eq!(pause.reason, PauseReason::Budget, "{pause:?}");
    assert!(pause.until.is_some() && pause.evidence.contains("it goes on at"), "{pause:?}");
    assert_eq!(detail(&host, "one").await.item.tasks[0].tally.counted, 0, "no attempt is used");
    let spent = gate(&host).await.spending.remove(0);
    assert!(spent.bytes_today >= 100_000, "{}", Size(spent.bytes_today));
    let asked = world.sim.counts().of_host(SITE);
    stop(host).await;

    let host = world.start_at(&file, clock.clone()).await;
    assert_eq!(gate(&host).await.spending.remove(0), spent, "what was spent is kept");
    let mut progress = host.progress();
    host.operations().resume("test").await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    assert_eq!(world.sim.counts().of_host(SITE), asked, "a person who resumes too early has nothing sent");
    advance(&host, &clock, Duration::from_hours(25)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(detail(&host, "two").await.item.status, ItemStatus::Done);
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none(), "it went on by itself");
    stop(host).await;
}
