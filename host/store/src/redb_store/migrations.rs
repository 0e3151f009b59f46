//! The road from an older store to this one: steps from each schema version to the next, all in one transaction.
//!
//! To change the schema: raise nothing by hand, append a step. Its place is the version that it starts from, less one.
//! Then make a fixture with the old program (`examples/make_fixture.rs`), check it in under `tests/fixtures/`, and
//! name it in `tests/store/migrations.rs`. Row types keep their old variants, so a step only touches what must move.

use redb::{ReadableTable as _, WriteTransaction};

use super::{
    fault::Fault,
    files,
    tables::{META, meta},
};
use crate::StoreError;

/// One step, within the transaction that opens the store.
type Step = fn(&WriteTransaction) -> Result<(), Fault>;

/// From version 1 on.
const STEPS: &[Step] = &[
    // 2: attempts have a reason, discoveries a basis. Older rows are read by their own variants; the version keeps an
    // older program from reading the new ones.
    |_| Ok(()),
    // 3: what was spent of budgets, and which pages tasks hold, in tables of their own that opening makes; attempts may
    // end for want of a budget, and name the tools that ran for them.
    |_| Ok(()),
    // 4: the ledger of paid calls, its accounts and sums, kept answers, and what has gone of large binaries, in tables
    // of their own that opening makes; tasks may take kept answers again.
    |_| Ok(()),
    // 5: how many rows name each file. Calls are paid in a log beside the tables: the version keeps an older program
    // from overlooking it.
    files::count_all,
];

/// The version that this program writes.
#[must_use]
pub const fn schema_version() -> u32 {
    // A const cast: the number of steps is that of lines above.
    1 + STEPS.len() as u32
}

/// The first that this program doesn't know.
const FUTURE: u32 = schema_version() + 1;
/// The first whose ledger has a log.
pub(crate) const WITH_LOG: u32 = 5;

/// Brings the store to [`schema_version`]; a new one begins there. Answers from which it came; absent: it is new.
pub(crate) fn run(transaction: &WriteTransaction) -> Result<Option<u32>, Fault> {
    let is_new = transaction.list_tables()?.next().is_none();
    let mut table = transaction.open_table(META)?;
    let found = table.get(meta::SCHEMA)?.map(|row| row.value());
    let found = match found {
        Some(found) => Some(u32::try_from(found).unwrap_or(u32::MAX)),
        None if is_new => None,
        None => {
            return Err(StoreError::Corrupt("queue.redb has tables but no schema version".to_owned()).into());
        }
    };
    if let Some(found @ FUTURE..) = found {
        return Err(Fault::Refused(StoreError::NewerVersion { found, known: schema_version() }));
    }
    table.insert(meta::SCHEMA, u64::from(schema_version()))?;
    drop(table);
    let first = usize::try_from(found.unwrap_or(schema_version())).unwrap_or(usize::MAX).saturating_sub(1);
    for (place, step) in STEPS.iter().enumerate().skip(first) {
        tracing::info!(from = place + 1, to = place + 2, "migrating the store");
        step(transaction)?;
    }
    Ok(found)
}
