//! What the gate remembers of sites over a restart, in the store.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tollgate_core::{Timestamp, budget::Spending, circuit::Circuit};
use tollgate_egress::SiteMemory;
use tollgate_store::Store;

/// Keeps circuits and what was spent in the store.
pub struct StoredSites(Arc<dyn Store>);

impl StoredSites {
    /// In that store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self(store))
    }
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
