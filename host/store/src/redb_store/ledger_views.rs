//! What people read of the ledger: its rows by page, sums from its counters, and the accounts.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable};
use tollgate_core::{
    ItemId, ItemKey, JobId, JobName, StageIx, StageName,
    ledger::{CallId, Costs, Entry, Paid},
};

use super::{
    Shared,
    fault::Fault,
    jobs::Jobs,
    ledger_tables::{
        ACCOUNTS, COSTS, DAY_CALLS, DayCallKey, ITEM_CALLS, ItemCallKey, LEDGER, account_of, costs_of, costs_place,
        day_call_key, entry_of, item_call, item_call_key,
    },
    tables::{ITEMS, u64_at},
    tasks::read_item,
};
use crate::{
    AccountView, AnswerKey, CostGroup, CostKey, CostQuery, CostView, EntryView, LedgerQuery, Page, StoreError,
    stored::corrupt,
};

/// Most rows of one page of the ledger, and most items of one page of costs.
pub const ENTRIES_PAGE_MAX: usize = 1_000;
/// Rows that are looked at for one page: one that is asked for little goes on with the next page.
pub const ENTRIES_LOOKED_AT_MAX: usize = 10_000;

/// Names of what rows are of.
struct Names<'s> {
    jobs: &'s Jobs,
    items: redb::ReadOnlyTable<u64, &'static [u8]>,
}

impl<'s> Names<'s> {
    fn open(jobs: &'s Jobs, snapshot: &ReadTransaction) -> Result<Self, Fault> {
        Ok(Self { jobs, items: snapshot.open_table(ITEMS)? })
    }

    fn job(&self, job: JobId) -> Result<&JobName, StoreError> {
        Ok(&self.jobs.get(job)?.spec.name)
    }

    fn stage(&self, job: JobId, stage: StageIx) -> Result<&StageName, StoreError> {
        self.jobs.get(job)?.spec.stage_name(stage)
    }

    fn item(&self, item: ItemId) -> Result<ItemKey, Fault> {
        read_item(&self.items, item, |_, row| ItemKey::new(row.key).map_err(corrupt))
    }

    fn entry(&self, entry: Entry) -> Result<EntryView, Fault> {
        let (job, task) = (entry.call.caller.job, entry.call.caller.task);
        let stage = task.map(|(_, stage)| self.stage(job, stage).cloned()).transpose()?;
        let key = task.map(|(item, _)| self.item(item)).transpose()?;
        Ok(EntryView { job: self.job(job)?.clone(), stage, key, entry })
    }
}

/// See [`Store::ledger_entries`](crate::Store::ledger_entries).
pub(crate) fn entries(shared: &Shared, query: &LedgerQuery) -> Result<Page<EntryView, CallId>, Fault> {
    let jobs = shared.jobs();
    let snapshot = shared.begin_read()?;
    let ledger = snapshot.open_table(LEDGER)?;
    let names = Names::open(&jobs, &snapshot)?;
    let limit = query.limit.clamp(1, ENTRIES_PAGE_MAX);
    let mut page = Page { entries: Vec::new(), next: None };
    let mut last = None;
    for (looked_at, id) in candidates(&snapshot, &ledger, query)?.enumerate() {
        let id = id?;
        if page.entries.len() == limit || looked_at == ENTRIES_LOOKED_AT_MAX {
            page.next = last;
            break;
        }
        last = Some(id);
        let entry = read_entry(&ledger, id)?;
        if is_meant(query, &entry) {
            page.entries.push(names.entry(entry)?);
        }
    }
    Ok(page)
}

fn read_entry(ledger: &impl ReadableTable<u64, &'static [u8]>, id: CallId) -> Result<Entry, Fault> {
    let row = ledger.get(id.0)?.ok_or_else(|| corrupt(format!("call {} has no row", id.0)))?;
    Ok(entry_of(id.0, row.value())?)
}

/// By what the answer of a call is found; absent: there is no such call.
pub(crate) fn answer_key(shared: &Shared, call: CallId) -> Result<Option<AnswerKey>, Fault> {
    let snapshot = shared.begin_read()?;
    let row = snapshot.open_table(LEDGER)?.get(call.0)?;
    let entry = row.map(|row| entry_of(call.0, row.value())).transpose()?;
    Ok(entry.map(|Entry { call, .. }| AnswerKey {
        job: call.caller.job,
        task: call.caller.task,
        request: call.request,
    }))
}

fn is_meant(query: &LedgerQuery, entry: &Entry) -> bool {
    let caller = &entry.call.caller;
    query.job.is_none_or(|job| caller.job == job)
        && query.stage.is_none_or(|stage| caller.task.is_some_and(|(_, of)| of == stage))
        && query.item.is_none_or(|item| caller.task.is_some_and(|(of, _)| of == item))
        && query.from.is_none_or(|from| entry.day >= from)
        && query.to.is_none_or(|to| entry.day <= to)
}

type Calls = Box<dyn Iterator<Item = Result<CallId, Fault>>>;

/// The calls that may be meant, newest first.
fn candidates(
    snapshot: &ReadTransaction,
    ledger: &impl ReadableTable<u64, &'static [u8]>,
    query: &LedgerQuery,
) -> Result<Calls, Fault> {
    let before = query.after.map_or(CallId(u64::MAX), |after| CallId(after.0.saturating_sub(1)));
    if let (Some(job), Some(item)) = (query.job, query.item) {
        let (first, last) = (item_call_key(job, Some(item), CallId(0)), item_call_key(job, Some(item), before));
        let rows = snapshot.open_table(ITEM_CALLS)?.range_owned::<&ItemCallKey>(&first..=&last)?;
        return Ok(Box::new(rows.rev().map(|row| Ok(item_call(row?.0.value()).2))));
    }
    let from = day_call_key(query.from.map_or(0, tollgate_core::calendar::Day::number), CallId(0));
    let to = query.to.map_or(u32::MAX, tollgate_core::calendar::Day::number);
    let to = match query.after {
        // Days rise with calls as the clock does: the page goes on within the day of its last row.
        Some(after) if ledger.get(after.0)?.is_none() => {
            return Err(Fault::Refused(StoreError::NotFound(format!("call {}", after.0))));
        }
        Some(after) => day_call_key(read_entry(ledger, after)?.day.number().min(to), before),
        None => day_call_key(to, before),
    };
    if from > to {
        return Ok(Box::new(std::iter::empty()));
    }
    let rows = snapshot.open_table(DAY_CALLS)?.range_owned::<&DayCallKey>(&from..=&to)?;
    Ok(Box::new(rows.rev().map(|row| Ok(CallId(u64_at(row?.0.value(), 4))))))
}

/// What sums are of, without names; ordered as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Day(tollgate_core::calendar::Day),
    Job(JobId),
    Stage(JobId, Option<StageIx>),
    Model(Paid),
}

/// See [`Store::costs`](crate::Store::costs).
pub(crate) fn costs(shared: &Shared, query: &CostQuery) -> Result<Page<CostView, (JobId, ItemId)>, Fault> {
    let jobs = shared.jobs();
    let snapshot = shared.begin_read()?;
    let names = Names::open(&jobs, &snapshot)?;
    if query.group == CostGroup::Item {
        return by_item(&snapshot, &names, query);
    }
    let day = tollgate_core::calendar::Day::number;
    let (from, to) = (query.from.map_or(0, day), query.to.map_or(u32::MAX, |to| day(to).saturating_add(1)));
    let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
    let mut sums: BTreeMap<Group, Costs> = BTreeMap::new();
    if from < to {
        for row in snapshot.open_table(COSTS)?.range::<&[u8]>(from.as_slice()..to.as_slice())? {
            let (key, row) = row?;
            let of = costs_place(key.value())?;
            if query.job.is_some_and(|job| job != of.job) {
                continue;
            }
            let group = match query.group {
                CostGroup::Day => Group::Day(of.day),
                CostGroup::Job => Group::Job(of.job),
                CostGroup::Stage => Group::Stage(of.job, of.stage),
                CostGroup::Model | CostGroup::Item => Group::Model(of.paid),
            };
            let sum = sums.entry(group).or_default();
            *sum = sum.and(&costs_of(row.value())?);
        }
    }
    let named = |(group, costs)| {
        let of = match group {
            Group::Day(day) => CostKey::Day(day),
            Group::Job(job) => CostKey::Job(names.job(job)?.clone()),
            Group::Stage(job, stage) => CostKey::Stage {
                job: names.job(job)?.clone(),
                stage: stage.map(|stage| names.stage(job, stage).cloned()).transpose()?,
            },
            Group::Model(paid) => CostKey::Model(paid),
        };
        Ok(CostView { of, costs })
    };
    let entries = sums.into_iter().map(named).collect::<Result<_, StoreError>>()?;
    Ok(Page { entries, next: None })
}

/// Sums of items, from their rows. An item is never cut by a page's end.
fn by_item(
    snapshot: &ReadTransaction,
    names: &Names<'_>,
    query: &CostQuery,
) -> Result<Page<CostView, (JobId, ItemId)>, Fault> {
    let ledger = snapshot.open_table(LEDGER)?;
    let limit = query.limit.clamp(1, ENTRIES_PAGE_MAX);
    let only = LedgerQuery { from: query.from, to: query.to, ..LedgerQuery::default() };
    let first = match (query.after, query.job) {
        // The place after all calls of that item.
        (Some((job, item)), _) => item_call_key(job, Some(item), CallId(u64::MAX)),
        (None, Some(job)) => item_call_key(job, None, CallId(0)),
        (None, None) => [0; 20],
    };
    let last = query.job.map_or([0xff; 20], |job| item_call_key(job, Some(ItemId(u64::MAX)), CallId(u64::MAX)));
    let mut page = Page { entries: Vec::new(), next: None };
    if first > last {
        return Ok(page);
    }
    let mut sum: Option<(JobId, Option<ItemId>, Costs)> = None;
    for (looked_at, row) in snapshot.open_table(ITEM_CALLS)?.range::<&ItemCallKey>(&first..=&last)?.enumerate() {
        let (job, item, call) = item_call(row?.0.value());
        if let Some((of, one, costs)) = sum
            && (of, one) != (job, item)
        {
            item_sum(&mut page, names, of, one, costs)?;
            sum = None;
            let is_full = page.entries.len() >= limit || looked_at >= ENTRIES_LOOKED_AT_MAX;
            if is_full && let Some(one) = one {
                page.next = Some((of, one));
                return Ok(page);
            }
        }
        let entry = read_entry(&ledger, call)?;
        let end = entry.end.as_ref().filter(|_| is_meant(&only, &entry));
        let costs = end.map(Costs::of).unwrap_or_default();
        sum = Some((job, item, sum.map_or(costs, |(_, _, sum)| sum.and(&costs))));
    }
    if let Some((of, one, costs)) = sum {
        item_sum(&mut page, names, of, one, costs)?;
    }
    Ok(page)
}

/// Puts an item's sum on the page, if there is anything in it.
fn item_sum(
    page: &mut Page<CostView, (JobId, ItemId)>,
    names: &Names<'_>,
    job: JobId,
    item: Option<ItemId>,
    costs: Costs,
) -> Result<(), Fault> {
    if costs.calls > 0 {
        let item = item.map(|item| names.item(item).map(|key| (item, key))).transpose()?;
        page.entries.push(CostView { of: CostKey::Item { job: names.job(job)?.clone(), item }, costs });
    }
    Ok(())
}

/// See [`Store::accounts`](crate::Store::accounts).
pub(crate) fn accounts(shared: &Shared) -> Result<Vec<AccountView>, Fault> {
    let mut all = Vec::new();
    for row in shared.begin_read()?.open_table(ACCOUNTS)?.iter()? {
        let (scope, row) = row?;
        all.push(AccountView { scope: scope.value().parse().map_err(corrupt)?, account: account_of(row.value())? });
    }
    Ok(all)
}
