//! R10 where a stage itself says `login-required`: the site's session is renewed first, and a person asked only then.

use std::{fs, sync::Arc, time::Duration};

use tollgate::{CheckAnswer, CheckError, CheckRequest, Host};
use tollgate_core::{
    item::ItemStatus,
    money::NanoUsd,
    pause::{Pause, PauseReason},
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::ideas::{self, Ideas};

use super::checks::Judge;
use crate::{
    clock::TestClock,
    world::{World, advance, detail, first, item, open_items, outcomes, rest, retrying, state, stop, wait},
};

const CLUB: &str = r#"
[site."ideas.example"]
rate = "1000/s"
burst = 1000
session = "ideas"

[session.ideas]
file = "cookies/ideas.txt"
exchange = { url = "https://ideas.example/session", keeps = "ideas_session" }
"#;

const CHECK: &str = "[job.test.check.inside]\nof = \"first/page.html\"\nask = \"Is it what members see?\"\n\
                     outcome = \"login-required\"\n";

/// Takes every page but those of the item `one`.
fn refuses_one(request: &CheckRequest, _: usize) -> Result<CheckAnswer, CheckError> {
    let is_content = request.item.as_str() != "one";
    Ok(CheckAnswer { is_content, reason: "it is what guests see".to_owned(), cost: Some(NanoUsd(7)) })
}

/// Takes the first page alone.
fn takes_first(request: &CheckRequest, nth: usize) -> Result<CheckAnswer, CheckError> {
    let answer = refuses_one(request, nth)?;
    Ok(CheckAnswer { is_content: nth == 0, ..answer })
}

struct Club {
    world: World,
    site: Arc<Ideas>,
    clock: TestClock,
    host: Host,
}

impl Club {
    async fn new() -> Self {
        let club = Self::of(CLUB, None).await;
        // The session is there, and older than what follows.
        club.add("before", "fetch", 120).await;
        club.older().await;
        club
    }

    /// With a check of each page, which that judge answers.
    async fn checked(judge: Arc<Judge>) -> Self {
        let club = Self::of(&format!("{CHECK}{CLUB}"), Some(judge)).await;
        club.add("before", "save", 120).await;
        club.older().await;
        club
    }

    /// Waits until the first item has been served, and a while.
    async fn older(&self) {
        self.waiting(0).await;
        self.advance(Duration::from_secs(2)).await;
    }

    async fn advance(&self, by: Duration) {
        advance(&self.host, &self.clock, by).await;
    }

    async fn of(jobs: &str, judge: Option<Arc<Judge>>) -> Self {
        let site = Arc::new(Ideas::seeded(7));
        let world = World::new(vec![(ideas::HOST, site.clone())]).await;
        fs::create_dir(world.path("cookies")).unwrap();
        fs::write(world.path("cookies/ideas.txt"), site.cookie_file(None, true)).unwrap();
        let clock = TestClock::new();
        let builder = world.host(&world.jobs(&outcomes(jobs))).await.clock(Arc::new(clock.clone()));
        let builder = match judge {
            Some(judge) => builder.content_check(judge),
            None => builder,
        };
        let host = builder.start().await.unwrap();
        Self { world, site, clock, host }
    }

    async fn add(&self, key: &str, action: &str, number: u32) {
        let script = first(&format!("{action} https://{}{}", ideas::HOST, ideas::idea_path(number)));
        self.host.operations().add("test", vec![item(key, &script)]).await.unwrap();
    }

    /// Waits until so many items wait for another try, and all others have ended; the job isn't paused.
    async fn waiting(&self, items: u64) {
        let waits = |job: &tollgate_engine::operations::JobDetail| retrying(job) == items && open_items(job) == items;
        wait(&mut self.host.progress(), self.host.operations(), |job| waits(job) || job.job.pause.is_some()).await;
        assert_eq!(self.host.operations().job("test").await.unwrap().job.pause, None);
    }

    async fn asked(&self, number: u32) -> u64 {
        self.world.sim.counts().of(ideas::HOST, &ideas::idea_path(number))
    }

    /// Turns the clock past a wait, and waits until the item has asked once more and what came of it is settled.
    async fn once_more(&self, number: u32) {
        let before = self.asked(number).await;
        self.advance(Duration::from_secs(2)).await;
        rest(&self.host, &self.clock).await;
        assert!(self.asked(number).await > before, "it asked once more");
    }

    async fn done(&self, key: &str) {
        self.until(async || detail(&self.host, key).await.item.status == ItemStatus::Done).await;
    }

    /// Waits until it is so, looking again at each step of the host.
    async fn until(&self, is: impl AsyncFn() -> bool) {
        let mut progress = self.host.progress();
        loop {
            progress.borrow_and_update();
            if is().await {
                return;
            }
            let changed = tokio::time::timeout(Duration::from_secs(120), progress.changed()).await;
            changed.expect("nothing moves any more").unwrap();
        }
    }

    /// How often the check has been made of that item.
    async fn checks(&self, key: &str) -> usize {
        let one = detail(&self.host, key).await;
        one.attempts.iter().find(|(stage, _)| stage.as_str() == "inside").map_or(0, |(_, all)| all.len())
    }

    /// Turns the clock past a wait, and waits until the item `one` was checked so often.
    async fn checked_again(&self, times: usize) {
        self.advance(Duration::from_secs(2)).await;
        self.until(async || self.checks("one").await >= times).await;
    }

    /// The item `one` waits uncounted with its first session, which is to be renewed: who wants a login says so.
    async fn waits_for_renewal(&self, says: &str) {
        let one = detail(&self.host, "one").await;
        let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:#?}") };
        assert_eq!(reason.kind, LaterKind::Asked, "{reason}");
        assert!(reason.message.contains(says) && reason.message.contains("is renewed"), "{reason}");
        assert_eq!(one.item.tasks.iter().map(|task| task.tally.counted).max(), Some(0), "uncounted");
        assert_eq!(self.site.sessions_given(), 1);
    }

    /// What wanted a login wants one with a renewed session too: a person is asked for, and none is made any more.
    async fn came_again(&self) {
        assert_eq!(self.site.sessions_given(), 2, "the next request renewed it");
        self.advance(Duration::from_secs(2)).await;
        let pause = self.paused().await;
        assert_eq!(self.site.sessions_given(), 2, "no third one");
        assert!(pause.evidence.contains("was renewed for it, and it came again"), "{}", pause.evidence);
    }

    async fn paused(&self) -> Pause {
        wait(&mut self.host.progress(), self.host.operations(), |job| job.job.pause.is_some()).await;
        let pause = self.host.operations().job("test").await.unwrap().job.pause.unwrap();
        assert_eq!(pause.reason, PauseReason::Circuit { site: ideas::HOST.to_owned() }, "{pause:?}");
        assert!(pause.evidence.contains("cookies/ideas.txt"), "what a person has to do: {}", pause.evidence);
        pause
    }
}

#[tokio::test]
async fn r10_a_stage_that_wants_a_login_has_the_session_renewed_and_asks_for_a_person_only_when_it_comes_again() {
    let club = Club::new().await;
    club.add("one", "fetch-then login", 1).await;
    club.waiting(1).await;
    club.waits_for_renewal("asked to: login").await;
    club.once_more(1).await;
    club.waiting(1).await;
    club.came_again().await;
    stop(club.host).await;
}

#[tokio::test]
async fn r10_a_page_that_wants_a_login_while_others_are_served_is_no_exchange_without_end() {
    let club = Club::new().await;
    club.add("one", "fetch-then login", 1).await;
    club.waiting(1).await;
    for other in 2..4 {
        // Served with a session that is renewed for it: that one is what it should be.
        club.add(&format!("other-{other}"), "fetch", other).await;
        club.waiting(1).await;
        assert_eq!(club.site.sessions_given(), u64::from(other));
        club.once_more(1).await;
        if other == 2 {
            club.waiting(1).await;
        }
    }
    let pause = club.paused().await;
    assert!(pause.evidence.contains("it may be for another account"), "{}", pause.evidence);
    assert_eq!(club.site.sessions_given(), 3);
    stop(club.host).await;
}

#[tokio::test]
async fn r10_a_check_that_wants_a_login_has_the_session_renewed_and_asks_for_a_person_only_when_it_comes_again() {
    let club = Club::checked(Judge::new(takes_first)).await;
    club.add("one", "save", 1).await;
    club.waiting(1).await;
    club.waits_for_renewal("check.inside").await;
    club.checked_again(2).await;
    club.came_again().await;
    stop(club.host).await;
}

#[tokio::test]
async fn r10_a_page_that_a_check_refuses_while_others_pass_is_no_exchange_without_end() {
    let club = Club::checked(Judge::new(refuses_one)).await;
    club.add("one", "save", 1).await;
    club.waiting(1).await;
    for other in 2..4 {
        // Passes with a session that is renewed for it, and vouches for that one.
        club.advance(Duration::from_millis(10)).await;
        club.add(&format!("renews-{other}"), "save", other).await;
        club.done(&format!("renews-{other}")).await;
        assert_eq!(club.site.sessions_given(), u64::from(other));
        club.advance(Duration::from_millis(10)).await;
        club.add(&format!("vouches-{other}"), "save", 10 + other).await;
        club.done(&format!("vouches-{other}")).await;
        let checks = club.checks("one").await;
        club.checked_again(checks + 1).await;
    }
    let pause = club.paused().await;
    assert!(pause.evidence.contains("it may be for another account"), "{}", pause.evidence);
    assert_eq!(club.site.sessions_given(), 3);
    stop(club.host).await;
}
