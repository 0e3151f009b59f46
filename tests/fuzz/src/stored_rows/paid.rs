//! Asks a store for all that the host asks it of money: the ledger, its sums and accounts, kept answers, and calls.

use tollgate_core::{
    Digest, ItemId, JobId, StageIx,
    calendar::Zone,
    ledger::{Budgets, Call, CallEnd, Caller, Cost, How, Paid, PaidKind, Reservation, Units},
    model::Tokens,
    money::NanoUsd,
};
use tollgate_store::{AnswerKey, Claim, CostGroup, CostQuery, LedgerQuery, RedbStore, Reserved, Store as _};

use super::drive::{NOW, json_reads_back, sound};

const GROUPS: [CostGroup; 5] = [CostGroup::Day, CostGroup::Job, CostGroup::Stage, CostGroup::Model, CostGroup::Item];

/// What people and tasks read.
pub(super) async fn views(store: &RedbStore, job: JobId) {
    for group in GROUPS {
        let query = CostQuery { group, job: None, from: None, to: None, after: None, limit: 1 };
        let page = sound(store.costs(query).await);
        if let Some(after) = page.as_ref().and_then(|page| page.next) {
            sound(store.costs(CostQuery { after: Some(after), job: Some(job), ..query }).await);
        }
        page.iter().flat_map(|page| &page.entries).for_each(json_reads_back);
    }
    let of_item = LedgerQuery { job: Some(job), item: Some(ItemId(1)), limit: 1, ..LedgerQuery::default() };
    for query in [LedgerQuery { limit: 1, ..LedgerQuery::default() }, of_item] {
        let page = sound(store.ledger_entries(query).await);
        if let Some(after) = page.as_ref().and_then(|page| page.next) {
            sound(store.ledger_entries(LedgerQuery { after: Some(after), ..query }).await);
        }
        page.iter().flat_map(|page| &page.entries).for_each(json_reads_back);
    }
    sound(store.accounts().await);
    sound(store.spending().await);
    sound(store.circuits(NOW).await);
    let key = AnswerKey { job, task: Some((ItemId(1), StageIx(1))), request: Digest::of(b"request") };
    sound(store.kept_answer(key).await);
}

/// A call of a task: one that is settled with its answer, and one that is still under way when the store closes.
pub(super) async fn pay(store: &RedbStore, job: JobId, claim: &Claim) {
    let caller = Caller { job, task: Some((claim.task.item, claim.task.stage)), attempt: 1, number: 1 };
    let (provider, alias, model) = ("sim".to_owned(), "fast".to_owned(), "sim-1".to_owned());
    let paid = Paid { kind: PaidKind::Model, provider, alias, model };
    let call = Call { caller, paid, request: Digest::of(b"request"), at: NOW, estimate: Cost::Known(NanoUsd(7)) };
    let reservation = Reservation { call, claim: claim.token, budgets: Budgets::default(), zone: Zone::default() };
    let reserved = sound(store.reserve_call(reservation.clone()).await);
    if let Some(Reserved::Made { call, .. }) = reserved {
        let (tokens, units) = (Tokens { input: 3, ..Tokens::default() }, Units::default());
        let (how, cost) = (How::Answered, Cost::Known(NanoUsd(5)));
        let end = CallEnd { at: NOW, how, cost, is_estimate: false, tokens, units, provider_request: None };
        sound(store.settle_call(call, end, Some("{}".to_owned())).await);
    }
    sound(store.reserve_call(reservation).await);
}
