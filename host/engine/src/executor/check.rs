//! One attempt of a check: its page is read from the store, a model is asked, and a page that it refuses is a guard's.

use serde_json::{Map, Value, json};
use tollgate_core::{
    Digest, Document, ItemId, Timestamp,
    outcome::{Outcome, Refusal, RefusalKind, StageError, StageOutput, Verdict, decide},
    spec::GuardOutcome,
    task::{ErrorKind, TaskError, TaskState},
};
use tollgate_egress::guard::{self, CHECK_PREFIX, EXCERPT_CHARS_MAX, GUARDED_BYTES_MAX, GuardLayer, Guarded};
use tollgate_store::{AttemptEnd, BlobPart, Claim, ItemDetail, RefusedPage, StoreError};

use super::{
    Judged, Ran, Running, Tools,
    judging::{draw, pause_of, settlement_of},
};
use crate::{
    CheckAnswer, CheckError, CheckRequest, EngineError,
    attempt::{AttemptEnded, GUARDED_PREFIX},
    model_check,
    plan::{CheckPlan, JobPlan},
    services::{Payer, PayingAttempt},
};

/// A stored page, as a check has it judged.
struct StoredPage {
    blob: Digest,
    /// Its address; absent of what a handler made.
    url: Option<String>,
    document: Document,
}

/// Runs a check's claimed task, up to its settlement. Nothing is sent but the question.
pub(super) async fn attempt(running: Running<'_>, check: &CheckPlan) -> Result<Judged, StoreError> {
    let Running { tools, job, stage, claim, .. } = running;
    let failed = |message| Ran::nothing(Outcome::Stage(StageError::Failed(message)));
    let page = match page(tools, job, check, claim.task.item).await? {
        Ok(page) => page,
        Err(wrong) => return Ok(settlement_of(running, failed(wrong)).await),
    };
    let data = claim.data.parse().map_err(|error| format!("the item's data: {error}"));
    let question = match data.and_then(|data| check.spec.ask.about(&data)) {
        Ok(question) => question,
        Err(wrong) => return Ok(settlement_of(running, failed(wrong)).await),
    };
    let request = CheckRequest {
        job: job.spec.name.clone(),
        item: claim.key.clone(),
        question,
        document: page.document.clone(),
        model: check.spec.model.clone(),
    };
    let asking = async {
        match &check.judge {
            Some(judge) => judge.judge(request).await.map_err(CheckError::judged),
            None => {
                let task = (claim.task.item, stage.lane.stage);
                let payer =
                    Payer::of(job, Some(task), PayingAttempt::task(claim.token, claim.tally, stage.spec.timeout));
                model_check::judge(&tools.services, payer, request, stage.spec.timeout).await
            }
        }
    };
    let (outcome, refusal, refused) = match tokio::time::timeout(stage.spec.timeout, asking).await {
        Ok(Ok(answer)) if answer.is_content => {
            vouch(tools, job, check, claim, &page).await?;
            (output(&answer), None, None)
        }
        Ok(Ok(answer)) => {
            let cost = answer.cost.map_or_else(|| "unpriced".to_owned(), |cost| cost.to_string());
            let reason = format!("the page is refused: {} ({cost})", answer.reason);
            (Outcome::Stage(StageError::Reject(reason)), None, Some(answer))
        }
        Ok(Err((outcome, refusal))) => (outcome, refusal, None),
        // That question hung, and is bounded like any address that does.
        Err(_) => {
            let message = format!("no answer within {:?}", stage.spec.timeout);
            let refusal =
                Refusal { kind: RefusalKind::Transport, about: String::new(), message: message.clone(), after: None };
            (Outcome::Stage(StageError::Failed(message)), Some(refusal), None)
        }
    };
    let ended = AttemptEnded { refusal, ..AttemptEnded::default() };
    let mut judged = settlement_of(running, Ran { outcome, ended, guest_us: 0 }).await;
    if let Some(answer) = refused {
        refuse(tools, job, check, claim, page, &answer, &mut judged).await?;
    }
    Ok(judged)
}

fn output(answer: &CheckAnswer) -> Outcome {
    let fields = [
        ("is_content", json!(answer.is_content)),
        ("reason", json!(answer.reason)),
        // In billionths of a dollar; null: nobody knows.
        ("cost", json!(answer.cost)),
    ];
    let fields: Map<String, Value> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Outcome::Output(StageOutput { fields, found: Vec::new(), quality_flags: Vec::new() })
}

/// The page that is to be judged; an error says why it can't be.
async fn page(
    tools: &Tools,
    job: &JobPlan,
    check: &CheckPlan,
    item: ItemId,
) -> Result<Result<StoredPage, String>, StoreError> {
    let before = item.0.checked_sub(1).map(ItemId);
    let kept = tools.store.pages(job.declared.id, before, 1).await?;
    let of_item = kept.entries.into_iter().filter(|kept| kept.item == item).flat_map(|kept| kept.pages);
    let is_it = |artifact: &tollgate_core::ArtifactRef| artifact.name == check.spec.artifact;
    let found = of_item
        .into_iter()
        .find(|view| view.stored.stage == check.of && !view.stored.pending && is_it(&view.stored.artifact));
    let name = format!("{}/{}", check.spec.of, check.spec.artifact);
    let Some(view) = found else {
        return Ok(Err(format!("artifact {name}, which the check is of, is missing")));
    };
    let artifact = view.stored.artifact;
    let part = BlobPart { offset: 0, length: GUARDED_BYTES_MAX as u64 };
    let body = tools.store.read_blob(artifact.digest, Some(part)).await?;
    let is_cut = artifact.size > body.len() as u64;
    let content_type = artifact.content_type;
    // Beside the workers: a page takes up to some milliseconds.
    let shown = tokio::task::spawn_blocking(move || {
        guard::shown(&content_type, &body).map(|text| Document::of(&text, is_cut)).ok_or(content_type)
    });
    let url = view.came.map(|(url, _)| url);
    Ok(match shown.await {
        Ok(Ok(document)) => Ok(StoredPage { blob: artifact.digest, url, document }),
        Ok(Err(content_type)) => Err(format!("artifact {name}, which the check is of, is no text but {content_type}")),
        Err(error) => Err(EngineError::Task { task: "reading a page", message: error.to_string() }.to_string()),
    })
}

/// A check for what a session shows took the page: one that is fetched with a renewed session says that it was of use.
async fn vouch(
    tools: &Tools,
    job: &JobPlan,
    check: &CheckPlan,
    claim: &Claim,
    page: &StoredPage,
) -> Result<(), StoreError> {
    let is_about_sessions = check.spec.outcome == GuardOutcome::LoginRequired;
    let Some(url) = page.url.as_deref().filter(|url| is_about_sessions && tools.gate.awaits_check(url)) else {
        return Ok(());
    };
    if let Some(detail) = tools.store.item(job.declared.id, claim.key.clone()).await? {
        tools.gate.check_passed(url, began(&detail, check));
    }
    Ok(())
}

/// When the attempt began that brought the page; one that is no longer kept is older than any session.
fn began(detail: &ItemDetail, check: &CheckPlan) -> Timestamp {
    let attempts = detail.attempts.get(&check.spec.of);
    let made_it = attempts.and_then(|all| all.iter().rev().find(|attempt| attempt.ended == AttemptEnd::Done));
    made_it.map_or(Timestamp(0), |attempt| attempt.started_at)
}

/// The page is no content: it is kept apart, and the task that brought it goes on as if a guard had caught it, by its
/// own retry rules and with what is counted of it so far.
async fn refuse(
    tools: &Tools,
    job: &JobPlan,
    check: &CheckPlan,
    claim: &Claim,
    page: StoredPage,
    answer: &CheckAnswer,
    judged: &mut Judged,
) -> Result<(), StoreError> {
    let missing = || StoreError::NotFound(format!("item {} with its stage {}", claim.key, check.spec.of));
    let detail = tools.store.item(job.declared.id, claim.key.clone()).await?.ok_or_else(missing)?;
    let tally = detail.item.tasks.iter().find(|task| task.stage == check.spec.of).ok_or_else(missing)?.tally;
    let began = began(&detail, check);
    let retry = job.stage(check.of).ok_or_else(missing)?.spec.retry;
    let guarded = Guarded {
        layer: GuardLayer::Model,
        rule: format!("{CHECK_PREFIX}{}", check.spec.stage.name),
        builtin: false,
        outcome: check.spec.outcome,
        is_proxys: false,
        after: check.spec.after,
        excerpt: answer.reason.chars().take(EXCERPT_CHARS_MAX).collect(),
    };
    tracing::info!(job = %job.spec.name, item = %claim.key, %guarded, "a stored page is no content");
    let refusal = tools.gate.checked(page.url.as_deref(), &guarded, began).await;
    let now = judged.settlement.now;
    let decision = decide(Outcome::Contract(refusal.message.clone()), Some(&refusal), tally, &retry, now, draw());
    let pause = pause_of(&decision.verdict, Some(&refusal), page.url.as_deref(), now);
    let state = match decision.verdict {
        Verdict::Later { due, reason } => TaskState::RetryLater { due, reason },
        Verdict::Failed(error) => TaskState::Failed { error },
        // Nothing else follows from a refusal; were it so, it'd be a failure that says so.
        _ => TaskState::Failed { error: TaskError::new(ErrorKind::Host, &refusal.message) },
    };
    judged.settlement.pause = judged.settlement.pause.take().or(pause);
    judged.settlement.refused = Some(RefusedPage {
        stage: check.of,
        blob: page.blob,
        name: format!("{GUARDED_PREFIX}{}", guarded.rule),
        state,
        // The stage itself didn't run.
        tally: tollgate_core::task::Tally { attempts: tally.attempts, ..decision.tally },
        error: decision.error,
    });
    Ok(())
}
