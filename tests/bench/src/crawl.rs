//! `bench crawl`: pages a second of the program beside those of the bare loop, and whether anything is lost or doubled.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Result, ensure};

use crate::{
    reference,
    world::{REUSE, World},
};

/// Pages that make the figure worth printing.
const PAGES_MIN: usize = 2_000;
/// What the program must reach of the bare loop's rate.
const RATIO_MIN: f64 = 0.5;

pub(crate) async fn crawl(max_depth: u32, runs: usize) -> Result<()> {
    let world = World::new(max_depth)?;
    // Compiled once, and the documentation is read from the disk once, before anything is measured.
    world.run("warm", &["check"])?;
    let expected = reference::crawl(&world, max_depth).await?.pages;
    ensure!(expected.len() >= PAGES_MIN, "{} pages are too few; raise --max-depth", expected.len());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let bare = reference::crawl(&world, max_depth).await?;
        theirs.push(bare.pages.len() as f64 / bare.took.as_secs_f64());
        world.reset().await?;
        let data = format!("run-{run}");
        world.run(&data, &["check"])?;
        let start = Instant::now();
        world.run(&data, &["run", "--until-idle"])?;
        let took = start.elapsed();
        judge(&world, &data, &expected).await?;
        // Else the disk is still busy with this run's pages while the next is measured.
        world.forget(&data)?;
        ours.push(expected.len() as f64 / took.as_secs_f64());
        println!("run {run}: {:.0} pages/s, bare loop {:.0} pages/s", ours[run], theirs[run]);
    }
    // Run by run: a machine that slows down slows both.
    let mut ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(own, bare)| own / bare).collect();
    let (own, bare, ratio) = (median(&mut ours), median(&mut theirs), median(&mut ratios));
    println!("one instance serves {REUSE} tasks (`reuse`), as docs/pages.md advises for this handler");
    println!("{} pages of std, title, headings and links of each; none lost, none requested twice", expected.len());
    println!("tollgate   {own:>6.0} pages/s  ({:.0} to {:.0})", ours[0], ours[ours.len() - 1]);
    println!("bare loop  {bare:>6.0} pages/s  ({:.0} to {:.0})", theirs[0], theirs[theirs.len() - 1]);
    println!(
        "ratio      {ratio:>6.2}          ({:.2} to {:.2}; bar: {RATIO_MIN})",
        ratios[0],
        ratios[ratios.len() - 1]
    );
    ensure!(ratio >= RATIO_MIN, "the crawl is too slow");
    Ok(())
}

/// Nothing lost, nothing twice, and every page has its title.
pub(crate) async fn judge(world: &World, data: &str, expected: &BTreeSet<String>) -> Result<()> {
    let rows = world.exported(data)?;
    let found: BTreeSet<String> = rows.keys().cloned().collect();
    let lost: Vec<&String> = expected.difference(&found).take(5).collect();
    ensure!(lost.is_empty(), "{} pages are lost, such as {lost:?}", expected.difference(&found).count());
    let more: Vec<&String> = found.difference(expected).take(5).collect();
    ensure!(more.is_empty(), "pages that nobody expected, such as {more:?}");
    for (key, row) in &rows {
        let row = &row["output"];
        ensure!(row["title"].as_str().is_some_and(|title| !title.is_empty()), "{key} has no title");
        ensure!(row["links"].as_array().is_some_and(|links| !links.is_empty()), "{key} has no links");
    }
    let requests = world.requests().await?;
    let twice: Vec<_> = requests.iter().filter(|(_, count)| **count > 1).take(5).collect();
    ensure!(twice.is_empty(), "requested more than once: {twice:?}");
    Ok(())
}

/// Sorts the figures, and gives the middle one.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
