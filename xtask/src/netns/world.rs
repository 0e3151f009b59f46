//! The two ends of the only way: the proxy's network namespace, which is this process's own, and the host's.
//!
//! Everything made here is within namespaces that `netns` has made before, and goes with the last process in them.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::packet::Allowed;

/// The proxy's end. It is the resolver too, as far as the host knows: nobody answers there, and a look-up is a packet.
pub(super) const PROXY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The host's end.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The host's namespace, in a folder that nobody else sees.
const NAMESPACE: &str = "/run/netns/host";
/// What names the resolver.
const RESOLVER: &str = "/etc/resolv.conf";
/// Where tests expect that nobody listens.
const DEAD_PORT: u16 = 9;

/// Makes the host's namespace and the way to it.
pub(super) fn make(scratch: &Path) -> Result<()> {
    name_resolver(scratch)?;
    fs::create_dir_all("/run/netns").context("/run/netns")?;
    fs::write(NAMESPACE, "").context(NAMESPACE)?;
    run(command("unshare", &[&format!("--net={NAMESPACE}"), "true"]))?;
    run(command("ip", &["link", "add", "proxy0", "type", "veth", "peer", "name", "host0", "netns", "host"]))?;
    let (proxy, host) = (PROXY.to_string(), HOST.to_string());
    end(&|program| Command::new(program), "proxy0", &proxy, &host)?;
    end(&|program| in_host(program), "host0", &host, &proxy)?;
    let routes = said(&mut with(in_host("ip"), &["-4", "route", "show"]))?;
    let routes: Vec<&str> = routes.lines().map(str::trim).collect();
    ensure!(
        matches!(routes[..], [only] if only.starts_with(&format!("{PROXY} dev host0 "))),
        "the host's namespace should have one route, to the proxy: {routes:?}"
    );
    Ok(())
}

/// Sets an end of the way up, by programs that run at that end.
fn end(program: &dyn Fn(&str) -> Command, device: &str, own: &str, other: &str) -> Result<()> {
    // With IPv6, the system itself would look for neighbours from time to time.
    let file = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    run(with(program("sh"), &["-c", &format!("[ ! -e {file} ] || echo 1 > {file}")]))?;
    // A peer, not a network: no other neighbour can be asked for.
    run(with(program("ip"), &["address", "add", own, "peer", other, "dev", device]))?;
    for device in ["lo", device] {
        run(with(program("ip"), &["link", "set", device, "up"]))?;
    }
    Ok(())
}

/// Has this mount namespace name the proxy's end as resolver, and hides the services that would ask in our stead, from
/// another network: those of systemd and nscd listen on sockets under `/run`.
fn name_resolver(scratch: &Path) -> Result<()> {
    let real = fs::canonicalize(RESOLVER).with_context(|| format!("{RESOLVER} is needed, or nobody is asked"))?;
    run(command("mount", &["-t", "tmpfs", "tmpfs", "/run"]))?;
    let ours = scratch.join("resolv.conf");
    fs::write(&ours, format!("nameserver {PROXY}\noptions timeout:1 attempts:1\n"))?;
    if !real.exists() {
        // It was a link into /run.
        if let Some(folder) = real.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&real, "")?;
    }
    let mut mount = command("mount", &["--bind"]);
    mount.arg(&ours).arg(&real);
    run(mount)
}

/// A program in the host's namespace.
pub(super) fn in_host(program: impl AsRef<OsStr>) -> Command {
    let mut command = command("nsenter", &[&format!("--net={NAMESPACE}"), "--"]);
    command.arg(program);
    command
}

/// What a run may send: to the proxy, and on loopback between ports that the system gave out, where `is_loopback_used`.
pub(super) fn allowed(proxy: Option<SocketAddr>, is_loopback_used: bool) -> Result<Allowed> {
    let loopback = if is_loopback_used { vec![given_ports()?, DEAD_PORT..=DEAD_PORT] } else { Vec::new() };
    Ok(Allowed { ends: [PROXY, HOST], proxy, loopback })
}

/// Ports that the system gives to who asks for any: those of tests, and of their small internets.
fn given_ports() -> Result<RangeInclusive<u16>> {
    let text = said(&mut with(in_host("cat"), &["/proc/sys/net/ipv4/ip_local_port_range"]))?;
    let ports: Vec<u16> = text.split_whitespace().filter_map(|port| port.parse().ok()).collect();
    match ports[..] {
        [first, last] => Ok(first..=last),
        _ => bail!("the ports that the system gives out are {text:?}"),
    }
}

/// How often something in the host's namespace was to be sent where no route leads. No packet shows that.
pub(super) fn without_route() -> Result<u64> {
    let text = said(&mut with(in_host("sh"), &["-c", "cat /proc/net/snmp; cat /proc/net/snmp6 2>&1 || true"]))?;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Ip: ")).map(|line| line.split_whitespace());
    let (names, values) = (rows.next().context("no names in snmp")?, rows.next().context("no values in snmp")?);
    let v4 = names.zip(values).find(|(name, _)| *name == "OutNoRoutes").context("no OutNoRoutes in snmp")?.1;
    let v6 = text.lines().find_map(|line| line.strip_prefix("Ip6OutNoRoutes")).unwrap_or("0");
    Ok(v4.parse::<u64>()? + v6.trim().parse::<u64>()?)
}

fn command(program: &str, args: &[&str]) -> Command {
    with(Command::new(program), args)
}

fn with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

fn run(mut command: Command) -> Result<()> {
    said(&mut command).map(drop)
}

/// What a command prints.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} can't be run"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, why.trim());
    Ok(String::from_utf8(output.stdout)?)
}
