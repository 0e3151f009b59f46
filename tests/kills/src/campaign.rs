//! One campaign: kill after kill, and what each one hit.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::watch;
use tollgate_core::{ledger::CallId, money::NanoUsd};
use tollgate_sim::{
    Release,
    sites::models::{ModelFault, Turn},
};

use crate::{
    aim::{Aim, Chance, Moments, ROUND, again, short_of},
    balance::Balance,
    book::Book,
    internet::{Internet, Seen, Service},
    place::{LIMIT, Means, Place, Running},
    step::{Hits, Step},
    tap::{Flow, Tap},
};

/// What doesn't happen within that stands still.
const STUCK_TIME: Duration = Duration::from_secs(60);
/// Time for the job to come to its end after the last kill.
const END_TIME: Duration = Duration::from_secs(600);
/// Items at once, at kills of several and after the last one.
const CROWD: usize = 6;
/// Bytes of an answer by which it is certain that some of its body is among them: its head has fewer.
const HALF_BYTES: u64 = 300;
/// Items that are left at the least when a kill is made.
const LEFT_MIN: usize = 10;
/// Rounds of what is tried again for steps that were hit too seldom.
const AGAIN_MAX: u32 = 100;

/// How long a campaign is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// At least so many kills, in whole rounds of fifteen.
    pub kills: u32,
    /// Where chance begins.
    pub seed: u64,
    /// Each step is hit so often at the least.
    pub least: u32,
    /// The same, of a step that nothing seen from outside begins and ends.
    pub least_by_chance: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Kills by step.
    pub hits: Hits,
    /// The ledger beside the bill.
    pub balance: Balance,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:>6}  kills in all\n\n{}", self.hits, self.hits.total(), self.balance)
    }
}

/// Kills as planned, and holds the ledger against the bill.
///
/// # Errors
/// Something that must hold doesn't, a step was hit too seldom, or something stands still. The end of what the
/// program said is with it.
pub async fn campaign(means: Means, plan: Plan) -> Result<Report> {
    let mut campaign = Campaign::start(means, plan).await?;
    let ran = campaign.run(plan).await;
    ran.with_context(|| format!("with the seed {}; the program said last:\n{}", plan.seed, campaign.place.said()))
}

struct Campaign {
    internet: Internet,
    tap: Tap,
    place: Place,
    items: u32,
    book: Book,
    /// Calls that some kill left under way.
    broken: BTreeSet<CallId>,
    hits: Hits,
    moments: Moments,
    chance: Chance,
}

/// What was so when the program was killed, and can't be seen later.
#[derive(Debug, Clone, Copy)]
struct Struck {
    /// Answers that had been asked for.
    asked: usize,
    /// The last answer that was asked for had been sent whole.
    is_whole: bool,
    /// Half of it had come.
    is_half: bool,
    /// The page that was asked for last was held.
    is_held: bool,
}

impl Campaign {
    async fn start(means: Means, plan: Plan) -> Result<Self> {
        let flow = Arc::new(watch::Sender::new(Flow::default()));
        let internet = Internet::start(flow.clone()).await?;
        let tap = Tap::start(internet.sim.proxy_addr(), flow).await?;
        let place = Place::new(means, tap.addr, internet.sim.ca_pem())?;
        // Makes the store, and compiles the handler, so that no start has to.
        place.ok(&["run", "--until-idle"]).await?;
        // A kill takes half an item on, one of several items some; and what is hit by chance is tried again and again.
        let items = plan.kills * 2 / 3 + plan.least_by_chance * 12 + 2 * u32::try_from(LEFT_MIN)?;
        place.add(0..items).await?;
        let (moments, chance) = (Moments::default(), Chance(plan.seed));
        let (book, broken, hits) = (Book::default(), BTreeSet::new(), Hits::default());
        Ok(Self { internet, tap, place, items, book, broken, hits, moments, chance })
    }

    async fn run(&mut self, plan: Plan) -> Result<Report> {
        while self.hits.total() < plan.kills {
            for aim in ROUND {
                self.kill(aim).await.with_context(|| format!("kill {}, at {aim:?}", self.hits.total() + 1))?;
            }
        }
        for _ in 0..AGAIN_MAX {
            let short = short_of(&self.hits, plan.least, plan.least_by_chance);
            for aim in short.into_iter().flat_map(again) {
                self.kill(*aim).await.with_context(|| format!("kill {}, at {aim:?}", self.hits.total() + 1))?;
            }
        }
        let short = short_of(&self.hits, plan.least, plan.least_by_chance);
        ensure!(short.is_empty(), "too few kills hit {short:?}:\n{}", self.hits);
        let balance = self.end().await?;
        Ok(Report { hits: self.hits.clone(), balance })
    }

    /// Starts the program, kills it, and looks at what it left.
    async fn kill(&mut self, aim: Aim) -> Result<()> {
        let left = usize::try_from(self.items)? - self.book.done.len();
        ensure!(left >= LEFT_MIN, "{left} items are left: the kills would hit nothing");
        self.internet.eyes.forget();
        self.place.write_jobs(if aim == Aim::Crowd { CROWD } else { 1 }, LIMIT)?;
        let release = Release::new();
        let struck = self.strike(aim, &release).await?;
        self.internet.eyes.hold(None);
        self.tap.close(false);
        release.release();
        self.drained().await?;
        let book = self.look().await?;
        let step = self.step(aim, struck, &book)?;
        self.hits.add(step);
        self.moments.correct(aim, step);
        self.broken.extend(book.open());
        self.book = book;
        Ok(())
    }

    /// Starts the program, waits for what the kill is aimed at, and kills it.
    async fn strike(&mut self, aim: Aim, release: &Release) -> Result<Struck> {
        // So many answers come before the one that is meant.
        let ahead = self.chance.below(3);
        let Internet { eyes, models, search, .. } = &self.internet;
        let at_last = |fault| {
            let usual = (0..ahead).map(|_| Turn::default());
            models.next(usual.chain([Turn::from(fault)]));
        };
        match aim {
            Aim::PageHeld(pages) | Aim::PageLetGo(pages) => eyes.hold(Some(pages)),
            Aim::TunnelKept => self.tap.close(true),
            Aim::Silent(Service::Search) => search.desk.next([ModelFault::Hold(release.clone())]),
            Aim::Silent(Service::Model) | Aim::Stopped | Aim::Sent => at_last(ModelFault::Hold(release.clone())),
            Aim::Half => at_last(ModelFault::Stall(release.clone())),
            Aim::Starting => eyes.hold(Some("/")),
            Aim::Crowd => {}
        }
        let program = self.place.start()?;
        match aim {
            Aim::PageHeld(pages) => self.page(pages).await?,
            Aim::PageLetGo(pages) => {
                self.page(pages).await?;
                eyes.hold(None);
                std::thread::sleep(self.moments.of_page(pages).draw(&mut self.chance));
            }
            Aim::TunnelKept => self.flow(|flow| flow.kept > 0).await?,
            Aim::Silent(service) => {
                self.asked(service, if service == Service::Model { ahead } else { 0 }).await?;
            }
            Aim::Half => {
                let before = self.asked(Service::Model, ahead).await?;
                self.flow(|flow| flow.answered >= before + HALF_BYTES).await?;
            }
            Aim::Stopped => self.stop_over_an_answer(&program, release, ahead).await?,
            Aim::Sent => {
                self.asked(Service::Model, ahead).await?;
                eyes.hold(Some("/"));
                release.release();
                self.sent().await?;
                std::thread::sleep(self.moments.answer.draw(&mut self.chance));
            }
            Aim::Starting => std::thread::sleep(self.moments.start.draw(&mut self.chance)),
            Aim::Crowd => {
                let count = 5 + usize::try_from(self.chance.below(20))?;
                self.seen(|seen| seen.len() >= count).await?;
                std::thread::sleep(Duration::from_micros(self.chance.below(10_000)));
            }
        }
        program.kill()?;
        let is_held = !matches!(aim, Aim::PageLetGo(_));
        let asked = count_asked(&self.internet.eyes.seen().borrow());
        Ok(Struck { asked, is_whole: self.is_whole(), is_half: aim == Aim::Half, is_held })
    }

    /// Has a whole answer come to a program that stands still.
    async fn stop_over_an_answer(&self, program: &Running, release: &Release, ahead: u64) -> Result<()> {
        let before = self.asked(Service::Model, ahead).await?;
        program.stop()?;
        release.release();
        self.sent().await?;
        self.flow(|flow| flow.answered >= before + HALF_BYTES).await
    }

    /// Which step a kill has hit.
    fn step(&self, aim: Aim, struck: Struck, book: &Book) -> Result<Step> {
        let seen = self.internet.eyes.seen().borrow().clone();
        let asked = count_asked(&seen);
        let new: Vec<_> = book.rows.values().filter(|row| !self.book.rows.contains_key(&row.id)).collect();
        let open = new.iter().filter(|row| row.end.is_none()).count();
        ensure!(
            asked <= new.len() && asked + open >= new.len(),
            "{asked} requests were sent, and {} calls are new in the ledger, {open} of them under way: {seen:?}",
            new.len()
        );
        if aim == Aim::Crowd {
            return Ok(Step::Crowd);
        }
        let left = self.book.open();
        if !left.is_disjoint(&book.open()) {
            ensure!(left.is_subset(&book.open()) && seen.is_empty(), "it went on before it had reconciled: {seen:?}");
            return Ok(Step::Unreconciled);
        }
        ensure!(open <= 1, "one item has {open} calls under way");
        if open == 1 {
            return Ok(match struck {
                _ if asked < new.len() => Step::Reserved,
                // A request that came after the kill was answered by nobody.
                Struck { is_whole: true, .. } if asked == struck.asked => Step::Answered,
                Struck { is_half: true, .. } => Step::Half,
                _ => Step::Asked,
            });
        }
        let Some(last) = seen.last() else {
            return Ok(if left.is_empty() { Step::Before } else { Step::Reconciled });
        };
        let Seen::Page(path) = last else { return Ok(Step::Settled) };
        let Some((part, number)) = path.trim_start_matches('/').split_once('/') else { bail!("{path} is no page") };
        let item = book.items.iter().find(|(_, key)| key.strip_prefix("item-") == Some(number));
        let (item, _) = item.with_context(|| format!("{path} is no item's"))?;
        Ok(match part {
            "before" if aim == Aim::Starting && !left.is_empty() => Step::Reconciled,
            "after" if book.done.contains(item) => Step::Done,
            "after" => Step::Seen,
            "between" if struck.is_held => Step::Seen,
            _ => Step::Before,
        })
    }

    /// Runs the job to its end, and holds the ledger against the bill.
    async fn end(&mut self) -> Result<Balance> {
        self.internet.eyes.forget();
        self.place.write_jobs(CROWD, LIMIT)?;
        let status = self.place.start()?.ended(END_TIME).await?;
        ensure!(status.success(), "the last run ended with {status}");
        self.drained().await?;
        let book = self.look().await?;
        let balance = Balance::of(&book, &self.internet.sim.bill(), &self.broken)?;
        let done = book.done.len();
        ensure!(done == usize::try_from(self.items)?, "{done} of {} items are done", self.items);
        let told = self.place.json(&["cost", "--by", "job"]).await?;
        let told = told["total"]["cost"].as_u64();
        ensure!(told == Some(balance.ledger().0), "`tollgate cost` says {told:?}, the rows {}", balance.ledger());
        self.book = book;
        self.is_bounded(balance.ledger()).await?;
        Ok(balance)
    }

    /// One more item, under a budget that is as good as spent: what all the kills left of the accounts still holds it.
    async fn is_bounded(&self, spent: NanoUsd) -> Result<()> {
        self.internet.eyes.forget();
        self.place.write_jobs(1, spent.saturating_add(NanoUsd(1)))?;
        self.place.add(self.items..self.items.saturating_add(1)).await?;
        let status = self.place.start()?.ended(STUCK_TIME).await?;
        ensure!(!status.success(), "a job that waits for its budget isn't told as standing still");
        self.drained().await?;
        let (seen, book) = (self.internet.eyes.seen().borrow().clone(), self.look().await?);
        let is_held = count_asked(&seen) == 0 && seen.len() == 1 && book.rows.len() == self.book.rows.len();
        ensure!(is_held, "past its budget it asked: {seen:?}");
        Ok(())
    }

    async fn look(&self) -> Result<Book> {
        Book::look(&self.place.path("data"), &self.place.path("copy"), &self.book).await
    }

    /// Whether the answer that was asked for last was sent whole.
    fn is_whole(&self) -> bool {
        let seen = self.internet.eyes.seen();
        let last = seen.borrow().iter().rev().find_map(|seen| match seen {
            Seen::Asked(service, _) => Some(*service),
            Seen::Page(_) => None,
        });
        last.is_some_and(|service| self.internet.bill_of(service).last().is_some_and(|row| row.is_whole))
    }

    /// Waits until that answer was sent whole: whoever sends it tells nobody.
    async fn sent(&self) -> Result<()> {
        let sent = async {
            while !self.is_whole() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(STUCK_TIME, sent).await.context("the answer isn't sent")
    }

    /// Waits until the service is asked once more than `ahead` times; gives the bytes of answers
    /// that had passed by then.
    async fn asked(&self, service: Service, ahead: u64) -> Result<u64> {
        let nth = |seen: &[Seen]| {
            let mut asked = seen.iter().filter_map(|seen| match seen {
                Seen::Asked(of, before) if *of == service => Some(*before),
                _ => None,
            });
            asked.nth(usize::try_from(ahead).unwrap_or(usize::MAX))
        };
        self.seen(|seen| nth(seen).is_some()).await?;
        let seen = self.internet.eyes.seen();
        let before = nth(&seen.borrow());
        before.context("what was seen is forgotten")
    }

    async fn page(&self, pages: &str) -> Result<()> {
        self.seen(|seen| seen.iter().any(|seen| matches!(seen, Seen::Page(path) if path.starts_with(pages)))).await
    }

    async fn seen(&self, is: impl Fn(&[Seen]) -> bool) -> Result<()> {
        let mut seen = self.internet.eyes.seen();
        let met = tokio::time::timeout(STUCK_TIME, seen.wait_for(|seen| is(seen))).await;
        met.context("the program doesn't come to where it is to be killed")?.map(drop).context("nobody looks any more")
    }

    async fn flow(&self, is: impl Fn(&Flow) -> bool) -> Result<()> {
        let mut flow = self.tap.flow();
        let met = tokio::time::timeout(STUCK_TIME, flow.wait_for(is)).await;
        met.context("nothing flows between the program and its proxy")?.map(drop).context("the tap is closed")
    }

    /// Waits until all that the killed program had sent has come to its end.
    async fn drained(&self) -> Result<()> {
        self.flow(|flow| flow.open == 0).await
    }
}

fn count_asked(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| matches!(seen, Seen::Asked(..))).count()
}
