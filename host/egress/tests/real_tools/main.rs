//! The real yt-dlp and ffmpeg, by their shipped entries, through the proxy of the small internet.
//!
//! Behind the feature `real-tools`, since they must be installed; once asked for, a missing one is a failure.
//! `cargo xtask test` installs and runs them. By hand: `python3 -m venv target/tools &&
//! target/tools/bin/pip install -r tests/tools/requirements.txt`, and `apt install ffmpeg`.
#![expect(clippy::unwrap_used, reason = "a test's helpers panic as its own lines do")]

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use http::header::CONTENT_TYPE;
use tollgate_core::{
    outcome::RefusalKind,
    spec::{Deployment, parse},
    tool::{ToolContent, ToolInput, ToolRequest},
};
use tollgate_egress::{Caller, Gate, GateOptions, Held, NoMemory, ToolOutput, ToolRefused};
use tollgate_sim::{
    Sim, inside,
    sites::scripted::{Scripted, Step},
};

const HOST: &str = "talks.example";
const SHIPPED: &str = include_str!("../../../../jobs.toml");
const PAGE: &str = "<html><head><title>A talk</title></head><body>\
                    <video src=\"/talk.mp4\"><track kind=\"subtitles\" src=\"/talk.vtt\" \
                    srclang=\"en\"></video></body></html>";
const SUBTITLES: &str = "WEBVTT\n\n00:00.000 --> 00:01.000\nGood evening.\n";

/// One second of a picture and a tone, by the ffmpeg that is tested.
fn talk(folder: &Path) -> Vec<u8> {
    let path = folder.join("talk.mp4");
    let made = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "lavfi", "-i", "testsrc=d=1:s=64x64", "-f", "lavfi", "-i", "sine=d=1"])
        .args(["-shortest"])
        .arg(&path)
        .status();
    let made = made.unwrap_or_else(|error| panic!("ffmpeg: {error}; apt install ffmpeg"));
    assert!(made.success(), "ffmpeg made no video");
    std::fs::read(path).unwrap()
}

struct World {
    sim: Sim,
    site: Arc<Scripted>,
    gate: Arc<Gate>,
    folder: tempfile::TempDir,
}

/// A site with a video behind a proxy that wants a password and reads TLS, and the shipped tools.
async fn world() -> World {
    let yt_dlp = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin/yt-dlp");
    assert!(
        yt_dlp.exists(),
        "yt-dlp is not installed: python3 -m venv target/tools && \
         target/tools/bin/pip install -r tests/tools/requirements.txt"
    );
    let folder = tempfile::tempdir().unwrap();
    let site = Arc::new(
        Scripted::new()
            .path("/talk", [Step::ok(PAGE).header(CONTENT_TYPE, "text/html")])
            .path("/talk.vtt", [Step::ok(SUBTITLES).header(CONTENT_TYPE, "text/vtt")])
            .path("/busy", [Step::status(http::StatusCode::TOO_MANY_REQUESTS)])
            .path("/talk.mp4", [Step::ok(talk(folder.path())).header(CONTENT_TYPE, "video/mp4")]),
    );
    let sim = Sim::builder().site(HOST, site.clone()).proxy_auth("me", "hush-hush").start().await.unwrap();
    let ca = folder.path().join("ca.pem");
    sim.write_ca(&ca).unwrap();
    let proxy = format!("[proxy.main]\nurl = \"{}\"\nca = {:?}\n", sim.proxy_url_with_auth(), ca.display().to_string());
    let tools = &SHIPPED[SHIPPED.find("[tool.yt-dlp]").unwrap()..];
    let tools = tools.replace("command = \"yt-dlp\"", &format!("command = {:?}", yt_dlp.display().to_string()));
    let deployment: Deployment = parse(&format!("{proxy}{tools}"), "jobs.toml").unwrap();
    let options = GateOptions {
        spool: folder.path().join("spool"),
        sessions: folder.path().join("sessions"),
        clock: Arc::new(clock::System),
        base: folder.path().to_owned(),
        memory: Arc::new(NoMemory),
        remembered: Vec::new(),
        spent: Vec::new(),
    };
    World { sim, site, gate: Gate::new(&deployment, options).unwrap(), folder }
}

mod clock {
    //! Time as it is.

    use std::time::{SystemTime, UNIX_EPOCH};

    use futures::{FutureExt as _, future::BoxFuture};
    use tollgate_core::{Clock, Timestamp};

    pub(crate) struct System;

    impl Clock for System {
        fn now(&self) -> Timestamp {
            let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            Timestamp(u64::try_from(millis).unwrap())
        }

        fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
            tokio::time::sleep(until.since(self.now())).boxed()
        }
    }
}

impl World {
    async fn run(&self, tool: &str, args: &[&str], url: Option<&str>) -> Result<ToolOutput, ToolRefused> {
        self.run_with(tool, args, url, Vec::new()).await
    }

    async fn run_with(
        &self,
        tool: &str,
        args: &[&str],
        url: Option<&str>,
        files: Vec<ToolInput>,
    ) -> Result<ToolOutput, ToolRefused> {
        let caller = Caller {
            job: tollgate_core::JobName::new("talks").unwrap(),
            allowed: Vec::new(),
            tools: Some(Vec::new()),
            held: Held::default(),
        };
        let request = ToolRequest {
            tool: tool.to_owned(),
            args: args.iter().map(ToString::to_string).collect(),
            url: url.map(ToOwned::to_owned),
            files,
            stdin: None,
            timeout: Some(Duration::from_mins(2)),
        };
        self.gate.run_tool(&caller, request, &|_| ()).await
    }
}

#[tokio::test]
async fn s16_yt_dlp_gives_metadata_and_subtitles_and_ffmpeg_cuts_the_audio() {
    let world = world().await;
    let url = format!("https://{HOST}/talk");
    let output = world.run("yt-dlp", &["--dump-json"], Some(&url)).await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["title"].as_str().unwrap().starts_with("A talk"), "{json}");
    assert!(output.warnings.iter().any(|line| line.contains("generic information extractor")), "{:?}", output.warnings);
    assert!(output.files.is_empty() && output.profile == "android" && output.exit_code == 0);

    let subtitles = ["--dump-json", "--no-simulate", "--skip-download", "--write-subs", "--sub-langs", "en"];
    let output = world.run("yt-dlp", &subtitles, Some(&url)).await.unwrap();
    assert_eq!(output.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["media.en.vtt"]);
    assert_eq!(std::fs::read_to_string(&output.files[0].path).unwrap(), SUBTITLES);

    let output = world.run("yt-dlp", &["--format", "best"], Some(&url)).await.unwrap();
    assert_eq!(output.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["media.mp4"]);

    let video = output.files[0].path.clone();
    let files = vec![ToolInput { name: "media.mp4".to_owned(), content: ToolContent::File(video) }];
    let cut = ["-i", "media.mp4", "-vn", "-c:a", "flac", "audio.flac"];
    let audio = world.run_with("ffmpeg", &cut, None, files).await.unwrap();
    assert_eq!(audio.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["audio.flac"]);
    assert!(std::fs::read(&audio.files[0].path).unwrap().starts_with(b"fLaC"));

    let counts = world.sim.counts();
    assert!(counts.via_proxy > 0 && counts.direct == 0, "all through the proxy: {counts:?}");
    assert_eq!(counts.of(HOST, "/talk.vtt"), 1);
}

#[tokio::test]
async fn r03_r11_yt_dlp_s_own_words_are_known() {
    let world = world().await;
    let of = async |path: &str| {
        let refused = world.run("yt-dlp", &["--dump-json"], Some(&format!("https://{HOST}/{path}"))).await.unwrap_err();
        assert!(!format!("{refused:?}").contains("hush"), "{refused:?}");
        refused.refusal.map(|refusal| refusal.kind)
    };
    assert_eq!(of("none").await, Some(RefusalKind::Permanent));
    assert_eq!(of("busy").await, Some(RefusalKind::RateLimited));
    assert_eq!(of("talk").await, Some(RefusalKind::RateLimited), "the site cools down for everyone");
}

#[tokio::test]
async fn r06_a_proxy_that_is_gone_is_told_from_a_site() {
    let world = world().await;
    world.sim.proxy_down().await.unwrap();
    let refused = world.run("yt-dlp", &["--dump-json"], Some(&format!("https://{HOST}/talk"))).await.unwrap_err();
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Down, "{:?}", refused.error);
}

#[tokio::test]
async fn trap13_ffmpeg_is_given_no_address_and_what_is_no_media_is_permanent() {
    let world = world().await;
    let refused = world.run("ffmpeg", &["-i", "https://talks.example/talk.mp4"], None).await.unwrap_err();
    assert!(refused.error.to_string().contains("accepts"), "{refused:?}");
    let junk = world.folder.path().join("junk");
    std::fs::write(&junk, "no media").unwrap();
    let files = vec![ToolInput { name: "media.mp4".to_owned(), content: ToolContent::File(junk) }];
    let refused = world.run_with("ffmpeg", &["-i", "media.mp4", "-vn", "audio.flac"], None, files).await.unwrap_err();
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Permanent);
    // A playlist that leads to the network, where somebody listens.
    let naked = world.sim.direct_addr(HOST).unwrap();
    let list = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://{naked}/a.ts\n#EXT-X-ENDLIST\n");
    let files = vec![ToolInput { name: "list.m3u8".to_owned(), content: ToolContent::Bytes(list.into_bytes().into()) }];
    world.run_with("ffmpeg", &["-i", "list.m3u8", "-vn", "audio.flac"], None, files).await.unwrap_err();
    assert_eq!(world.sim.counts().total, 0, "nobody was asked for anything");
}

/// The real yt-dlp follows redirects by itself: to the proxy, which refuses.
#[tokio::test]
async fn trap12_a_page_sends_yt_dlp_to_the_proxy_or_nowhere() {
    let world = world().await;
    let near = world.sim.direct_addr(HOST).unwrap().port();
    let targets = inside::urls(near);
    let asked = [
        // One of each family: a run takes seconds.
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "169.254.169.254",
    ];
    for host in asked {
        let target = targets.iter().find(|target| target.contains(&format!("//{host}:"))).unwrap();
        world.site.set("/away", [Step::redirect(http::StatusCode::FOUND, target)]);
        let url = format!("https://{HOST}/away");
        let refused = world.run("yt-dlp", &["--dump-json"], Some(&url)).await.unwrap_err();
        assert!(refused.error.to_string().contains("yt-dlp"), "{target}: {refused:?}");
    }
    let counts = world.sim.counts();
    assert_eq!((counts.direct, counts.of(HOST, "/inside")), (0, 0), "{counts:?}");
    assert!(counts.of(HOST, "/away") >= asked.len() as u64 && counts.unknown_host > 0, "{counts:?}");
}
