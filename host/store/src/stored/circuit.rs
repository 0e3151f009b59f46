//! A site's circuit on disk.

use serde::{Deserialize, Serialize};
use tollgate_core::{
    Timestamp,
    circuit::{Circuit, Cooling, CoolingKind},
};

use super::twin;

/// Twin of [`Circuit`], without the request that tries: it doesn't outlive the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredCircuit {
    /// From schema 2.
    V1 { blocks: u32, cooling: Option<StoredCooling> },
}

/// Twin of [`Cooling`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredCooling {
    until_ms: u64,
    kind: StoredCoolingKind,
    reason: String,
}

twin!(StoredCoolingKind = CoolingKind { RateLimited, Blocked });

impl From<&Circuit> for StoredCircuit {
    fn from(circuit: &Circuit) -> Self {
        let cooling = circuit.last().cloned().map(|Cooling { until, kind, reason }| StoredCooling {
            until_ms: until.0,
            kind: kind.into(),
            reason,
        });
        Self::V1 { blocks: circuit.blocks(), cooling }
    }
}

impl From<StoredCircuit> for Circuit {
    fn from(row: StoredCircuit) -> Self {
        let StoredCircuit::V1 { blocks, cooling } = row;
        let cooling = cooling.map(|StoredCooling { until_ms, kind, reason }| Cooling {
            until: Timestamp(until_ms),
            kind: kind.into(),
            reason,
        });
        Self::remembered(cooling, blocks)
    }
}
