//! Names of direct sites: resolved once, checked, and pinned. A proxied name is never resolved here (R09).

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::is_local_address;

/// Resolver of a direct client.
#[derive(Clone, Default)]
pub(crate) struct PinnedResolver {
    pinned: Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>,
    /// Wherever a name leads: a person named it.
    takes_any: bool,
}

impl PinnedResolver {
    /// That of an endpoint, which may be anywhere.
    pub(crate) fn of_endpoint() -> Self {
        Self { takes_any: true, ..Self::default() }
    }

    /// Resolves anew from now on.
    pub(crate) fn forget(&self) {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Resolve for PinnedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (pinned, takes_any) = (self.pinned.clone(), self.takes_any);
        Box::pin(async move {
            let name = name.as_str().to_ascii_lowercase();
            let known = pinned.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
            let addresses = match known {
                Some(addresses) => addresses,
                None => {
                    let addresses = checked(&name, takes_any).await?;
                    pinned.lock().unwrap_or_else(PoisonError::into_inner).insert(name, addresses.clone());
                    addresses
                }
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a name: local ones for `localhost` alone, so that a name of the world can't lead inside; or any.
async fn checked(name: &str, takes_any: bool) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let is_local_name = name == "localhost" || name.ends_with(".localhost");
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
    let fitting: Vec<SocketAddr> =
        found.iter().copied().filter(|address| takes_any || is_local_address(address.ip()) == is_local_name).collect();
    if fitting.is_empty() {
        return Err(format!("{name} resolves to {found:?}, which its policy doesn't allow").into());
    }
    Ok(fitting)
}
