//! The ways by which an address may be reached: direct, or through proxies in their turn.

use std::sync::atomic::Ordering::Relaxed;

use reqwest::Client;
use tollgate_core::spec::{Rotation, Route};

use crate::{
    Denial, Gate, Refused,
    address::Address,
    exchange::Via,
    meter::Passage,
    proxy::{Admitted, Proxy, ProxyClient, UNSET_WAIT},
};

/// How an address is reached.
pub(crate) struct Way<'a> {
    pub(crate) client: Client,
    pub(crate) via: Via,
    pub(crate) login_bytes: u64,
    pub(crate) proxy: Option<&'a Proxy>,
}

impl Way<'_> {
    /// What lies around the bytes that go this way to an address, as the meters want it: TLS, and SOCKS.
    pub(crate) fn around(&self, address: &Address) -> (bool, bool) {
        (address.is_secure(), self.via == Via::Socks)
    }
}

/// What is refused where a site has no way at all.
pub(crate) fn none(address: &Address) -> Refused {
    Refused::denied(Denial::NoPolicy, format!("site {} names no proxy", address.site.pattern))
}

impl Gate {
    /// Lets something through by a way: its proxy is up, and no budget is spent. Nothing has been sent.
    pub(crate) fn admit<'a>(
        &self,
        way: &Way<'a>,
        address: &Address,
        around: (bool, bool),
    ) -> Result<(Option<Admitted<'a>>, Passage), Refused> {
        let admitted = way.proxy.map(|proxy| proxy.admit(self.options.clock.now())).transpose()?;
        let passage = self.meters.admit(&address.site.pattern.to_string(), way.proxy.map(Proxy::name), around)?;
        Ok((admitted, passage))
    }

    /// How an address may be reached, in the order in which the ways are tried; an error if all are shut.
    pub(crate) fn ways(&self, address: &Address) -> Result<Vec<Way<'_>>, Refused> {
        self.endpoints.check(address, self.options.clock.now())?;
        self.meters.check_site(&address.site.pattern.to_string())?;
        match &address.site.route {
            Route::Direct => {
                let client = self.endpoints.client(address).unwrap_or_else(|| self.direct.clone());
                Ok(vec![Way { client, via: Via::Direct, login_bytes: 0, proxy: None }])
            }
            Route::Proxy(names, rotation) => self.ways_through(names, *rotation, address),
            Route::Unset => {
                let host = &address.authority;
                let text = format!(
                    "no proxy is configured for {host}, so nothing is sent; add [proxy.main] with its url to \
                     jobs.toml, and proxy = \"main\" to [site.\"*\"]"
                );
                Err(Refused::down(host, text, UNSET_WAIT))
            }
        }
    }

    /// The ways through proxies that are up, beginning with the one whose turn it is.
    fn ways_through(&self, names: &[String], rotation: Rotation, address: &Address) -> Result<Vec<Way<'_>>, Refused> {
        let first = match rotation {
            Rotation::Failover => 0,
            Rotation::Request => self.turns.fetch_add(1, Relaxed),
            Rotation::Host => {
                address.authority.bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
            }
        };
        let (mut ways, mut refused) = (Vec::new(), None::<Refused>);
        for turn in 0..names.len() {
            let name = &names[first.wrapping_add(turn) % names.len()];
            let Some(proxy) = self.proxies.get(name) else {
                let text = format!("site {} names proxy {name}, which isn't in jobs.toml", address.site.pattern);
                return Err(Refused::denied(Denial::NoPolicy, text));
            };
            let open = self.meters.check_proxy(name);
            match open.and_then(|()| proxy.client(&self.options.base, self.options.clock.now())) {
                Ok(ProxyClient { client, fresh, via, login_bytes }) => {
                    let is_fresh = proxy.closes_unsaid() && !address.is_secure();
                    let client = if is_fresh { fresh } else { client };
                    ways.push(Way { client, via, login_bytes, proxy: Some(proxy) });
                }
                Err(shut) => {
                    refused = Some(match refused {
                        Some(refused) => refused.or_sooner(shut),
                        None => shut,
                    });
                }
            }
        }
        match refused {
            Some(refused) if ways.is_empty() => Err(refused),
            _ => Ok(ways),
        }
    }
}
