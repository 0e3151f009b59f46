//! Guards at the gate, over real answers of a server on loopback.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tollgate_core::{
    Clock, JobName, Timestamp,
    http::{HttpError, HttpRequest},
    outcome::RefusalKind,
    spec::{GuardOutcome, parse},
};

use crate::{Caller, Gate, GateOptions, NoMemory, Refused, Response};

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000)
    }

    fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

/// A server that answers by path, and serves as a proxy as well.
async fn server(answers: Vec<(&'static str, &'static str, &'static str)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap() == 0 {
                    break;
                }
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let (_, head, body) = answers.iter().find(|(end, _, _)| path.ends_with(end)).unwrap();
            let answer =
                format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    port
}

struct World {
    gate: Arc<Gate>,
    _spool: tempfile::TempDir,
}

impl World {
    fn new(jobs: &str) -> Self {
        let deployment = parse(jobs, "jobs.toml").unwrap();
        let spool = tempfile::tempdir().unwrap();
        let options = GateOptions {
            spool: spool.path().to_owned(),
            sessions: spool.path().join("sessions"),
            clock: Arc::new(Still),
            base: spool.path().to_owned(),
            memory: Arc::new(NoMemory),
            remembered: Vec::new(),
            spent: Vec::new(),
        };
        Self { gate: Gate::new(&deployment, options).unwrap(), _spool: spool }
    }

    async fn get(&self, url: &str) -> Result<Response, Refused> {
        let caller = Caller::of(JobName::new("test").unwrap(), Vec::new());
        let request =
            HttpRequest { method: "GET".into(), url: url.into(), headers: Vec::new(), body: None, timeout: None };
        self.gate.fetch(&caller, request, &|_| {}).await
    }
}

const OK: &str = "200 OK\r\ncontent-type: text/html";
const LIMIT: &str = "<title>Ideas Club</title><p>Access limits: your view count will reset in 24 hours.</p>";
const CONTENT: &str =
    "<title>Idea 7</title><h1>Idea 7</h1><article class=thesis>Bearings at six times earnings.</article>";

#[tokio::test]
async fn r01_a_page_that_says_wait_is_no_content_and_cools_the_site_down() {
    let port = server(vec![("/wall", OK, LIMIT), ("/fine", OK, CONTENT)]).await;
    let world = World::new(&format!("[site.\"localhost:{port}\"]\ndirect = true\n"));
    let refused = world.get(&format!("http://localhost:{port}/wall")).await.unwrap_err();
    assert_eq!(refused.error, HttpError::RateLimited { after: Some(Duration::from_hours(24)) });
    let refusal = refused.refusal.unwrap();
    assert_eq!(refusal.kind, RefusalKind::RateLimited);
    assert!(refusal.message.contains("guard `rate.limit` (built-in, text): rate-limited"), "{}", refusal.message);
    let page = refused.guarded.unwrap();
    assert_eq!((page.guarded.outcome, page.guarded.rule.as_str()), (GuardOutcome::RateLimited, "rate.limit"));
    assert_eq!(page.body.bytes().await.unwrap(), LIMIT.as_bytes(), "kept apart");
    let next = world.get(&format!("http://localhost:{port}/fine")).await.unwrap_err();
    assert_eq!(next.refusal.unwrap().kind, RefusalKind::RateLimited, "whichever page is asked for");
    let hits = world.gate.status().guards;
    assert_eq!((hits[0].rule.as_str(), hits[0].hits, hits.len()), ("rate.limit", 1, 1));
}

#[tokio::test]
async fn r02_a_second_wording_is_a_line_of_configuration() {
    let second = "<title>Ideas Club</title><p>One more try was one too many. Patience, friend.</p>";
    let port = server(vec![("/wall", OK, second)]).await;
    let site = format!("[site.\"localhost:{port}\"]\ndirect = true\n");
    let unguarded = World::new(&site).get(&format!("http://localhost:{port}/wall")).await;
    assert!(unguarded.is_ok(), "no list has it: {unguarded:?}");
    let guard = "guard = [\n{ text = [\"access limits\", \"PATIENCE,  friend\"], outcome = \"rate-limited\", \
        for = \"2h\" },\n]\n";
    let refused =
        World::new(&format!("{site}{guard}")).get(&format!("http://localhost:{port}/wall")).await.unwrap_err();
    assert_eq!(refused.error, HttpError::RateLimited { after: Some(Duration::from_hours(2)) });
    let message = refused.refusal.unwrap().message;
    assert!(message.contains("guard `jobs.toml:4` (text): rate-limited"), "{message}");
}

#[tokio::test]
async fn r01_a_page_without_what_every_page_has_fails_alone() {
    let port =
        server(vec![("/gone", OK, "<h1>Nothing much</h1><p>Here stands some text.</p>"), ("/fine", OK, CONTENT)]).await;
    let guard = "guard = [{ require = \"article.thesis\", outcome = \"not-content\" }]";
    let world = World::new(&format!("[site.\"localhost:{port}\"]\ndirect = true\n{guard}\n"));
    let refused = world.get(&format!("http://localhost:{port}/gone")).await.unwrap_err();
    assert!(
        matches!(&refused.error, HttpError::NotContent(text) if text.contains("without `article.thesis`")),
        "{refused:?}"
    );
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Transport, "counted, and no business of the breaker");
    assert_eq!(world.get(&format!("http://localhost:{port}/fine")).await.unwrap().status, 200);
}

#[tokio::test]
async fn trap14_a_challenge_opens_the_circuit_whatever_the_site_s_rules_and_a_sign_in_does_not() {
    let challenge = "200 OK\r\ncontent-type: text/html\r\ncf-mitigated: challenge";
    let form = "<h1>Sign in</h1><form><input name=mail><input type=password></form>";
    let port = server(vec![("/challenge", challenge, CONTENT), ("/login", OK, form), ("/fine", OK, CONTENT)]).await;
    let guard = "guard = [{ text = \"bearings\", outcome = \"not-content\" }]";
    let world = World::new(&format!("[site.\"localhost:{port}\"]\ndirect = true\n{guard}\n"));
    let login = world.get(&format!("http://localhost:{port}/login")).await.unwrap_err();
    assert!(matches!(&login.error, HttpError::LoginRequired(text) if text.contains("login.form")), "{login:?}");
    assert_eq!(login.refusal.unwrap().kind, RefusalKind::LoginRequired);
    let blocked = world.get(&format!("http://localhost:{port}/challenge")).await.unwrap_err();
    assert!(matches!(&blocked.error, HttpError::Blocked(text) if text.contains("header.challenge")), "{blocked:?}");
    let next = world.get(&format!("http://localhost:{port}/fine")).await.unwrap_err();
    assert_eq!(next.refusal.unwrap().kind, RefusalKind::Blocked);
}

#[tokio::test]
async fn trap14_a_page_of_the_proxy_s_own_is_no_fault_of_the_site() {
    let proxys = "402 Payment Required\r\ncontent-type: text/plain\r\nx-proxy-error: zone_budget_exhausted";
    let port = server(vec![("/one", proxys, "no budget left"), ("/two", OK, CONTENT)]).await;
    let world = World::new(&format!("[proxy.main]\nurl = \"http://127.0.0.1:{port}\"\n"));
    let refused = world.get("http://a.example/one").await.unwrap_err();
    let refusal = refused.refusal.unwrap();
    assert_eq!((refusal.kind, refusal.about.as_str()), (RefusalKind::Down, "main"));
    assert!(refused.guarded.unwrap().guarded.is_proxys);
    assert_eq!(world.get("http://a.example/two").await.unwrap().status, 200, "the site isn't left alone for it");
}
