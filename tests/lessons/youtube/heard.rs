//! Speech that is longer than a part: cut by the host's own ffmpeg, heard piece by piece, and paid for once.

use super::*;
use tollgate_sim::{
    Release,
    sites::{bill::Amount, models::ModelFault},
};

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
