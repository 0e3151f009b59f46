//! The reference job `ideas`, against a club that shows its ideas to members: sessions, limits, walls, and what a model
//! makes of the pages that are kept.

use std::{fs, sync::Arc, time::Duration};

use serde_json::json;
use tollgate::Host;
use tollgate_core::{
    ItemKey,
    item::{ItemStatus, NewItem},
    model::Dialect,
    money::NanoUsd,
    pause::PauseReason,
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::{
    ideas::{self, Exchange, Ideas, Limit, Settings, Wall},
    models::{ModelFacts, Models, Part},
};

use crate::{
    clock::TestClock,
    world::{World, advance, detail_of, files, item, keys, open_items, pass_of, rest, retrying, state, stop, wait_of},
};

/// The parts of the jobs.toml that ships which the job `ideas` is of.
const PARTS: [&str; 5] =
    ["[site.\"ideas.example\"]", "[model.cheap]", "[session.ideas]", "[job.ideas]", "[job.ideas.stage.fetch]"];

/// The job as jobs.toml ships it, but for its pace, as the test's clock stands, for the browser of this machine, and
/// for what a model makes of an idea: these are tests of how it is got.
fn job() -> String {
    let shipped = include_str!("../../jobs.toml");
    let parts = PARTS.map(|part| {
        let mut lines = shipped.lines().skip_while(|line| !line.starts_with(part));
        let first = lines.next().unwrap_or_else(|| panic!("jobs.toml has no {part}"));
        let rest: Vec<&str> = lines.take_while(|line| !line.starts_with('[')).collect();
        format!("{first}\n{}\n", rest.join("\n"))
    });
    let pace = but(parts.concat(), "rate = \"200/s\"\nburst = 20\n", "rate = \"1000/s\"\nburst = 1000\n");
    let stages = "discover = { every = \"6h\" }\nstages = [\"fetch\", \"extract\"]\n";
    let unasked = but(pace, "discover = { every = \"6h\" }\n", stages);
    but(unasked, "browser = { store = \"chrome\", cookie = \"remember_web_*\" }\n", "")
}

/// A job with other lines in place of some, which it must have.
fn but(job: String, lines: &str, others: &str) -> String {
    assert_eq!(job.matches(lines).count(), 1, "{lines:?} in {job}");
    job.replace(lines, others)
}

/// The club, and a world in which a person has left a member's persistent cookie.
struct Club {
    world: World,
    site: Arc<Ideas>,
}

impl Club {
    async fn with(settings: Settings) -> Self {
        Self::beside(settings, Vec::new()).await
    }

    /// With other sites.
    async fn beside(settings: Settings, mut sites: Vec<(&str, Arc<dyn tollgate_sim::Site>)>) -> Self {
        let site = Arc::new(Ideas::seeded(7).with(settings));
        sites.push((ideas::HOST, site.clone()));
        let world = World::new(sites).await;
        fs::create_dir(world.path("cookies")).unwrap();
        let club = Self { world, site };
        club.leave_cookie(&club.site.cookie_file(None, true));
        club
    }

    fn leave_cookie(&self, file: &str) {
        fs::write(self.world.path("cookies/ideas.txt"), file).unwrap();
    }

    async fn start(&self, clock: TestClock) -> Host {
        self.world.start_at(&self.world.jobs(&job()), clock).await
    }
}

async fn wait(host: &Host, is: impl Fn(&tollgate_engine::operations::JobDetail) -> bool) {
    wait_of("ideas", &mut host.progress(), host.operations(), is).await;
}

/// Ideas of the first pages of the listing and how they stand, once all are discovered.
fn done(job: &tollgate_engine::operations::JobDetail) -> u64 {
    job.job.items.get(&ItemStatus::Done).copied().unwrap_or(0)
}

fn all() -> u64 {
    u64::from(ideas::IDEAS)
}

#[tokio::test]
async fn r10_a_session_that_expires_is_renewed_from_the_persistent_cookie_and_nobody_sees_either() {
    let club = Club::with(Settings { session_views: 9, ..Settings::default() }).await;
    let host = club.start(TestClock::new()).await;
    wait(&host, |job| done(job) == all()).await;
    assert!(club.site.sessions_given() >= all() / 9, "{}", club.site.sessions_given());
    let mut titles = std::collections::BTreeSet::new();
    // All that is kept of each idea: outputs, attempts, and the pages themselves.
    let mut shown = String::new();
    for key in keys(host.operations(), "ideas").await {
        let idea = detail_of(&host, "ideas", &key).await;
        shown += &serde_json::to_string(&idea).unwrap();
        let thesis = serde_json::to_value(&idea.item.outputs).unwrap();
        let number: u32 = key.rsplit('/').next().unwrap().parse().unwrap();
        let facts = ideas::facts(7, number);
        let extracted = &thesis["extract"];
        assert_eq!(
            (&extracted["title"], &extracted["company"]),
            (&facts.title.as_str().into(), &facts.company.as_str().into())
        );
        assert!(extracted["words"].as_u64().unwrap() >= 200, "{extracted}");
        titles.insert(key);
    }
    assert_eq!(titles.len() as u64, all());
    shown += &serde_json::to_string(&host.operations().overview().await.unwrap()).unwrap();
    stop(host).await;
    let sessions = (1..=club.site.sessions_given()).map(|number| format!("session-{number}-"));
    let cookies: Vec<String> = sessions.chain([club.site.remember()]).collect();
    let found = cookies.iter().find(|cookie| shown.contains(cookie.as_str()));
    assert_eq!(found, None, "in what people and handlers are given");
    for file in files(&club.world.path("data")).iter().filter(|file| file.is_file()) {
        let bytes = fs::read(file).unwrap();
        let file = file.display().to_string();
        let says = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        let found = cookies.iter().find(|cookie| says(cookie));
        assert!(found.is_none() || file.contains("/sessions/"), "{file} has {found:?} in it");
    }
    assert_eq!(club.world.sim.counts().direct, 0);
}

#[tokio::test]
async fn r10_a_session_outlives_the_host_that_made_it() {
    let club = Club::with(Settings::default()).await;
    let host = club.start(TestClock::new()).await;
    wait(&host, |job| done(job) == all()).await;
    let given = club.site.sessions_given();
    assert_eq!(given, 1, "one session for all");
    stop(host).await;
    let host = club.start(TestClock::new()).await;
    let url = format!("https://{}{}", ideas::HOST, ideas::idea_path(7));
    let again = |revision: &str| NewItem {
        revision: Some(revision.to_owned()),
        ..item(&url, &json!({ "url": url, "company": "" }))
    };
    // The first revision opens nothing.
    host.operations().add("ideas", vec![again("1"), again("2")]).await.unwrap();
    wait(&host, |job| open_items(job) == 0 && done(job) == all()).await;
    assert_eq!(club.world.sim.counts().of(ideas::HOST, &ideas::idea_path(7)), 2);
    assert_eq!(club.site.sessions_given(), given, "the session that was kept still serves");
    stop(host).await;
}

#[tokio::test]
async fn r10_a_person_is_asked_only_when_the_whole_chain_has_failed_and_their_cookie_is_taken_up() {
    let club = Club::with(Settings { exchange: Exchange::Forgets, wall: Wall::Redirect, ..Settings::default() }).await;
    let host = club.start(TestClock::new()).await;
    wait(&host, |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("ideas").await.unwrap().job.pause.unwrap();
    assert_eq!(pause.reason, PauseReason::Circuit { site: ideas::HOST.to_owned() }, "{pause:?}");
    assert!(pause.evidence.contains("cookies/ideas.txt"), "it says what a person has to do: {}", pause.evidence);
    let asked = club.world.sim.counts().of(ideas::HOST, "/session");
    assert!(asked <= 2, "the chain isn't run again by each task: {asked}");
    club.site.set(Settings::default());
    club.leave_cookie(&club.site.cookie_file(Some(&club.site.log_in()), true));
    host.operations().resume("ideas").await.unwrap();
    wait(&host, |job| done(job) == all()).await;
    stop(host).await;
}

#[tokio::test]
async fn r01_r02_each_wording_of_the_limit_cools_the_site_down_and_no_idea_is_made_of_it() {
    for limit in [Limit::AccessLimits, Limit::PleaseWait] {
        let club = Club::with(Settings { views_max: Some(30), limit, ..Settings::default() }).await;
        let clock = TestClock::new();
        let host = club.start(clock.clone()).await;
        wait(&host, |job| retrying(job) > 0 && done(job) == 30).await;
        // Others are refused meanwhile: each of them cools the site down from then on.
        rest(&host, &clock).await;
        let mut waits = 0;
        for key in keys(host.operations(), "ideas").await {
            let idea = detail_of(&host, "ideas", &key).await;
            if let TaskState::RetryLater { reason, .. } = state(&idea, "fetch") {
                assert_eq!(reason.kind, LaterKind::RateLimited, "{limit:?}: {}", reason.message);
                waits += 1;
            }
        }
        assert!(waits > 0 && host.operations().job("ideas").await.unwrap().job.pause.is_none());
        club.site.reset_views();
        club.site.set(Settings::default());
        advance(&host, &clock, Duration::from_secs(27 * 3_600)).await;
        wait(&host, |job| done(job) == all()).await;
        stop(host).await;
    }
}

#[tokio::test]
async fn r02_a_wording_that_nobody_has_heard_is_caught_by_what_the_page_lacks() {
    let club = Club::with(Settings { views_max: Some(0), limit: Limit::Unheard, ..Settings::default() }).await;
    let host = club.start(TestClock::new()).await;
    wait(&host, |job| retrying(job) == all()).await;
    let key = keys(host.operations(), "ideas").await.remove(0);
    let idea = detail_of(&host, "ideas", &key).await;
    assert!(idea.item.outputs.is_empty(), "{:?}", idea.item.outputs);
    let names: Vec<&str> = idea.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect();
    assert!(names[0].starts_with("guarded-jobs.toml:"), "by the site's own rule: {names:?}");
    let TaskState::RetryLater { reason, .. } = state(&idea, "fetch") else { panic!("{idea:?}") };
    assert!(reason.message.contains("without `article.thesis`"), "{}", reason.message);
    stop(host).await;
}

#[tokio::test]
async fn s11_once_cookies_expire_the_one_page_for_all_ideas_is_seen_and_the_session_renewed() {
    let club = Club::with(Settings { session_views: 40, wall: Wall::Teaser, ..Settings::default() }).await;
    let clock = TestClock::new();
    let jobs = but(job(), "session = \"ideas\"\n", "session = \"ideas\"\nduplicates = 3\n");
    let host = club.world.start_at(&club.world.jobs(&jobs), clock.clone()).await;
    wait(&host, |job| done(job) + retrying(job) == all() || job.job.pause.is_some()).await;
    pass_of("ideas", &host, &clock, Duration::from_secs(30), |job| {
        assert_eq!(job.job.pause, None);
        done(job) == all()
    })
    .await;
    let mut titles = std::collections::BTreeSet::new();
    for key in keys(host.operations(), "ideas").await {
        let idea = detail_of(&host, "ideas", &key).await;
        assert!(idea.quality_flags.values().all(Vec::is_empty), "{key}: {:?}", idea.quality_flags);
        let thesis = serde_json::to_value(&idea.item.outputs).unwrap();
        assert_ne!(thesis["extract"]["title"], "Idea of the month", "{key}");
        titles.insert(thesis["fetch"]["url"].to_string());
    }
    assert_eq!(titles.len() as u64, all(), "each idea has its own page");
    assert!((3..=30).contains(&club.site.sessions_given()), "{}", club.site.sessions_given());
    stop(host).await;
}

#[tokio::test]
async fn m05_another_schema_is_filled_in_from_the_pages_that_are_kept_and_none_is_fetched_again() {
    let facts = ModelFacts::usual(Dialect::Gemini, "gemini-2.5-flash-lite", [NanoUsd(100); 3]);
    let models = Arc::new(Models::new([facts]));
    let provider = ("generativelanguage.googleapis.com", models.site(Dialect::Gemini));
    let club = Club::beside(Settings::default(), vec![provider]).await;
    fs::write(club.world.path("key"), "any").unwrap();
    let with_model = but(job(), "key = { env = \"GEMINI_API_KEY\" }\n", "key = { file = \"key\" }\n");
    let enrich = "[job.ideas.stage.enrich]\nmodel = \"cheap\"\n";
    let whole = but(with_model, "stages = [\"fetch\", \"extract\"]\n", "") + enrich;
    let host = club.world.start_at(&club.world.jobs(&whole), TestClock::new()).await;
    wait(&host, |job| open_items(job) == 0 && job.job.items.values().sum::<u64>() == all()).await;
    let asked = models.asked().len();
    assert_eq!(asked as u64, all());
    stop(host).await;
    let of_site = club.world.sim.counts().of_host(ideas::HOST);

    // What is taken out of a page, and what a model is asked about it, is another by now.
    let contract = "contract = { properties = { title = { minLength = 1 } } }\n";
    let whole = format!("{whole}[job.ideas.stage.extract]\n{contract}");
    let host = club.world.start_at(&club.world.jobs(&whole), TestClock::new()).await;
    let some: Vec<ItemKey> = (1..=5)
        .map(|number| ItemKey::new(&format!("https://{}{}", ideas::HOST, ideas::idea_path(number))).unwrap())
        .collect();
    for stage in ["extract", "enrich"] {
        let done = host.operations().retry_stage("ideas", stage, some.clone()).await.unwrap();
        assert_eq!((done.items, done.tasks), (5, 5), "{stage}: {done:?}");
        wait(&host, |job| open_items(job) == 0).await;
    }
    for key in &some {
        let idea = detail_of(&host, "ideas", key.as_str()).await;
        let raw = idea.artifacts.iter().find(|kept| kept.artifact.stage.as_str() == "fetch").unwrap();
        assert!(raw.artifact.size > 1_000, "a page as it came: {raw:?}");
        let attempts = |stage: &str| idea.attempts.iter().find(|(name, _)| name.as_str() == stage).unwrap().1.len();
        assert_eq!(["fetch", "extract", "enrich"].map(attempts), [1, 2, 2], "{key}");
        let requests = |stage: &str| {
            let attempts = idea.attempts.iter().find(|(name, _)| name.as_str() == stage).unwrap().1;
            attempts.iter().map(|attempt| attempt.requests).sum::<u32>()
        };
        assert_eq!(requests("extract"), 0, "{key}: it reads what is kept");
    }
    assert_eq!(club.world.sim.counts().of_host(ideas::HOST), of_site, "nothing was fetched again");
    let asked = models.asked().split_off(asked);
    assert_eq!(asked.len(), 5);
    assert!(asked.iter().all(|asked| asked.said_by(Part::System).len() > 500), "the thesis of the page: {asked:?}");
    stop(host).await;
}
