//! The host's ledger held against what the small internet has billed.

use tollgate_core::{ledger::Entry, money::NanoUsd};
use tollgate_sim::sites::bill::{self, Billed};

/// What rows come to whose costs are known.
pub(super) fn sum<'a>(rows: impl IntoIterator<Item = &'a Entry>) -> NanoUsd {
    rows.into_iter().filter_map(|row| row.end.as_ref()?.cost.known()).sum()
}

/// No row is an estimate, and all of them come to what was billed.
pub(super) fn is_the_bill<'a>(rows: impl IntoIterator<Item = &'a Entry>, billed: &[Billed]) {
    let rows: Vec<&Entry> = rows.into_iter().collect();
    let estimates: Vec<_> = rows.iter().filter(|row| row.end.as_ref().is_none_or(|end| end.is_estimate)).collect();
    assert!(estimates.is_empty(), "{estimates:#?}");
    assert_eq!(sum(rows.iter().copied()), bill::sum(billed), "{rows:#?}\n{billed:#?}");
}
