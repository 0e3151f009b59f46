//! What a kill left in the store, looked at in a copy, so that the next start meets just that; and what
//! must hold of it each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use tollgate_core::{
    ItemId, JobName,
    item::ItemStatus,
    ledger::{CallId, Cost, Entry, Scope},
    money::NanoUsd,
};
use tollgate_store::{AccountView, ItemQuery, LedgerQuery, RedbStore, Store as _, StoreOptions};

use crate::place::{JOB, LIMIT};

/// Rows and items that are read at once.
const PAGE: usize = 1_000;
/// What of a data folder is no part of the store, and is left out of its copy.
const COMPILED: &str = "compiled";

/// A store, as it was found.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// The ledger.
    pub(crate) rows: BTreeMap<CallId, Entry>,
    /// Keys of items by their numbers.
    pub(crate) items: BTreeMap<ItemId, String>,
    /// Items that are done.
    pub(crate) done: BTreeSet<ItemId>,
}

impl Book {
    /// Copies the data folder to `copy`, opens that, and holds it against itself and against what was found `before`.
    pub(crate) async fn look(data: &Path, copy: &Path, before: &Self) -> Result<Self> {
        lay_copy(data, copy)?;
        let store = RedbStore::open(copy, StoreOptions::default()).context("the store can't be opened")?;
        let report = store.verify().await?;
        ensure!(report.is_sound(), "the store isn't sound: {:#?}", report.problems);
        let book = Self::read(&store).await?;
        let accounts = store.accounts().await?;
        store.close().await?;
        drop(store);
        fs::remove_dir_all(copy)?;
        for account in &accounts {
            book.check_account(account)?;
        }
        book.check_kept(before)?;
        Ok(book)
    }

    async fn read(store: &RedbStore) -> Result<Self> {
        let mut book = Self::default();
        let mut after = None;
        loop {
            let page = store.ledger_entries(LedgerQuery { after, limit: PAGE, ..LedgerQuery::default() }).await?;
            book.rows.extend(page.entries.into_iter().map(|view| (view.entry.id, view.entry)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let job = store.job_id(JobName::new(JOB)?).await?.context("the job isn't there")?;
        let mut after = None;
        loop {
            let page = store.items(job, ItemQuery { status: None, after, limit: PAGE, outputs: false }).await?;
            for item in page.entries {
                if item.status == ItemStatus::Done {
                    book.done.insert(item.id);
                }
                ensure!(item.status != ItemStatus::Failed, "{} failed: {:?}", item.key, item.tasks);
                book.items.insert(item.id, item.key.to_string());
            }
            after = page.next;
            if after.is_none() {
                return Ok(book);
            }
        }
    }

    /// Calls under way.
    pub(crate) fn open(&self) -> BTreeSet<CallId> {
        self.rows.values().filter(|row| row.end.is_none()).map(|row| row.id).collect()
    }

    /// An account is what its rows come to, and within its limit.
    fn check_account(&self, AccountView { scope, account }: &AccountView) -> Result<()> {
        let rows = self
            .rows
            .values()
            .filter(|row| row.periods.month == account.month.period && row.call.scopes().iter().any(|of| of == scope));
        let (mut settled, mut held) = (NanoUsd::ZERO, NanoUsd::ZERO);
        for row in rows {
            let estimate = row.call.estimate.known().unwrap_or(NanoUsd::ZERO);
            match &row.end {
                Some(end) => settled = settled.saturating_add(end.cost.charged(row.call.estimate)),
                None => held = held.saturating_add(estimate),
            }
        }
        let of = (account.month.settled, account.month.reserved);
        ensure!(of == (settled, held), "{scope} has {of:?} settled and held, its rows {settled} and {held}");
        let is_bounded = !matches!(scope, Scope::Paid(kind, _) if kind.as_str() == "search");
        ensure!(!is_bounded || settled.saturating_add(held) <= LIMIT, "{scope} is past its budget of {LIMIT}");
        Ok(())
    }

    /// What was settled or done once is so for ever.
    fn check_kept(&self, before: &Self) -> Result<()> {
        for (id, row) in &before.rows {
            let now = self.rows.get(id).with_context(|| format!("call {} has lost its row", id.0))?;
            let is_kept = row.end.is_none() || row == now;
            ensure!(is_kept, "call {} was settled twice: {row:#?}, {now:#?}", id.0);
        }
        let lost = before.done.difference(&self.done).next();
        ensure!(lost.is_none(), "item {lost:?} was done, and is no more");
        Ok(())
    }
}

/// What a settled row costs; one without a price costs nothing known.
pub(crate) fn cost(row: &Entry) -> NanoUsd {
    row.end.as_ref().and_then(|end| end.cost.known()).unwrap_or(NanoUsd::ZERO)
}

/// Whether a row's end is an estimate at which it was reserved.
pub(crate) fn is_its_estimate(row: &Entry) -> bool {
    let cost = row.end.as_ref().map(|end| end.cost);
    cost.is_some_and(|cost| cost == row.call.estimate && cost != Cost::Unpriced)
}

fn lay_copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, beside) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            if entry.file_name() != COMPILED {
                lay_copy(&path, &beside)?;
            }
        } else {
            fs::copy(&path, &beside).with_context(|| format!("{} can't be copied", path.display()))?;
        }
    }
    Ok(())
}
