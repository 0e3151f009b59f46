//! P03 to P06, P10 and M05 by the reference job `youtube`: through the real host and the stand-in for yt-dlp, against a channel of
//! videos and the small internet's own bill.

mod heard;

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use serde_json::{Value, json};
use tollgate::Host;
use tollgate_core::{
    item::{ItemStatus, NewItem},
    ledger::{How, PaidKind},
    money::NanoUsd,
    task::{SkipReason, TaskState},
};
use tollgate_engine::operations::{CostsAsked, JobDetail, LedgerAsked};
use tollgate_sim::{
    Sim,
    sites::{
        bill,
        models::Say,
        services::{ServiceFacts, Services},
        video::{self, Captions, VideoFacts, VideoKind, Videos},
    },
};
use tollgate_store::{CostGroup, CostKey, EntryView, ItemDetail, ItemQuery};

use crate::world::{World, detail_of, item, open_items, state, stop, wait_of};

/// jobs.toml as it ships.
const SHIPPED: &str = include_str!("../../jobs.toml");
/// The parts of it which the job `youtube` is of.
const PARTS: [&str; 9] = [
    "[site.\"video.example\"]",
    "[model.cheap]",
    "[speech.whisper]",
    "[job.youtube]",
    "[job.youtube.params]",
    "[job.youtube.stage.captions]",
    "[job.youtube.stage.whisper]",
    "[job.youtube.stage.figures]",
    "[tool.yt-dlp]",
];
/// Who hears.
const EAR: &str = "api.groq.com";
const VIDEOS: u32 = 40;

/// A part of jobs.toml as it ships.
fn part(head: &str) -> String {
    let mut lines = SHIPPED.lines().skip_while(|line| !line.starts_with(head));
    let first = lines.next().unwrap_or_else(|| panic!("jobs.toml has no {head}"));
    let rest: Vec<&str> = lines.take_while(|line| !line.starts_with('[')).collect();
    format!("{first}\n{}\n", rest.join("\n"))
}

/// With other lines in place of some, which must be there.
fn but(job: &str, lines: &str, others: &str) -> String {
    assert_eq!(job.matches(lines).count(), 1, "{lines:?} in {job}");
    job.replace(lines, others)
}

/// A tool's entry as it ships, run by its stand-in.
fn stand_in(name: &str) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tools/{name}-stand-in"));
    let command = format!("command = {:?}\n", program.display().to_string());
    but(&part(&format!("[tool.{name}]")), &format!("command = \"{name}\"\n"), &command)
}

/// The job as jobs.toml ships it, but for keys and for yt-dlp itself.
fn job() -> String {
    let parts = PARTS.map(|head| if head == "[tool.yt-dlp]" { stand_in("yt-dlp") } else { part(head) });
    let keyed = but(&parts.concat(), "{ env = \"GEMINI_API_KEY\" }", "{ file = \"key\" }");
    but(&keyed, "{ env = \"GROQ_API_KEY\" }", "{ file = \"key\" }")
}

/// A channel of videos, and who is paid to read and hear them.
struct Channel {
    world: World,
    videos: Arc<Videos>,
    services: Services,
}

impl Channel {
    /// One on which every call promises little.
    async fn new() -> Self {
        Self::of(Videos::seeded(0, VIDEOS)).await
    }

    /// The same, of these videos.
    async fn of(videos: Videos) -> Self {
        let (videos, services) = (Arc::new(videos), Services::new(0, ServiceFacts::default()));
        let world = World::of(services.mount(Sim::builder().site(video::HOST, videos.clone()))).await;
        fs::write(world.path("key"), "sk-any-key").unwrap();
        let channel = Self { world, videos, services };
        channel.promises("The document `video` describes a video", 2);
        channel
    }

    /// From now on the model says so of what is asked in these words.
    fn promises(&self, asked: &str, value: u8) {
        self.services.models.answer(asked, Say::Json(json!({"value": value, "why": "It is named so."})));
    }

    /// The companies' own calls.
    fn calls(&self) -> impl Iterator<Item = &VideoFacts> {
        self.videos.catalogue().iter().filter(|video| video.is_call())
    }

    /// A call with such captions that promises much from now on.
    fn promising(&self, captions: Captions) -> &VideoFacts {
        let has_such = |video: &&VideoFacts| video.captions == captions && video.kind == VideoKind::Call;
        let video = self.calls().find(has_such).unwrap();
        self.promises(&format!("Title: {}\n", video.title), 9);
        video
    }

    /// Starts the job, and waits until all calls of the channel, and so many items beside them, have come to their end.
    async fn run(&self, job: &str) -> Host {
        let host = self.world.start(&self.world.jobs(job)).await;
        self.ended(&host, 0).await;
        host
    }

    async fn ended(&self, host: &Host, beside: u64) {
        let all = self.calls().count() as u64 + beside;
        let has_ended = |job: &JobDetail| job.job.items.values().sum::<u64>() == all && open_items(job) == 0;
        wait_of("youtube", &mut host.progress(), host.operations(), has_ended).await;
    }

    /// Addresses of a video's captions and audio that were asked for, beside its metadata.
    fn fetched(&self, video: &VideoFacts) -> Vec<String> {
        let counts = self.world.sim.counts();
        let paths = counts.hosts.get(video::HOST).map(|host| host.paths.keys().cloned().collect::<Vec<_>>());
        let is_file = |path: &String| path.starts_with("/captions/") || path.starts_with("/audio/");
        paths.unwrap_or_default().into_iter().filter(|path| is_file(path) && path.contains(&video.id)).collect()
    }

    /// What was billed for hearing.
    fn heard(&self) -> NanoUsd {
        self.services.speech.sum()
    }

    /// The ledger's rows, oldest first, once they are the bill.
    async fn is_the_bill(&self, host: &Host) -> Vec<EntryView> {
        let rows = rows(host).await;
        assert!(rows.iter().all(|row| row.entry.end.as_ref().is_some_and(|end| !end.is_estimate)), "{rows:#?}");
        assert_eq!(sum(&rows), bill::sum(&self.services.bill()), "{rows:#?}");
        rows
    }
}

async fn rows(host: &Host) -> Vec<EntryView> {
    let asked = LedgerAsked { job: Some("youtube".to_owned()), limit: 500, ..LedgerAsked::default() };
    let page = host.operations().ledger(asked).await.unwrap();
    assert!(page.next.is_none());
    page.entries.into_iter().rev().collect()
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a EntryView>) -> NanoUsd {
    rows.into_iter().filter_map(|row| row.entry.end.as_ref()?.cost.known()).sum()
}

/// The stages of an item that were paid for.
fn paid_stages<'a>(rows: &'a [EntryView], video: &VideoFacts) -> BTreeSet<&'a str> {
    let of_it = rows.iter().filter(|row| row.key.as_ref().is_some_and(|key| key.as_str() == video.id));
    of_it.filter_map(|row| row.stage.as_ref().map(|stage| stage.as_str())).collect()
}

async fn of(host: &Host, video: &VideoFacts) -> ItemDetail {
    detail_of(host, "youtube", &video.id).await
}

/// What a stage said.
fn said<'a>(item: &'a ItemDetail, stage: &str) -> &'a serde_json::Map<String, Value> {
    let output = item.item.outputs.iter().find(|(name, _)| name.as_str() == stage);
    output.unwrap_or_else(|| panic!("no output of {stage}: {item:#?}")).1
}

/// Names of a stage's artifacts.
fn artifacts<'a>(item: &'a ItemDetail, stage: &str) -> Vec<&'a str> {
    let of_it = item.artifacts.iter().filter(|kept| kept.artifact.stage.as_str() == stage);
    of_it.map(|kept| kept.artifact.name.as_str()).collect()
}

fn found(video: &VideoFacts) -> NewItem {
    let url = format!("https://{}/watch?v={}", video::HOST, video.id);
    item(&video.id, &json!({"id": video.id, "url": url, "title": video.title}))
}

#[tokio::test]
async fn p03_what_promises_little_costs_its_score_and_nothing_of_it_is_fetched() {
    let channel = Channel::new().await;
    let wanted = channel.promising(Captions::Manual);
    let host = channel.run(&job()).await;
    let rows = channel.is_the_bill(&host).await;
    for video in channel.calls() {
        let one = of(&host, video).await;
        assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
        if video.id == wanted.id {
            assert_eq!(paid_stages(&rows, video), ["digest", "figures", "score"].into());
            assert_eq!(channel.fetched(video), [format!("/captions/{}/manual/en.vtt", video.id)]);
            continue;
        }
        for stage in ["captions", "whisper"] {
            let TaskState::Skipped { reason: SkipReason::Condition { when } } = state(&one, stage) else {
                panic!("{stage}: {one:#?}");
            };
            assert_eq!(when, "score.value >= 6", "it says why");
        }
        assert!(matches!(state(&one, "digest"), TaskState::Unreachable { .. }), "{one:#?}");
        assert_eq!(paid_stages(&rows, video), ["score"].into(), "{}", video.title);
        assert_eq!(channel.fetched(video), [""; 0], "{}", video.title);
    }
    stop(host).await;
}

#[tokio::test]
async fn p04_what_its_metadata_rule_out_is_paid_for_by_nobody_and_is_no_failure() {
    let channel = Channel::new().await;
    channel.promises("The document `video` describes a video", 9);
    // Somebody names a video that no listing's title would have let in; others are too short.
    let commentary = channel.videos.catalogue().iter().find(|video| video.kind == VideoKind::Commentary).unwrap();
    let at_least = 100;
    let host = channel.run(&but(&job(), "shortest-s = 45 ", &format!("shortest-s = {at_least} "))).await;
    host.operations().add("youtube", vec![found(commentary)]).await.unwrap();
    channel.ended(&host, 1).await;
    let rows = channel.is_the_bill(&host).await;
    let short: Vec<&VideoFacts> = channel.calls().filter(|video| video.duration_s < at_least).collect();
    assert!(!short.is_empty() && short.len() < channel.calls().count());
    for video in short.iter().copied().chain([commentary]) {
        let one = of(&host, video).await;
        assert_eq!(one.item.status, ItemStatus::Skipped, "{one:#?}");
        for stage in ["score", "captions", "whisper", "digest", "figures"] {
            let is_of_meta =
                |reason: &SkipReason| matches!(reason, SkipReason::Rejected { by, .. } if by.as_str() == "meta");
            assert!(
                matches!(state(&one, stage), TaskState::Skipped { reason } if is_of_meta(reason)),
                "{stage}: {one:#?}"
            );
        }
        assert_eq!((paid_stages(&rows, video), channel.fetched(video)), (BTreeSet::new(), Vec::new()));
        assert!(!channel.services.models.asked().iter().any(|asked| asked.says(&video.title)), "{}", video.title);
    }
    let job = host.operations().job("youtube").await.unwrap();
    assert!(job.job.pause.is_none() && job.job.stages.iter().all(|stage| stage.breaker == 0), "{job:#?}");
    stop(host).await;
}

#[tokio::test]
async fn p05_speech_is_paid_for_where_there_are_no_captions_and_the_source_and_its_cost_are_told() {
    let channel = Channel::new().await;
    channel.promises("The document `video` describes a video", 9);
    let host = channel.run(&job()).await;
    let rows = channel.is_the_bill(&host).await;
    let mut silent = 0;
    for video in channel.calls() {
        let one = of(&host, video).await;
        assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
        let source = match video.captions {
            Captions::Manual | Captions::Both => "manual",
            Captions::Automatic => "automatic",
            Captions::None => "whisper",
        };
        assert_eq!(
            (&said(&one, "digest")["source"], &said(&one, "figures")["source"]),
            (&json!(source), &json!(source))
        );
        if video.captions == Captions::None {
            silent += 1;
            assert!(matches!(state(&one, "captions"), TaskState::Nothing { .. }), "{one:#?}");
            let heard = said(&one, "whisper");
            assert_eq!((&heard["text"], &heard["seconds"]), (&json!(video.said), &json!(video.duration_s as f64)));
            assert_eq!(channel.fetched(video), [format!("/audio/{}.wav", video.id)]);
        } else {
            let is_served = |reason: &SkipReason| matches!(reason, SkipReason::Alternative { served_by } if served_by.as_str() == "captions");
            assert!(matches!(state(&one, "whisper"), TaskState::Skipped { reason } if is_served(reason)), "{one:#?}");
            assert!(channel.fetched(video).iter().all(|path| path.starts_with("/captions/")));
        }
        assert_eq!(paid_stages(&rows, video).contains("whisper"), video.captions == Captions::None);
    }
    assert!(silent > 0);
    let speech: Vec<_> = rows.iter().filter(|row| row.entry.call.paid.kind == PaidKind::Speech).collect();
    assert_eq!((speech.len(), channel.services.speech.bill().len()), (silent, silent), "a row for each that was heard");
    let asked = CostsAsked { by: CostGroup::Stage, job: None, from: None, to: None, after: None, limit: 100 };
    let report = host.operations().costs(asked).await.unwrap();
    let of_whisper = report
        .sums
        .iter()
        .find(|sum| matches!(&sum.of, CostKey::Stage { stage: Some(stage), .. } if stage.as_str() == "whisper"));
    let costs = of_whisper.unwrap().costs;
    assert_eq!((costs.cost, costs.calls), (channel.heard(), silent as u64), "the source's own cost");
    assert!(report.total.cost > costs.cost);
    stop(host).await;
}

#[tokio::test]
async fn p10_captions_by_hand_are_taken_before_those_by_machine_and_the_artifact_says_which() {
    let channel = Channel::new().await;
    let (both, machine) = (channel.promising(Captions::Both), channel.promising(Captions::Automatic));
    let host = channel.run(&job()).await;
    for (video, source) in [(both, "manual"), (machine, "automatic")] {
        let one = of(&host, video).await;
        let name = format!("{source}.en.vtt");
        assert_eq!(artifacts(&one, "captions"), [name.as_str()], "{one:#?}");
        let captions = said(&one, "captions");
        assert_eq!((&captions["source"], &captions["artifact"]), (&json!(source), &json!(name)));
        assert_eq!(said(&one, "digest")["source"], json!(source));
        assert_eq!(channel.fetched(video), [format!("/captions/{}/{source}/en.vtt", video.id)]);
    }
    assert_eq!(
        said(&of(&host, both).await, "captions")["text"].as_str().map(str::split_whitespace).map(Iterator::count),
        Some(both.said.split_whitespace().count()),
        "its own words, none twice"
    );
    stop(host).await;
}

#[tokio::test]
async fn m05_what_was_fetched_is_there_for_questions_that_come_later() {
    let channel = Channel::new().await;
    let (read, heard) = (channel.promising(Captions::Manual), channel.promising(Captions::None));
    let host = channel.run(&job()).await;
    let requests = channel.world.sim.counts().of_host(video::HOST);
    let was_heard = channel.services.speech.bill().len();
    for video in [read, heard] {
        assert_eq!(artifacts(&of(&host, video).await, "meta"), ["info.json"], "kept as it came");
    }
    let keys = [read, heard].map(|video| found(video).key);
    host.operations().retry_stage("youtube", "digest", keys.to_vec()).await.unwrap();
    channel.ended(&host, 0).await;
    for video in [read, heard] {
        let one = of(&host, video).await;
        let (_, attempts) = one.attempts.iter().find(|(stage, _)| stage.as_str() == "digest").unwrap();
        assert_eq!((one.item.status, attempts.len()), (ItemStatus::Done, 2), "{one:#?}");
    }
    assert_eq!(channel.world.sim.counts().of_host(video::HOST), requests, "nothing is fetched again");
    assert_eq!(channel.services.speech.bill().len(), was_heard, "or heard again");
    channel.is_the_bill(&host).await;
    stop(host).await;
}

/// Files of a folder and those below it, without their folders.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn p06_audio_goes_once_it_is_heard_and_what_was_heard_stays_with_its_source_and_its_cost() {
    let channel = Channel::of(Videos::seeded(0, VIDEOS).sampled(32_000)).await;
    let video = channel.promising(Captions::None);
    let blobs = channel.world.path("data").join("blobs");
    let audio = format!("/audio/{}.wav", video.id);
    let host = channel.run(&job()).await;
    let one = of(&host, video).await;
    assert_eq!(artifacts(&one, "whisper"), [""; 0], "{one:#?}");
    assert_eq!(artifacts(&one, "meta"), ["info.json"]);
    assert_eq!(
        (&said(&one, "whisper")["text"], &said(&one, "digest")["source"]),
        (&json!(video.said), &json!("whisper"))
    );
    let rows = channel.is_the_bill(&host).await;
    assert!(paid_stages(&rows, video).contains("whisper"));
    stop(host).await;
    assert_eq!(files(&blobs), [""; 0].map(Path::new), "nor does its file lie there");

    // Who has it heard again has it fetched again, and is told so before.
    let host = channel.run(&job()).await;
    let all = ItemQuery { limit: 99, ..ItemQuery::default() };
    let shown = host.operations().stage_items("youtube", "whisper", all).await.unwrap();
    assert!(shown.entries.contains(&found(video).key) && shown.lacking.is_empty(), "{shown:?}");
    assert_eq!((shown.gone.items, shown.gone.binaries), (1, 1), "{shown:?}");
    assert!(shown.gone.bytes > 1 << 20, "{shown:?}");
    host.operations().retry_stage("youtube", "whisper", vec![found(video).key]).await.unwrap();
    channel.ended(&host, 0).await;
    assert_eq!(channel.world.sim.counts().of(video::HOST, &audio), 2);
    assert_eq!(said(&of(&host, video).await, "whisper")["text"], json!(video.said));
    channel.is_the_bill(&host).await;
    stop(host).await;

    // Unless somebody wants to keep it.
    let host =
        channel.run(&but(&job(), "[job.youtube.stage.whisper]\n", "[job.youtube.stage.whisper]\nkeep = true\n")).await;
    host.operations().retry_stage("youtube", "whisper", vec![found(video).key]).await.unwrap();
    channel.ended(&host, 0).await;
    assert_eq!(artifacts(&of(&host, video).await, "whisper"), ["media.wav"]);
    stop(host).await;
    assert_eq!(files(&blobs).len(), 1);
}
