//! Bodies of a guest's own client, and what it may hold: bounded on the way out, kept first on the way in.

use std::sync::Arc;

use tollgate_core::{
    Digest,
    task::{ErrorKind, TaskState},
};
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

use super::{ONCE, own_client, run, said};
use crate::world::{SITE, World, detail, state, stop};

#[tokio::test]
async fn m05_a_body_that_it_reads_is_kept_first_and_whole() {
    let site = Scripted::new().path("/", [Step::ok("<p>raw</p>")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&own_client(""))).await;
    assert_eq!(said(&host, "whole", &format!("get http://{SITE}/")).await, "200 <p>raw</p>");
    assert_eq!(said(&host, "half", &format!("half http://{SITE}/")).await, "<p>");
    for key in ["whole", "half"] {
        let kept = detail(&host, key).await.artifacts;
        let kept: Vec<_> = kept.iter().map(|kept| (kept.artifact.name.as_str(), kept.artifact.digest)).collect();
        assert_eq!(kept, [("raw-1", Digest::of(b"<p>raw</p>"))], "{key}");
    }
    stop(host).await;
}

#[tokio::test]
async fn a_body_that_it_sends_arrives_whole() {
    let site = Arc::new(Scripted::new().path("/", [Step::ok("got it")]));
    let world = World::new(vec![(SITE, site.clone())]).await;
    let host = world.start(&world.jobs(&own_client(ONCE))).await;
    assert_eq!(said(&host, "one", &format!("post 1000000 http://{SITE}/")).await, "200 got it");
    assert_eq!(site.seen("/")[0].http.body().len(), 1_000_000);
    stop(host).await;
}

#[tokio::test]
async fn trap18_a_body_without_end_is_bounded_and_not_sent() {
    let site = Scripted::new().path("/", [Step::ok("got it")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&own_client(ONCE))).await;
    for (key, action) in [("endless", "endless"), ("too-large", "post 140000000")] {
        let one = run(&host, key, &format!("{action} http://{SITE}/")).await;
        let TaskState::Failed { error } = state(&one, "ask") else { panic!("{one:?}") };
        assert_eq!(error.kind, ErrorKind::Limit, "{error}");
        assert!(error.message.contains("more than 134217728 bytes at once"), "{error}");
    }
    let one = run(&host, "abandoned", &format!("abandoned http://{SITE}/")).await;
    assert!(state(&one, "ask").why().contains("HttpProtocolError"), "{one:?}");
    assert_eq!(world.sim.counts().total, 0);
    stop(host).await;
}

#[tokio::test]
async fn trap18_requests_and_fields_without_end_are_bounded() {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("x").hang_until(&release)]).path("/fine", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let host = world.start(&world.jobs(&own_client(ONCE))).await;
    for action in [format!("without-end http://{SITE}/"), "fields .".to_owned()] {
        let one = run(&host, &action, &action).await;
        let TaskState::Failed { error } = state(&one, "ask") else { panic!("{one:?}") };
        assert_eq!(error.kind, ErrorKind::Limit, "{error}");
        assert!(error.message.contains("2000 handles"), "{error}");
    }
    assert!(world.sim.counts().hosts.get(SITE).is_none_or(|host| host.in_flight_max <= 4), "the site's limit holds");
    assert_eq!(said(&host, "after", &format!("get http://{SITE}/fine")).await, "200 x", "nothing of it is left");
    stop(host).await;
}
