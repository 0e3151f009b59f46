//! The durable queue: items, tasks, outputs, artifacts and counters behind the [`Store`] trait, kept in redb.
//!
//! Every operation is a batch and is durable once it is answered. Nothing here knows of handlers or the network;
//! the rules by which states follow one another are `core`'s, applied here inside one transaction.

mod error;
mod redb_store;
mod stored;
mod types;

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use tollgate_core::{
    ClaimToken, Digest, ItemId, ItemKey, JobId, JobName, Lane, StageIx, Timestamp,
    budget::Spending,
    circuit::Circuit,
    item::NewItem,
    ledger::{CallEnd, CallId, Costs, Reservation},
    pause::Pause,
    task::Answers,
};

pub use error::StoreError;
pub use redb_store::*;
pub use types::*;

/// What every operation answers.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The seam between the host and what keeps its data. redb is the first implementation; a claim is memory there,
/// and a lease over several hosts.
pub trait Store: Send + Sync + 'static {
    /// Makes a job known, gives its numbers, and brings existing items into line with its stages, and its discovery
    /// with what it depends on. Idempotent.
    fn declare<'a>(&'a self, job: JobDeclaration, now: Timestamp) -> Reply<'a, DeclaredJob>;

    /// Submits items, in order. A known key is left alone unless its revision differs: then it is reopened.
    fn submit<'a>(&'a self, job: JobId, items: Vec<NewItem>, now: Timestamp) -> Reply<'a, Submitted>;

    /// Claims a job's discovery for one page. The last claim holds; any before it is stale.
    fn claim_discovery<'a>(&'a self, job: JobId) -> Reply<'a, DiscoveryClaim>;

    /// Settles a page of discovery: its items, and where to go on, in one transaction. A stale claim is refused and
    /// changes nothing.
    fn settle_discovery<'a>(&'a self, page: DiscoveryPage) -> Reply<'a, Submitted>;

    /// Where the discovery of a job stands.
    fn discovery<'a>(&'a self, job: JobId) -> Reply<'a, DiscoveryState>;

    /// Claims up to `limit` tasks of a lane that are due at `now`, in the order priority, due, id. Each brings its
    /// item's data and the outputs that the declaration names. Nothing of a paused job is claimed.
    fn claim<'a>(&'a self, lane: Lane, limit: usize, now: Timestamp) -> Reply<'a, Vec<Claim>>;

    /// When the next task of the lane is due that isn't at `now`; absent: none waits for a time.
    fn next_due<'a>(&'a self, lane: Lane, now: Timestamp) -> Reply<'a, Option<Timestamp>>;

    /// Gives claims back unsettled: their tasks are as they were.
    fn release<'a>(&'a self, claims: Vec<(TaskRef, ClaimToken)>) -> Reply<'a, ()>;

    /// Settles attempts, each in one transaction with all that follows from it: output, artifacts, attempt, states,
    /// what becomes ready, breaker and pause, counters, items found. One answer for each, in order; a stale
    /// claim is refused and changes nothing.
    fn settle<'a>(&'a self, settlements: Vec<Settlement>) -> Reply<'a, Vec<Result<Settled, StoreError>>>;

    /// Keeps a blob, durable once answered. The same content is kept once. What no row comes to name goes, though not
    /// before the claims have ended that were out when it was kept: to be asked under the claim of whose settlement
    /// will name it.
    fn put_blob<'a>(&'a self, body: BlobSource) -> Reply<'a, StoredBlob>;

    /// Reads a blob, or `length` bytes of it from `offset`.
    fn read_blob<'a>(&'a self, digest: Digest, part: Option<BlobPart>) -> Reply<'a, Vec<u8>>;

    /// The artifacts of an item. `own`: the stage whose attempt asks, which sees what its failed attempts left too.
    fn artifacts<'a>(&'a self, item: ItemId, own: Option<StageIx>) -> Reply<'a, Vec<StoredArtifact>>;

    /// Reads an entry of a job's state.
    fn state_get<'a>(&'a self, job: JobId, key: String) -> Reply<'a, Option<StateEntry>>;

    /// Applies changes to a job's state: all or none.
    fn state_apply<'a>(&'a self, job: JobId, changes: Vec<StateChange>) -> Reply<'a, ()>;

    /// Keys of a job's state that begin with `prefix`, after `cursor`, at most `limit`.
    fn state_keys<'a>(
        &'a self,
        job: JobId,
        prefix: String,
        cursor: Option<String>,
        limit: usize,
    ) -> Reply<'a, Page<String, String>>;

    /// Pauses a job. A person's pause replaces what there was; any other leaves one that a person has to end.
    fn pause<'a>(&'a self, job: JobId, pause: Pause) -> Reply<'a, ()>;

    /// Ends a job's pause, resets its breakers, and has a failing discovery tried anew. Answers
    /// the pause that there was.
    fn resume<'a>(&'a self, job: JobId) -> Reply<'a, Option<Pause>>;

    /// Ends a job's pause if its time is over at `now`, and touches nothing else: nobody has looked at the job. Answers
    /// the pause that there was.
    fn end_pause<'a>(&'a self, job: JobId, now: Timestamp) -> Reply<'a, Option<Pause>>;

    /// Opens tasks again as the [`Selection`] says and resumes the job (R12): with the first of its transactions, of
    /// which each takes some thousands of items. `answers`: where the tasks that come to run have theirs
    /// from, until each has ended.
    fn reopen<'a>(&'a self, job: JobId, what: Selection, answers: Answers, now: Timestamp) -> Reply<'a, Reopened>;

    /// Items whose task in `stage` [`Selection::Stage`] would open now, of those that `query` means (its `outputs`
    /// apart), by rising id, with those that it would leave alone for what has gone. A page may be short, or empty, and
    /// still name a next one.
    fn stage_items<'a>(&'a self, job: JobId, stage: StageIx, query: ItemQuery) -> Reply<'a, StageItems>;

    /// What items of a job after `after` have kept, by rising id, at most `limit` items and [`RECHECK_ITEMS_MAX`].
    fn pages<'a>(&'a self, job: JobId, after: Option<ItemId>, limit: usize) -> Reply<'a, Page<ItemPages, ItemId>>;

    /// Queues tasks again whose pages are judged otherwise by now, with what stands on them; outputs that stood on a
    /// page that is no content go, and it is kept apart. What has changed since the pages were read is left
    /// alone. The job's pause stays.
    fn recheck<'a>(&'a self, job: JobId, rechecked: Vec<Rechecked>, now: Timestamp) -> Reply<'a, Reopened>;

    /// Leaves items out: what has not ended is skipped with the reason.
    fn exclude<'a>(&'a self, job: JobId, keys: Vec<ItemKey>, reason: String, now: Timestamp) -> Reply<'a, Reopened>;

    /// Remembers a site's circuit over a restart, or forgets one of which there is nothing to remember at `now`.
    fn keep_circuit<'a>(&'a self, site: String, circuit: Circuit, now: Timestamp) -> Reply<'a, ()>;

    /// The circuits that still say something at `now`, by site; forgets the others.
    fn circuits<'a>(&'a self, now: Timestamp) -> Reply<'a, Vec<(String, Circuit)>>;

    /// Keeps what was spent of days and months, by what spends it, in place of what was kept of it before.
    fn keep_spending<'a>(&'a self, rows: Vec<(String, Spending)>) -> Reply<'a, ()>;

    /// All that is kept of what was spent.
    fn spending<'a>(&'a self) -> Reply<'a, Vec<(String, Spending)>>;

    /// Takes room for a paid call in the budgets of everything, of its job and of what it pays, in one step: however
    /// many ask at once, what is settled and reserved is never more than a limit. Durable once answered; an error or a
    /// refusal has reserved nothing, and nothing may be sent. A stale claim is refused.
    fn reserve_call<'a>(&'a self, reservation: Reservation) -> Reply<'a, Reserved>;

    /// Settles a call, once: with what it came to, and its answer as JSON, durable in the same step. It is charged to
    /// the day and the month in which it was reserved. Needs no claim: what was paid was paid. The answer of a call
    /// with a greater number to the same request stays.
    fn settle_call<'a>(&'a self, call: CallId, end: CallEnd, answer: Option<String>) -> Reply<'a, CallSettled>;

    /// Digests of the requests of a task whose answers are kept.
    fn kept_requests<'a>(&'a self, job: JobId, task: (ItemId, StageIx)) -> Reply<'a, BTreeSet<Digest>>;

    /// The answer that a task has paid for, to the same request. Those of its attempt under way are all kept, those of
    /// earlier ones as far as [`ANSWERS_PER_TASK_KEPT`].
    fn kept_answer<'a>(&'a self, key: AnswerKey) -> Reply<'a, Option<KeptAnswer>>;

    /// The answer that a call of the ledger has paid for, as long as it is kept and no newer one stands in its place.
    fn answer_of<'a>(&'a self, call: CallId) -> Reply<'a, Option<KeptAnswer>>;

    /// Settles what an earlier process left under way, as lost and at its estimate. To be asked once before the first
    /// call; calls of this process are left alone. Answers what they came to.
    fn expire_reservations<'a>(&'a self, now: Timestamp) -> Reply<'a, Costs>;

    /// Rows of the ledger, newest first, at most `query.limit` and [`ENTRIES_PAGE_MAX`]. A row to go on after that
    /// isn't there is not found.
    fn ledger_entries<'a>(&'a self, query: LedgerQuery) -> Reply<'a, Page<EntryView, CallId>>;

    /// Sums of what settled calls came to, from counters; of items, by page, from their rows.
    fn costs<'a>(&'a self, query: CostQuery) -> Reply<'a, Page<CostView, (JobId, ItemId)>>;

    /// What every scope that ever paid is charged: no scan.
    fn accounts<'a>(&'a self) -> Reply<'a, Vec<AccountView>>;

    /// Every job that was ever declared, with its counters: no scan.
    fn jobs<'a>(&'a self) -> Reply<'a, Vec<JobView>>;

    /// The job of that name.
    fn job_id<'a>(&'a self, name: JobName) -> Reply<'a, Option<JobId>>;

    /// Items of a job after `query.after`, by rising id.
    fn items<'a>(&'a self, job: JobId, query: ItemQuery) -> Reply<'a, Page<ItemView, ItemId>>;

    /// One item with its tasks, outputs, artifacts and attempts.
    fn item<'a>(&'a self, job: JobId, key: ItemKey) -> Reply<'a, Option<ItemDetail>>;

    /// The latest failed attempts of a job, newest first, at most `limit`.
    fn recent_errors<'a>(&'a self, job: JobId, limit: usize) -> Reply<'a, Vec<ErrorView>>;

    /// Waits until all that was asked before is durable, then closes. Later operations answer [`StoreError::Closed`].
    fn close<'a>(&'a self) -> Reply<'a, ()>;
}
