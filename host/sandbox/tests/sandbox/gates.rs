//! Gates: what is granted answers, what isn't says the line to add.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tollgate_core::{
    ArtifactRef,
    http::{HttpError, HttpRequest},
};
use tollgate_sandbox::{
    call::{CallFailure, CallLimits},
    gates::{Fetched, Gates, HttpGate},
};

use crate::guests::{Bench, first, no_gates};

/// One page for every address; `down` in an address has none.
struct Web;

struct Page(String);

impl HttpGate for Web {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<Arc<dyn Fetched>, HttpError>> {
        async move {
            if request.url.contains("down") {
                return Err(HttpError::Connection("no route".to_owned()));
            }
            Ok(Arc::new(Page(request.url)) as Arc<dyn Fetched>)
        }
        .boxed()
    }

    fn zip_members(&self, url: String) -> BoxFuture<'_, Result<Vec<String>, HttpError>> {
        std::future::ready(Ok(vec![url])).boxed()
    }

    fn zip_member(&self, _url: String, member: String) -> BoxFuture<'_, Result<Arc<dyn Fetched>, HttpError>> {
        std::future::ready(Ok(Arc::new(Page(member)) as Arc<dyn Fetched>)).boxed()
    }
}

impl Fetched for Page {
    fn status(&self) -> u16 {
        200
    }

    fn url(&self) -> &str {
        &self.0
    }

    fn headers(&self) -> &[(String, String)] {
        &[]
    }

    fn size(&self) -> u64 {
        1_000
    }

    fn bytes(&self) -> BoxFuture<'_, Result<Bytes, HttpError>> {
        async { Ok(Bytes::from(vec![b'x'; 1_000])) }.boxed()
    }

    fn save(&self, _name: String) -> BoxFuture<'_, Result<ArtifactRef, HttpError>> {
        async { Err(HttpError::Storage("no room".to_owned())) }.boxed()
    }
}

fn web() -> Gates {
    Gates { http: Some(Arc::new(Web)), ..no_gates() }
}

#[tokio::test]
async fn responses_are_read_through_the_gate_in_order() {
    let outcomes = Bench::new().outcomes().await;
    let run =
        async |action: &str| outcomes.run_stage(first(action), web(), &CallLimits::default()).await.result.unwrap();
    assert_eq!(run("fetch https://a.example/").await.unwrap().fields["text"], "200");
    assert_eq!(run("bytes https://a.example/").await.unwrap().fields["text"], "1000");
    let past = run("fetch-past https://down.example/ https://a.example/b").await.unwrap();
    assert_eq!(past.fields["text"], "https://a.example/b");
    let all = run("fetch-all https://a.example/ https://down.example/ https://b.example/").await.unwrap();
    assert_eq!(all.fields["text"], "2");
    let unsaved = run("save https://a.example/").await.unwrap_err();
    assert!(format!("{unsaved:?}").contains("no room"), "{unsaved:?}");
}

#[tokio::test]
async fn what_is_not_granted_says_the_line_to_add() {
    let outcomes = Bench::new().outcomes().await;
    for (action, word) in [("fetch https://a.example/", "http"), ("put hello", "artifacts"), ("state counter", "state")]
    {
        let report = outcomes.run_stage(first(action), no_gates(), &CallLimits::default()).await;
        let text = format!("{:?}", report.result.unwrap().unwrap_err());
        let line = format!("add \\\"{word}\\\" to `grant` of [job.trial] in jobs.toml");
        assert!(text.contains(&line), "{action}: {text}");
    }
}

#[tokio::test]
async fn bodies_count_towards_the_task_s_total() {
    let outcomes = Bench::new().outcomes().await;
    let limits = CallLimits { transfer_bytes: 900, ..CallLimits::default() };
    let report = outcomes.run_stage(first("bytes https://a.example/"), web(), &limits).await;
    assert!(matches!(&report.result, Err(CallFailure::Limit(text)) if text.contains("900")), "{:?}", report.result);
}
