//! The proxy: both ways through it, credentials, unknown hosts, down and up.

use crate::client::{Client, connect, get};
use http::StatusCode;
use http::header::{HeaderValue, PROXY_AUTHORIZATION};
use std::io::ErrorKind;
use std::sync::Arc;
use tokio::net::TcpStream;
use tollgate_sim::sites::scripted::{Release, Scripted, Step};
use tollgate_sim::{Builder, Sim, SimError, Site};

const HOST: &str = "one.example";

fn builder() -> Builder {
    Sim::builder().site(HOST, Arc::new(Scripted::new().path("/", [Step::ok("one")])))
}

#[tokio::test]
async fn absolute_form_requests_share_a_connection() {
    let sim = builder().start().await.unwrap();
    let mut connection = Client::new(&sim).plain().await.unwrap();
    for _ in 0..3 {
        let reply = connection.send(get(HOST, "http://one.example/")).await.unwrap();
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, "one"));
    }
    let upper = connection.send(get(HOST, "http://ONE.example/")).await.unwrap();
    assert_eq!(upper.text(), "one");
    assert_eq!(sim.counts().of(HOST, "/"), 4);
}

#[tokio::test]
async fn a_tunnel_carries_tls_of_the_sims_authority() {
    let sim = builder().start().await.unwrap();
    let mut connection = Client::new(&sim).tunnel(HOST).await.unwrap();
    for _ in 0..3 {
        assert_eq!(connection.send(get(HOST, "/")).await.unwrap().text(), "one");
    }
    let counts = sim.counts();
    assert_eq!((counts.connects, counts.via_proxy, counts.direct), (1, 3, 0));
}

#[tokio::test]
async fn who_does_not_trust_the_authority_gets_nowhere() {
    let sim = builder().start().await.unwrap();
    assert!(Client::distrusting(&sim).tunnel(HOST).await.is_err());
    assert_eq!(sim.counts().total, 0);
}

#[tokio::test]
async fn a_certificate_is_for_its_own_host_alone() {
    let other = Arc::new(Scripted::new());
    let sim = builder().site("other.example", other).start().await.unwrap();
    let client = Client::new(&sim);
    let mut stream = TcpStream::connect(client.proxy).await.unwrap();
    assert_eq!(connect(&mut stream, "other.example", "").await.unwrap().0, 200);
    assert!(client.under_tls(HOST, stream).await.is_err());
}

#[tokio::test]
async fn an_unknown_host_is_502_both_ways() {
    let sim = builder().start().await.unwrap();
    let client = Client::new(&sim);
    let reply = client.get("http://nowhere.example/").await.unwrap();
    assert_eq!((reply.status, reply.text()), (StatusCode::BAD_GATEWAY, "no such host in the sim\n"));
    let mut stream = TcpStream::connect(client.proxy).await.unwrap();
    assert_eq!(connect(&mut stream, "nowhere.example", "").await.unwrap().0, 502);
    assert_eq!((sim.counts().unknown_host, sim.counts().total), (2, 0));
}

#[tokio::test]
async fn without_the_right_credentials_it_is_407() {
    let site = Arc::new(Scripted::new().path("/", [Step::ok("one")]));
    let sim = Sim::builder().site(HOST, site.clone()).proxy_auth("user", "pass").start().await.unwrap();
    let client = Client::new(&sim);
    let refused = client.get("http://one.example/").await.unwrap();
    assert_eq!(refused.status, StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    assert!(refused.header("proxy-authenticate").starts_with("Basic "));
    let mut stream = TcpStream::connect(client.proxy).await.unwrap();
    let wrong = "Proxy-Authorization: Basic dXNlcjp3cm9uZw==\r\n";
    assert_eq!(connect(&mut stream, HOST, wrong).await.unwrap().0, 407);
    assert_eq!((sim.counts().refused_auth, sim.counts().total), (2, 0));

    let mut request = get(HOST, "http://one.example/");
    request.headers_mut().insert(PROXY_AUTHORIZATION, HeaderValue::from_static("Basic dXNlcjpwYXNz"));
    let reply = client.plain().await.unwrap().send(request).await.unwrap();
    assert_eq!(reply.text(), "one");
    let seen = site.seen("/");
    assert!(!seen[0].http.headers().contains_key(PROXY_AUTHORIZATION), "credentials reached the site");
    let mut stream = TcpStream::connect(client.proxy).await.unwrap();
    let right = "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n";
    assert_eq!(connect(&mut stream, HOST, right).await.unwrap().0, 200);
    assert_eq!(sim.proxy_url_with_auth(), format!("http://user:pass@{}", sim.proxy_addr()));
}

#[tokio::test]
async fn down_refuses_and_cuts_and_up_is_on_the_same_port() {
    let release = Release::new();
    let site: Arc<dyn Site> =
        Arc::new(Scripted::new().path("/", [Step::ok("one")]).path("/hangs", [Step::ok("late").hang_until(&release)]));
    let sim = Sim::builder().site(HOST, site).start().await.unwrap();
    let client = Arc::new(Client::new(&sim));
    let addr = sim.proxy_addr();
    let asked = client.clone();
    let hanging = tokio::spawn(async move { asked.get("https://one.example/hangs").await.map(drop) });
    sim.wait_for(|counts| counts.in_flight(HOST) == 1).await;

    sim.proxy_down().await.unwrap();
    assert!(hanging.await.unwrap().is_err(), "an open connection outlived the proxy");
    let refused = TcpStream::connect(addr).await.expect_err("the port is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    sim.proxy_down().await.unwrap();

    sim.proxy_up().await.unwrap();
    sim.proxy_up().await.unwrap();
    assert_eq!(sim.proxy_addr(), addr);
    assert_eq!(client.get("https://one.example/").await.unwrap().text(), "one");
}

#[tokio::test]
async fn after_shutdown_nothing_listens() {
    let sim = builder().start().await.unwrap();
    let ports = [sim.proxy_addr(), sim.admin_addr(), sim.direct_addr(HOST).unwrap()];
    sim.shutdown().await.unwrap();
    for port in ports {
        assert_eq!(TcpStream::connect(port).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let outside = builder().listen("0.0.0.0:0".parse().unwrap()).start().await;
    assert!(matches!(outside, Err(SimError::NotLoopback(_))));
}

#[tokio::test]
async fn the_authority_can_be_written_to_a_file() {
    let sim = builder().start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    sim.write_ca(&file).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), sim.ca_pem());
    assert!(matches!(sim.write_ca(folder.path()), Err(SimError::Write(..))));
}
