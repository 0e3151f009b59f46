//! What goes in and out of the ledger of paid calls.

use serde::{Deserialize, Serialize};
use tollgate_core::{
    Digest, ItemId, ItemKey, JobId, JobName, StageIx, StageName, Timestamp,
    calendar::Day,
    ledger::{Account, CallId, Costs, Entry, NoBudget, Paid, Scope, Warned},
};

/// What became of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// The call may be made, once.
    Made {
        /// Its number, to settle it with.
        call: CallId,
        /// Budgets of which a person is to be told now that they are nearly spent.
        warned: Vec<Warned>,
    },
    /// A budget has no room for it. Nothing is reserved, and nothing may be sent.
    Refused(NoBudget),
}

/// What became of the settlement of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallSettled {
    /// It is settled.
    Now,
    /// It was settled before, and stays as that was: nothing is counted twice (trap 2).
    Before,
}

/// By what a kept answer is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnswerKey {
    /// The job.
    pub job: JobId,
    /// The task; absent: the job's discovery.
    pub task: Option<(ItemId, StageIx)>,
    /// Digest of the request.
    pub request: Digest,
}

/// A paid answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The call that paid for it.
    pub call: CallId,
    /// The attempt that made the call: an earlier one's is for a re-run that asks for it.
    pub attempt: u32,
    /// When it came.
    pub at: Timestamp,
    /// The answer, as it was given to be kept.
    pub json: String,
}

/// Which rows of the ledger to list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerQuery {
    /// Only of this job.
    pub job: Option<JobId>,
    /// Only of this stage.
    pub stage: Option<StageIx>,
    /// Only of this item.
    pub item: Option<ItemId>,
    /// Only from this day on.
    pub from: Option<Day>,
    /// Only up to this day.
    pub to: Option<Day>,
    /// Only older than this one.
    pub after: Option<CallId>,
    /// At most so many.
    pub limit: usize,
}

/// A row of the ledger, with names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    /// The row.
    pub entry: Entry,
    /// The job's name.
    pub job: JobName,
    /// The stage's; absent: the job's discovery.
    pub stage: Option<StageName>,
    /// The item's key; absent: the job's discovery.
    pub key: Option<ItemKey>,
}

/// By what costs are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostGroup {
    /// By the date.
    Day,
    /// By the job.
    Job,
    /// By the stage of a job.
    Stage,
    /// By who is paid.
    Model,
    /// By the item; the only one that is paged.
    Item,
}

/// Which costs to sum. Calls count once they are settled, under the day on which they were reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostQuery {
    /// By what.
    pub group: CostGroup,
    /// Only of this job.
    pub job: Option<JobId>,
    /// Only from this day on.
    pub from: Option<Day>,
    /// Only up to this day.
    pub to: Option<Day>,
    /// Of items: only after this one.
    pub after: Option<(JobId, ItemId)>,
    /// Of items: at most so many.
    pub limit: usize,
}

/// What a sum is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostKey {
    /// A date.
    Day(Day),
    /// A job.
    Job(JobName),
    /// A stage of a job.
    Stage {
        /// The job.
        job: JobName,
        /// The stage; absent: the job's discovery.
        stage: Option<StageName>,
    },
    /// Who is paid.
    Model(Paid),
    /// An item of a job; absent: the job's discovery.
    Item {
        /// The job.
        job: JobName,
        /// The item.
        item: Option<(ItemId, ItemKey)>,
    },
}

/// A sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostView {
    /// Of what.
    pub of: CostKey,
    /// What it came to.
    pub costs: Costs,
}

/// The account of a scope, as of its last call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Whose.
    pub scope: Scope,
    /// What it is charged. A period that has ended is nobody's limit any more.
    pub account: Account,
}
