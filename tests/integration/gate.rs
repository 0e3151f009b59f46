//! The gate, through the real host and a real handler: redirects, sizes, grants.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use tollgate_core::{item::ItemStatus, task::TaskState};
use tollgate_egress::Denial;
use tollgate_sim::{
    inside,
    sites::scripted::{Scripted, Step},
};

use crate::{
    page,
    program::ok,
    world::{SITE, World, detail, first, gate, item, open_items, outcomes, run_items, run_one, state, stop, wait_of},
};

#[tokio::test]
async fn trap12_a_page_can_not_send_us_inside() {
    let elsewhere = ["http://localhost:9/", "http://direct.example/"].map(ToOwned::to_owned);
    let targets: Vec<String> = inside::urls(80).into_iter().chain(elsewhere).collect();
    let site = targets.iter().enumerate().fold(Scripted::new(), |site, (number, target)| {
        site.path(&format!("/{number}"), [Step::redirect(StatusCode::FOUND, target)])
    });
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = outcomes(
        "breaker = 100\n[job.test.stage.first]\nattempts = 1\n[site.\"localhost:9\"]\ndirect = true\n\
         [site.\"direct.example\"]\ndirect = true\n",
    );
    let host = world.start(&world.jobs(&jobs)).await;
    let items =
        (0..targets.len()).map(|number| item(&format!("{number}"), &first(&format!("fetch http://{SITE}/{number}"))));
    run_items(&host, items.collect()).await;
    for (number, target) in targets.iter().enumerate() {
        let one = detail(&host, &number.to_string()).await;
        let TaskState::Failed { error } = state(&one, "first") else {
            panic!("{target}: {one:?}");
        };
        assert!(error.message.contains("denied"), "{target}: {error}");
    }
    assert_eq!(world.sim.counts().total, targets.len() as u64, "only the first hops were sent");
    stop(host).await;
}

#[tokio::test]
async fn trap17_a_host_that_is_not_granted_is_denied_with_the_line_to_add() {
    let site = Scripted::new().path("/", [Step::ok("x")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = "[job.test]\nkind = \"backfill\"\nhandler = \"outcomes\"\n\
        grant = [\"http other.example\", \"artifacts\", \"state\"]\n[job.test.stage.first]\nattempts = 1\n";
    let host = world.start(&world.jobs(jobs)).await;
    let one = run_one(&host, first(&format!("fetch http://{SITE}/"))).await;
    let TaskState::Failed { error } = state(&one, "first") else {
        panic!("{one:?}");
    };
    assert!(error.message.contains(&format!("add \"http {SITE}\"")), "{error}");
    assert_eq!(world.sim.counts().total, 0);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap17_what_is_denied_is_counted_by_why_and_shown_whichever_way_it_was_asked_for() {
    let site = Scripted::new().path("/inside", [Step::redirect(StatusCode::FOUND, "http://127.0.0.1/")]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = outcomes("breaker = 10\n[job.test.stage.first]\nattempts = 1\n")
        + "[job.own]\nkind = \"backfill\"\nhandler = \"own-client\"\ngrant = [\"http other.example\"]\n\
           [job.tools]\nkind = \"backfill\"\nhandler = \"tooled\"\ngrant = [\"tools\", \"http\", \"artifacts\"]\n\
           [job.tools.stage.run]\nattempts = 1\n";
    let host = world.start(&world.jobs(&jobs)).await;
    assert_eq!(gate(&host).await.denials, []);
    let of = |key: &str, url: &str| item(key, &first(&format!("fetch {url}")));
    run_items(&host, vec![of("inside", &format!("http://{SITE}/inside")), of("local", "http://10.0.0.1/")]).await;
    let own = item("one", &json!({"ask": format!("refused http://{SITE}/")}));
    let tool = item("one", &json!({"tool": "other", "args": [], "url": null, "then": null}));
    for (job, new) in [("own", own), ("tools", tool)] {
        let mut progress = host.progress();
        host.operations().add(job, vec![new]).await.unwrap();
        wait_of(job, &mut progress, host.operations(), |job| open_items(job) == 0).await;
    }
    let counted: Vec<_> = gate(&host).await.denials.into_iter().map(|count| (count.why, count.times)).collect();
    assert_eq!(counted, [(Denial::NotGranted, 1), (Denial::Local, 1), (Denial::Redirect, 1), (Denial::Tool, 1)]);
    let said = "denied by policy: 1 not granted, 1 to this machine or its network, 1 redirected to where no page may \
                send us, 1 tools";
    let listen = host.listen();
    let page = tokio::task::spawn_blocking(move || page::get(listen, "/")).await.unwrap();
    assert!(page.contains(said), "{page}");
    let status = ok(&world, &["status"]).await;
    assert!(status.contains(&format!("since the start: {said}")), "{status}");
    let json: serde_json::Value = serde_json::from_str(&ok(&world, &["status", "-o", "json"]).await).unwrap();
    assert_eq!(json["gate"]["denials"][0], json!({"why": "not-granted", "times": 1}));
    stop(host).await;
}

#[tokio::test]
async fn https_sizes_and_truncated_bodies_are_as_the_policy_says() {
    let site = Scripted::new()
        .path("/fine", [Step::ok("fine")])
        .path("/endless", [Step::status(StatusCode::OK).endless(vec![b'x'; 4_096])])
        .path("/cut", [Step::status(StatusCode::OK).truncated("half", 8)]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let jobs = outcomes("breaker = 100\n[job.test.stage.first]\nattempts = 1\n[site.\"*\"]\nbody-max = \"100 kB\"\n");
    let host = world.start(&world.jobs(&jobs)).await;
    let of = |path: &str| item(path, &first(&format!("fetch https://{SITE}{path}")));
    run_items(&host, vec![of("/fine"), of("/endless"), of("/cut")]).await;
    assert_eq!(detail(&host, "/fine").await.item.status, ItemStatus::Done);
    let why = async |path| state(&detail(&host, path).await, "first").why();
    assert!(why("/endless").await.contains("larger than 100000 bytes"), "{}", why("/endless").await);
    assert!(why("/cut").await.contains("broke off"), "{}", why("/cut").await);
    stop(host).await;
}

#[tokio::test]
async fn the_limits_of_a_site_hold_for_fetch_all() {
    let release = tollgate_sim::sites::scripted::Release::new();
    let slow = (0..6)
        .fold(Scripted::new(), |site, number| site.path(&format!("/{number}"), [Step::ok("x").hang_until(&release)]));
    let world = World::new(vec![(SITE, Arc::new(slow))]).await;
    let host = world.start(&world.jobs(&outcomes("[site.\"*\"]\nconcurrency = 2\n"))).await;
    let urls: Vec<String> = (0..6).map(|number| format!("http://{SITE}/{number}")).collect();
    let items = vec![item("one", &json!({"first": format!("fetch-all {}", urls.join(" "))}))];
    host.operations().add("test", items).await.unwrap();
    world.sim.wait_for(|counts| counts.in_flight(SITE) == 2).await;
    release.release();
    run_items(&host, vec![]).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.outputs.values().next().unwrap()["text"], "6");
    assert_eq!(world.sim.counts().hosts[SITE].in_flight_max, 2);
    stop(host).await;
}

#[tokio::test]
async fn a_post_that_is_redirected_becomes_what_the_status_says() {
    let site = Scripted::new()
        .path("/303", [Step::redirect(StatusCode::SEE_OTHER, "/get")])
        .path("/302", [Step::redirect(StatusCode::FOUND, "/get")])
        .path("/307", [Step::redirect(StatusCode::TEMPORARY_REDIRECT, "/post")])
        .path("/get", [Step::ok("x")])
        .path("/post", [Step::ok("x")]);
    let site = Arc::new(site);
    let world = World::new(vec![(SITE, site.clone())]).await;
    let host = world.start(&world.jobs(&outcomes(""))).await;
    let of = |status: &str| item(status, &first(&format!("post http://{SITE}/{status} hello")));
    run_items(&host, vec![of("303"), of("302"), of("307")]).await;
    let seen = |path: &str| -> Vec<(String, String)> {
        let body = |request: &tollgate_sim::Request| String::from_utf8(request.http.body().to_vec()).unwrap();
        site.seen(path).iter().map(|request| (request.http.method().to_string(), body(request))).collect()
    };
    let got = ("GET".to_owned(), String::new());
    assert_eq!(seen("/get"), [got.clone(), got]);
    assert_eq!(seen("/post"), [("POST".to_owned(), "hello".to_owned())]);
    assert!(site.seen("/get").iter().all(|request| !request.http.headers().contains_key("content-type")));
    stop(host).await;
}
