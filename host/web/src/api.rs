//! `/api/v1`: what people do with a host, as JSON.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tollgate_core::{
    ItemId, ItemKey, JobId,
    calendar::Day,
    item::{ItemStatus, NewItem},
    ledger::CallId,
    pause::Pause,
    task::Answers,
};
use tollgate_engine::{
    ConfigurationStatus, EngineError, Operations, RecheckedPart, SessionError, SessionStatus, SessionTest,
    operations::{Added, CostReport, CostsAsked, Done, JobDetail, LedgerAsked, Overview},
};
use tollgate_store::{CostGroup, EntryView, ItemDetail, ItemQuery, ItemView, Page, Selection, StageItems};

/// Largest body with items to add: some of the largest data that an item may have, however it is escaped.
pub const ITEMS_BYTES_MAX: usize = 32 << 20;
/// The status where no session can be had until a person logs in or leaves a cookie.
pub const NO_SESSION: StatusCode = StatusCode::CONFLICT;
/// Items of a page where the request names no number.
const ITEMS_PAGE: usize = 100;

/// What a failed request answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What is wrong, and what to do.
    pub error: String,
}

/// Query of an item list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemsQuery {
    /// Only items of this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ItemStatus>,
    /// Only items after this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// With outputs.
    #[serde(default)]
    pub outputs: bool,
}

/// Query of one item: keys are URLs often, so they don't stand in the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemKeyQuery {
    /// Its key.
    pub key: ItemKey,
}

/// Query of what was paid.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostsQuery {
    /// What it is summed by; by the day where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<CostGroup>,
    /// Only of this job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Only from this day on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Day>,
    /// Only up to this day, itself included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Day>,
    /// Of items: only after this one, by the number of its job
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_job: Option<u32>,
    /// and its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_item: Option<u64>,
    /// Of items: at most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Body of a pause.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseBody {
    /// Who pauses.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub note: String,
}

/// Body of a retry: these items, or every failed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RetryBody {
    /// These.
    Keys(Vec<ItemKey>),
    /// Every one that has failed.
    Failed,
    /// One stage of these, done or not, and nothing before it.
    Stage {
        /// Which stage.
        stage: String,
        /// Of which items.
        keys: Vec<ItemKey>,
    },
}

/// Query of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswersQuery {
    /// Where tasks have the answers from that they have paid for before; without it, they are made anew.
    #[serde(default)]
    pub answers: Answers,
}

/// Query of what a retry of one stage would open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryQuery {
    /// Which stage.
    pub stage: String,
    /// Only of items of this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ItemStatus>,
    /// Only of items after this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Body of an exclusion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExcludeBody {
    /// Which items.
    pub keys: Vec<ItemKey>,
    /// Why.
    pub reason: String,
}

/// Body of a recheck: of one part, after an item.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecheckBody {
    /// Only items after this number.
    #[serde(default)]
    pub after: Option<ItemId>,
    /// Counts, and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A page of what a retry would open.
pub type KeysPage = StageItems;

/// A page of items.
pub type ItemsPage = Page<ItemView, ItemId>;
/// A page of the ledger.
pub type LedgerPage = Page<EntryView, CallId>;

type Answer<T> = Result<Json<T>, Failure>;
type Ops = State<Arc<Operations>>;

/// The API's routes.
pub fn router(operations: Arc<Operations>) -> Router {
    Router::new()
        .route("/overview", get(overview))
        .route("/jobs/{job}", get(job))
        .route("/jobs/{job}/pause", post(pause))
        .route("/jobs/{job}/resume", post(resume))
        .route("/jobs/{job}/items", get(items).post(add).layer(DefaultBodyLimit::max(ITEMS_BYTES_MAX)))
        .route("/jobs/{job}/item", get(item))
        .route("/jobs/{job}/retry", get(retry_shown).post(retry))
        .route("/jobs/{job}/exclude", post(exclude))
        .route("/jobs/{job}/recheck", post(recheck))
        .route("/sessions", get(sessions))
        .route("/sessions/{name}/test", post(test_session))
        .route("/sessions/{name}/renew", post(renew_session))
        .route("/cost", get(cost))
        .route("/ledger", get(ledger))
        .route("/ledger/{call}/answer", get(paid_answer))
        .route("/reload", post(reload))
        .route("/stop", post(stop))
        .with_state(operations)
}

async fn overview(State(operations): Ops) -> Answer<Overview> {
    Ok(Json(operations.overview().await?))
}

async fn job(State(operations): Ops, Path(job): Path<String>) -> Answer<JobDetail> {
    Ok(Json(operations.job(&job).await?))
}

async fn pause(State(operations): Ops, Path(job): Path<String>, Json(body): Json<PauseBody>) -> Answer<Pause> {
    Ok(Json(operations.pause(&job, &body.by, &body.note).await?))
}

async fn resume(State(operations): Ops, Path(job): Path<String>) -> Answer<Option<Pause>> {
    Ok(Json(operations.resume(&job).await?))
}

async fn items(State(operations): Ops, Path(job): Path<String>, Query(query): Query<ItemsQuery>) -> Answer<ItemsPage> {
    let query = ItemQuery {
        status: query.status,
        after: query.after.map(ItemId),
        limit: query.limit.unwrap_or(ITEMS_PAGE),
        outputs: query.outputs,
    };
    Ok(Json(operations.items(&job, query).await?))
}

async fn item(
    State(operations): Ops,
    Path(job): Path<String>,
    Query(query): Query<ItemKeyQuery>,
) -> Answer<ItemDetail> {
    match operations.item(&job, &query.key).await? {
        Some(item) => Ok(Json(item)),
        None => Err(Failure(StatusCode::NOT_FOUND, format!("job {job} has no item {:?}", query.key.as_str()))),
    }
}

async fn add(State(operations): Ops, Path(job): Path<String>, Json(items): Json<Vec<NewItem>>) -> Answer<Added> {
    Ok(Json(operations.add(&job, items).await?))
}

async fn retry(
    State(operations): Ops,
    Path(job): Path<String>,
    Query(AnswersQuery { answers }): Query<AnswersQuery>,
    Json(body): Json<RetryBody>,
) -> Answer<Done> {
    let done = match body {
        RetryBody::Keys(keys) => operations.retry_with(&job, Selection::Items(keys), answers).await,
        RetryBody::Failed => operations.retry_with(&job, Selection::Failed, answers).await,
        RetryBody::Stage { stage, keys } => operations.retry_stage_with(&job, &stage, keys, answers).await,
    };
    Ok(Json(done?))
}

/// What a retry of a stage would open: its answer is the body of the retry, so that it acts on what was shown.
async fn retry_shown(
    State(operations): Ops,
    Path(job): Path<String>,
    Query(query): Query<RetryQuery>,
) -> Answer<KeysPage> {
    let RetryQuery { stage, status, after, limit } = query;
    let query = ItemQuery { status, after: after.map(ItemId), limit: limit.unwrap_or(ITEMS_PAGE), outputs: false };
    Ok(Json(operations.stage_items(&job, &stage, query).await?))
}

async fn exclude(State(operations): Ops, Path(job): Path<String>, Json(body): Json<ExcludeBody>) -> Answer<Done> {
    Ok(Json(operations.exclude(&job, body.keys, &body.reason).await?))
}

async fn recheck(
    State(operations): Ops,
    Path(job): Path<String>,
    Json(body): Json<RecheckBody>,
) -> Answer<RecheckedPart> {
    Ok(Json(operations.recheck(&job, body.after, body.dry_run).await?))
}

async fn sessions(State(operations): Ops) -> Answer<Vec<SessionStatus>> {
    Ok(Json(operations.sessions().await?))
}

async fn test_session(State(operations): Ops, Path(name): Path<String>) -> Answer<SessionTest> {
    Ok(Json(operations.test_session(&name).await?))
}

async fn renew_session(State(operations): Ops, Path(name): Path<String>) -> Answer<SessionStatus> {
    Ok(Json(operations.renew_session(&name).await?))
}

async fn cost(State(operations): Ops, Query(query): Query<CostsQuery>) -> Answer<CostReport> {
    let CostsQuery { by, job, from, to, after_job, after_item, limit } = query;
    let after = match (after_job, after_item) {
        (Some(job), Some(item)) => Some((JobId(job), ItemId(item))),
        (None, None) => None,
        _ => {
            let message = "`after_job` and `after_item` go together: both are in the `next` of the page before";
            return Err(Failure(StatusCode::BAD_REQUEST, message.to_owned()));
        }
    };
    let (by, limit) = (by.unwrap_or(CostGroup::Day), limit.unwrap_or(ITEMS_PAGE));
    Ok(Json(operations.costs(CostsAsked { by, job, from, to, after, limit }).await?))
}

/// What a call has paid for.
async fn paid_answer(State(operations): Ops, Path(call): Path<u64>) -> Answer<serde_json::Value> {
    match operations.answer(CallId(call)).await? {
        Some(answer) => Ok(Json(answer)),
        None => Err(Failure(StatusCode::NOT_FOUND, format!("no answer of call {call} is kept"))),
    }
}

async fn ledger(State(operations): Ops, Query(asked): Query<LedgerAsked>) -> Answer<LedgerPage> {
    Ok(Json(operations.ledger(asked).await?))
}

async fn reload(State(operations): Ops) -> Answer<ConfigurationStatus> {
    Ok(Json(operations.reload().await?))
}

async fn stop(State(operations): Ops) -> Answer<()> {
    operations.stop().await;
    Ok(Json(()))
}

/// An error on its way out.
struct Failure(StatusCode, String);

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            EngineError::UnknownJob(_) | EngineError::Session(SessionError::Unknown { .. }) => StatusCode::NOT_FOUND,
            EngineError::Invalid(_) | EngineError::Session(SessionError::NoTest(_)) => StatusCode::BAD_REQUEST,
            EngineError::Session(error) if error.is_for_a_person() => NO_SESSION,
            EngineError::Session(SessionError::Refused(_)) => StatusCode::BAD_GATEWAY,
            EngineError::Store(_) | EngineError::Task { .. } | EngineError::File { .. } | EngineError::Gate(_) => {
                tracing::error!(%error, "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(ApiError { error: self.1 })).into_response()
    }
}
