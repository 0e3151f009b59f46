//! Idle pick-up: from the call that submits an item to the first thing that its guest does.

use std::{
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use super::{
    embedded::{Embedded, JOB, item, jobs},
    queue::Bare,
};
use crate::series::{Sample, Series};

/// Items of a run, one after the other.
const ITEMS: u64 = 500;
/// Longest wait for a guest.
const STUCK_TIME: Duration = Duration::from_secs(10);

pub(crate) async fn pickup() -> Result<Vec<Sample>> {
    LazyLock::force(&HEARD);
    let embedded = Embedded::start(&jobs("outcomes", &["first"])?).await?;
    // The first one sets up what an idle host has.
    next_guest(&embedded, 0).await?;
    let mut all = Series::default();
    for number in 1..=ITEMS {
        all.push(next_guest(&embedded, number).await?.as_secs_f64() * 1_000.0);
    }
    embedded.stop().await?;
    let folder = tempfile::tempdir()?;
    let bare = Bare::new(&folder.path().join("bare.redb"))?.commits_ms(ITEMS as usize)?;
    let sample = |part| Sample::beside(all.part(part), bare.part(part));
    Ok(vec![sample(0.5), sample(0.99)])
}

/// Submits an item to the idle host; gives the time until its guest has begun, and waits until the host is idle again.
async fn next_guest(embedded: &Embedded, number: u64) -> Result<Duration> {
    let item = item(&format!("item-{number}"), &json!({"number": number, "first": "log begun"}))?;
    let begun = Instant::now();
    embedded.host.operations().add(JOB, vec![item]).await?;
    let began = tokio::task::block_in_place(guest_began)?;
    embedded.settled(number + 1).await?;
    Ok(began.duration_since(begun))
}

/// What guests of this process log, from the first look on.
static HEARD: LazyLock<Result<Mutex<mpsc::Receiver<Instant>>, String>> = LazyLock::new(|| {
    let (sender, heard) = mpsc::channel();
    tracing_subscriber::registry().with(Ear(sender)).try_init().map_err(|error| error.to_string())?;
    Ok(Mutex::new(heard))
});

/// Waits for the next event that a guest logs, and gives its moment.
fn guest_began() -> Result<Instant> {
    let heard = HEARD.as_ref().map_err(|error| anyhow!("guests can't be heard: {error}"))?;
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    heard.recv_timeout(STUCK_TIME).context("no guest began")
}

/// Hears what guests log, and nothing else.
struct Ear(mpsc::Sender<Instant>);

impl<S: Subscriber> Layer<S> for Ear {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "handler"
    }

    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        // Nobody listens any more: nobody measures.
        self.0.send(Instant::now()).ok();
    }
}
