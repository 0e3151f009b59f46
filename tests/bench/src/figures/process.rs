//! Figures of the program as a process of its own: its memory, its way back after SIGKILL, its rest.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    embedded::{JOB, jobs},
    place::Place,
};
use crate::series::Sample;

/// Items of the figure of memory.
const QUEUED: u64 = 1_000_000;
/// Tasks that the host works through with them in its queue.
const WORKED: u64 = 20_000;
/// Items of the figure of the way back, and tasks that are done before the kill.
const WAITING: u64 = 100_000;
const BEFORE_KILL: u64 = 2_000;
/// How long an idle host is watched, once it has come to rest.
const IDLE_TIME: Duration = Duration::from_secs(20);
const SETTLE_TIME: Duration = Duration::from_secs(2);
/// The kernel's clock ticks a second (`sysconf(_SC_CLK_TCK)`): 100 on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
pub(crate) fn memory() -> Result<Sample> {
    let place = Place::new(&jobs("steps", &["one"])?)?;
    let mut running = place.start(&["run"])?;
    place.ok(&["job", "pause", JOB, "--note", "until all items are there"])?;
    place.add(JOB, numbers(QUEUED))?;
    place.ok(&["job", "resume", JOB])?;
    running.tasks(JOB, WORKED)?;
    let most = running.most_mib()?;
    running.kill()?;
    Ok(Sample::alone(most))
}

pub(crate) fn restart() -> Result<Sample> {
    let place = Place::new(&jobs("steps", &["one"])?)?;
    let mut running = place.start(&["run"])?;
    place.ok(&["job", "pause", JOB, "--note", "until all items are there"])?;
    place.add(JOB, numbers(WAITING + BEFORE_KILL))?;
    place.ok(&["job", "resume", JOB])?;
    running.tasks(JOB, BEFORE_KILL)?;
    running.kill()?;
    let begun = Instant::now();
    let mut running = place.start(&["run"])?;
    running.tasks(JOB, 1)?;
    let took = begun.elapsed();
    running.kill()?;
    place.ok(&["store", "verify"])?;
    place.ok(&["run", "--until-idle"])?;
    let shown: Value = serde_json::from_str(&place.ok(&["job", "show", JOB, "-o", "json"])?)?;
    let done = shown["job"]["items"]["done"].as_u64();
    ensure!(done == Some(WAITING + BEFORE_KILL), "{done:?} items are done of {}", WAITING + BEFORE_KILL);
    Ok(Sample::alone(took.as_secs_f64()))
}

pub(crate) fn idle() -> Result<Sample> {
    let place = Place::new(&jobs("steps", &["one"])?)?;
    let mut running = place.start(&["run"])?;
    place.add(JOB, numbers(100))?;
    running.tasks(JOB, 100)?;
    thread::sleep(SETTLE_TIME);
    let process = running.child.id();
    let (before, begun) = (processor_seconds(process)?, Instant::now());
    thread::sleep(IDLE_TIME);
    let spent = processor_seconds(process)? - before;
    let share = 100.0 * spent / begun.elapsed().as_secs_f64();
    running.kill()?;
    Ok(Sample::alone(share))
}

/// So many items, by their numbers.
fn numbers(count: u64) -> impl Iterator<Item = (String, Value)> {
    (0..count).map(|number| (format!("item-{number}"), json!({"number": number})))
}

/// Processor time of a process so far, all its threads, in seconds, to a hundredth.
pub(crate) fn processor_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Behind the name, which may hold anything: utime and stime are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [Some(user), Some(system)] = [11, 12].map(|place| fields.get(place)) else { bail!("stat is short: {stat}") };
    Ok((user.parse::<f64>()? + system.parse::<f64>()?) / TICKS_PER_SECOND)
}
