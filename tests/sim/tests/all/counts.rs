//! Counts: what was asked, how it came, what it was answered; over the admin endpoint too.

use crate::client::{Client, Connection, get, request};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use std::sync::Arc;
use tokio::net::TcpStream;
use tollgate_sim::sites::scripted::{Release, Scripted, Step};
use tollgate_sim::{Counts, Sim};

const HOST: &str = "one.example";

async fn sim() -> Sim {
    let site = Scripted::new()
        .path("/", [Step::ok("12345")])
        .path("/busy", [Step::status(StatusCode::TOO_MANY_REQUESTS), Step::ok("now")])
        .path("/gone", [Step::hang_up()])
        .path("/half", [Step::status(StatusCode::OK).truncated("1234", 8)]);
    Sim::builder().site(HOST, Arc::new(site)).start().await.unwrap()
}

async fn admin(sim: &Sim, method: Method, path: &str, body: &'static str) -> crate::client::Reply {
    let stream = TcpStream::connect(sim.admin_addr()).await.unwrap();
    let request = request(method, "localhost", path).map(|_| Full::new(Bytes::from_static(body.as_bytes())));
    Connection::over(stream).await.unwrap().send(request).await.unwrap()
}

#[tokio::test]
async fn requests_are_told_apart_by_the_way_they_came() {
    let sim = sim().await;
    let client = Client::new(&sim);
    client.get("http://one.example/").await.unwrap();
    client.get("https://one.example/").await.unwrap();
    let counts = sim.counts();
    assert_eq!((counts.total, counts.via_proxy, counts.direct), (2, 2, 0));

    // The naked port takes both schemes.
    let naked = sim.direct_addr(HOST).unwrap();
    let mut plain = Connection::over(TcpStream::connect(naked).await.unwrap()).await.unwrap();
    plain.send(get(HOST, "/")).await.unwrap();
    let stream = client.under_tls(HOST, TcpStream::connect(naked).await.unwrap()).await.unwrap();
    Connection::over(stream).await.unwrap().send(get(HOST, "/")).await.unwrap();
    let counts = sim.counts();
    assert_eq!((counts.total, counts.via_proxy, counts.direct), (4, 2, 2));
    let path = &counts.hosts[HOST].paths["/"];
    assert_eq!((path.via_proxy, path.direct, path.total()), (2, 2, 4));
}

#[tokio::test]
async fn a_path_has_its_methods_statuses_and_bytes() {
    let sim = sim().await;
    let client = Client::new(&sim);
    for method in [Method::GET, Method::HEAD, Method::POST] {
        let target = "http://one.example/?q=1";
        client.plain().await.unwrap().send(request(method, HOST, target)).await.unwrap();
    }
    for _ in 0..3 {
        client.get("http://one.example/busy").await.unwrap();
    }
    assert!(client.get("http://one.example/gone").await.is_err());
    assert!(client.get("http://one.example/half").await.is_err());

    sim.wait_for(|counts| counts.in_flight(HOST) == 0 && counts.hosts[HOST].paths["/half"].bytes > 0).await;
    let counts = sim.counts();
    let paths = &counts.hosts[HOST].paths;
    let methods: Vec<_> = paths["/?q=1"].methods.iter().map(|(method, times)| (method.as_str(), *times)).collect();
    assert_eq!(methods, [("GET", 1), ("HEAD", 1), ("POST", 1)]);
    assert_eq!(paths["/?q=1"].bytes, 10, "HEAD has no body");
    assert_eq!((counts.answered(HOST, "/busy", 429), counts.answered(HOST, "/busy", 200)), (1, 2));
    assert_eq!(paths["/gone"].unanswered, 1);
    assert_eq!(paths["/half"].bytes, 4);
    assert_eq!(counts.bytes, 10 + 6 + 4);
    assert_eq!(counts.hosts[HOST].bytes, counts.bytes);
}

#[tokio::test]
async fn a_test_waits_for_a_count() {
    let release = Release::new();
    let site = Scripted::new().path("/", [Step::ok("late").hang_until(&release)]);
    let sim = Sim::builder().site(HOST, Arc::new(site)).start().await.unwrap();
    let client = Arc::new(Client::new(&sim));
    let asked: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get("http://one.example/").await.map(drop) })
        })
        .collect();
    sim.wait_for(|counts| counts.in_flight(HOST) == 4).await;
    release.release();
    for answer in asked {
        answer.await.unwrap().unwrap();
    }
    sim.wait_for(|counts| counts.in_flight(HOST) == 0).await;
    assert_eq!(sim.counts().hosts[HOST].in_flight_max, 4);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_in_flight() {
    let site = Scripted::new().path("/", [Step::ok("late").hang_until(&Release::new())]);
    let sim = Sim::builder().site(HOST, Arc::new(site)).start().await.unwrap();
    let client = Client::new(&sim);
    let asked = tokio::spawn(async move {
        let mut connection = client.plain().await.unwrap();
        connection.send(get(HOST, "http://one.example/")).await.map(drop)
    });
    sim.wait_for(|counts| counts.in_flight(HOST) == 1).await;
    asked.abort();
    sim.wait_for(|counts| counts.in_flight(HOST) == 0).await;
    assert_eq!(sim.counts().hosts[HOST].paths["/"].unanswered, 1);
}

#[tokio::test]
async fn the_admin_endpoint_tells_resets_and_turns_the_proxy() {
    let sim = sim().await;
    let client = Client::new(&sim);
    client.get("https://one.example/busy").await.unwrap();
    sim.wait_for(|counts| counts.in_flight(HOST) == 0).await;
    let reply = admin(&sim, Method::GET, "/_sim/counts", "").await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(serde_json::from_slice::<Counts>(&reply.body).unwrap(), sim.counts());
    assert_eq!(admin(&sim, Method::GET, "/_sim/ca.pem", "").await.text(), sim.ca_pem());

    assert_eq!(admin(&sim, Method::POST, "/_sim/reset", "").await.status, StatusCode::OK);
    assert_eq!(sim.counts(), Counts::default());
    let again = client.get("https://one.example/busy").await.unwrap();
    assert_eq!(again.status, StatusCode::TOO_MANY_REQUESTS, "the site goes on where it was");

    assert_eq!(admin(&sim, Method::POST, "/_sim/proxy", "{\"up\": false}").await.status, StatusCode::OK);
    assert!(client.get("http://one.example/").await.is_err());
    assert_eq!(admin(&sim, Method::POST, "/_sim/proxy", "{\"up\": true}").await.status, StatusCode::OK);
    assert_eq!(client.get("http://one.example/").await.unwrap().text(), "12345");

    assert_eq!(admin(&sim, Method::POST, "/_sim/proxy", "off").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(admin(&sim, Method::GET, "/_sim/other", "").await.status, StatusCode::NOT_FOUND);
}
