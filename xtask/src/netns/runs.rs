//! What is run in the host's namespace, in which surroundings, and what each run sent.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Plan,
    capture::Capture,
    jobs::{self, TALKS},
    leak::Leaks,
    packet::{Allowed, Kind, Packet},
    world,
};
use crate::{
    demo::{self, Sim, Tollgate},
    run::root,
};

/// Variables by which programs are told of a proxy.
const PROXY_VARIABLES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"];
/// Strays that are named one by one; the rest is counted.
const NAMED_MAX: usize = 10;
/// Its page, whose video nobody downloads: yt-dlp asks what it is.
const PAGE: &str = "<html><head><title>A talk</title></head><body><video src=\"/talk.mp4\"></video></body></html>";

type Surroundings = (&'static str, Vec<(String, String)>);

/// A run that is over.
struct Run {
    name: String,
    allowed: Allowed,
    /// Things that were to be sent where no route leads.
    without_route: u64,
    result: Result<()>,
}

/// All of them, the leaks on purpose last.
pub(super) fn all(plan: &Plan, scratch: &Path) -> Result<()> {
    let (trap, caught) = trap()?;
    let mut capture = Capture::begin(world::in_host("tcpdump"), world::PROXY, scratch)?;
    let mut runs = Vec::new();
    for (name, env) in surroundings(trap) {
        let place = scratch.join(format!("run-{}", runs.len()));
        let start = |program: PathBuf| {
            let mut command = world::in_host(program);
            command.envs(env.iter().map(|(name, value)| (name, value)));
            command
        };
        let sim = sim(&place.join("demo"))?;
        runs.push(run(&mut capture, &format!("the demo{name}"), allowed_to(&sim)?, || {
            demo::crawl(&Tollgate { sim: &sim, folder: demo::lay_out(&place.join("demo"))?, start: &start })
        })?);
        drop(sim);
        let sim = self::sim(&place.join("tools"))?;
        runs.push(run(&mut capture, &format!("tools{name}"), allowed_to(&sim)?, || {
            jobs::tools(plan, &sim, &place.join("tools"), &start)
        })?);
        drop(sim);
        let sim = self::sim(&place.join("clients"))?;
        runs.push(run(&mut capture, &format!("guests' own clients{name}"), allowed_to(&sim)?, || {
            jobs::own_clients(&sim, &place.join("clients"), &start)
        })?);
        drop(sim);
        let alone = world::allowed(None, true)?;
        runs.push(run(&mut capture, &format!("the gate's tests{name}"), alone, || tests(plan, &start))?);
    }
    let fell_in = caught.load(Ordering::Relaxed);
    let sim = sim(&scratch.join("leaks"))?;
    let site = sim.direct["catalogue.example"].as_str().context("the shop has no port of its own")?.parse()?;
    let leaks = Leaks { site, trap };
    let leaked = run(&mut capture, "leaks on purpose", allowed_to(&sim)?, || leaks.let_out())?;
    let packets = by_run(capture.end()?)?;
    let count = |name: &str| packets.get(name).map_or(&[][..], Vec::as_slice);

    let mut failed = Vec::new();
    for run in &runs {
        if let Err(error) = judge(run, count(&run.name)) {
            eprintln!("── {}: {error:#}", run.name);
            failed.push(run.name.as_str());
        }
    }
    // What nobody could see is nothing to rely on.
    leaked.result.context("the leaks on purpose")?;
    let astray: Vec<&Packet> = astray(&leaked.allowed, count(&leaked.name)).collect();
    leaks.judge(&astray, leaked.without_route).context("the capture is blind")?;
    ensure!(sim.counted()?.1 == 1, "the site did not count the request past the proxy: {:?}", sim.counted()?);
    ensure!(caught.load(Ordering::Relaxed) > fell_in, "the trap did not count who came");
    eprintln!(
        "── leaks on purpose: all {} packets and {} tries without a route seen",
        astray.len(),
        leaked.without_route
    );
    ensure!(fell_in == 0, "{fell_in} connections went to the proxy that the environment names");
    ensure!(failed.is_empty(), "not as it should be, see above: {}", failed.join("; "));
    Ok(())
}

/// The environments that all is run in.
fn surroundings(trap: SocketAddr) -> [Surroundings; 3] {
    let both = |name: &str, value: &str| [(name.to_owned(), value.to_owned()), (name.to_lowercase(), value.to_owned())];
    let proxies: Vec<_> = PROXY_VARIABLES.iter().flat_map(|name| both(name, &format!("http://{trap}"))).collect();
    let none = proxies.iter().cloned().chain(both("NO_PROXY", "*")).collect();
    [("", Vec::new()), (", HTTP_PROXY set", proxies), (", HTTP_PROXY and NO_PROXY=* set", none)]
}

/// Somebody listens where the environment's proxy should be, and counts who comes.
fn trap() -> Result<(SocketAddr, Arc<AtomicU64>)> {
    let listener = TcpListener::bind((world::PROXY, 0)).context("the trap")?;
    let (address, caught) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
    let count = caught.clone();
    thread::spawn(move || {
        for came in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            drop(came);
        }
    });
    Ok((address, caught))
}

/// A small internet at the proxy's end, with a page for tools.
fn sim(folder: &Path) -> Result<Sim> {
    let site = folder.join("site");
    fs::create_dir_all(&site)?;
    fs::write(site.join("talk.html"), PAGE)?;
    // As much of a video as its kind is told by.
    fs::write(site.join("talk.mp4"), b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")?;
    let (listen, site) = (format!("{}:0", world::PROXY), format!("{TALKS}={}", site.display()));
    Sim::start(folder, &["--beyond-loopback", "--listen", &listen, "--folder", &site])
}

fn allowed_to(sim: &Sim) -> Result<Allowed> {
    let proxy = sim.proxy.trim_start_matches("http://").parse().with_context(|| format!("the proxy {}", sim.proxy))?;
    world::allowed(Some(proxy), false)
}

fn run(capture: &mut Capture, name: &str, allowed: Allowed, work: impl FnOnce() -> Result<()>) -> Result<Run> {
    eprintln!("\n── in the namespace: {name}");
    capture.mark(name)?;
    let before = world::without_route()?;
    let result = work();
    let without_route = world::without_route()?.saturating_sub(before);
    Ok(Run { name: name.to_owned(), allowed, without_route, result })
}

/// The gate's own tests, whose small internets are on loopback.
fn tests(plan: &Plan, start: &dyn Fn(PathBuf) -> Command) -> Result<()> {
    let mut failed = Vec::new();
    for program in &plan.tests {
        let mut test = start(program.clone());
        test.current_dir(root().join("host/egress")).arg("--quiet").stdin(Stdio::null());
        if !test.status().with_context(|| format!("{} can't be run", program.display()))?.success() {
            failed.push(program.display().to_string());
        }
    }
    ensure!(failed.is_empty(), "tests of {} failed; the messages are above", failed.join(", "));
    Ok(())
}

/// Packets by the run in which they were sent.
fn by_run(packets: Vec<Packet>) -> Result<BTreeMap<String, Vec<Packet>>> {
    let (mut runs, mut current): (BTreeMap<String, Vec<Packet>>, _) = (BTreeMap::new(), None);
    for packet in packets {
        match (packet.kind, &current) {
            (Kind::Marker(name), _) => current = Some(name),
            (kind, Some(name)) => {
                let of_run = runs.entry(name.clone()).or_default();
                of_run.push(Packet { is_loopback: packet.is_loopback, kind });
            }
            (kind, None) => bail!("before all runs: {}", Packet { is_loopback: packet.is_loopback, kind }),
        }
    }
    Ok(runs)
}

fn astray<'a>(allowed: &Allowed, packets: &'a [Packet]) -> impl Iterator<Item = &'a Packet> {
    packets.iter().filter(|packet| !allowed.has(packet))
}

/// Says what a run sent.
///
/// # Errors
/// It failed, or something was where nothing may be, or was to go where no route leads.
fn judge(run: &Run, packets: &[Packet]) -> Result<()> {
    let mut strays: BTreeMap<String, usize> = BTreeMap::new();
    for packet in astray(&run.allowed, packets) {
        *strays.entry(packet.to_string()).or_default() += 1;
    }
    for (stray, times) in strays.iter().take(NAMED_MAX) {
        eprintln!("── {}: {stray}, {times} times", run.name);
    }
    ensure!(strays.is_empty(), "{} kinds of packets went where none may", strays.len());
    ensure!(run.without_route == 0, "{} times something was to be sent where no route leads", run.without_route);
    if let Err(error) = &run.result {
        bail!("it failed: {error:#}");
    }
    let on_loopback = packets.iter().filter(|packet| packet.is_loopback).count();
    let to_proxy = packets.len() - on_loopback;
    // A run that sends nothing shows nothing.
    ensure!(run.allowed.proxy.is_none() || to_proxy > 0, "no packet to the proxy was captured");
    eprintln!("── {}: {to_proxy} packets with the proxy, {on_loopback} on loopback, none anywhere else", run.name);
    Ok(())
}
