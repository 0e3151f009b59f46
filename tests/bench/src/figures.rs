//! `bench figures`: the design's table, each figure beside its reference in the same run.

mod bare_wasm;
pub(crate) mod drain;
mod embedded;
mod gate;
mod hostile;
mod model;
pub(crate) mod pickup;
mod place;
mod process;
pub(crate) mod queue;
mod store;
mod tasks;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::series::{Bar, Line, Measured, Sample, judge};

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Figure {
    /// Tasks through a real component, durable.
    Tasks,
    /// Items through four stages.
    Pipeline,
    /// One durable submit after another.
    Single,
    /// Many items a submit.
    Bulk,
    /// Claims and settles beside many finished rows.
    Drain,
    /// From a submit to the guest's start, the host idle.
    Pickup,
    /// What the gate adds to a request.
    Gate,
    /// What a model's call takes more than a bare request.
    Model,
    /// Memory with a million items queued.
    Memory,
    /// Back at work after SIGKILL.
    Restart,
    /// Processor time of a host with nothing to do.
    Idle,
    /// A good job beside a hostile one.
    Hostile,
}

impl Figure {
    fn lines(self) -> &'static [Line] {
        match self {
            Self::Tasks => &[Line {
                what: "tasks/s through a real component, fresh instance each, durable",
                reference: Some("calls/s of the best bare wasmtime loop (1 or 2 threads) over the same component"),
                bar: Bar::RatioAtLeast(0.7),
            }],
            Self::Pipeline => &[Line {
                what: "items/s through four stages, wasm in each",
                reference: Some("Restate 1.7 on a machine like this one (not measured in this run)"),
                bar: Bar::RatioAtLeast(5.0),
            }],
            Self::Single => &[
                Line {
                    what: "single durable submits/s",
                    reference: Some("bare redb commits/s, a row each"),
                    bar: Bar::RatioAtLeast(0.8),
                },
                Line {
                    what: "the same",
                    reference: Some("bare redb commits/s, as many rows and tables as an item takes"),
                    bar: Bar::RatioAtLeast(0.8),
                },
            ],
            Self::Bulk => &[
                Line {
                    what: "items/s submitted in batches of 5,000, random keys",
                    reference: None,
                    bar: Bar::AtLeast(100_000.0),
                },
                Line {
                    what: "items/s submitted in batches of 50,000, random keys",
                    reference: None,
                    bar: Bar::AtLeast(100_000.0),
                },
            ],
            Self::Drain => &[Line {
                what: "tasks/s claimed and settled beside 1,000,000 finished ones",
                reference: Some("the same beside 1,000"),
                bar: Bar::RatioAtLeast(0.8),
            }],
            Self::Pickup => &[
                Line {
                    what: "ms from a submit to the guest's start, host idle, p50",
                    reference: Some("ms of a bare redb commit, p50"),
                    bar: Bar::AtMost(0.5),
                },
                Line { what: "the same, p99", reference: Some("the same, p99"), bar: Bar::AtMost(2.0) },
            ],
            Self::Gate => &[
                Line {
                    what: "µs that the gate adds to a request, p50",
                    reference: Some("µs of a bare reqwest request through the same proxy, p50"),
                    bar: Bar::AtMost(100.0),
                },
                Line {
                    what: "µs that the gate adds to a request, p99",
                    reference: Some("the same, p99"),
                    bar: Bar::AtMost(1_000.0),
                },
            ],
            Self::Model => model::LINES,
            Self::Memory => &[Line {
                what: "MiB at the most, 1,000,000 items queued and at work",
                reference: None,
                bar: Bar::AtMost(300.0),
            }],
            Self::Restart => &[Line {
                what: "s from the start after SIGKILL to the first task done, 100,000 items queued",
                reference: None,
                bar: Bar::AtMost(2.0),
            }],
            Self::Idle => {
                &[Line { what: "% of a core that an idle host takes", reference: None, bar: Bar::AtMost(0.5) }]
            }
            Self::Hostile => hostile::LINES,
        }
    }

    async fn measure(self) -> Result<Vec<Sample>> {
        match self {
            Self::Tasks => tasks::tasks().await.map(|one| vec![one]),
            Self::Pipeline => tasks::pipeline().await.map(|one| vec![one]),
            Self::Single => queue::single().await,
            Self::Bulk => queue::bulk().await,
            Self::Drain => drain::drain().await.map(|one| vec![one]),
            Self::Pickup => pickup::pickup().await,
            Self::Gate => gate::gate().await,
            Self::Model => model::model().await,
            Self::Memory => process::memory().map(|one| vec![one]),
            Self::Restart => process::restart().map(|one| vec![one]),
            Self::Idle => process::idle().map(|one| vec![one]),
            Self::Hostile => hostile::hostile().await,
        }
    }
}

/// Measures `which`, or all, so often, and prints them. An error names those that miss their bars.
pub(crate) async fn figures(which: &[Figure], runs: usize) -> Result<()> {
    let which = if which.is_empty() { Figure::value_variants() } else { which };
    println!("median (range) of {runs} runs");
    let mut all = Vec::new();
    for figure in which {
        let mut lines: Vec<Measured> = figure.lines().iter().map(|line| Measured::new(*line)).collect();
        for run in 1..=runs {
            eprintln!("{figure:?}, run {run} of {runs}");
            let samples = figure.measure().await.with_context(|| format!("{figure:?} can't be measured"))?;
            lines.iter_mut().zip(samples).for_each(|(line, sample)| line.add(sample));
        }
        // At once: the later ones take minutes.
        lines.iter().for_each(Measured::print);
        all.extend(lines);
    }
    judge(&all)
}
