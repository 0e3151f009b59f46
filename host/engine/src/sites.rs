//! What the gate remembers of sites over a restart, in the store.

use std::{path::Path, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use tollgate_core::{Clock, Timestamp, budget::Spending, circuit::Circuit};
use tollgate_egress::{GateOptions, SiteMemory};
use tollgate_store::{Store, StoreError};

use crate::services::is_account;

/// Keeps circuits and what was spent in the store.
struct StoredSites(Arc<dyn Store>);

impl StoredSites {
    /// In that store.
    fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self(store))
    }
}

/// How the gate of a data folder is set up. `base` is the folder of jobs.toml.
///
/// # Errors
/// What was kept of sites can't be read.
pub async fn gate_options(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    data: &Path,
    base: &Path,
) -> Result<GateOptions, StoreError> {
    let mut remembered = store.circuits(clock.now()).await?;
    remembered.retain(|(name, _)| !is_account(name));
    Ok(GateOptions {
        spool: data.join("spool"),
        sessions: data.join("sessions"),
        clock: clock.clone(),
        base: base.to_owned(),
        memory: StoredSites::new(store.clone()),
        remembered,
        spent: store.spending().await?,
    })
}

impl SiteMemory for StoredSites {
    fn keep(&self, site: String, circuit: Circuit, now: Timestamp) -> BoxFuture<'_, ()> {
        async move {
            if let Err(error) = self.0.keep_circuit(site.clone(), circuit, now).await {
                tracing::error!(site, %error, "a site's cool-down can't be kept: it ends with this process");
            }
        }
        .boxed()
    }

    fn keep_spending(&self, rows: Vec<(String, Spending)>) -> BoxFuture<'_, ()> {
        async move {
            if let Err(error) = self.0.keep_spending(rows).await {
                tracing::error!(%error, "what was spent can't be kept: it is forgotten with this process");
            }
        }
        .boxed()
    }
}
