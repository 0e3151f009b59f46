//! The scripted site: each step does what it says, plain and under TLS.

use crate::client::{Client, Failure, get};
use http::StatusCode;
use http::header::{LOCATION, SET_COOKIE};
use http_body_util::BodyExt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tollgate_sim::Sim;
use tollgate_sim::sites::scripted::{Release, Scripted, Step};

const HOST: &str = "one.example";

async fn sim(site: Scripted) -> (Sim, Client, Arc<Scripted>) {
    let site = Arc::new(site);
    let sim = Sim::builder().site(HOST, site.clone()).start().await.unwrap();
    let client = Client::new(&sim);
    (sim, client, site)
}

/// What the system said at the bottom of an error, if it said anything.
fn io_kind(failure: &Failure) -> Option<ErrorKind> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(failure.as_ref());
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        source = error.source();
    }
    None
}

#[tokio::test]
async fn steps_follow_each_other_and_the_last_one_stays() {
    let script = [Step::status(StatusCode::SERVICE_UNAVAILABLE), Step::ok("a"), Step::ok("b")];
    let (_sim, client, site) = sim(Scripted::new().path("/", script)).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let reply = client.get("http://one.example/?any=query").await.unwrap();
        seen.push((reply.status.as_u16(), reply.text().to_owned()));
    }
    assert_eq!(seen, [(503, ""), (200, "a"), (200, "b"), (200, "b")].map(|(status, body)| (status, body.to_owned())));
    assert_eq!(client.get("http://one.example/other").await.unwrap().status, StatusCode::NOT_FOUND);
    site.set("/other", [Step::ok("new")]);
    assert_eq!(client.get("http://one.example/other").await.unwrap().text(), "new");
}

#[tokio::test]
async fn headers_are_sent_and_may_repeat() {
    let step = Step::redirect(StatusCode::FOUND, format!("http://{HOST}/next"))
        .header(SET_COOKIE, "a=1")
        .add_header(SET_COOKIE, "b=2");
    let (_sim, client, _site) = sim(Scripted::new().path("/", [step])).await;
    let reply = client.get("https://one.example/").await.unwrap();
    assert_eq!((reply.status, reply.header(LOCATION.as_str())), (StatusCode::FOUND, "http://one.example/next"));
    assert_eq!(reply.headers.get_all(SET_COOKIE).iter().count(), 2);
}

#[tokio::test]
async fn a_function_answers_from_the_request() {
    let site = Scripted::new().respond("/", |request, nth| Step::ok(format!("{nth}: {}", request.url(request.path()))));
    let (_sim, client, _site) = sim(site).await;
    assert_eq!(client.get("http://one.example/").await.unwrap().text(), "0: http://one.example/");
    assert_eq!(client.get("https://one.example/").await.unwrap().text(), "1: https://one.example/");
}

#[tokio::test]
async fn the_site_remembers_what_it_was_asked() {
    let (sim, client, site) = sim(Scripted::new().path("/", [Step::ok("x")])).await;
    let mut request = get(HOST, "/?q=1");
    request.headers_mut().insert("x-mark", "here".parse().unwrap());
    client.tunnel(HOST).await.unwrap().send(request).await.unwrap();
    let seen = site.seen("/");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].http.headers()["x-mark"], "here");
    assert_eq!(seen[0].http.uri().query(), Some("q=1"));
    sim.reset();
    assert!(site.seen("/").is_empty());
}

#[tokio::test]
async fn a_step_hangs_until_it_is_released() {
    let release = Release::new();
    let (sim, client, _site) = sim(Scripted::new().path("/", [Step::ok("late").hang_until(&release)])).await;
    let asked = tokio::spawn(async move { client.get("https://one.example/").await });
    sim.wait_for(|counts| counts.in_flight(HOST) == 1).await;
    assert!(!asked.is_finished());
    release.release();
    assert_eq!(asked.await.unwrap().unwrap().text(), "late");
}

#[tokio::test]
async fn a_body_is_held_after_its_first_bytes() {
    let release = Release::new();
    let step = Step::status(StatusCode::OK).held("first ", &release, "rest");
    let (_sim, client, _site) = sim(Scripted::new().path("/", [step])).await;
    let mut connection = client.tunnel(HOST).await.unwrap();
    let mut body = connection.open(get(HOST, "/")).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first ");
    release.release();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "rest");
}

#[tokio::test]
async fn an_answer_is_delayed_and_a_body_drips() {
    let delayed = Step::ok("late").delay(Duration::from_millis(1));
    let dripping = Step::status(StatusCode::OK).dripping("ab", Duration::from_millis(1), 3);
    let (_sim, client, _site) = sim(Scripted::new().path("/late", [delayed]).path("/drips", [dripping])).await;
    assert_eq!(client.get("http://one.example/late").await.unwrap().text(), "late");
    assert_eq!(client.get("https://one.example/drips").await.unwrap().text(), "ababab");
}

#[tokio::test]
async fn an_endless_body_ends_with_its_reader() {
    let step = Step::status(StatusCode::OK).endless(vec![b'x'; 16 * 1024]);
    let (sim, client, _site) = sim(Scripted::new().path("/", [step])).await;
    let mut connection = client.tunnel(HOST).await.unwrap();
    let mut body = connection.open(get(HOST, "/")).await.unwrap().into_body();
    let mut bytes = 0;
    while bytes < 1024 * 1024 {
        bytes += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    drop((body, connection));
    // The bytes are counted when the body has ended.
    sim.wait_for(|counts| counts.bytes >= 1024 * 1024).await;
}

#[tokio::test]
async fn a_truncated_body_promises_more_than_it_sends() {
    let step = Step::status(StatusCode::OK).truncated("half", 8);
    let (_sim, client, _site) = sim(Scripted::new().path("/", [step])).await;
    for url in ["http://one.example/", "https://one.example/"] {
        let mut connection = match url.starts_with("https") {
            true => client.tunnel(HOST).await.unwrap(),
            false => client.plain().await.unwrap(),
        };
        let target = if url.starts_with("https") { "/" } else { url };
        let response = connection.open(get(HOST, target)).await.unwrap();
        assert_eq!(response.headers()["content-length"], "8");
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        assert!(body.frame().await.unwrap().is_err(), "{url}: the body ended as if it were whole");
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_hang_up_is_none() {
    let site = Scripted::new().path("/reset", [Step::reset()]).path("/hang-up", [Step::hang_up()]);
    let (_sim, client, _site) = sim(site).await;
    for scheme in ["http", "https"] {
        let reset = client.get(&format!("{scheme}://one.example/reset")).await.unwrap_err();
        assert_eq!(io_kind(&reset), Some(ErrorKind::ConnectionReset), "{scheme}: {reset:?}");
        let closed = client.get(&format!("{scheme}://one.example/hang-up")).await.unwrap_err();
        assert_ne!(io_kind(&closed), Some(ErrorKind::ConnectionReset), "{scheme}: {closed:?}");
    }
}

#[tokio::test]
async fn a_body_is_reset_after_its_first_bytes() {
    let step = Step::status(StatusCode::OK).reset_after("some");
    let (_sim, client, _site) = sim(Scripted::new().path("/", [step])).await;
    for scheme in ["http", "https"] {
        let failure = client.get(&format!("{scheme}://one.example/")).await.unwrap_err();
        assert_eq!(io_kind(&failure), Some(ErrorKind::ConnectionReset), "{scheme}: {failure:?}");
    }
}

#[tokio::test]
async fn a_request_body_over_the_limit_never_reaches_the_site() {
    let (_sim, client, site) = sim(Scripted::new().path("/", [Step::ok("x")])).await;
    let large = bytes::Bytes::from(vec![0; 41 * 1024 * 1024]);
    let post = http::Request::post("http://one.example/").body(http_body_util::Full::new(large)).unwrap();
    // The connection may break before all is sent: 413 or an error, but never an answer of the site.
    if let Ok(reply) = client.plain().await.unwrap().send(post).await {
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert!(site.seen("/").is_empty());
}
