//! R10 where a stage itself says `login-required`: the site's session is renewed first, and a person asked only then.

use std::{fs, sync::Arc, time::Duration};

use tollgate::Host;
use tollgate_core::{
    pause::{Pause, PauseReason},
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::ideas::{self, Ideas};

use crate::{
    clock::TestClock,
    world::{World, detail, first, item, open_items, outcomes, quiet, retrying, state, stop, wait},
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

struct Club {
    world: World,
    site: Arc<Ideas>,
    clock: TestClock,
    host: Host,
}

impl Club {
    async fn new() -> Self {
        let site = Arc::new(Ideas::seeded(7));
        let world = World::new(vec![(ideas::HOST, site.clone())]).await;
        fs::create_dir(world.path("cookies")).unwrap();
        fs::write(world.path("cookies/ideas.txt"), site.cookie_file(None, true)).unwrap();
        let clock = TestClock::new();
        let host = world.start_at(&world.jobs(&outcomes(CLUB)), clock.clone()).await;
        let club = Self { world, site, clock, host };
        // The session is there, and older than what follows.
        club.add("before", "fetch", 120).await;
        club.waiting(0).await;
        club.clock.advance(Duration::from_secs(2));
        club
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

    /// Turns the clock past a wait, and waits until the item has asked once more and what came of it is settled: a clock
    /// that is turned before that turns no wait.
    async fn once_more(&self, number: u32) {
        // What is in the store may yet have to be counted.
        quiet(&self.host).await;
        let (before, mut progress) = (self.asked(number).await, self.host.progress());
        let settled = progress.borrow_and_update().settled;
        self.clock.advance(Duration::from_secs(2));
        progress.wait_for(|now| now.settled > settled && now.running == 0).await.unwrap();
        assert!(self.asked(number).await > before, "it asked once more");
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
    let one = detail(&club.host, "one").await;
    let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:#?}") };
    assert_eq!(reason.kind, LaterKind::Asked, "{reason}");
    assert!(reason.message.contains("asked to: login") && reason.message.contains("is renewed"), "{reason}");
    assert_eq!(one.item.tasks.iter().map(|task| task.tally.counted).max(), Some(0), "uncounted");
    assert_eq!(club.site.sessions_given(), 1);
    club.once_more(1).await;
    club.waiting(1).await;
    assert_eq!(club.site.sessions_given(), 2, "the next request renewed it");
    club.clock.advance(Duration::from_secs(2));
    let pause = club.paused().await;
    assert_eq!(club.site.sessions_given(), 2, "no third one");
    assert!(pause.evidence.contains("was renewed for it, and it came again"), "{}", pause.evidence);
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
