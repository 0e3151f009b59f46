//! A good job beside a hostile one: what is left of its pace, and what the host takes of memory.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::json;
use tollgate_sim::{
    Sim,
    sites::scripted::{Release, Scripted, Step},
};

use super::place::Place;
use crate::{
    series::{Bar, Line, Sample},
    world::test_handlers,
};

/// Tasks of the good job that are measured: each fetches a page that takes a while, as pages do.
const TASKS: u64 = 1_500;
const PAGE_TIME: Duration = Duration::from_millis(10);
/// Items of the hostile job: enough that some are there all the time.
const HARMS: u64 = 20_000;
/// Failures in a row that the hostile job may have: as many as jobs.toml allows.
const BREAKER: u64 = 1_000;
/// Hostile guests side by side.
const AT_ONCE: usize = 4;

macro_rules! lines {
    ($($harm:literal $says:literal),* $(,)?) => {
        /// What the hostile job's guests do, by the word that the handler `hostile` knows.
        const HARM: &[&str] = &[$($harm),*];
        pub(crate) const LINES: &[Line] = &[
            $(Line {
                what: concat!("tasks/s of a good job beside guests that ", $says),
                reference: Some("alone"),
                bar: Bar::RatioAtLeast(0.8),
            },)*
            Line {
                what: "MiB of the host at the most meanwhile; 4 guests may have 512 each",
                reference: None,
                bar: Bar::AtMost(2_400.0),
            },
        ];
    };
}

lines!(
    "spin" "spin",
    "allocate" "take memory without end",
    "recurse" "recurse without end",
    "handles" "hold responses without end",
    "log" "log without end",
    "huge" "answer with 100 MB",
    "nojson" "answer with what is no JSON",
    "sleep" "sleep on the host",
    "fetches" "fetch 1,000 pages at once",
    "panic" "panic",
);

pub(crate) async fn hostile() -> Result<Vec<Sample>> {
    let page = |path| Scripted::new().path(path, [Step::ok("a page").delay(PAGE_TIME)]);
    let hangs = Scripted::new().path("/", [Step::ok("late").hang_until(&Release::new())]);
    let sim = Sim::builder()
        .site("good.example", Arc::new(page("/")))
        .site("site.example", Arc::new(page("/page")))
        .site("hangs.example", Arc::new(hangs))
        .start()
        .await?;
    let jobs = jobs(&sim.proxy_url())?;
    tokio::task::block_in_place(|| {
        let (alone, mut most) = pace(&jobs, None)?;
        let mut samples = Vec::new();
        for harm in HARM {
            let (beside, mib) = pace(&jobs, Some(harm))?;
            most = f64::max(most, mib);
            samples.push(Sample::beside(beside, alone));
        }
        samples.push(Sample::alone(most));
        Ok(samples)
    })
}

/// Tasks a second of the good job beside that harm, and the host's memory at the most.
fn pace(jobs: &str, harm: Option<&str>) -> Result<(f64, f64)> {
    let place = Place::new(jobs)?;
    let mut running = place.start(&["run"])?;
    if let Some(harm) = harm {
        // Now and then one that ends well, or the job's breaker would end the harm.
        let word = |number| if number % (BREAKER / 2) == 0 { "forge" } else { harm };
        place.add("harm", (0..HARMS).map(|number| (format!("{}-{number}", word(number)), json!({}))))?;
    }
    let fetch = json!({"first": "fetch http://good.example/"});
    // The first ones run while the others are still being added.
    place.add("good", (0..2 * TASKS).map(|number| (format!("good-{number}"), fetch.clone())))?;
    running.tasks("good", TASKS / 2)?;
    let begun = Instant::now();
    running.tasks("good", TASKS)?;
    let took = begun.elapsed();
    if let Some(harm) = harm {
        ensure!(place.open_items("harm")? > 0, "no {harm} was left before the good job was measured");
    }
    let most = running.most_mib()?;
    running.kill()?;
    Ok((TASKS as f64 / took.as_secs_f64(), most))
}

fn jobs(proxy: &str) -> Result<String> {
    Ok(format!(
        "[host]\nhandlers = {:?}\nlisten = \"127.0.0.1:0\"\n[proxy.main]\nurl = {proxy:?}\n[site.\"*\"]\n\
         concurrency = 8\n\
         [job.good]\nkind = \"backfill\"\nhandler = \"outcomes\"\nstages = [\"first\"]\n\
         grant = [\"http\", \"artifacts\", \"state\"]\n\
         [job.good.stage.first]\nconcurrency = 8\n\
         [job.harm]\nkind = \"backfill\"\nhandler = \"hostile\"\ngrant = [\"http\"]\nbreaker = {BREAKER}\n\
         [job.harm.stage.harm]\nattempts = 1\nconcurrency = {AT_ONCE}\n",
        test_handlers()?.display().to_string(),
    ))
}
