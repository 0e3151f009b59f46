//! R09 and trap 16: what a site's policy says of proxies, headers and jobs, as a site and a job see it.

use std::{fs, sync::Arc, time::Duration};

use http::StatusCode;
use tollgate_core::{
    item::ItemStatus,
    task::{LaterKind, TaskState},
};
use tollgate_sim::{
    Sim,
    sites::scripted::{Scripted, Step},
};

use crate::{
    clock::TestClock,
    world::{
        SITE, World, advance, detail, detail_of, first, gate, item, open_items, outcomes, retrying, run_items, state,
        stop, wait,
    },
};

fn fetch(host: &str) -> serde_json::Value {
    first(&format!("fetch http://{host}/"))
}

#[tokio::test]
async fn trap16_a_sites_headers_are_sent_to_it_alone_and_a_rotated_secret_is_read_again() {
    let near = Arc::new(Scripted::new().path("/", [Step::redirect(StatusCode::FOUND, "http://far.example/")]));
    let far = Arc::new(Scripted::new().path("/", [Step::ok("x")]));
    let world = World::new(vec![(SITE, near.clone()), ("far.example", far.clone())]).await;
    let jobs = outcomes(&format!(
        "[site.\"*\"]\nheaders = {{ Accept-Language = \"en\" }}\n\
         [site.\"{SITE}\"]\nheaders = {{ Authorization = {{ file = \"token\" }} }}\n"
    ));
    fs::write(world.path("token"), "Bearer first-token\n").unwrap();
    let host = world.start(&world.jobs(&jobs)).await;
    run_items(&host, vec![item("one", &fetch(SITE))]).await;
    fs::write(world.path("token"), "Bearer second-token\n").unwrap();
    run_items(&host, vec![item("two", &fetch(SITE))]).await;
    let sent = |site: &Scripted, name: &str| -> Vec<Option<String>> {
        let value = |request: &tollgate_sim::Request| {
            request.http.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        site.seen("/").iter().map(value).collect()
    };
    let tokens = ["Bearer first-token", "Bearer second-token"].map(|token| Some(token.to_owned()));
    assert_eq!(sent(&near, "authorization"), tokens);
    assert_eq!(sent(&far, "authorization"), [None, None], "the secret stays with its site");
    assert_eq!(sent(&far, "accept-language"), [Some("en".to_owned()), Some("en".to_owned())]);
    assert_eq!(detail(&host, "two").await.item.status, ItemStatus::Done);
    stop(host).await;
}

#[tokio::test]
async fn r06_a_header_without_its_secret_waits_for_it_and_nothing_is_sent_without() {
    let site = Arc::new(Scripted::new().path("/", [Step::ok("x")]));
    let world = World::new(vec![(SITE, site.clone())]).await;
    let headers = "headers = { Authorization = { file = \"token\" } }\n";
    let clock = TestClock::new();
    let host = world.start_at(&world.jobs(&outcomes(&format!("[site.\"{SITE}\"]\n{headers}"))), clock.clone()).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![item("one", &fetch(SITE))]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let one = detail(&host, "one").await;
    let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:?}") };
    assert_eq!(reason.kind, LaterKind::Down);
    assert!(reason.message.contains("write it to the file token"), "{}", reason.message);
    assert_eq!(world.sim.counts().of_host(SITE), 0);
    fs::write(world.path("token"), "Bearer here").unwrap();
    advance(&host, &clock, Duration::from_secs(40)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(site.seen("/").len(), 1);
    stop(host).await;
}

#[tokio::test]
async fn a_site_that_is_for_some_jobs_is_denied_to_the_others_with_the_line_to_add() {
    let site = Scripted::new().path("/", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let other = outcomes("").replace("job.test", "job.other");
    let host =
        world.start(&world.jobs(&format!("{}{other}[site.\"{SITE}\"]\njobs = [\"other\"]\n", outcomes("")))).await;
    run_items(&host, vec![item("one", &fetch(SITE))]).await;
    let why = state(&detail(&host, "one").await, "first").why();
    assert!(why.contains("site.example is for other; add \"test\" to `jobs` of [site.\"site.example\"]"), "{why}");
    let mut progress = host.progress();
    host.operations().add("other", vec![item("one", &fetch(SITE))]).await.unwrap();
    crate::world::wait_of("other", &mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(detail_of(&host, "other", "one").await.item.status, ItemStatus::Done);
    assert_eq!(world.sim.counts().of_host(SITE), 1);
    stop(host).await;
}

/// Two proxies of the same small internet, and how often each was asked.
async fn two_proxies(rotate: &str, second_is_up: bool, requests: usize) -> (u64, u64) {
    let site = || Arc::new(Scripted::new().path("/", [Step::ok("x")]));
    let world = World::new(vec![(SITE, site())]).await;
    let second = Sim::builder().site(SITE, site()).start().await.unwrap();
    if !second_is_up {
        second.proxy_down().await.unwrap();
    }
    let first = second.proxy_url();
    let more =
        format!("[proxy.first]\nurl = {first:?}\n[site.\"*\"]\nproxy = [\"first\", \"main\"]\nrotate = \"{rotate}\"\n");
    let host = world.start(&world.jobs(&(outcomes("") + &more))).await;
    for number in 0..requests {
        run_items(&host, vec![item(&number.to_string(), &fetch(SITE))]).await;
        let one = detail(&host, &number.to_string()).await;
        assert_eq!(one.item.status, ItemStatus::Done, "{rotate}, {second_is_up}: {one:?}");
    }
    let down = gate(&host).await.proxies.into_iter().filter(|proxy| proxy.down_until.is_some()).count();
    assert_eq!(down, usize::from(!second_is_up));
    stop(host).await;
    (second.counts().of_host(SITE), world.sim.counts().of_host(SITE))
}

#[tokio::test]
async fn r09_several_proxies_take_turns_and_one_that_is_down_is_passed_over() {
    assert_eq!(two_proxies("request", true, 4).await, (2, 2));
    assert_eq!(two_proxies("failover", true, 3).await, (3, 0));
    assert_eq!(two_proxies("failover", false, 3).await, (0, 3));
    let (first, second) = two_proxies("host", true, 3).await;
    assert!((first, second) == (3, 0) || (first, second) == (0, 3), "one host name, one proxy: {first}, {second}");
}
