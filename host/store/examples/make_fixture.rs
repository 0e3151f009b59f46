//! Makes the small store that tests of later schema versions open:
//! `cargo run -p tollgate-store --example make_fixture`.
//!
//! Run it with the last program of a version, before the step to the next one is written, and check the folder
//! `tests/fixtures/vN` in. It refuses to replace a fixture: one that was made by another program is worth nothing.

use std::{collections::BTreeMap, error::Error, fs, path::Path, time::Duration};

use tollgate_core::{
    Digest, ItemKey, JobId, JobName, Lane, StageIx, StageName, Timestamp,
    budget::{GB, Price, Spending},
    calendar::Zone,
    graph::Need,
    handler::HandlerDigests,
    item::NewItem,
    ledger::{Budgets, Call, CallEnd, Caller, Cost, How, Paid, PaidKind, Reservation, Units},
    model::Tokens,
    money::NanoUsd,
    outcome::{BreakerEffect, StageOutput, Verdict},
    pause::{Pause, PauseReason},
    spec::JobKind,
    task::{ErrorKind, LaterKind, LaterReason, TaskError},
};
use tollgate_store::{
    AttemptEnd, AttemptRecord, BlobSource, Claim, DeclaredDiscovery, DeclaredStage, DiscoveryPage, DiscoveryResult,
    Fingerprint, JobDeclaration, NewArtifact, RedbStore, Reserved, Settlement, StateChange, Store, StoreOptions,
    schema_version,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let folder = fixtures.join(format!("v{}", schema_version()));
    if folder.exists() {
        return Err(format!("{} is there already", folder.display()).into());
    }
    let open = tempfile::tempdir()?;
    let store = RedbStore::open(open.path(), StoreOptions::default())?;
    fill(&store).await?;
    // As a host leaves it that is killed: the newest calls stand in the log alone.
    fs::create_dir_all(&folder)?;
    for file in ["queue.redb", "content.redb", "ledger.wal"] {
        fs::copy(open.path().join(file), folder.join(file))?;
    }
    store.close().await?;
    for database in ["queue.redb", "content.redb"] {
        // Repaired here and not in each test.
        drop(redb::Database::open(folder.join(database))?);
    }
    println!("made {}", folder.display());
    Ok(())
}

/// One job with an item in each of several states, a row of nearly every table, none of files, which are too large to
/// check in, and two calls in the ledger's log.
async fn fill(store: &RedbStore) -> Result<(), Box<dyn Error>> {
    let (fetch, extract) = (StageName::new("fetch")?, StageName::new("extract")?);
    let stages = vec![
        DeclaredStage { name: fetch.clone(), needs: Vec::new(), brings: Vec::new() },
        DeclaredStage { name: extract, needs: vec![Need::parse("fetch")?], brings: vec![fetch] },
    ];
    let name = JobName::new("pages")?;
    let discovery = Some(DeclaredDiscovery { basis: Digest::of(b"params"), every: Some(Duration::from_secs(900)) });
    let declaration = JobDeclaration { name, kind: JobKind::Monitor, stages, keep_attempts: 5, breaker: 3, discovery };
    let job = store.declare(declaration, Timestamp(1_000)).await?.id;
    let mut items = Vec::new();
    for key in ["done", "failed", "later", "rejected", "new"] {
        let data = BTreeMap::from([("url".to_owned(), format!("https://pages.example/{key}").into())]);
        let revision = Some("r1".to_owned());
        items.push(NewItem { key: ItemKey::new(key)?, data: data.into_iter().collect(), priority: 0, revision });
    }
    let page = DiscoveryResult::Page { items, cursor: None, next_round: Some(Timestamp(901_500)) };
    let token = store.claim_discovery(job).await?.token;
    store.settle_discovery(DiscoveryPage { job, token, result: page, now: Timestamp(1_500) }).await?;
    let claims = store.claim(Lane { job, stage: StageIx(0) }, 4, Timestamp(2_000)).await?;
    let error = TaskError::new(ErrorKind::Failed, "no title on the page");
    let reason = LaterReason { kind: LaterKind::RateLimited, message: "429".to_owned() };
    let verdicts = [
        done("a page"),
        Verdict::Failed(error),
        Verdict::Later { due: Timestamp(50_000), reason },
        Verdict::Reject("parked".to_owned()),
    ];
    let mut settlements = Vec::new();
    for (claim, verdict) in claims.iter().zip(verdicts) {
        let blob = store.put_blob(BlobSource::Bytes("<html>raw</html>".repeat(20).into())).await?;
        let artifact = NewArtifact { name: "page.html".to_owned(), content_type: "text/html".to_owned(), blob };
        settlements.push(Settlement { artifacts: vec![artifact], ..settlement(claim, verdict) });
    }
    for answer in store.settle(settlements).await? {
        answer?;
    }
    let claim = store.claim(Lane { job, stage: StageIx(1) }, 1, Timestamp(3_000)).await?;
    for claim in &claim {
        pay(store, job, claim, b"request").await?;
        store.settle(vec![settlement(claim, done("a title"))]).await?.remove(0)?;
    }
    let change = StateChange { key: "cursor".to_owned(), value: Some(b"42".to_vec()), expect: Some(0) };
    store.state_apply(job, vec![change]).await?;
    let mut spending = Spending::default();
    spending.turn(&Zone::default(), Timestamp(1_000));
    spending.add(1_500, 500, Some(Price { money: NanoUsd(8_400_000_000), bytes: GB }));
    store.keep_spending(vec![("proxy main".to_owned(), spending)]).await?;
    let claims = store.claim(Lane { job, stage: StageIx(0) }, 1, Timestamp(3_500)).await?;
    let (reason, by, evidence) = (PauseReason::Manual, "cli".to_owned(), "for the fixture".to_owned());
    store.pause(job, Pause { reason, by, at: Timestamp(4_000), evidence, until: None }).await?;
    // Last: anything else that is written takes the log in.
    for claim in &claims {
        pay(store, job, claim, b"in the log").await?;
    }
    Ok(())
}

/// A call that is settled, with its answer, and one that is under way.
async fn pay(store: &RedbStore, job: JobId, claim: &Claim, request: &[u8]) -> Result<(), Box<dyn Error>> {
    let caller = Caller { job, task: Some((claim.task.item, claim.task.stage)), attempt: 1, number: 1 };
    let (provider, alias, model) = ("sim".to_owned(), "fast".to_owned(), "sim-1".to_owned());
    let paid = Paid { kind: PaidKind::Model, provider, alias, model };
    let (request, at, estimate) = (Digest::of(request), Timestamp(3_000), Cost::Known(NanoUsd(700)));
    let call = Call { caller, paid, request, at, estimate };
    let reservation = Reservation { call, claim: claim.token, budgets: Budgets::default(), zone: Zone::default() };
    let reserved = store.reserve_call(reservation.clone()).await?;
    let Reserved::Made { call, .. } = reserved else {
        return Err(format!("no budget bounds it: {reserved:?}").into());
    };
    let tokens = Tokens { input: 100, output: 10, ..Tokens::default() };
    let units = Units { credits: 1, audio_ms: 1_500 };
    let (cost, provider_request) = (Cost::Known(NanoUsd(300)), Some("req-1".to_owned()));
    let end =
        CallEnd { at: Timestamp(3_100), how: How::Answered, cost, is_estimate: false, tokens, units, provider_request };
    store.settle_call(call, end, Some(r#"{"title":"a title"}"#.to_owned())).await?;
    store.reserve_call(reservation).await?;
    Ok(())
}

fn done(text: &str) -> Verdict {
    let fields = [("text".to_owned(), text.into())].into_iter().collect();
    Verdict::Done(StageOutput { fields, found: Vec::new(), quality_flags: vec!["short".to_owned()] })
}

fn settlement(claim: &Claim, verdict: Verdict) -> Settlement {
    let digest = Digest::of(b"fixture");
    let mut tally = claim.tally;
    tally.attempts += 1;
    let mut why = None;
    let (ended, error, breaker) = match &verdict {
        Verdict::Done(_) => (AttemptEnd::Done, None, BreakerEffect::Success),
        Verdict::Failed(error) => (AttemptEnd::Failed, Some(error.clone()), BreakerEffect::Failure),
        Verdict::Later { reason, .. } => {
            why = Some(reason.message.clone());
            (AttemptEnd::Later(reason.kind), None, BreakerEffect::None)
        }
        _ => (AttemptEnd::Rejected, None, BreakerEffect::None),
    };
    let attempt = AttemptRecord {
        number: tally.attempts,
        started_at: Timestamp(2_100),
        ended_at: Timestamp(2_200),
        handler: HandlerDigests { artifact: digest, code: digest },
        ended,
        error,
        reason: why,
        guest_us: 1_234,
        requests: 1,
        bytes_received: 320,
        tools: Vec::new(),
    };
    let inputs = claim.inputs.iter().map(|(stage, input)| (stage.clone(), input.digest)).collect();
    let source = "source".to_owned();
    let fingerprint = Fingerprint { source, params: digest, contract: digest, data: digest, inputs };
    Settlement {
        task: claim.task,
        token: claim.token,
        verdict,
        tally,
        breaker,
        attempt: Some(attempt),
        fingerprint: Some(fingerprint),
        artifacts: Vec::new(),
        pages: Vec::new(),
        take_back: None,
        refused: None,
        passing: [].into(),
        pause: None,
        now: Timestamp(2_200),
    }
}
