//! The ledger beside the bill, once the job has come to its end.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use anyhow::{Result, ensure};
use tollgate_core::{
    ledger::{CallId, Entry, How, PaidKind},
    money::NanoUsd,
};
use tollgate_sim::sites::bill::{Amount, Billed};

use crate::book::{Book, cost, is_its_estimate};

/// Paid calls of one item: two of its own, one more after a search, and that search.
const CALLS_OF_ITEM: usize = 4;

/// What both come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// Items, all of them done.
    pub items: usize,
    /// Rows of the ledger that are settled by what the provider counted, and what they cost.
    pub told: (usize, NanoUsd),
    /// Rows that a kill left under way, settled at their estimates.
    pub estimated: (usize, NanoUsd),
    /// What was billed for the calls of the first.
    pub billed: (usize, NanoUsd),
    /// What was billed for calls of the second, as far as they were sent.
    pub billed_beside: (usize, NanoUsd),
}

impl Balance {
    /// Pairs each row with what was billed for it. `broken`: calls that a kill left under way.
    pub(crate) fn of(book: &Book, bill: &[Billed], broken: &BTreeSet<CallId>) -> Result<Self> {
        let open = book.open();
        ensure!(open.is_empty(), "these calls are under way at the end: {open:?}");
        let (estimated, told): (Vec<&Entry>, Vec<&Entry>) =
            book.rows.values().partition(|row| row.end.as_ref().is_some_and(|end| end.is_estimate));
        let marked: BTreeSet<CallId> = estimated.iter().map(|row| row.id).collect();
        ensure!(&marked == broken, "marked as estimated are {marked:?}, and kills left {broken:?} under way");
        for row in &estimated {
            let is_lost = row.end.as_ref().is_some_and(|end| end.how == How::Lost);
            ensure!(is_lost && is_its_estimate(row), "a lost call isn't settled at its estimate: {row:#?}");
        }
        paid_once(&told)?;
        let calls = book.items.len() * CALLS_OF_ITEM;
        ensure!(told.len() == calls, "{} calls are answered, {calls} should be", told.len());

        let mut left: Vec<&Billed> = bill.iter().collect();
        for row in &told {
            let of = left.iter().position(|billed| is_of(row, billed));
            let Some(of) = of else { anyhow::bail!("nothing was billed like {row:#?}") };
            left.swap_remove(of);
        }
        for kind in [PaidKind::Model, PaidKind::Search] {
            let sent = left.iter().filter(|billed| kind_of(billed) == kind).count();
            let lost: Vec<&&Entry> = estimated.iter().filter(|row| row.call.paid.kind == kind).collect();
            ensure!(sent <= lost.len(), "{sent} calls of a {} were billed and have no row", kind.as_str());
            let most = lost.iter().map(|row| cost(row)).max().unwrap_or(NanoUsd::ZERO);
            let beyond = left.iter().find(|billed| kind_of(billed) == kind && billed.cost > most);
            ensure!(beyond.is_none(), "a lost call cost more than any was held to cost: {beyond:?}");
        }
        let rows = |rows: &[&Entry]| -> (usize, NanoUsd) { (rows.len(), rows.iter().map(|row| cost(row)).sum()) };
        let beside: (usize, NanoUsd) = (left.len(), left.iter().map(|billed| billed.cost).sum());
        let all: NanoUsd = bill.iter().map(|billed| billed.cost).sum();
        let balance = Self {
            items: book.items.len(),
            told: rows(&told),
            estimated: rows(&estimated),
            billed: (bill.len() - beside.0, NanoUsd(all.0 - beside.1.0)),
            billed_beside: beside,
        };
        ensure!(balance.told == balance.billed, "the ledger and the bill differ: {balance:?}");
        Ok(balance)
    }

    /// What the whole ledger comes to.
    #[must_use]
    pub fn ledger(&self) -> NanoUsd {
        self.told.1.saturating_add(self.estimated.1)
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { items, told, estimated, billed, billed_beside } = self;
        writeln!(f, "{items:>6}  items, each done once; no reservation is left, and a spent budget holds")?;
        writeln!(f, "{:>6}  calls settled by what the provider counted: {}", told.0, told.1)?;
        writeln!(f, "{:>6}  were billed for them: {}, the same to the billionth", billed.0, billed.1)?;
        writeln!(f, "{:>6}  calls that a kill left under way, marked as estimated: {}", estimated.0, estimated.1)?;
        writeln!(f, "{:>6}  of these had been sent, and were billed: {}", billed_beside.0, billed_beside.1)
    }
}

/// What a task was answered once, it isn't paid for again.
fn paid_once(told: &[&Entry]) -> Result<()> {
    let mut answered = HashMap::new();
    for row in told {
        let end = row.end.as_ref().map(|end| end.how);
        ensure!(end == Some(How::Answered), "a call wasn't answered, and nobody refused one: {row:#?}");
        let before = answered.insert((row.call.caller.task, row.call.request), row.id);
        ensure!(before.is_none(), "calls {before:?} and {:?} paid for the same answer", row.id);
    }
    Ok(())
}

fn kind_of(billed: &Billed) -> PaidKind {
    match billed.amount {
        Amount::Tokens(_) => PaidKind::Model,
        Amount::Credits(_) => PaidKind::Search,
        Amount::Millis(_) => PaidKind::Speech,
    }
}

/// Whether a row says of a call what its provider billed.
fn is_of(row: &Entry, billed: &Billed) -> bool {
    let Some(end) = &row.end else { return false };
    let is_amount = match billed.amount {
        Amount::Tokens(tokens) => tokens == end.tokens,
        Amount::Credits(credits) => credits == end.units.credits,
        Amount::Millis(millis) => millis == end.units.audio_ms,
    };
    row.call.paid.kind == kind_of(billed) && is_amount && end.cost.known() == Some(billed.cost)
}
