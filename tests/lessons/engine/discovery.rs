//! Discovery in the engine: it gives up, waits as it asked to, and is tried anew where a person says so (Q07).

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, Semaphore};
use tollgate_core::{Clock, pause::PauseReason};

use crate::{
    clock::TestClock,
    faulty::{Fault, Faulty},
    world::{World, advance, outcomes, rest, stop, wait},
};

#[tokio::test]
async fn q07_a_discovery_that_can_never_succeed_pauses_the_job_and_idle_ends() {
    let world = World::new(vec![]).await;
    let jobs = outcomes("discover = \"once\"\nparams = { count = 1, discovery = \"permanent\" }\n");
    let file = world.jobs(&jobs);
    world.host(&file).await.until_idle().start().await.unwrap().wait().await.unwrap();
    let host = world.start(&file).await;
    let job = host.operations().job("test").await.unwrap();
    let pause = job.job.pause.unwrap();
    assert_eq!(pause.reason, PauseReason::Discovery);
    assert!(pause.evidence.contains("asked to: permanent"), "{pause:?}");
    stop(host).await;
}

#[tokio::test]
async fn q07_a_discovery_that_keeps_trapping_gives_up_and_a_resume_tries_anew() {
    let world = World::new(vec![]).await;
    let clock = TestClock::new();
    let jobs = outcomes("discover = \"once\"\nparams = { count = 1, discovery = \"panic\" }\n");
    let host = world.start_at(&world.jobs(&jobs), clock.clone()).await;
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    for errors in 1..=5 {
        wait(&mut progress, &operations, |job| job.job.discovery.errors == errors).await;
        advance(&host, &clock, Duration::from_hours(1)).await;
    }
    let job = operations.job("test").await.unwrap().job;
    assert_eq!(job.pause.unwrap().reason, PauseReason::Discovery);
    operations.resume("test").await.unwrap();
    wait(&mut progress, &operations, |job| job.job.discovery.errors == 1).await;
    assert_eq!(operations.job("test").await.unwrap().job.pause, None);
    stop(host).await;
}

#[tokio::test]
async fn q07_a_discovery_waits_as_it_asked_to_and_uses_no_try() {
    let world = World::new(vec![]).await;
    let clock = TestClock::new();
    let jobs = outcomes("discover = \"once\"\nparams = { count = 1, discovery = \"retry-later 7200000\" }\n");
    let host = world.start_at(&world.jobs(&jobs), clock.clone()).await;
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    wait(&mut progress, &operations, |job| job.job.discovery.last_error.is_some()).await;
    let discovery = operations.job("test").await.unwrap().job.discovery;
    assert!(discovery.due.unwrap() >= clock.now().after(Duration::from_hours(2)));
    assert_eq!(discovery.errors, 0);
    stop(host).await;
}

#[tokio::test]
async fn q07_a_resume_while_a_page_is_being_told_tries_anew_all_the_same() {
    let world = World::new(vec![]).await;
    let (clock, store) = (TestClock::new(), Faulty::open(&world.path("data")));
    let jobs = outcomes("discover = \"once\"\nparams = { count = 1, discovery = \"retry-later 7200000\" }\n");
    let builder = world.host(&world.jobs(&jobs)).await.store(store.clone());
    let host = builder.clock(Arc::new(clock.clone())).start().await.unwrap();
    let (operations, mut progress) = (host.operations().clone(), host.progress());
    wait(&mut progress, &operations, |job| job.job.discovery.last_error.is_some()).await;
    rest(&host, &clock).await;
    let (settled, told) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    store.set(Some(Fault::PageTold { settled: settled.clone(), told: told.clone() }));
    // Past its wait, and what that is longer by.
    clock.advance(Duration::from_hours(24));
    settled.notified().await;
    // What is told of it is of before.
    operations.resume("test").await.unwrap();
    assert_eq!(operations.job("test").await.unwrap().job.discovery.due, None);
    told.add_permits(1);
    let third = progress.wait_for(|so_far| so_far.pages == 3);
    tokio::time::timeout(Duration::from_secs(60), third).await.expect("nobody tries").unwrap();
    stop(host).await;
}
