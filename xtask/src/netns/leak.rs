//! Leaks on purpose, from the host's namespace: what the capture must see, or its silence would mean nothing.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    LEAK,
    packet::{Kind, Packet},
    world,
};
use crate::run::target;

/// A name that only a look-up could know.
const NAME: &str = "tollgate-leak.example:80";
/// Nobody listens there.
const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 80);
/// No route leads there: to a cloud's metadata service, and to a machine that has IPv6 alone.
const NO_ROUTE: [&str; 2] = ["169.254.169.254:80", "[2001:db8::1]:443"];
/// For a connection that nobody answers.
const TIME: Duration = Duration::from_secs(2);

/// Where they go.
pub(super) struct Leaks {
    /// A site's own port, past the proxy.
    pub(super) site: SocketAddr,
    /// What the variables of the environment name as proxy.
    pub(super) trap: SocketAddr,
}

/// `cargo xtask netns-leak SITE TRAP`: runs in the host's namespace.
///
/// # Errors
/// The site can't be reached: then it was no leak.
pub(crate) fn leak(args: &[String]) -> Result<()> {
    let [site, trap] = args else {
        anyhow::bail!("this is a part of `cargo xtask test netns`: it wants two addresses");
    };
    let found = NAME.to_socket_addrs().map(Vec::from_iter);
    ensure!(found.is_err(), "{NAME} was found, though nobody resolves names here: {found:?}");
    drop(TcpStream::connect(trap).with_context(|| format!("the trap at {trap}"))?);
    let elsewhere = NO_ROUTE.iter().map(|text| text.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    for address in elsewhere.into_iter().chain([SocketAddr::from(LOOPBACK)]) {
        let reached = TcpStream::connect_timeout(&address, TIME);
        ensure!(reached.is_err(), "{address} was reached, where nobody should be");
    }
    let mut stream = TcpStream::connect(site).with_context(|| format!("the site at {site}"))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: catalogue.example\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(!answer.is_empty(), "the site at {site} answered nothing");
    Ok(())
}

impl Leaks {
    /// Has the host's namespace leak.
    pub(super) fn let_out(&self) -> Result<()> {
        let mut leak = world::in_host(target().join("debug/xtask"));
        leak.arg(LEAK).args([self.site.to_string(), self.trap.to_string()]);
        let status = leak.status().context("the leaks")?;
        ensure!(status.success(), "the leaks ended with {status}");
        Ok(())
    }

    /// Holds what was captured, and counted as without a route, against what leaked.
    ///
    /// # Errors
    /// A leak that nobody saw.
    pub(super) fn judge(&self, astray: &[&Packet], without_route: u64) -> Result<()> {
        let resolver = SocketAddr::new(IpAddr::V4(world::PROXY), 53);
        let leaks = [
            ("look-up", "UDP", resolver, false),
            ("connection to a site, past the proxy,", "TCP", self.site, false),
            ("connection to the environment's proxy", "TCP", self.trap, false),
            ("connection on loopback", "TCP", SocketAddr::from(LOOPBACK), true),
        ];
        for (what, by, address, is_on_loopback) in leaks {
            let is_it = |packet: &&&Packet| {
                packet.is_loopback == is_on_loopback
                    && matches!(&packet.kind, Kind::Ports { name, to, .. } if *name == by && *to == address)
            };
            ensure!(astray.iter().any(|packet| is_it(&packet)), "a {what} ({by} to {address}) was not captured");
        }
        let has_v6 = Path::new("/proc/net/if_inet6").exists();
        let wanted = if has_v6 { NO_ROUTE.len() } else { 1 };
        ensure!(without_route >= wanted as u64, "of {wanted} tries without a route {without_route} were counted");
        Ok(())
    }
}
