//! Counting the ledger anew: accounts and sums are held against its rows, its indexes and kept
//! answers against them too.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _};
use tollgate_core::ledger::{Account, CallId, Caller, Costs, Entry, Scope};

use super::{
    Shared, answers,
    content::Kept,
    fault::Fault,
    jobs::Jobs,
    ledger_tables::{
        ACCOUNTS, ANSWER_CALLS, ANSWERS, COSTS, DAY_CALLS, ITEM_CALLS, LEDGER, UNDER_WAY, account_of, answer_place,
        costs_key, costs_of, day_call_key, entry_of, item_call_key_of, request_key,
    },
    tables::ITEMS,
};

/// What the rows come to.
#[derive(Default)]
struct Counted {
    /// Each with the periods of its row, and nobody warned.
    accounts: BTreeMap<Scope, Account>,
    costs: BTreeMap<Vec<u8>, Costs>,
    under_way: u64,
}

/// What is wrong with the ledger, a sentence each.
pub(crate) fn problems(shared: &Shared, snapshot: &ReadTransaction) -> Result<Vec<String>, Fault> {
    let mut problems = Vec::new();
    let mut counted = Counted::default();
    let mut has = BTreeMap::new();
    for row in snapshot.open_table(ACCOUNTS)?.iter()? {
        let (scope, row) = row?;
        match (scope.value().parse::<Scope>(), account_of(row.value())) {
            (Ok(scope), Ok(account)) => {
                counted.accounts.insert(scope.clone(), Account::default().at(account.periods()));
                has.insert(scope, account);
            }
            _ => problems.push(format!("the account of {} can't be read", scope.value())),
        }
    }
    rows(snapshot, &shared.jobs(), &mut counted, &mut problems)?;
    for (scope, mut found) in counted.accounts {
        let account = has.get(&scope).copied().unwrap_or_default();
        // That somebody was warned is no sum of rows.
        (found.day.is_warned, found.month.is_warned) = (account.day.is_warned, account.month.is_warned);
        if found != account {
            problems.push(format!("the account of {scope} says {account:?}, its calls {found:?}"));
        }
    }
    for row in snapshot.open_table(COSTS)?.iter()? {
        let (key, row) = row?;
        let found = counted.costs.remove(key.value()).unwrap_or_default();
        match costs_of(row.value()) {
            Ok(costs) if costs == found => {}
            Ok(costs) => problems.push(format!("a sum of costs says {costs:?}, its calls {found:?}")),
            Err(error) => problems.push(format!("a sum of costs can't be read: {error}")),
        }
    }
    if !counted.costs.is_empty() {
        problems.push(format!("{} sums of costs are missing", counted.costs.len()));
    }
    kept_answers(shared, snapshot, &mut problems)?;
    Ok(problems)
}

fn rows(
    snapshot: &ReadTransaction,
    jobs: &Jobs,
    counted: &mut Counted,
    problems: &mut Vec<String>,
) -> Result<(), Fault> {
    let items = snapshot.open_table(ITEMS)?;
    let (item_calls, day_calls) = (snapshot.open_table(ITEM_CALLS)?, snapshot.open_table(DAY_CALLS)?);
    let under_way = snapshot.open_table(UNDER_WAY)?;
    let ledger = snapshot.open_table(LEDGER)?;
    for row in ledger.iter()? {
        let (id, row) = row?;
        let id = id.value();
        let entry = match entry_of(id, row.value()) {
            Ok(entry) => entry,
            Err(error) => {
                problems.push(format!("call {id} can't be read: {error}"));
                continue;
            }
        };
        let caller = &entry.call.caller;
        let has_item = match caller.task {
            Some((item, _)) => items.get(item.0)?.is_some(),
            None => true,
        };
        if jobs.get(caller.job).is_err() || !has_item {
            problems.push(format!("call {id} is of an item or a job that isn't there"));
        }
        let is_listed = item_calls.get(&item_call_key_of(&entry))?.is_some()
            && day_calls.get(&day_call_key(entry.day.number(), entry.id))?.is_some();
        if !is_listed {
            problems.push(format!("call {id} isn't listed by its item or its day"));
        }
        if under_way.get(id)?.is_some() != entry.end.is_none() {
            problems.push(format!("call {id} is wrongly listed, or not, as under way"));
        }
        count(counted, &entry)?;
    }
    let all = ledger.len()?;
    for (table, has, found) in [
        ("item_calls", item_calls.len()?, all),
        ("day_calls", day_calls.len()?, all),
        ("calls_under_way", under_way.len()?, counted.under_way),
    ] {
        if has != found {
            problems.push(format!("{table} has {has} rows, {found} belong there"));
        }
    }
    Ok(())
}

fn count(counted: &mut Counted, entry: &Entry) -> Result<(), Fault> {
    for scope in entry.call.scopes() {
        // An account without a row is of no period, so that nothing is found in it, but that it should be there.
        let account = counted.accounts.entry(scope).or_insert_with(|| Account::default().at(entry.periods));
        for (charged, period) in [(&mut account.day, entry.periods.day), (&mut account.month, entry.periods.month)] {
            if charged.period == period {
                let (estimate, end) = (entry.call.estimate, entry.end.as_ref());
                let (into, amount) = match end {
                    Some(end) => (&mut charged.settled, end.cost.charged(estimate)),
                    None => (&mut charged.reserved, estimate.known().unwrap_or_default()),
                };
                *into = into.saturating_add(amount);
            }
        }
    }
    match &entry.end {
        Some(end) => {
            let sum = counted.costs.entry(costs_key(entry)?).or_default();
            *sum = sum.and(&Costs::of(end));
        }
        None => counted.under_way += 1,
    }
    Ok(())
}

/// Each kept answer is that of a settled call, found by its request, and its blob is kept.
fn kept_answers(shared: &Shared, snapshot: &ReadTransaction, problems: &mut Vec<String>) -> Result<(), Fault> {
    let (answers, calls) = (snapshot.open_table(ANSWERS)?, snapshot.open_table(ANSWER_CALLS)?);
    let ledger = snapshot.open_table(LEDGER)?;
    let kept = Kept::open(shared)?;
    for row in answers.iter()? {
        let (place, row) = row?;
        let (CallId(call), request, blob) = match answers::placed(place.value(), row.value()) {
            Ok(placed) => placed,
            Err(error) => {
                problems.push(format!("a kept answer can't be read: {error}"));
                continue;
            }
        };
        let entry = ledger.get(call)?.and_then(|row| entry_of(call, row.value()).ok());
        let is_of = |caller: &Caller| answer_place(caller, CallId(call)) == *place.value();
        let entry =
            entry.filter(|entry| entry.end.is_some() && entry.call.request == request && is_of(&entry.call.caller));
        match entry {
            Some(entry) => {
                let found = calls.get(&request_key(&entry.call.caller, &request))?.map(|call| call.value());
                if found != Some(call) {
                    problems.push(format!("the answer of call {call} isn't found by its request"));
                }
            }
            None => problems.push(format!("an answer is kept of call {call}, which didn't bring it")),
        }
        if let Some(blob) = blob
            && !kept.has(blob.digest, blob.size)?
        {
            problems.push(format!("the answer of call {call} names {}, which isn't kept", blob.digest));
        }
    }
    let (has, found) = (calls.len()?, answers.len()?);
    if has != found {
        problems.push(format!("answer_calls has {has} rows, {found} belong there"));
    }
    Ok(())
}
