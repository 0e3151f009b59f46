//! The tables of the ledger and their keys. They are opened by what needs them alone: most transactions have no paid
//! call.

use redb::{Table, TableDefinition, TableError, WriteTransaction};
use tollgate_core::{
    Digest, ItemId, JobId, StageIx,
    calendar::Day,
    ledger::{Account, CallId, Caller, Costs, Entry, Paid, Scope},
};

use super::{
    fault::Fault,
    tables::{join, u64_at},
};
use crate::{
    StoreError,
    stored::{StoredAccount, StoredCall, StoredCosts, StoredPaid, corrupt, decode, encode},
};

type Rows<K> = TableDefinition<'static, K, &'static [u8]>;

/// A job, an item (0: the job's discovery) and a call.
pub(crate) type ItemCallKey = [u8; 20];
/// A date and a call.
pub(crate) type DayCallKey = [u8; 12];
/// A job, an item, a stage and a call.
pub(crate) type AnswerPlace = [u8; 22];
/// A job, an item, a stage and a request's digest.
pub(crate) type RequestKey = [u8; 46];

/// Paid calls by number; a row is never removed.
pub(crate) const LEDGER: Rows<u64> = TableDefinition::new("ledger");
/// Calls of items.
pub(crate) const ITEM_CALLS: TableDefinition<'static, &'static ItemCallKey, ()> = TableDefinition::new("item_calls");
/// Calls of days.
pub(crate) const DAY_CALLS: TableDefinition<'static, &'static DayCallKey, ()> = TableDefinition::new("day_calls");
/// Calls under way, with the number of the opening in which they were reserved.
pub(crate) const UNDER_WAY: TableDefinition<'static, u64, u64> = TableDefinition::new("calls_under_way");
/// Accounts by scope.
pub(crate) const ACCOUNTS: Rows<&'static str> = TableDefinition::new("accounts");
/// Sums by date, job, stage and who is paid.
pub(crate) const COSTS: Rows<&'static [u8]> = TableDefinition::new("costs");
/// Kept answers, those of a task by rising call.
pub(crate) const ANSWERS: Rows<&'static AnswerPlace> = TableDefinition::new("answers");
/// The call whose answer is that of a request.
pub(crate) const ANSWER_CALLS: TableDefinition<'static, &'static RequestKey, u64> =
    TableDefinition::new("answer_calls");

/// Stands for the job's discovery where a key has a stage: no job has as many.
const NO_STAGE: u16 = u16::MAX;

/// The ledger's tables, open for writing.
pub(crate) struct LedgerTables<'t> {
    pub(crate) ledger: Table<'t, u64, &'static [u8]>,
    pub(crate) item_calls: Table<'t, &'static ItemCallKey, ()>,
    pub(crate) day_calls: Table<'t, &'static DayCallKey, ()>,
    pub(crate) under_way: Table<'t, u64, u64>,
    pub(crate) accounts: Table<'t, &'static str, &'static [u8]>,
    pub(crate) costs: Table<'t, &'static [u8], &'static [u8]>,
    pub(crate) answers: Table<'t, &'static AnswerPlace, &'static [u8]>,
    pub(crate) answer_calls: Table<'t, &'static RequestKey, u64>,
}

impl<'t> LedgerTables<'t> {
    /// Opens them, and makes those that aren't there.
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            ledger: transaction.open_table(LEDGER)?,
            item_calls: transaction.open_table(ITEM_CALLS)?,
            day_calls: transaction.open_table(DAY_CALLS)?,
            under_way: transaction.open_table(UNDER_WAY)?,
            accounts: transaction.open_table(ACCOUNTS)?,
            costs: transaction.open_table(COSTS)?,
            answers: transaction.open_table(ANSWERS)?,
            answer_calls: transaction.open_table(ANSWER_CALLS)?,
        })
    }

    /// Writes the account of a scope.
    pub(crate) fn set_account(&mut self, scope: &Scope, account: Account) -> Result<(), Fault> {
        let row = encode(&StoredAccount::from(account))?;
        self.accounts.insert(scope.to_string().as_str(), row.as_slice())?;
        Ok(())
    }

    /// Writes a row of the ledger.
    pub(crate) fn set_entry(&mut self, entry: &Entry) -> Result<(), Fault> {
        self.ledger.insert(entry.id.0, encode(&StoredCall::from(entry))?.as_slice())?;
        Ok(())
    }

    /// Writes a sum.
    pub(crate) fn set_costs(&mut self, key: &[u8], costs: Costs) -> Result<(), Fault> {
        self.costs.insert(key, encode(&StoredCosts::from(costs))?.as_slice())?;
        Ok(())
    }
}

/// Reads a row of [`LEDGER`].
pub(crate) fn entry_of(id: u64, row: &[u8]) -> Result<Entry, StoreError> {
    decode::<StoredCall>("ledger", row)?.entry(CallId(id))
}

/// Reads a row of [`ACCOUNTS`].
pub(crate) fn account_of(row: &[u8]) -> Result<Account, StoreError> {
    decode::<StoredAccount>("accounts", row).map(Into::into)
}

/// Reads a row of [`COSTS`].
pub(crate) fn costs_of(row: &[u8]) -> Result<Costs, StoreError> {
    decode::<StoredCosts>("costs", row).map(Into::into)
}

fn item_of(caller: &Caller) -> u64 {
    // No item has the number 0.
    caller.task.map_or(0, |(item, _)| item.0)
}

fn stage_of(caller: &Caller) -> u16 {
    caller.task.map_or(NO_STAGE, |(_, stage)| stage.0)
}

/// Key of [`ITEM_CALLS`].
pub(crate) fn item_call_key(job: JobId, item: Option<ItemId>, call: CallId) -> ItemCallKey {
    let item = item.map_or(0, |item| item.0);
    join(&[&job.0.to_be_bytes(), &item.to_be_bytes(), &call.0.to_be_bytes()])
}

/// The job, the item and the call in such a key.
pub(crate) fn item_call(key: &ItemCallKey) -> (JobId, Option<ItemId>, CallId) {
    let mut job = [0; 4];
    job.copy_from_slice(&key[..4]);
    let item = u64_at(key, 4);
    (JobId(u32::from_be_bytes(job)), (item > 0).then_some(ItemId(item)), CallId(u64_at(key, 12)))
}

/// Key of [`ITEM_CALLS`] for a call.
pub(crate) fn item_call_key_of(entry: &Entry) -> ItemCallKey {
    let Caller { job, task, .. } = entry.call.caller;
    item_call_key(job, task.map(|(item, _)| item), entry.id)
}

/// Key of [`DAY_CALLS`].
pub(crate) fn day_call_key(day: u32, call: CallId) -> DayCallKey {
    join(&[&day.to_be_bytes(), &call.0.to_be_bytes()])
}

/// Key of [`COSTS`].
pub(crate) fn costs_key(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    let caller = &entry.call.caller;
    let mut key = entry.day.number().to_be_bytes().to_vec();
    key.extend_from_slice(&caller.job.0.to_be_bytes());
    key.extend_from_slice(&stage_of(caller).to_be_bytes());
    key.extend_from_slice(&encode(&StoredPaid::from(&entry.call.paid))?);
    Ok(key)
}

/// What a key of [`COSTS`] names.
pub(crate) struct CostsOf {
    pub(crate) day: Day,
    pub(crate) job: JobId,
    pub(crate) stage: Option<StageIx>,
    pub(crate) paid: Paid,
}

/// Reads a key of [`COSTS`].
pub(crate) fn costs_place(key: &[u8]) -> Result<CostsOf, StoreError> {
    let (head, paid) = key.split_first_chunk::<10>().ok_or_else(|| corrupt("costs: a key is too short"))?;
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let stage = u16::from_be_bytes([head[8], head[9]]);
    Ok(CostsOf {
        day: Day::from_number(number(0)).map_err(corrupt)?,
        job: JobId(number(4)),
        stage: (stage != NO_STAGE).then_some(StageIx(stage)),
        paid: decode::<StoredPaid>("costs", paid)?.into(),
    })
}

/// Key of [`ANSWERS`].
pub(crate) fn answer_place(caller: &Caller, call: CallId) -> AnswerPlace {
    join(&[
        &caller.job.0.to_be_bytes(),
        &item_of(caller).to_be_bytes(),
        &stage_of(caller).to_be_bytes(),
        &call.0.to_be_bytes(),
    ])
}

/// The call in such a key.
pub(crate) fn answer_call(key: &AnswerPlace) -> CallId {
    CallId(u64_at(key, 14))
}

/// Key of [`ANSWER_CALLS`].
pub(crate) fn request_key(caller: &Caller, request: &Digest) -> RequestKey {
    let (job, item, stage) =
        (caller.job.0.to_be_bytes(), item_of(caller).to_be_bytes(), stage_of(caller).to_be_bytes());
    join(&[&job, &item, &stage, &request.0])
}

/// The request in such a key.
pub(crate) fn request_of(key: &RequestKey) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(&key[14..]);
    Digest(digest)
}
