//! S02: a handler reaches a local service through its named endpoint, and waits for it where it is down.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};
use tollgate_core::task::{LaterKind, TaskState};
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::{
    clock::TestClock,
    world::{SITE, World, detail, first, item, open_items, outcomes, pass, retrying, run_one, state, stop, wait},
};

#[tokio::test]
async fn s02_a_service_that_is_down_is_waited_for_and_then_all_is_done() {
    // Taken, and not listened on yet.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.83.79.3:0".parse().unwrap()).unwrap();
    let at = nobody.local_addr().unwrap();
    let (world, clock) = (World::new(vec![]).await, TestClock::new());
    let jobs = outcomes(&format!(
        "breaker = 1\n[job.test.stage.first]\nattempts = 1\n[endpoint.ibkr]\nurl = \"http://{at}\"\n"
    ));
    let host = world.start_at(&world.jobs(&jobs), clock.clone()).await;
    let mut progress = host.progress();
    let items = ["one", "two", "three"].map(|key| item(key, &first("fetch endpoint://ibkr/quotes")));
    host.operations().add("test", items.into()).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 3).await;
    for key in ["one", "two", "three"] {
        let one = detail(&host, key).await;
        let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:?}") };
        assert_eq!(reason.kind, LaterKind::Down);
        assert!(reason.message.starts_with("endpoint ibkr is down: "), "{}", reason.message);
        assert_eq!(one.item.tasks[0].tally.counted, 0, "no attempt is used");
    }
    assert!(host.operations().job("test").await.unwrap().job.pause.is_none(), "no breaker is moved");
    let listener = nobody.listen(8).unwrap();
    tokio::spawn(async move {
        while let Ok((mut wire, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = wire.read(&mut head).await;
            let _ = wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
        }
    });
    // One request tries, and the others may have to wait for what comes of it.
    pass(&host, &clock, Duration::from_secs(10), |job| open_items(job) == 0).await;
    for key in ["one", "two", "three"] {
        let one = detail(&host, key).await;
        assert!(matches!(state(&one, "first"), TaskState::Done), "{one:?}");
    }
    stop(host).await;
}

#[tokio::test]
async fn s02_there_is_no_other_way_to_a_service() {
    let service = Scripted::new().path("/", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(service))]).await;
    let at = world.sim.direct_addr(SITE).unwrap();
    let jobs = outcomes(&format!("[job.test.stage.first]\nattempts = 1\n[endpoint.near]\nurl = \"http://{at}\"\n"));
    let host = world.start(&world.jobs(&jobs)).await;
    let one = run_one(&host, first(&format!("fetch-past endpoint://nera/ http://{at}/"))).await;
    assert!(matches!(state(&one, "first"), TaskState::Failed { .. }), "{one:?}");
    assert_eq!(world.sim.counts().of_host(SITE), 0);
    stop(host).await;
}

#[tokio::test]
async fn s02_a_guest_s_own_client_reaches_an_endpoint_by_its_name() {
    let service = Scripted::new().path("/v1/quotes", [Step::ok("quotes")]);
    let site = Scripted::new().path("/", [Step::redirect(StatusCode::FOUND, "endpoint://near/quotes")]);
    let world = World::new(vec![("service.example", Arc::new(service)), (SITE, Arc::new(site))]).await;
    let at = world.sim.direct_addr("service.example").unwrap();
    let jobs = format!(
        "[job.test]\nkind = \"backfill\"\nhandler = \"own-client\"\ngrant = [\"http {SITE} endpoint:near\"]\n\
         [job.test.stage.ask]\nattempts = 1\n[endpoint.near]\nurl = \"http://{at}/v1\"\n"
    );
    let host = world.start(&world.jobs(&jobs)).await;
    let mut progress = host.progress();
    let asking = |key: &str, action: &str| item(key, &serde_json::json!({ "ask": action }));
    let items = vec![asking("named", "get endpoint://near/quotes"), asking("led", &format!("refused http://{SITE}/"))];
    host.operations().add("test", items).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let text = |one: tollgate_store::ItemDetail| format!("{:?}", one.item.outputs);
    assert!(text(detail(&host, "named").await).contains("200 quotes"));
    assert!(text(detail(&host, "led").await).contains("HttpRequestDenied"));
    assert_eq!(world.sim.counts().of_host("service.example"), 1);
    stop(host).await;
}
