//! What was spent of days and months, one row a proxy or site: a budget outlives the process.

use redb::{ReadTransaction, ReadableTable};
use tollgate_core::budget::Spending;

use super::{Shared, fault::Fault, tables::SPENDING, writer::Batch};
use crate::{
    StoreError,
    stored::{StoredSpending, decode, encode},
};

/// Longest name, in bytes: a host pattern or a proxy's name, with a word before it.
const NAME_BYTES_MAX: usize = 400;

/// Keeps what was spent, in place of what was kept before.
pub(crate) fn keep(batch: &mut Batch<'_>, rows: &[(String, Spending)]) -> Result<(), Fault> {
    for (name, spending) in rows {
        if name.len() > NAME_BYTES_MAX {
            let (bytes, max) = (name.len() as u64, NAME_BYTES_MAX as u64);
            return Err(Fault::Refused(StoreError::TooLarge { what: "the name of what spends", bytes, max }));
        }
        batch.tables.spending.insert(name.as_str(), encode(&StoredSpending::from(*spending))?.as_slice())?;
    }
    Ok(())
}

/// All that is kept. A row that can't be read is an error: what was spent isn't nothing because nobody can read it.
pub(crate) fn all(shared: &Shared) -> Result<Vec<(String, Spending)>, Fault> {
    let table = shared.begin_read()?.open_table(SPENDING)?;
    let mut all = Vec::new();
    for row in table.iter()? {
        let (name, row) = row?;
        all.push((name.value().to_owned(), decode::<StoredSpending>("spending", row.value())?.into()));
    }
    Ok(all)
}

/// What is wrong with the rows, a sentence each.
pub(crate) fn problems(snapshot: &ReadTransaction) -> Result<Vec<String>, Fault> {
    let mut problems = Vec::new();
    for row in snapshot.open_table(SPENDING)?.iter()? {
        let (name, row) = row?;
        let name = name.value();
        match decode::<StoredSpending>("spending", row.value()).map(Spending::from) {
            Err(error) => problems.push(format!("what {name} has spent can't be read: {error}")),
            Ok(Spending { day, month }) => {
                for (kind, spent) in [("day", day), ("month", month)] {
                    if spent.period.begins >= spent.period.ends || spent.estimated > spent.bytes {
                        problems.push(format!("what {name} has spent of a {kind} is out of line"));
                    }
                }
                if day.period.begins >= month.period.begins && day.bytes > month.bytes {
                    problems.push(format!("{name} has spent more of a day than of its month"));
                }
            }
        }
    }
    Ok(problems)
}
