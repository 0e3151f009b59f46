//! Names of direct sites: resolved once, checked, and pinned. A proxied name is never resolved here (R09).

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::is_local_address;

/// Resolver of the direct client.
#[derive(Clone, Default)]
pub(crate) struct PinnedResolver(Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>);

impl Resolve for PinnedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let pinned = self.0.clone();
        Box::pin(async move {
            let name = name.as_str().to_ascii_lowercase();
            let known = pinned.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
            let addresses = match known {
                Some(addresses) => addresses,
                None => {
                    let addresses = checked(&name).await?;
                    pinned.lock().unwrap_or_else(PoisonError::into_inner).insert(name, addresses.clone());
                    addresses
                }
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a name: local ones for `localhost` alone, so that a name of the world can't lead inside.
async fn checked(name: &str) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let is_local_name = name == "localhost" || name.ends_with(".localhost");
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
    let fitting: Vec<SocketAddr> =
        found.iter().copied().filter(|address| is_local_address(address.ip()) == is_local_name).collect();
    if fitting.is_empty() {
        return Err(format!("{name} resolves to {found:?}, which its policy doesn't allow").into());
    }
    Ok(fitting)
}
