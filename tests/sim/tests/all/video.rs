//! The channel of videos, and what the stand-in for yt-dlp makes of it.

use crate::client::Client;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use tollgate_sim::Sim;
use tollgate_sim::sites::transcription::{comment, duration_ms};
use tollgate_sim::sites::video::{CHANNEL, CHANNEL_ID, Captions, HOST, VideoFacts, VideoKind, Videos};

const COUNT: u32 = 40;

async fn start() -> (Sim, Arc<Videos>) {
    let videos = Arc::new(Videos::seeded(7, COUNT));
    (Sim::builder().site(HOST, videos.clone()).start().await.unwrap(), videos)
}

fn with(videos: &Videos, captions: Captions) -> &VideoFacts {
    videos.catalogue().iter().find(|video| video.captions == captions).unwrap()
}

/// Runs the stand-in as the entry of jobs.toml has it run, in a folder of its own.
async fn run(sim: &Sim, folder: &Path, args: &[&str], url: &str) -> Output {
    let ca = folder.join("ca.pem");
    sim.write_ca(&ca).unwrap();
    let stand_in = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/yt-dlp-stand-in"));
    let mut command = Command::new(stand_in);
    command.current_dir(folder).env("https_proxy", sim.proxy_url()).env("SSL_CERT_FILE", ca).env("no_proxy", "");
    command.args(["--remote-components", "ejs:github", "--output", "media.%(ext)s"]).args(args).args(["--", url]);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn files(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "ca.pem").collect()
}

#[test]
fn q01_q04_every_sort_of_title_comes_with_every_sort_of_captions() {
    let videos = Videos::seeded(7, COUNT);
    let sorts: BTreeSet<(VideoKind, Captions)> =
        videos.catalogue().iter().map(|video| (video.kind, video.captions)).collect();
    assert_eq!(sorts.len(), 8 * 4);
    assert_eq!(videos.catalogue(), Videos::seeded(7, COUNT).catalogue());
    assert_ne!(videos.catalogue()[0].title, Videos::seeded(8, COUNT).catalogue()[0].title);
    let ids: BTreeSet<&str> = videos.catalogue().iter().map(|video| video.id.as_str()).collect();
    assert!(ids.len() == COUNT as usize && ids.iter().all(|id| id.len() == 11));
    let of_january = videos.catalogue().iter().filter(|video| video.is_call() && video.published.contains("-01-"));
    for video in of_january {
        let year: u32 = video.published[..4].parse().unwrap();
        assert_eq!(video.quarter, Some((year - 1, 4)), "{video:?}");
    }
    for video in videos.catalogue() {
        let rejected = ["shock", "breakdown", "reaction", "crash", "moon", "squeeze"];
        let has_word = rejected.iter().any(|word| video.title.to_lowercase().contains(word));
        let is_talk = matches!(video.kind, VideoKind::Commentary | VideoKind::Reaction);
        assert_eq!(has_word, is_talk, "{}", video.title);
        let dollars = video.title.matches('$').count();
        assert!(!video.is_call() || dollars <= 1, "{}", video.title);
        assert!(video.kind != VideoKind::LookAlike || !video.title.contains(&format!("${} ", video.ticker)));
    }
}

#[tokio::test]
async fn the_channel_is_listed_as_a_page_as_a_feed_and_by_the_stand_in() {
    let (sim, videos) = start().await;
    let client = Client::new(&sim);
    let page = client.get(&format!("https://{HOST}/{CHANNEL}/videos")).await.unwrap();
    let feed = client.get(&format!("https://{HOST}/feeds/videos.xml?channel_id={CHANNEL_ID}")).await.unwrap();
    for (at, video) in videos.catalogue().iter().enumerate() {
        assert!(page.text().contains(&format!("href=\"/watch?v={}\"", video.id)));
        assert_eq!(feed.text().contains(&format!("<yt:videoId>{}</yt:videoId>", video.id)), at < 15);
        for (sort, is_there) in [("manual", video.captions.has_manual()), ("automatic", video.captions.has_automatic())]
        {
            let url = format!("https://{HOST}/captions/{}/{sort}/en.vtt", video.id);
            assert_eq!(client.get(&url).await.unwrap().status == 200, is_there, "{url}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("https://{HOST}/{CHANNEL}/videos");
    let flat = run(&sim, folder.path(), &["--flat-playlist", "--dump-json"], &url).await;
    let lines: Vec<Value> =
        String::from_utf8(flat.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let listed: Vec<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(listed, videos.catalogue().iter().map(|video| video.id.as_str()).collect::<Vec<_>>());
    let one = json_of(&run(&sim, folder.path(), &["--flat-playlist", "--dump-single-json"], &url).await);
    assert_eq!(one["entries"].as_array().unwrap().len(), COUNT as usize);
    assert_eq!(sim.counts().of(HOST, "/api/channel"), 2);
    assert_eq!(sim.counts().direct, 0);
}

#[tokio::test]
async fn p10_captions_by_hand_and_by_machine_are_told_apart() {
    let (sim, videos) = start().await;
    for captions in [Captions::Manual, Captions::Automatic, Captions::Both, Captions::None] {
        let video = with(&videos, captions);
        let url = format!("https://{HOST}/watch?v={}", video.id);
        let folder = tempfile::tempdir().unwrap();
        let info = json_of(&run(&sim, folder.path(), &["--dump-json"], &url).await);
        assert_eq!((&info["title"], &info["duration"]), (&video.title.as_str().into(), &video.duration_s.into()));
        assert_eq!(info["subtitles"].get("en").is_some(), captions.has_manual());
        assert_eq!(info["automatic_captions"].get("en").is_some(), captions.has_automatic());
        assert!(files(folder.path()).is_empty(), "what is simulated writes nothing");
        let ask = async |args: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            let all = [&["--dump-json", "--no-simulate", "--skip-download", "--sub-langs", "en"], args].concat();
            let info = json_of(&run(&sim, folder.path(), &all, &url).await);
            let text = std::fs::read_to_string(folder.path().join("media.en.vtt")).ok();
            assert_eq!(info["requested_subtitles"].is_object(), text.is_some());
            text
        };
        let (manual, automatic) = (ask(&["--write-subs"]).await, ask(&["--write-auto-subs"]).await);
        assert_eq!((manual.is_some(), automatic.is_some()), (captions.has_manual(), captions.has_automatic()));
        let both = ask(&["--write-subs", "--write-auto-subs"]).await;
        assert_eq!(both, manual.clone().or(automatic.clone()), "those by hand first");
        if let (Some(manual), Some(automatic)) = (manual, automatic) {
            assert!(manual.contains("Hello") || manual.contains("Good morning"), "{manual}");
            assert!(automatic.starts_with("WEBVTT\n") && !automatic.contains("Hello"), "{automatic}");
        }
    }
}

#[tokio::test]
async fn audio_is_downloaded_and_says_what_is_said() {
    let (sim, videos) = start().await;
    let video = with(&videos, Captions::None);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("https://{HOST}/watch?v={}", video.id);
    let output = run(&sim, folder.path(), &["--format", "bestaudio"], &url).await;
    assert!(output.status.success() && output.stdout.is_empty());
    assert_eq!(files(folder.path()), BTreeSet::from(["media.wav".to_owned()]));
    let audio = std::fs::read(folder.path().join("media.wav")).unwrap();
    assert_eq!((duration_ms(&audio), comment(&audio).unwrap()), (video.duration_s * 1_000, video.said.clone()));
    assert!(audio.len() < 256 << 10);
    assert_eq!(sim.counts().of(HOST, &format!("/audio/{}.wav", video.id)), 1);
}

#[tokio::test]
async fn what_goes_wrong_is_said_in_yt_dlps_words() {
    let (sim, _videos) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let gone = run(&sim, folder.path(), &["--dump-json"], &format!("https://{HOST}/watch?v=nothing")).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("ERROR: [youtube] nothing: Video unavailable"), "{gone:?}");
    sim.proxy_down().await.unwrap();
    let down = run(&sim, folder.path(), &["--dump-json"], &format!("https://{HOST}/watch?v=x")).await;
    assert!(String::from_utf8_lossy(&down.stderr).contains("(caused by TransportError("), "{down:?}");
}
