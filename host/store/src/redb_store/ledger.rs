//! Paid calls: room is taken before one is made, in the writer's transaction, and given for its cost after, once.

use redb::ReadableTable;
use tollgate_core::{
    JobId, Timestamp,
    budget::{Budget, Spending},
    ledger::{self, Beside, CallEnd, CallId, Costs, ESTIMATE_MAX, Entry, Granted, Reservation, Unbalanced},
};

use super::{
    answers::{self, Body},
    fault::Fault,
    ledger_tables::{day_call_key, entry_of, item_call_key_of},
    tables::{Tables, meta, number_after},
    writer::Batch,
};
use crate::{
    CallSettled, Reserved, StoreError, TaskRef,
    stored::{StoredSpending, corrupt, decode},
};

/// Longest name of a provider, an alias or a model, in bytes: they stand in each row, and in the keys of sums.
pub const PAID_NAME_BYTES_MAX: usize = 256;
/// Bytes of a provider's name for a request that are kept; a longer one is kept as far as that, since what a provider
/// likes to call it is no reason to lose what was paid.
pub const PROVIDER_REQUEST_BYTES_MAX: usize = 256;
/// Calls that are expired in one transaction: the writer serves nobody else meanwhile.
const EXPIRED_PER_TRANSACTION: usize = 1_000;

/// Whether a reservation keeps within the limits.
pub(crate) fn check(reservation: &Reservation) -> Result<(), StoreError> {
    let call = &reservation.call;
    let too_large = |what, bytes, max| Err(StoreError::TooLarge { what, bytes, max });
    for name in [&call.paid.provider, &call.paid.alias, &call.paid.model] {
        if name.len() > PAID_NAME_BYTES_MAX {
            return too_large("the name of a provider or a model", name.len() as u64, PAID_NAME_BYTES_MAX as u64);
        }
    }
    match call.estimate.known() {
        Some(estimate) if estimate > ESTIMATE_MAX => {
            too_large("what a call may cost, in billionths of a dollar,", estimate.0, ESTIMATE_MAX.0)
        }
        _ => Ok(()),
    }
}

/// What a call came to, as it is kept.
pub(crate) fn kept(mut end: CallEnd) -> CallEnd {
    if let Some(name) = &mut end.provider_request {
        name.truncate(name.floor_char_boundary(PROVIDER_REQUEST_BYTES_MAX));
    }
    end
}

fn unbalanced(error: Unbalanced) -> Fault {
    corrupt(error).into()
}

/// Takes room for a call in all of its budgets, or says which has none: in one step, so that settled and reserved never
/// exceed a limit, however many ask at once (trap 1).
pub(crate) fn reserve(batch: &mut Batch<'_>, reservation: &Reservation) -> Result<Reserved, Fault> {
    let call = &reservation.call;
    check_claim(batch, reservation).map_err(Fault::Refused)?;
    let beside = beside(&batch.tables, &reservation.budgets.everything, call.at)?;
    let opened = opened(&batch.tables)?;
    let tables = batch.tables.ledger()?;
    let scopes = call.scopes();
    let [everything, job, paid] = &scopes;
    let accounts = [tables.account(everything)?, tables.account(job)?, tables.account(paid)?];
    let granted = match ledger::reserve(reservation, accounts, beside).map_err(unbalanced)? {
        Ok(granted) => granted,
        Err(refused) => return Ok(Reserved::Refused(*refused)),
    };
    // Rows are never removed, so the last one's number was given last.
    let last = tables.ledger.last()?.map_or(0, |(id, _)| id.value());
    let id = CallId(number_after("calls", last)?);
    let Granted { accounts, periods, warned } = granted;
    let entry = Entry { id, call: call.clone(), day: reservation.zone.day(call.at), periods, end: None };
    tables.set_entry(&entry)?;
    tables.item_calls.insert(&item_call_key_of(&entry), ())?;
    tables.day_calls.insert(&day_call_key(entry.day.number(), id), ())?;
    tables.under_way.insert(id.0, opened)?;
    for (scope, account) in scopes.iter().zip(accounts) {
        tables.set_account(scope, account)?;
    }
    Ok(Reserved::Made { call: id, warned })
}

/// Whether the attempt still has its claim: one that has lost it would pay for what nobody takes (trap 25).
fn check_claim(batch: &Batch<'_>, reservation: &Reservation) -> Result<(), StoreError> {
    let caller = &reservation.call.caller;
    batch.jobs.get(caller.job)?;
    let Some((item, stage)) = caller.task else {
        return batch.check_discovery(caller.job, reservation.claim);
    };
    match batch.check_claim(TaskRef { item, stage }, reservation.claim)? {
        job if job == caller.job => Ok(()),
        JobId(_) => Err(StoreError::StaleClaim(item)),
    }
}

/// What proxies cost, where a budget of everything asks for it: a few rows, one a proxy. It is as new as what the gate has
/// kept, which is a second old, or a MiB of bytes.
fn beside(tables: &Tables<'_>, everything: &Budget, now: Timestamp) -> Result<Beside, Fault> {
    let mut beside = Beside::default();
    if *everything == Budget::default() {
        return Ok(beside);
    }
    // Sites share the money of the proxies that they are reached by, so it is counted once.
    for row in tables.spending.range("proxy ".."proxy!")? {
        let spending: Spending = decode::<StoredSpending>("spending", row?.1.value())?.into();
        beside = beside.and(&spending, now);
    }
    Ok(beside)
}

fn opened(tables: &Tables<'_>) -> Result<u64, Fault> {
    Ok(tables.meta.get(meta::OPENED)?.map_or(0, |row| row.value()))
}

/// Settles a call with what it came to and its answer, unless it is settled already.
pub(crate) fn settle(
    batch: &mut Batch<'_>,
    id: CallId,
    end: &CallEnd,
    answer: Option<&Body>,
) -> Result<CallSettled, Fault> {
    let tables = batch.tables.ledger()?;
    let row = tables.ledger.get(id.0)?;
    let row = row.ok_or_else(|| Fault::Refused(StoreError::NotFound(format!("call {}", id.0))))?;
    let mut entry = entry_of(id.0, row.value())?;
    drop(row);
    if entry.end.is_some() {
        return Ok(CallSettled::Before);
    }
    for scope in entry.call.scopes() {
        let before = tables.account(&scope)?;
        let mut account = before;
        account.settle(entry.periods, entry.call.estimate, end.cost).map_err(unbalanced)?;
        if account != before {
            tables.set_account(&scope, account)?;
        }
    }
    entry.end = Some(end.clone());
    tables.set_entry(&entry)?;
    tables.under_way.remove(id.0)?;
    tables.add_costs(&entry, &Costs::of(end))?;
    if let Some(answer) = answer {
        let gone = answers::keep(tables, &entry, answer, end.at)?;
        let files = &mut batch.tables.files;
        answer.blob().map_or(Ok(()), |blob| files.name(blob))?;
        gone.into_iter().try_for_each(|blob| files.unname(blob))?;
    }
    Ok(CallSettled::Now)
}

/// Settles calls that an earlier process had under way, at their estimates; answers what they came to, and whether there
/// may be more.
pub(crate) fn expire(batch: &mut Batch<'_>, now: Timestamp) -> Result<(Costs, bool), Fault> {
    let opened = opened(&batch.tables)?;
    let mut left = Vec::new();
    // Numbers rise, so those of earlier openings stand first.
    for row in batch.tables.ledger()?.under_way.iter()?.take(EXPIRED_PER_TRANSACTION) {
        let (id, of) = row?;
        if of.value() >= opened {
            break;
        }
        left.push(id.value());
    }
    let mut total = Costs::default();
    for &id in &left {
        let tables = batch.tables.ledger()?;
        let row = tables.ledger.get(id)?.ok_or_else(|| corrupt(format!("call {id} is under way and has no row")))?;
        let estimate = entry_of(id, row.value())?.call.estimate;
        drop(row);
        let end = CallEnd::lost(estimate, now);
        if settle(batch, CallId(id), &end, None)? == CallSettled::Now {
            total = total.and(&Costs::of(&end));
        }
        // Were it settled and listed all the same, as only a damaged store has it, this would never end.
        batch.tables.ledger()?.under_way.remove(id)?;
    }
    Ok((total, left.len() == EXPIRED_PER_TRANSACTION))
}
