//! A store in a temporary folder with a job of two or three stages, and short ways to drive it.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tollgate_core::{
    Digest, ItemKey, JobId, JobName, Lane, StageIx, StageName, Timestamp,
    graph::Need,
    handler::HandlerDigests,
    item::NewItem,
    outcome::{BreakerEffect, StageOutput, Verdict},
    spec::JobKind,
    task::{ErrorKind, LaterKind, LaterReason, TaskError, TaskState},
};
use tollgate_store::{
    AttemptEnd, AttemptRecord, Claim, DeclaredStage, ItemDetail, JobDeclaration, JobView, NewArtifact, RedbStore,
    Settled, Settlement, Store, StoreError, StoreOptions, Swept,
};

/// A job that is driven by hand.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Arc<RedbStore>,
    pub(crate) job: JobId,
}

pub(crate) const FETCH: StageIx = StageIx(0);
pub(crate) const EXTRACT: StageIx = StageIx(1);

pub(crate) fn key(text: &str) -> ItemKey {
    ItemKey::new(text).unwrap()
}

pub(crate) fn name(text: &str) -> StageName {
    StageName::new(text).unwrap()
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

pub(crate) fn new_item(text: &str) -> NewItem {
    NewItem { key: key(text), data: object(json!({ "url": text })), priority: 0, revision: None }
}

pub(crate) fn stage(text: &str, needs: &[&str]) -> DeclaredStage {
    let needs: Vec<Need> = needs.iter().map(|need| Need::parse(need).unwrap()).collect();
    let brings = needs.iter().flat_map(|need| need.any_of.clone()).collect();
    DeclaredStage { name: name(text), needs, brings }
}

pub(crate) fn declaration(stages: Vec<DeclaredStage>) -> JobDeclaration {
    let name = JobName::new("pages").unwrap();
    JobDeclaration { name, kind: JobKind::Backfill, stages, keep_attempts: 3, breaker: 3, discovery: None }
}

pub(crate) fn handler() -> HandlerDigests {
    HandlerDigests { artifact: Digest::of(b"file"), code: Digest::of(b"code") }
}

/// Copies a folder as it lies there.
pub(crate) fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// An output with one field.
pub(crate) fn done(text: &str) -> Verdict {
    let fields = object(json!({ "text": text }));
    Verdict::Done(StageOutput { fields, found: Vec::new(), quality_flags: Vec::new() })
}

pub(crate) fn failed(text: &str) -> Verdict {
    Verdict::Failed(TaskError::new(ErrorKind::Failed, text))
}

pub(crate) fn later(due: u64, kind: LaterKind) -> Verdict {
    Verdict::Later { due: Timestamp(due), reason: LaterReason { kind, message: "not now".into() } }
}

/// The settlement of a claim, as the engine would make it.
pub(crate) fn settlement(claim: &Claim, verdict: Verdict, now: u64) -> Settlement {
    let mut tally = claim.tally;
    tally.attempts += 1;
    let (ended, error, breaker) = match &verdict {
        Verdict::Done(_) => (AttemptEnd::Done, None, BreakerEffect::Success),
        Verdict::Nothing(_) => (AttemptEnd::Nothing, None, BreakerEffect::Success),
        Verdict::Reject(_) => (AttemptEnd::Rejected, None, BreakerEffect::Success),
        Verdict::Failed(error) => (AttemptEnd::Failed, Some(error.clone()), BreakerEffect::Failure),
        Verdict::Later { reason, .. } => (AttemptEnd::Later(reason.kind), None, BreakerEffect::None),
        Verdict::Skipped(_) => (AttemptEnd::Nothing, None, BreakerEffect::None),
    };
    let attempt = AttemptRecord {
        number: tally.attempts,
        started_at: Timestamp(now.saturating_sub(1)),
        ended_at: Timestamp(now),
        handler: handler(),
        ended,
        error,
        reason: None,
        guest_us: 10,
        requests: 1,
        bytes_received: 100,
        tools: Vec::new(),
    };
    Settlement {
        task: claim.task,
        token: claim.token,
        verdict,
        tally,
        breaker,
        attempt: Some(attempt),
        fingerprint: None,
        artifacts: Vec::new(),
        pages: Vec::new(),
        take_back: None,
        refused: None,
        passing: [].into(),
        pause: None,
        now: Timestamp(now),
    }
}

impl Fixture {
    /// `fetch`, then `extract`.
    pub(crate) async fn new() -> Self {
        Self::with(vec![stage("fetch", &[]), stage("extract", &["fetch"])]).await
    }

    pub(crate) async fn with(stages: Vec<DeclaredStage>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
        let job = store.declare(declaration(stages), Timestamp(0)).await.unwrap().id;
        Self { folder, store, job }
    }

    /// Closes the store and opens it again, as a restart does.
    pub(crate) async fn restart(self) -> Self {
        self.store.close().await.unwrap();
        let store = RedbStore::open(self.folder.path(), StoreOptions::default()).unwrap();
        Self { store, ..self }
    }

    /// Closes the store and opens it as a host does; answers what its sweep has removed.
    pub(crate) async fn swept(self) -> (Self, Swept) {
        self.store.close().await.unwrap();
        let options = StoreOptions { sweep: true, ..StoreOptions::default() };
        let store = RedbStore::open(self.folder.path(), options).unwrap();
        let swept = store.swept().await.expect("it has come to its end");
        (Self { store, ..self }, swept)
    }

    /// The store as it is when its process is killed now, opened again without a sweep.
    pub(crate) fn killed(self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        let store = RedbStore::open(folder.path(), StoreOptions::default()).unwrap();
        Self { folder, store, job: self.job }
    }

    /// Opens the store again after it was closed by hand.
    pub(crate) fn restart_closed(self) -> Self {
        let store = RedbStore::open(self.folder.path(), StoreOptions::default()).unwrap();
        Self { store, ..self }
    }

    pub(crate) fn lane(&self, stage: StageIx) -> Lane {
        Lane { job: self.job, stage }
    }

    pub(crate) async fn submit(&self, keys: &[&str], now: u64) -> tollgate_store::Submitted {
        let items = keys.iter().map(|text| new_item(text)).collect();
        self.store.submit(self.job, items, Timestamp(now)).await.unwrap()
    }

    pub(crate) async fn claim(&self, stage: StageIx, limit: usize, now: u64) -> Vec<Claim> {
        self.store.claim(self.lane(stage), limit, Timestamp(now)).await.unwrap()
    }

    pub(crate) async fn claim_one(&self, stage: StageIx, now: u64) -> Claim {
        let mut claims = self.claim(stage, 1, now).await;
        claims.pop().expect("a task is due")
    }

    pub(crate) async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        self.store.settle(vec![settlement]).await.unwrap().remove(0)
    }

    /// Claims one task of the stage and settles it.
    pub(crate) async fn run(&self, stage: StageIx, verdict: Verdict, now: u64) -> Settled {
        let claim = self.claim_one(stage, now).await;
        self.settle(settlement(&claim, verdict, now)).await.unwrap()
    }

    pub(crate) async fn detail(&self, text: &str) -> ItemDetail {
        self.store.item(self.job, key(text)).await.unwrap().expect("the item is there")
    }

    pub(crate) async fn state(&self, text: &str, stage: &str) -> TaskState {
        let detail = self.detail(text).await;
        detail.item.tasks.into_iter().find(|task| task.stage.as_str() == stage).unwrap().state
    }

    pub(crate) async fn view(&self) -> JobView {
        self.store.jobs().await.unwrap().into_iter().find(|job| job.id == self.job).unwrap()
    }

    pub(crate) async fn artifact(&self, text: &str, body: &'static str) -> NewArtifact {
        let bytes = tollgate_store::BlobSource::Bytes(body.as_bytes().into());
        let blob = self.store.put_blob(bytes).await.unwrap();
        NewArtifact { name: text.into(), content_type: "text/plain".into(), blob }
    }

    pub(crate) async fn sound(&self) {
        let report = self.store.verify().await.unwrap();
        assert!(report.is_sound(), "{:#?}", report.problems);
    }
}
