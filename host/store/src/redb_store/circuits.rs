//! Circuits of sites: what the gate remembers over a restart, one row a site.

use redb::ReadableTable;
use tollgate_core::{Timestamp, circuit::Circuit};

use super::{Shared, fault::Fault, tables::CIRCUITS, writer::Batch};
use crate::{
    StoreError,
    stored::{StoredCircuit, decode, encode},
};

/// Longest name of a site, in bytes: a host name has 253 at the most, and a port five.
const SITE_BYTES_MAX: usize = 300;

/// Remembers a site's circuit, or forgets one of which there is nothing to remember.
pub(crate) fn keep(batch: &mut Batch<'_>, site: &str, circuit: &Circuit, now: Timestamp) -> Result<(), Fault> {
    if site.len() > SITE_BYTES_MAX {
        let (bytes, max) = (site.len() as u64, SITE_BYTES_MAX as u64);
        return Err(Fault::Refused(StoreError::TooLarge { what: "the name of a site", bytes, max }));
    }
    if circuit.is_clear(now) {
        batch.tables.circuits.remove(site)?;
        return Ok(());
    }
    batch.tables.circuits.insert(site, encode(&StoredCircuit::from(circuit))?.as_slice())?;
    Ok(())
}

/// All that are remembered and still say something at `now`.
pub(crate) fn all(shared: &Shared, now: Timestamp) -> Result<Vec<(String, Circuit)>, Fault> {
    let table = shared.begin_read()?.open_table(CIRCUITS)?;
    let mut all = Vec::new();
    for row in table.iter()? {
        let (site, row) = row?;
        let circuit = Circuit::from(decode::<StoredCircuit>("circuits", row.value())?);
        if !circuit.is_clear(now) {
            all.push((site.value().to_owned(), circuit));
        }
    }
    Ok(all)
}

/// Forgets those that say nothing any more at `now`, and one that can't be read: a cool-down too few is
/// no reason to stand still.
pub(crate) fn sweep(batch: &mut Batch<'_>, now: Timestamp) -> Result<(), Fault> {
    batch.tables.circuits.retain(|site, row| match decode::<StoredCircuit>("circuits", row) {
        Ok(row) => !Circuit::from(row).is_clear(now),
        Err(error) => {
            tracing::warn!(site, %error, "what was remembered of a site can't be read, and is forgotten");
            false
        }
    })?;
    Ok(())
}
