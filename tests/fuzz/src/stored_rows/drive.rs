//! Asks a store for all that the host asks it: views, claims, settlements, and what a person may do.

use tollgate_core::{
    Digest, ItemId, ItemKey, JobId, JobName, Lane, StageIx, StageName, Timestamp,
    graph::Need,
    handler::HandlerDigests,
    item::{ItemStatus, NewItem},
    outcome::{BreakerEffect, StageOutput, Verdict},
    pause::{Pause, PauseReason},
    spec::JobKind,
    task::{Answers, ErrorKind, LaterKind, LaterReason, TaskError},
};
use tollgate_store::{
    AttemptEnd, AttemptRecord, BlobSource, Claim, DeclaredStage, DiscoveryPage, DiscoveryResult, ItemQuery,
    JobDeclaration, JobView, NewArtifact, RedbStore, Selection, Settlement, StateChange, Store, StoreError,
};

use super::paid;

/// The items of the store, by the names that their keys have, and one that isn't there.
const KEYS: [&str; 6] = ["done", "failed", "later", "rejected", "new", "none"];
/// When it is asked: everything is due by then.
pub(super) const NOW: Timestamp = Timestamp(1_000_000);

/// What came of it. A row that can't be read is said to be one; the disk is in order, so that a store which blames it,
/// or which has ended, has misjudged the row.
pub(super) fn sound<T>(answer: Result<T, StoreError>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(error @ (StoreError::Io(_) | StoreError::Closed | StoreError::InUse(_))) => panic!("{error}"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

pub(super) async fn drive(store: &RedbStore) {
    let before = sound(store.verify().await);
    sound(store.expire_reservations(NOW).await);
    for job in sound(store.jobs().await).unwrap_or_default() {
        views(store, &job).await;
        paid::views(store, job.id).await;
        sound(store.resume(job.id).await);
        lanes(store, &job).await;
        people(store, job.id).await;
        discovery(store, job.id).await;
        lanes(store, &job).await;
    }
    sound(store.declare(declaration(), NOW).await);
    let after = sound(store.verify().await);
    if before.is_some_and(|report| report.is_sound()) {
        assert!(after.as_ref().is_some_and(|report| report.is_sound()), "a sound store is no more: {after:?}");
    }
    sound(store.close().await);
}

async fn views(store: &RedbStore, job: &JobView) {
    let id = job.id;
    assert!(sound(store.job_id(job.name.clone()).await).flatten().is_some());
    for status in ItemStatus::ALL.into_iter().map(Some).chain([None]) {
        let query = ItemQuery { status, after: None, limit: 100, outputs: true };
        let page = sound(store.items(id, query).await);
        for item in page.iter().flat_map(|page| &page.entries) {
            assert!(status.is_none_or(|status| status == item.status));
            json_reads_back(item);
        }
    }
    for key in KEYS {
        if let Some(detail) = sound(store.item(id, ItemKey::new(key).unwrap()).await).flatten() {
            json_reads_back(&detail);
            for artifact in detail.artifacts {
                sound(store.read_blob(artifact.artifact.digest, None).await);
            }
        }
    }
    sound(store.artifacts(ItemId(1), Some(StageIx(0))).await);
    sound(store.recent_errors(id, 10).await);
    sound(store.discovery(id).await);
    sound(store.state_get(id, "cursor".to_owned()).await);
    sound(store.state_keys(id, String::new(), None, 10).await);
    json_reads_back(job);
}

/// What the API writes is what its readers read.
pub(super) fn json_reads_back<T: serde::Serialize + serde::de::DeserializeOwned>(view: &T) {
    let text = serde_json::to_string(view).unwrap();
    let read: T = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

/// Claims what is due in every lane, and settles it in one way or another.
async fn lanes(store: &RedbStore, job: &JobView) {
    for stage in &job.stages {
        let lane = Lane { job: job.id, stage: stage.ix };
        sound(store.next_due(lane, NOW).await);
        let claims = sound(store.claim(lane, 8, NOW).await).unwrap_or_default();
        let mut settlements = Vec::new();
        for (place, claim) in claims.iter().enumerate() {
            let texts = claim.inputs.values().map(|input| &input.fields).chain([&claim.data]);
            texts.for_each(|text| drop(text.parse()));
            paid::pay(store, job.id, claim).await;
            match place % 6 {
                5 => drop(sound(store.release(vec![(claim.task, claim.token)]).await)),
                way => settlements.push(settlement(store, claim, way).await),
            }
        }
        for settled in sound(store.settle(settlements).await).unwrap_or_default() {
            sound(settled);
        }
    }
}

async fn settlement(store: &RedbStore, claim: &Claim, way: usize) -> Settlement {
    let (verdict, ended, breaker) = match way {
        0 => (done(), AttemptEnd::Done, BreakerEffect::Success),
        1 => {
            (Verdict::Failed(TaskError::new(ErrorKind::Failed, "no title")), AttemptEnd::Failed, BreakerEffect::Failure)
        }
        2 => (later(), AttemptEnd::Later(LaterKind::Failed), BreakerEffect::Failure),
        3 => (Verdict::Reject("parked".to_owned()), AttemptEnd::Rejected, BreakerEffect::Success),
        _ => (Verdict::Nothing("no captions".to_owned()), AttemptEnd::Nothing, BreakerEffect::Success),
    };
    let error = match &verdict {
        Verdict::Failed(error) => Some(error.clone()),
        _ => None,
    };
    // As the engine counts it.
    let mut tally = claim.tally;
    tally.attempts = tally.attempts.saturating_add(1);
    let digest = Digest::of(b"handler");
    let attempt = AttemptRecord {
        number: tally.attempts,
        started_at: NOW,
        ended_at: NOW,
        handler: HandlerDigests { artifact: digest, code: digest },
        ended,
        error,
        reason: None,
        guest_us: 1,
        requests: 1,
        bytes_received: 1,
        tools: Vec::new(),
    };
    let blob = sound(store.put_blob(BlobSource::Bytes("<html>raw</html>".repeat(20).into())).await);
    let artifact = |blob| NewArtifact { name: "page.html".to_owned(), content_type: "text/html".to_owned(), blob };
    Settlement {
        task: claim.task,
        token: claim.token,
        verdict,
        tally,
        breaker,
        attempt: Some(attempt),
        fingerprint: None,
        artifacts: blob.map(artifact).into_iter().collect(),
        pages: Vec::new(),
        take_back: None,
        refused: None,
        passing: [].into(),
        pause: None,
        now: NOW,
    }
}

fn done() -> Verdict {
    let fields = [("text".to_owned(), "a page".into())].into_iter().collect();
    Verdict::Done(StageOutput {
        fields,
        found: vec![item("found", "r1"), item("new", "r2")],
        quality_flags: Vec::new(),
    })
}

fn later() -> Verdict {
    Verdict::Later { due: NOW, reason: LaterReason { kind: LaterKind::Failed, message: "reset".to_owned() } }
}

fn item(key: &str, revision: &str) -> NewItem {
    let (key, data) = (ItemKey::new(key).unwrap(), [("url".to_owned(), key.into())].into_iter().collect());
    NewItem { key, data, priority: 1, revision: Some(revision.to_owned()) }
}

/// What a person may ask for.
async fn people(store: &RedbStore, job: JobId) {
    let keys = || KEYS.iter().map(|key| ItemKey::new(key).unwrap()).collect::<Vec<_>>();
    sound(store.submit(job, vec![item("done", "r2"), item("more", "r1")], NOW).await);
    sound(store.reopen(job, Selection::Failed, Answers::Anew, NOW).await);
    sound(store.reopen(job, Selection::Items(keys()), Answers::Kept, NOW).await);
    sound(store.exclude(job, vec![ItemKey::new("later").unwrap()], "not wanted".to_owned(), NOW).await);
    let change =
        |value: Option<&[u8]>| StateChange { key: "cursor".to_owned(), value: value.map(<[u8]>::to_vec), expect: None };
    sound(store.state_apply(job, vec![change(Some(b"43"))]).await);
    sound(store.state_apply(job, vec![change(None)]).await);
    let pause =
        Pause { reason: PauseReason::Manual, by: "cli".to_owned(), at: NOW, evidence: String::new(), until: None };
    sound(store.pause(job, pause).await);
    sound(store.resume(job).await);
}

async fn discovery(store: &RedbStore, job: JobId) {
    let page = DiscoveryResult::Page { items: vec![item("page", "r1")], cursor: None, next_round: Some(NOW) };
    let error = TaskError::new(ErrorKind::Failed, "no list");
    let error = DiscoveryResult::Error { error, counted: true, retry_at: NOW, pause: None };
    for result in [error, page] {
        if let Some(claim) = sound(store.claim_discovery(job).await) {
            sound(store.settle_discovery(DiscoveryPage { job, token: claim.token, result, now: NOW }).await);
        }
    }
}

/// The job of the store with a stage more, so that its items are brought into line.
fn declaration() -> JobDeclaration {
    let stage = |text: &str, needs: &[&str]| DeclaredStage {
        name: StageName::new(text).unwrap(),
        needs: needs.iter().map(|need| Need::parse(need).unwrap()).collect(),
        brings: needs.iter().map(|need| StageName::new(need).unwrap()).collect(),
    };
    JobDeclaration {
        name: JobName::new("pages").unwrap(),
        kind: JobKind::Monitor,
        stages: vec![stage("fetch", &[]), stage("summary", &["fetch"]), stage("extract", &["fetch", "summary"])],
        keep_attempts: 2,
        breaker: 3,
        discovery: None,
    }
}
