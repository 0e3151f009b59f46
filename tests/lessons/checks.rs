//! R01's third layer, P07 and Q08: a model is asked about a stored page, in a task of its own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};
use tollgate::{CheckAnswer, CheckError, CheckRequest, ContentCheck, Host};
use tollgate_core::{
    ItemKey,
    item::ItemStatus,
    money::NanoUsd,
    pause::PauseReason,
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::scripted::{Scripted, Step};
use tollgate_store::{AttemptEnd, ItemDetail};

use crate::{
    clock::TestClock,
    world::{SITE, World, advance, detail, gate, item, open_items, outcomes, retrying, state, stop, wait},
};

const TEASER: &str = "<html><head><title>Ideas</title></head><body><article><h1>An offer</h1><p>Whoever joins the club \
                      reads what its best authors think of companies that few know, long before anybody else does \
                      so.</p>\
                      </article></body></html>";
const THESIS: &str = "<html><head><title>Ideas</title></head><body><article><h1>A thesis</h1><p>Acme makes anvils, and \
                      sells more of them each year, at prices that no other smith could ever ask for.</p></article>\
                      </body></html>";
const CHECK: &str = "[model.cheap]\nprovider = \"openai\"\nname = \"small\"\nkey = { env = \"NOBODY_ASKS\" }\n\
                     [job.test.check.sane]\nof = \"first/page.html\"\nask = \"Is it a thesis about {company}?\"\n\
                     model = \"cheap\"\n";

/// Stands in for a model: answers as it is told to, and remembers what it was asked.
pub(super) struct Judge {
    answer: fn(&CheckRequest, usize) -> Result<CheckAnswer, CheckError>,
    asked: Mutex<Vec<CheckRequest>>,
}

impl Judge {
    pub(super) fn new(answer: fn(&CheckRequest, usize) -> Result<CheckAnswer, CheckError>) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::default() })
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl ContentCheck for Judge {
    fn judge(&self, request: CheckRequest) -> BoxFuture<'_, Result<CheckAnswer, CheckError>> {
        let mut asked = self.asked.lock().unwrap();
        let answer = (self.answer)(&request, asked.len());
        asked.push(request);
        async move { answer }.boxed()
    }
}

/// Takes a page for content that names the company.
fn reads(request: &CheckRequest, _: usize) -> Result<CheckAnswer, CheckError> {
    let is_content = request.document.text.contains("acme");
    let reason = if is_content { "it argues about Acme" } else { "it is an offer to join" };
    Ok(CheckAnswer { is_content, reason: reason.to_owned(), cost: Some(NanoUsd(1_200_000)) })
}

fn refuses(_: &CheckRequest, _: usize) -> Result<CheckAnswer, CheckError> {
    Ok(CheckAnswer { is_content: false, reason: "it is about something else".to_owned(), cost: Some(NanoUsd(7)) })
}

async fn world(pages: &[&str]) -> World {
    World::new(vec![(SITE, Arc::new(Scripted::new().path("/", pages.iter().map(|page| Step::ok((*page).to_owned())))))])
        .await
}

async fn start(world: &World, jobs: &str, clock: &TestClock, judge: Arc<Judge>) -> Host {
    let host = world.host(&world.jobs(&outcomes(jobs))).await;
    host.clock(Arc::new(clock.clone())).content_check(judge).start().await.unwrap()
}

async fn add(host: &Host, key: &str) {
    let script = json!({ "first": format!("save http://{SITE}/"), "second": "done made-of-it", "company": "Acme" });
    host.operations().add("test", vec![item(key, &script)]).await.unwrap();
}

fn names(item: &ItemDetail) -> Vec<&str> {
    item.artifacts.iter().map(|kept| kept.artifact.name.as_str()).collect()
}

/// Whether a stage's output is served.
fn is_served(item: &ItemDetail, stage: &str) -> bool {
    item.item.outputs.keys().any(|name| name.as_str() == stage)
}

#[tokio::test]
async fn q08_a_question_about_the_item_is_asked_of_its_stored_page_and_the_answer_is_kept_with_its_cost() {
    let world = world(&[THESIS]).await;
    let judge = Judge::new(reads);
    let host = start(&world, &format!("{CHECK}attempts = 1\n"), &TestClock::new(), judge.clone()).await;
    let mut progress = host.progress();
    add(&host, "one").await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    let output = one.item.outputs.iter().find(|(stage, _)| stage.as_str() == "sane").unwrap().1;
    let wanted = json!({ "is_content": true, "reason": "it argues about Acme", "cost": 1_200_000 });
    assert_eq!(Value::Object(output.clone()), wanted);
    let asked = judge.asked.lock().unwrap()[0].clone();
    assert_eq!((asked.job.as_str(), asked.item.as_str(), asked.model.as_deref()), ("test", "one", Some("cheap")));
    assert_eq!(asked.question, "Is it a thesis about Acme?");
    let document = &asked.document.text;
    assert!(
        document.starts_with("ideas") && document.contains("acme makes anvils") && !document.contains('<'),
        "{document}"
    );
    assert!(!asked.document.is_cut);
    // An item without the field that the question names.
    let script = json!({ "first": format!("save http://{SITE}/") });
    host.operations().add("test", vec![item("two", &script)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let why = state(&detail(&host, "two").await, "sane").why();
    assert!(why.contains("has no `company`"), "{why}");
    assert_eq!(judge.asked(), 1, "nothing is asked for it");
    stop(host).await;
}

#[tokio::test]
async fn r01_a_page_that_the_third_layer_refuses_is_kept_apart_and_nothing_is_made_of_it() {
    let world = world(&[TEASER, THESIS]).await;
    let (clock, judge) = (TestClock::new(), Judge::new(reads));
    let host = start(&world, CHECK, &clock, judge.clone()).await;
    let mut progress = host.progress();
    add(&host, "one").await;
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let one = detail(&host, "one").await;
    let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:#?}") };
    assert_eq!(reason.kind, LaterKind::Transport, "counted, and no business of the breaker");
    for part in [SITE, "check.sane", "model", "not-content", "it is an offer to join"] {
        assert!(reason.message.contains(part), "layer, rule and why: {}", reason.message);
    }
    assert_eq!(names(&one), ["guarded-check.sane"]);
    assert!(!["first", "sane", "second"].iter().any(|stage| is_served(&one, stage)), "{one:#?}");
    for stage in ["sane", "second"] {
        assert!(matches!(state(&one, stage), TaskState::Waiting { .. }), "{one:#?}");
    }
    let attempts =
        |stage: &str| one.attempts.iter().find(|(name, _)| name.as_str() == stage).map(|(_, all)| all.clone());
    let check = attempts("sane").unwrap();
    assert_eq!((check.len(), check[0].ended, check[0].requests), (1, AttemptEnd::Rejected, 0));
    assert!(check[0].reason.as_deref().unwrap().contains("it is an offer to join"), "{check:?}");
    assert!(attempts("second").is_none(), "it never ran on the page");
    let job = host.operations().job("test").await.unwrap();
    assert!(job.job.pause.is_none());
    assert!(
        job.errors.iter().any(|error| error.stage.as_str() == "first" && error.error.message.contains("check.sane"))
    );
    assert!(gate(&host).await.guards.iter().any(|hits| hits.rule == "check.sane" && hits.hits == 1));
    // The next page is one.
    advance(&host, &clock, Duration::from_secs(60)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    assert_eq!((one.item.status, names(&one)), (ItemStatus::Done, vec!["page.html"]));
    assert_eq!((judge.asked(), world.sim.counts().of_host(SITE)), (2, 2));
    stop(host).await;
}

#[tokio::test]
async fn r01_what_the_third_layer_refuses_again_and_again_ends_as_its_stage_is_tried_again() {
    let world = world(&[TEASER]).await;
    let judge = Judge::new(reads);
    let jobs = format!("{CHECK}[job.test.stage.first]\nattempts = 3\nbackoff = \"0s\"\n");
    let host = start(&world, &jobs, &TestClock::new(), judge.clone()).await;
    let mut progress = host.progress();
    add(&host, "one").await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    let TaskState::Failed { error } = state(&one, "first") else { panic!("{one:#?}") };
    assert!(error.message.contains("gave up after 3") && error.message.contains("check.sane"), "{error}");
    assert_eq!((judge.asked(), world.sim.counts().of_host(SITE)), (3, 3));
    for stage in ["sane", "second"] {
        assert!(matches!(state(&one, stage), TaskState::Unreachable { .. }), "{one:#?}");
    }
    assert_eq!(names(&one), ["guarded-check.sane"]);
    assert!(!is_served(&one, "first"));
    // Text rules can't tell what a model said.
    let again = host.operations().recheck("test", None, false).await.unwrap();
    assert_eq!((again.unjudged.get("check.sane"), again.queued), (Some(&1), 0), "{again:?}");
    stop(host).await;
}

#[tokio::test]
async fn r01_each_outcome_of_the_third_layer_is_that_of_any_guard() {
    for (outcome, kind) in [
        ("rate-limited", LaterKind::RateLimited),
        ("blocked", LaterKind::Blocked),
        ("login-required", LaterKind::LoginRequired),
    ] {
        let world = world(&[TEASER]).await;
        let host =
            start(&world, &format!("{CHECK}outcome = \"{outcome}\"\n"), &TestClock::new(), Judge::new(reads)).await;
        let mut progress = host.progress();
        add(&host, "one").await;
        wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
        let one = detail(&host, "one").await;
        let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:#?}") };
        assert_eq!(reason.kind, kind, "{reason}");
        let counted = one.item.tasks.iter().find(|task| task.stage.as_str() == "first").unwrap().tally.counted;
        assert_eq!(counted, 0, "no attempt is used");
        let cools =
            gate(&host).await.sites.iter().any(|site| site.site.starts_with(SITE) && site.cooling_until.is_some());
        let pause = host.operations().job("test").await.unwrap().job.pause.map(|pause| pause.reason);
        let asks_person = kind == LaterKind::LoginRequired;
        assert_eq!(cools, !asks_person, "{outcome}");
        assert_eq!(matches!(pause, Some(PauseReason::Circuit { .. })), asks_person, "{outcome}: {pause:?}");
        stop(host).await;
    }
}

#[tokio::test]
async fn r02_a_check_says_for_how_long_the_site_of_a_rate_limited_page_is_left_alone() {
    let world = world(&[TEASER]).await;
    let clock = TestClock::new();
    let jobs = format!("{CHECK}outcome = \"rate-limited\"\nfor = \"24h\"\n");
    let host = start(&world, &jobs, &clock, Judge::new(reads)).await;
    let mut progress = host.progress();
    add(&host, "one").await;
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let now = host.operations().overview().await.unwrap().at;
    let cooling = gate(&host).await.sites.into_iter().find_map(|site| site.cooling_until).unwrap();
    assert_eq!(cooling, now.after(Duration::from_hours(24)));
    let TaskState::RetryLater { due, .. } = *state(&detail(&host, "one").await, "first") else { panic!("it waits") };
    assert!(due >= cooling);
    stop(host).await;
}

#[tokio::test]
async fn p07_a_check_is_run_again_alone_over_the_stored_page_and_nothing_is_downloaded() {
    let world = world(&[THESIS]).await;
    let clock = TestClock::new();
    let host = start(&world, CHECK, &clock, Judge::new(reads)).await;
    let mut progress = host.progress();
    add(&host, "one").await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    stop(host).await;
    let requests = world.sim.counts().of_host(SITE);
    // Somebody asks another question, long after.
    clock.advance(Duration::from_secs(100 * 86_400));
    let judge = Judge::new(|request, nth| if nth == 0 { reads(request, nth) } else { refuses(request, nth) });
    let host = start(&world, &CHECK.replace("a thesis", "anything"), &clock, judge.clone()).await;
    let mut progress = host.progress();
    let keys = || vec![ItemKey::new("one").unwrap()];
    let done = host.operations().retry_stage("test", "sane", keys()).await.unwrap();
    assert_eq!((done.items, done.tasks), (1, 1));
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    assert_eq!(judge.asked.lock().unwrap()[0].question, "Is it anything about Acme?");
    let runs = |stage: &str| one.attempts.iter().find(|(name, _)| name.as_str() == stage).unwrap().1.len();
    assert_eq!((runs("first"), runs("sane"), runs("second")), (1, 2, 1), "it alone");
    // And what it refuses by now is taken back, and tried again as anything else that is refused for the first time.
    host.operations().retry_stage("test", "sane", keys()).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let one = detail(&host, "one").await;
    assert_eq!(names(&one), ["guarded-check.sane"]);
    assert!(!is_served(&one, "first") && !is_served(&one, "second"), "{one:#?}");
    assert_eq!((judge.asked(), world.sim.counts().of_host(SITE)), (2, requests), "nothing was downloaded");
    let unknown = host.operations().retry_stage("test", "sana", keys()).await.unwrap_err().to_string();
    assert!(unknown.contains("`sane`"), "{unknown}");
    stop(host).await;
}

#[tokio::test]
async fn r07_a_model_that_is_rate_limited_or_down_uses_no_attempt_and_one_that_denies_pauses_the_job() {
    let world = world(&[THESIS]).await;
    let clock = TestClock::new();
    let judge = Judge::new(|request, nth| match nth {
        0 => Err(CheckError::RateLimited { about: "models.example".to_owned(), after: Some(Duration::from_secs(30)) }),
        1 => Err(CheckError::Down { about: "models.example".to_owned(), message: "no route".to_owned() }),
        2 => reads(request, nth),
        _ => Err(CheckError::Denied("no key".to_owned())),
    });
    let host = start(&world, &format!("{CHECK}attempts = 1\n"), &clock, judge.clone()).await;
    let mut progress = host.progress();
    add(&host, "one").await;
    for kind in [LaterKind::RateLimited, LaterKind::Down] {
        // Asked is not yet settled.
        let now = host.operations().overview().await.unwrap().at;
        let is_settled = |stage: &tollgate_store::StageView| {
            stage.name.as_str() == "sane" && stage.last_attempt_at.is_some_and(|at| at >= now)
        };
        wait(&mut progress, host.operations(), |job| job.job.stages.iter().any(is_settled)).await;
        let one = detail(&host, "one").await;
        let TaskState::RetryLater { reason, .. } = state(&one, "sane") else { panic!("{one:#?}") };
        assert!(reason.kind == kind && reason.message.contains("models.example"), "{reason}");
        advance(&host, &clock, Duration::from_secs(3_600)).await;
    }
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Done);
    for key in ["two", "three", "four"] {
        add(&host, key).await;
    }
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    assert!(matches!(&pause.reason, PauseReason::Breaker { stage, .. } if stage.as_str() == "sane"), "{pause:?}");
    assert!(pause.evidence.contains("no key"), "{pause:?}");
    assert_eq!(world.sim.counts().of_host(SITE), 4, "each page once");
    stop(host).await;
}

#[tokio::test]
async fn q08_a_check_that_cannot_be_asked_is_refused_at_load_with_its_place() {
    let world = world(&[THESIS]).await;
    let (of_left, ask) = ("of = \"left/page.html\"", "ask = \"Is it one?\"");
    let alone = format!("[job.test.check.sane]\n{of_left}\n{ask}\n");
    let without_model = format!("[job.test.check.sane]\nof = \"first/page.html\"\n{ask}\n");
    let told = format!("{alone}[job.test.stage.last]\nneeds = [\"left|right\"]\n");
    for (jobs, with_judge, wanted) in [
        (without_model, false, Some("check `sane` asks a model, and jobs.toml names none")),
        (CHECK.replace("first/", "fist/"), true, Some("which is no stage that runs")),
        (format!("stages = [\"left\", \"right\", \"last\"]\n{CHECK}"), true, Some("which is no stage that runs")),
        (CHECK.replace("sane", "second"), true, Some("has the name of a stage")),
        (alone, true, Some("write needs = [\"left|right\"] in [job.test.stage.last]")),
        (told, true, None),
    ] {
        let file = world.jobs(&outcomes(&jobs));
        let builder = world.host(&file).await;
        let builder = if with_judge { builder.content_check(Judge::new(reads)) } else { builder };
        let host = builder.start().await.unwrap();
        let overview = host.operations().overview().await.unwrap();
        let said: Vec<String> = overview.attention.into_iter().map(|attention| attention.message).collect();
        match wanted {
            Some(wanted) => {
                let lines = std::fs::read_to_string(&file).unwrap();
                let check = lines.lines().position(|line| line.contains(".check.")).unwrap() + 1;
                let is_near = |line: usize| said.iter().any(|said| said.contains(&format!("jobs.toml:{line}:")));
                assert!(said.iter().any(|said| said.contains(wanted)), "{jobs}: {said:?}");
                assert!(is_near(check) || is_near(check + 1), "{jobs}: {said:?}");
            }
            None => assert!(said.is_empty(), "{jobs}: {said:?}"),
        }
        stop(host).await;
    }
}
