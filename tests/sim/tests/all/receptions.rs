//! Sites that fail before their first answer, answers that no server should give, and how proxies speak of it.

use crate::client::{Client, connect};
use http::StatusCode;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate_sim::sites::scripted::{Scripted, Step};
use tollgate_sim::{ProxyKind, Reception, Sim};

const HOST: &str = "one.example";

async fn start(reception: Reception, step: Step) -> Sim {
    let site = Arc::new(Scripted::new().path("/", [step]));
    Sim::builder().site(HOST, site).reception(HOST, reception).start().await.unwrap()
}

#[tokio::test]
async fn a_site_receives_handshakes_in_its_own_way() {
    for (reception, words) in [
        (Reception::Untrusted, "UnknownIssuer"),
        (Reception::OtherName, "NotValidForName"),
        (Reception::Expired, "Expired"),
        (Reception::NotTls, "InvalidContentType"),
        (Reception::HangsUp, "UnexpectedEof"),
    ] {
        let sim = start(reception, Step::ok("fine")).await;
        let client = Client::new(&sim);
        let failed = client.get(&format!("https://{HOST}/")).await.unwrap_err();
        assert!(format!("{failed:?}").contains(words), "{reception:?}: {failed:?}");
        assert_eq!(client.get(&format!("http://{HOST}/")).await.unwrap().text(), "fine", "{reception:?}");
    }
}

#[tokio::test]
async fn a_site_on_whose_port_nobody_listens_is_the_proxys_to_tell() {
    for (kind, status) in [
        (ProxyKind::Plain, StatusCode::BAD_GATEWAY),
        (ProxyKind::Squid, StatusCode::SERVICE_UNAVAILABLE),
        (ProxyKind::Tinyproxy, StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let sim = Sim::builder().site(HOST, Arc::new(Scripted::new())).reception(HOST, Reception::Refused);
        let sim = sim.proxy_kind(kind).start().await.unwrap();
        let client = Client::new(&sim);
        let reply = client.get(&format!("http://{HOST}/")).await.unwrap();
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers.contains_key("x-squid-error"), kind == ProxyKind::Squid);
        assert_eq!(reply.header("server").starts_with("tinyproxy/"), kind == ProxyKind::Tinyproxy);
        let mut stream = TcpStream::connect(client.proxy).await.unwrap();
        assert_eq!(connect(&mut stream, HOST, "").await.unwrap().0, status.as_u16());
        assert_eq!((sim.counts().refused_host, sim.counts().total), (2, 0));
    }
}

#[tokio::test]
async fn raw_bytes_are_all_that_goes_out_and_then_it_closes() {
    let said = "SSH-2.0-none\r\n";
    let sim = start(Reception::Fine, Step::raw(said)).await;
    let client = Client::new(&sim);
    let request = format!("GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut plain = TcpStream::connect(client.proxy).await.unwrap();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, said);

    let mut stream = TcpStream::connect(client.proxy).await.unwrap();
    connect(&mut stream, HOST, "").await.unwrap();
    let mut tls = client.under_tls(HOST, stream).await.unwrap();
    tls.write_all(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n").await.unwrap();
    let mut answer = vec![0; said.len()];
    tls.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, said.as_bytes());
    assert_eq!(sim.counts().of(HOST, "/"), 2);
}

#[tokio::test]
async fn raw_bytes_without_end_go_out_until_the_client_goes() {
    let sim = start(Reception::Fine, Step::raw_endless("HTTP/1.1 200 OK\r\n", "x: y\r\n")).await;
    let mut stream = TcpStream::connect(sim.proxy_addr()).await.unwrap();
    stream.write_all(format!("GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 1 << 20];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\nx: y\r\nx: y\r\n"));
}
