//! A disk that fails at each point of a scripted run: what was answered is there, nothing is there twice, the counters
//! are those of the rows, and the work goes on where it stopped.

use tollgate_core::{
    Digest, Timestamp,
    ledger::{CallId, How},
    outcome::Verdict,
    task::TaskState,
};
use tollgate_store::{
    AnswerKey, BlobSource, Claim, LedgerQuery, NewArtifact, RedbStore, Reserved, StateChange, Store, StoreError,
    StoreOptions,
};

use crate::{
    disk::{FlakyDisk, Trouble},
    fixture::{EXTRACT, FETCH, Fixture, declaration, done, failed, key, new_item, settlement, stage},
    paying::{DAY, answered, known, reservation},
};

/// Ways in which unsynced writes come to the disk, tried at each point: none of them, and by some seeds.
const SEEDS: [u64; 4] = [0, 1, 2, 3];
const NOW: Timestamp = Timestamp(5);

/// What the store has answered, so that it must be there ever after.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fact {
    Item(&'static str),
    /// An output of a stage of an item.
    Done(&'static str, &'static str),
    Failed(&'static str),
    Excluded(&'static str),
    Note(&'static str),
    /// A call may be made.
    Reserved(CallId),
    /// A call was paid, and its answer kept.
    Paid(CallId),
    Artifact(&'static str),
}

fn options() -> StoreOptions {
    StoreOptions { queue_cache_bytes: 1 << 20, content_cache_bytes: 1 << 20, sweep: false }
}

fn stages() -> Vec<tollgate_store::DeclaredStage> {
    vec![stage("fetch", &[]), stage("extract", &["fetch"])]
}

/// Opens a store, declares its job, and works until the end or the first refusal; what was answered is told to `facts`.
async fn work(
    open: impl FnOnce() -> Result<std::sync::Arc<RedbStore>, StoreError>,
    folder: tempfile::TempDir,
    facts: &mut Vec<Fact>,
) -> Result<Fixture, (tempfile::TempDir, StoreError)> {
    let store = match open() {
        Ok(store) => store,
        Err(error) => return Err((folder, error)),
    };
    let job = match store.declare(declaration(stages()), Timestamp(0)).await {
        Ok(job) => job.id,
        Err(error) => return Err((folder, error)),
    };
    let fixture = Fixture { folder, store, job };
    match script(&fixture, facts).await {
        Ok(()) => Ok(fixture),
        Err(error) => {
            let Fixture { folder, store, .. } = fixture;
            // A store whose writer has ended closes with that reason.
            drop(store.close().await);
            Err((folder, error))
        }
    }
}

async fn script(fixture: &Fixture, facts: &mut Vec<Fact>) -> Result<(), StoreError> {
    let Fixture { store, job, .. } = fixture;
    let keys = ["a", "b", "c"];
    store.submit(*job, keys.iter().map(|text| new_item(text)).collect(), NOW).await?;
    facts.extend(keys.map(Fact::Item));
    let blob = store.put_blob(BlobSource::Bytes("<h1>a</h1>".as_bytes().into())).await?;
    let page = NewArtifact { name: "page".into(), content_type: "text/html".into(), blob };
    settle(fixture, "a", FETCH, done("fetched"), vec![page], facts).await?;
    facts.extend([Fact::Done("a", "fetch"), Fact::Artifact("a")]);
    let change = StateChange { key: "note".into(), value: Some(b"kept".to_vec()), expect: None };
    store.state_apply(*job, vec![change]).await?;
    facts.push(Fact::Note("kept"));
    settle(fixture, "b", FETCH, failed("gone"), Vec::new(), facts).await?;
    facts.push(Fact::Failed("b"));
    settle(fixture, "a", EXTRACT, done("extracted"), Vec::new(), facts).await?;
    facts.push(Fact::Done("a", "extract"));
    store.exclude(*job, vec![key("c")], "not wanted".into(), NOW).await?;
    facts.push(Fact::Excluded("c"));
    store.submit(*job, vec![new_item("d")], NOW).await?;
    facts.push(Fact::Item("d"));
    Ok(())
}

/// Settles a task of an item, unless that was done before.
async fn settle(
    fixture: &Fixture,
    text: &str,
    stage: tollgate_core::StageIx,
    verdict: Verdict,
    artifacts: Vec<NewArtifact>,
    facts: &mut Vec<Fact>,
) -> Result<(), StoreError> {
    let claims = fixture.store.claim(fixture.lane(stage), 10, NOW).await?;
    let (wanted, others): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.key.as_str() == text);
    fixture.store.release(others.iter().map(|claim| (claim.task, claim.token)).collect()).await?;
    let Some(claim) = wanted.first() else {
        return Ok(());
    };
    if text == "a" {
        pay(fixture, claim, facts).await?;
    }
    let settlement = tollgate_store::Settlement { artifacts, ..settlement(claim, verdict, NOW.0) };
    fixture.store.settle(vec![settlement]).await?.remove(0).map(drop)
}

fn answer_key(fixture: &Fixture, claim: &Claim) -> AnswerKey {
    let task = Some((claim.task.item, claim.task.stage));
    AnswerKey { job: fixture.job, task, request: Digest::of(b"q") }
}

/// Makes a paid call for a task, unless it has the answer already.
async fn pay(fixture: &Fixture, claim: &Claim, facts: &mut Vec<Fact>) -> Result<(), StoreError> {
    let store = &fixture.store;
    if store.kept_answer(answer_key(fixture, claim)).await?.is_some() {
        return Ok(());
    }
    let reserved = store.reserve_call(reservation(fixture, claim, "q", known(5), DAY)).await?;
    let Reserved::Made { call, .. } = reserved else { panic!("no budget bounds it: {reserved:?}") };
    facts.push(Fact::Reserved(call));
    store.settle_call(call, answered(known(3), DAY), Some(r#"{"is":"paid"}"#.to_owned())).await?;
    facts.push(Fact::Paid(call));
    Ok(())
}

/// The ledger has what was answered, its counters are those of its rows, and no task has paid for an answer twice.
async fn ledger_holds(fixture: &Fixture, facts: &[Fact]) {
    let query = LedgerQuery { limit: 100, ..LedgerQuery::default() };
    let rows = fixture.store.ledger_entries(query).await.unwrap().entries;
    for fact in facts {
        match fact {
            Fact::Reserved(call) => assert!(rows.iter().any(|row| row.entry.id == *call), "{fact:?}"),
            Fact::Paid(call) => {
                let entry = &rows.iter().find(|row| row.entry.id == *call).unwrap().entry;
                assert_eq!(entry.end.as_ref().unwrap().cost, known(3), "{fact:?}");
                let (job, task, request) = (entry.call.caller.job, entry.call.caller.task, entry.call.request);
                let kept = fixture.store.kept_answer(AnswerKey { job, task, request }).await.unwrap().unwrap();
                assert_eq!((kept.call, kept.json.as_str()), (*call, r#"{"is":"paid"}"#));
            }
            _ => {}
        }
    }
    for stage in [FETCH, EXTRACT] {
        let of_stage = rows.iter().filter(|row| row.entry.call.caller.task.is_some_and(|(_, of)| of == stage));
        let answered = of_stage.filter(|row| row.entry.end.as_ref().is_some_and(|end| end.how == How::Answered));
        assert!(answered.count() <= 1, "stage {} has paid twice", stage.0);
    }
}

/// What was answered is there, and nothing twice.
async fn holds(fixture: &Fixture, facts: &[Fact]) {
    fixture.sound().await;
    ledger_holds(fixture, facts).await;
    for fact in facts {
        match fact {
            Fact::Reserved(_) | Fact::Paid(_) => {}
            Fact::Item(text) => drop(fixture.detail(text).await),
            Fact::Done(text, stage) => {
                assert!(matches!(fixture.state(text, stage).await, TaskState::Done), "{fact:?}");
            }
            Fact::Failed(text) => {
                assert!(matches!(fixture.state(text, "fetch").await, TaskState::Failed { .. }), "{fact:?}");
            }
            Fact::Excluded(text) => {
                assert!(matches!(fixture.state(text, "fetch").await, TaskState::Skipped { .. }), "{fact:?}");
            }
            Fact::Note(text) => {
                let note = fixture.store.state_get(fixture.job, "note".into()).await.unwrap().unwrap();
                assert_eq!(note.value, text.as_bytes());
            }
            Fact::Artifact(text) => {
                let artifact = fixture.detail(text).await.artifacts.remove(0);
                let bytes = fixture.store.read_blob(artifact.artifact.digest, None).await.unwrap();
                assert_eq!(bytes, format!("<h1>{text}</h1>").as_bytes());
            }
        }
    }
    for item in ["a", "b", "c", "d"] {
        let Some(detail) = fixture.store.item(fixture.job, key(item)).await.unwrap() else {
            continue;
        };
        for (stage, attempts) in &detail.attempts {
            let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.number).collect();
            assert!(matches!(numbers.as_slice(), [] | [1]), "{stage} of {item} was settled twice: {numbers:?}");
        }
    }
}

fn reopen(folder: &tempfile::TempDir) -> Result<std::sync::Arc<RedbStore>, StoreError> {
    RedbStore::open(folder.path(), StoreOptions { sweep: true, ..options() })
}

/// Runs the script on a disk with that trouble, then on what `lay` makes of it, to the end.
async fn survive(trouble: Trouble, lay: impl Fn(&FlakyDisk, &std::path::Path)) {
    let disk = FlakyDisk::new(trouble);
    let mut facts = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let ended = work(|| RedbStore::open_on(&disk, &path, options()), folder, &mut facts).await;
    let folder = match ended {
        Ok(fixture) => {
            // Where the trouble comes as late as that, closing says so, and all that was asked for is done.
            drop(fixture.store.close().await);
            fixture.folder
        }
        Err((folder, error)) => {
            assert!(matches!(error, StoreError::Io(_) | StoreError::Full(_)), "{trouble:?}: {error}");
            folder
        }
    };
    lay(&disk, folder.path());
    let store = reopen(&folder).unwrap();
    let job = store.declare(declaration(stages()), Timestamp(0)).await.unwrap().id;
    let fixture = Fixture { folder, store, job };
    fixture.store.swept().await.expect("nothing stands in its way");
    holds(&fixture, &facts).await;
    fixture.store.expire_reservations(NOW).await.unwrap();
    script(&fixture, &mut facts).await.unwrap();
    holds(&fixture, &facts).await;
    let account = fixture.account(&tollgate_core::ledger::Scope::Everything).await;
    assert_eq!(account.day.reserved.0, 0, "nothing is held any more (trap 2)");
    fixture.store.close().await.unwrap();
}

/// How many syncs and changes the script takes, its opening and closing among them.
async fn counts() -> (usize, usize) {
    let disk = FlakyDisk::new(Trouble::None);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let worked = work(|| RedbStore::open_on(&disk, &path, options()), folder, &mut Vec::new()).await;
    let Ok(fixture) = worked else { panic!("a disk without trouble refused") };
    fixture.store.close().await.unwrap();
    disk.counts()
}

#[tokio::test]
async fn power_lost_at_any_sync_loses_nothing_that_was_answered() {
    let (syncs, _) = counts().await;
    assert!(syncs > 20, "{syncs}");
    for sync in 0..syncs {
        for seed in SEEDS {
            survive(Trouble::PowerLost { sync }, |disk, folder| disk.lay(folder, seed)).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_store_with_its_reason_and_leaves_it_sound() {
    let (_, changes) = counts().await;
    for change in (0..changes).step_by(3) {
        survive(Trouble::Full { change }, FlakyDisk::lay_all).await;
    }
}

#[tokio::test]
async fn a_write_or_sync_that_fails_once_leaves_the_store_sound() {
    let (syncs, changes) = counts().await;
    for change in (0..changes).step_by(3) {
        survive(Trouble::BadWrite { change }, FlakyDisk::lay_all).await;
    }
    for sync in 0..syncs {
        for seed in [0, 1] {
            survive(Trouble::BadSync { sync }, |disk, folder| disk.lay(folder, seed)).await;
        }
    }
}
