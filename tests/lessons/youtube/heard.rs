//! Speech that is longer than a part: cut by the host's own ffmpeg, heard piece by piece, and paid for once.

use std::{process::Command, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    time::timeout,
};
use tollgate_core::ItemKey;
use tollgate_sim::{
    Release,
    sites::{bill::Amount, models::ModelFault},
};

use super::*;
use crate::{clock::TestClock, world::pass_of};

/// Longest piece in one request, in seconds.
const PART_S: u64 = 25;

/// The job, with short parts.
fn in_parts(more: &str) -> String {
    let short = format!("name = \"whisper-large-v3-turbo\"\npart = \"{PART_S}s\"\n");
    but(&job(), "name = \"whisper-large-v3-turbo\"\n", &short) + more
}

/// Lengths of the pieces that a video is cut into, in milliseconds.
fn pieces(video: &VideoFacts) -> Vec<u64> {
    let whole = video.duration_s * 1_000;
    let each = whole.div_ceil(whole.div_ceil(PART_S * 1_000));
    let count = whole.div_ceil(each);
    (0..count).map(|at| each.min(whole - at * each)).collect()
}

fn is_speech(row: &&EntryView) -> bool {
    row.entry.call.paid.kind == PaidKind::Speech
}

/// Hears a video without captions by this ffmpeg, and holds what it took against the bill.
async fn is_heard_in_pieces(ffmpeg: &str) {
    let channel = Channel::new().await;
    let video = channel.promising(Captions::None);
    let host = channel.run(&in_parts(ffmpeg)).await;
    let one = of(&host, video).await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    let heard = said(&one, "whisper");
    assert_eq!(heard["seconds"], json!(video.duration_s as f64), "all of it");
    assert!(heard["words"].as_u64().unwrap() >= video.duration_s, "two words a second were heard: {heard:?}");
    let rows = channel.is_the_bill(&host).await;
    let audio: Vec<u64> =
        rows.iter().filter(is_speech).map(|row| row.entry.end.as_ref().unwrap().units.audio_ms).collect();
    let wanted = pieces(video);
    assert!(wanted.len() > 2);
    assert_eq!(audio, wanted, "a row for each piece");
    let billed = channel.services.speech.desk.bill();
    let by_the_second: Vec<_> = wanted.iter().map(|millis| Amount::Millis(millis.div_ceil(1_000) * 1_000)).collect();
    assert_eq!(billed.iter().map(|row| row.amount).collect::<Vec<_>>(), by_the_second);
    let (_, attempts) = one.attempts.iter().find(|(stage, _)| stage.as_str() == "whisper").unwrap();
    let tools: Vec<&str> = attempts[0].tools.iter().map(|served| served.tool.as_str()).collect();
    assert_eq!(tools, ["yt-dlp", "ffmpeg"], "the host's run is told like a handler's");
    stop(host).await;
}

#[tokio::test]
async fn p05_long_audio_is_cut_by_the_hosts_ffmpeg_which_no_job_is_granted_and_paid_for_by_the_second() {
    assert!(job().contains("grant = [\"http video.example\", \"tools yt-dlp\", \"artifacts\""));
    is_heard_in_pieces(&stand_in("ffmpeg")).await;
}

#[cfg(feature = "real-tools")]
#[tokio::test]
async fn p05_long_audio_is_cut_by_the_real_ffmpeg() {
    is_heard_in_pieces(&part("[tool.ffmpeg]")).await;
}

#[tokio::test]
async fn trap02_a_host_that_ends_between_two_pieces_pays_for_the_first_once() {
    let channel = Channel::new().await;
    let video = channel.promising(Captions::None);
    let (first, second) = (Release::new(), Release::new());
    first.release();
    channel.services.speech.desk.next([ModelFault::Hold(first), ModelFault::Hold(second.clone())]);
    let proxy = format!("[proxy.main]\nurl = {:?}\nca = \"ca.pem\"\n", channel.world.sim.proxy_url());
    let rest = format!("grace = \"0s\"\n{proxy}{}", in_parts(&stand_in("ffmpeg")));
    let file = channel.world.file(&rest);
    let host = channel.world.start(&file).await;
    channel.world.sim.wait_for(|counts| counts.of_host(EAR) == 2).await;
    stop(host).await;
    second.release();

    let host = channel.world.start(&file).await;
    channel.ended(&host, 0).await;
    let one = of(&host, video).await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    let count = pieces(video).len();
    let asked = channel.world.sim.counts().of_host(EAR);
    assert_eq!(asked, count as u64 + 1, "the second piece alone is sent again: what came of it nobody knows");
    let rows = rows(&host).await;
    let ends = rows.iter().filter(is_speech).map(|row| row.entry.end.as_ref().unwrap());
    let ends: Vec<_> = ends.map(|end| (end.how, end.is_estimate)).collect();
    let mut wanted = vec![(How::Answered, false), (How::Lost, true)];
    wanted.resize(count + 1, (How::Answered, false));
    assert_eq!(ends, wanted, "{rows:#?}");
    let told = rows.iter().map(|row| &row.entry).filter(|row| row.end.as_ref().is_some_and(|end| !end.is_estimate));
    let lost = channel.services.speech.desk.bill()[1].cost;
    let bill = bill::sum(&channel.services.bill());
    assert_eq!(sum(told).saturating_add(lost), bill, "what isn't marked is the bill");
    stop(host).await;
}

#[tokio::test]
async fn trap06_an_attempt_that_failed_at_a_piece_leaves_the_pieces_before_it_to_the_next_which_pays_for_the_rest() {
    let channel = Channel::new().await;
    let video = channel.promising(Captions::None);
    let first = Release::new();
    first.release();
    channel.services.speech.desk.next([ModelFault::Hold(first), ModelFault::Broken]);
    let (clock, file) = (TestClock::new(), channel.world.jobs(&in_parts(&stand_in("ffmpeg"))));
    let host = channel.world.start_at(&file, clock.clone()).await;
    let all = channel.calls().count() as u64;
    let has_ended = |job: &JobDetail| job.job.items.values().sum::<u64>() == all && open_items(job) == 0;
    pass_of("youtube", &host, &clock, Duration::from_secs(30), has_ended).await;
    let one = of(&host, video).await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    let whisper = one.item.tasks.iter().find(|task| task.stage.as_str() == "whisper").unwrap();
    assert_eq!((whisper.tally.attempts, whisper.tally.counted), (2, 1), "the first has failed");
    let count = pieces(video).len();
    assert_eq!(channel.world.sim.counts().of_host(EAR), count as u64 + 1, "the piece that failed alone is sent again");
    let rows = channel.is_the_bill(&host).await;
    let speech: Vec<_> = rows.iter().filter(is_speech).collect();
    let attempts: Vec<u32> = speech.iter().map(|row| row.entry.call.caller.attempt).collect();
    let mut wanted = vec![2; count + 1];
    wanted[..2].fill(1);
    assert_eq!(attempts, wanted, "{speech:#?}");
    assert_eq!(channel.services.speech.desk.bill().len(), count, "each was paid for once");
    stop(host).await;
}

/// Items of which audio is cut at once.
const CUTS_MAX: usize = 2;

#[tokio::test]
async fn of_long_audio_no_more_is_cut_at_once_than_memory_holds_and_who_waits_uses_no_attempt() {
    let channel = Channel::of(Videos::seeded(0, 3 * VIDEOS)).await;
    let is_silent = |video: &&VideoFacts| video.captions == Captions::None && video.kind == VideoKind::Call;
    let videos: Vec<&VideoFacts> = channel.calls().filter(is_silent).take(CUTS_MAX + 1).collect();
    assert_eq!(videos.len(), CUTS_MAX + 1);
    videos.iter().for_each(|video| channel.promises(&format!("Title: {}\n", video.title), 9));
    let [told, goes, free] = ["told", "goes", "free"].map(|name| channel.world.path(name));
    assert!(Command::new("mkfifo").args([&told, &goes]).status().unwrap().success());
    // Each run tells that it has begun, and waits until it may go on.
    let stand_in = stand_in("ffmpeg");
    let program = stand_in.lines().find_map(|line| line.strip_prefix("command = ")).unwrap();
    let waits = format!(
        "[ -e '{}' ] || {{ echo > '{}'; read go < '{}'; }}; exec {} \"$@\"",
        free.display(),
        told.display(),
        goes.display(),
        program.trim_matches('"')
    );
    let as_shell = |line: &str| match line {
        line if line.starts_with("command = ") => "command = \"/bin/sh\"".to_owned(),
        line => match line.strip_prefix("args = [") {
            Some(own) => format!("args = [\"-c\", {waits:?}, \"sh\", {own}"),
            None => line.to_owned(),
        },
    };
    let ffmpeg = stand_in.lines().map(as_shell).collect::<Vec<_>>().join("\n");
    assert!(ffmpeg.contains("\"-c\""), "{ffmpeg}");
    let job = but(
        &in_parts(&format!("{ffmpeg}\n")),
        "concurrency = 1\ntimeout = \"30min\"",
        "concurrency = 3\ntimeout = \"30min\"",
    );
    let (clock, file) = (TestClock::new(), channel.world.jobs(&job));
    let mut begun = pipe::OpenOptions::new().read_write(true).open_receiver(&told).unwrap();
    let mut go = pipe::OpenOptions::new().read_write(true).open_sender(&goes).unwrap();
    let host = channel.world.start_at(&file, clock.clone()).await;
    let mut progress = host.progress();
    // A turn at a site is waited for by the clock as well, so it goes on until the third is sent away. That comes again
    // and again as long as the others are held, so nothing is missed.
    let is_sent_away = async {
        loop {
            for video in &videos {
                let key = ItemKey::new(&video.id).unwrap();
                let one = host.operations().item("youtube", &key).await.unwrap();
                if one.is_some_and(|one| format!("{:?}", state(&one, "whisper")).contains("is being cut")) {
                    return *video;
                }
            }
            clock.advance(Duration::from_secs(10));
            // Nothing has to move: who waits for the clock may have to wait for more of it.
            let _ = timeout(Duration::from_millis(50), progress.changed()).await;
        }
    };
    let waiting = timeout(Duration::from_secs(120), is_sent_away).await.expect("nobody is sent away");
    let mut both = [0; CUTS_MAX];
    begun.read_exact(&mut both).await.unwrap();
    let one = of(&host, waiting).await;
    let whisper = one.item.tasks.iter().find(|task| task.stage.as_str() == "whisper").unwrap();
    assert_eq!((whisper.tally.counted, whisper.tally.crashes), (0, 0), "{one:#?}");
    assert_eq!(channel.world.sim.counts().of_host(EAR), 0);

    fs::write(&free, "").unwrap();
    go.write_all(b"\n\n").await.unwrap();
    let all = channel.calls().count() as u64;
    let has_ended = |job: &JobDetail| job.job.items.values().sum::<u64>() == all && open_items(job) == 0;
    pass_of("youtube", &host, &clock, Duration::from_secs(30), has_ended).await;
    for video in videos {
        let one = of(&host, video).await;
        assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    }
    channel.is_the_bill(&host).await;
    stop(host).await;
}

#[tokio::test]
async fn p05_audio_that_nobody_can_cut_is_paid_for_by_nobody_and_says_what_to_add() {
    let sleeps = "[tool.ffmpeg]\ncommand = \"/bin/sh\"\nargs = [\"-c\", \"sleep 600\"]\nnetwork = false\n\
                  output = \"files\"\ntimeout = \"1s\"\n";
    let junk = "[tool.ffmpeg]\ncommand = \"/bin/sh\"\nargs = [\"-c\", \"echo 'x: Invalid data found' >&2; exit 1\"]\n\
                network = false\noutput = \"files\"\nrules = [{ stderr = [\"Invalid data found\"], \
                outcome = \"permanent\" }]\n";
    let reaches = "[tool.ffmpeg]\ncommand = \"ffmpeg\"\nproxy-env = [\"http_proxy\"]\nurl-args = [\"{url}\"]\n\
        output = \"files\"\n";
    for (ffmpeg, says) in [
        ("", "jobs.toml has no tool ffmpeg; add [tool.ffmpeg] with `network = false`"),
        (reaches, "set `network = false` in [tool.ffmpeg]"),
        (sleeps, "ffmpeg was killed after 1.0 s; set a longer `timeout` in [tool.ffmpeg]"),
        (junk, "Invalid data found"),
    ] {
        let channel = Channel::new().await;
        let video = channel.promising(Captions::None);
        let once = in_parts(ffmpeg);
        let once = but(&once, "[job.youtube.stage.whisper]\n", "[job.youtube.stage.whisper]\nattempts = 1\n");
        // What sleeps is killed, and not waited for: a run in which nothing moves for so long fails.
        let host = channel.run(&once).await;
        let one = of(&host, video).await;
        let TaskState::Failed { error } = state(&one, "whisper") else { panic!("{one:#?}") };
        assert!(error.to_string().contains(says), "{error}");
        let rows = channel.is_the_bill(&host).await;
        assert_eq!(rows.iter().filter(is_speech).count(), 0);
        assert_eq!(channel.world.sim.counts().of_host(EAR), 0, "nothing was sent");
        stop(host).await;
    }
}
