//! A disk that fills in the middle of a crawl: the host ends and says so, and goes on once there is room.

use std::{fs, path::Path, process::Command, sync::Arc};

use serde_json::Value;
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::{
    ended::{Ended, tollgate},
    world::{SITE, World},
};

/// Pages of the crawl, and the bytes of each: small ones are rows of the database, others files of their own.
const PAGES: usize = 48;
const PAGE_BYTES: [usize; 3] = [60_000, 700_000, 2_500_000];
/// Room on the disk at first, in KiB: for the store as it begins, and some of the pages.
const ROOM_KIB: u32 = 16_000;

/// In a namespace of its own: a small disk under the data folder, nearly filled by a file of somebody else's.
const SCRIPT: &str = r#"
set -eu
said() {
  name=$1; shift; code=0
  "$@" >"$OUT/$name.out" 2>"$OUT/$name.err" || code=$?
  echo "$code" >"$OUT/$name.code"
}
mkdir "$DATA"
mount -t tmpfs -o size=400m tmpfs "$DATA"
said check "$@" check
room=$(df -Pk "$DATA" | awk 'NR == 2 { print $4 }')
head -c "$(( (room - ROOM_KIB) * 1024 ))" /dev/zero >"$DATA/filler"
said full "$@" run --until-idle
head -c 400M /dev/zero >"$DATA/filler2" 2>/dev/null || true
said still "$@" run --until-idle
said left "$@" store verify -o json
truncate -s -4M "$DATA/filler"
said room "$@" store verify -o json
said begun "$@" item list shop --limit 1000 -o json
rm "$DATA/filler" "$DATA/filler2"
said after "$@" run --until-idle
said verify "$@" store verify -o json
said items "$@" item list shop --limit 1000 -o json
"#;

/// Bytes that no packing makes smaller.
fn noise(seed: usize, bytes: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let word = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).flatten().take(bytes).collect()
}

/// A site of such pages, and a job that takes them all.
async fn world() -> World {
    let path = |page: usize| format!("/{page}");
    let step = |page: usize| {
        let body = noise(page, PAGE_BYTES[page % PAGE_BYTES.len()]);
        Step::ok(body).header(http::header::CONTENT_TYPE, "application/octet-stream")
    };
    let site = (0..PAGES).fold(Scripted::new(), |site, page| site.path(&path(page), [step(page)]));
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    let seeds: Vec<String> = (0..PAGES).map(|page| format!("http://{SITE}{}", path(page))).collect();
    world.jobs(&format!(
        "[job.shop]\nkind = \"backfill\"\nhandler = \"pages\"\ngrant = [\"http {SITE}\", \"artifacts\"]\n\
         discover = \"once\"\nbreaker = 1\nparams = {{ seeds = {seeds:?} }}\n"
    ));
    world
}

/// How a step of the script ended: its exit code, what it printed, what it said.
fn step(out: &Path, name: &str) -> (i32, String, String) {
    let read = |kind: &str| fs::read_to_string(out.join(format!("{name}.{kind}"))).unwrap();
    (read("code").trim().parse().unwrap(), read("out"), read("err"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_host_with_its_reason_and_nothing_is_lost() {
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("NOT TESTED: a full disk; this system lets nobody make a namespace (`unshare -rm true` fails)");
        return;
    }
    let world = world().await;
    let (data, out) = (world.path("data"), world.path("out"));
    fs::create_dir(&out).unwrap();
    let program = tollgate(&world, &data, &[]);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", SCRIPT, "sh"]).arg(program.get_program()).args(program.get_args());
    command.env("DATA", &data).env("OUT", &out).env("ROOM_KIB", ROOM_KIB.to_string());
    let script = tokio::task::spawn_blocking(move || Ended::of(command)).await.unwrap();
    script.is("the script itself", 0, &[]);
    assert_eq!(step(&out, "check").0, 0, "{:?}", step(&out, "check"));

    for name in ["full", "still"] {
        let (code, _, said) = step(&out, name);
        let error = said.rfind("error: ").map_or("", |at| &said[at..]);
        assert_eq!((code, error.lines().count()), (1, 1), "{name}: {said}");
        for word in ["full", "No space left", "make room", "start again"] {
            assert!(error.contains(word), "{name}: {word:?} is missing in: {said}");
        }
        assert!(!said.contains("panicked"), "{name}: {said}");
    }
    // On the full disk it is sound, or can't be looked at: that takes no room as it was closed, and some where the disk was too
    // full for that. With a little room, and before anything has run again, it is sound.
    let (code, _, said) = step(&out, "left");
    if code != 0 {
        assert_eq!(code, 1, "{said}");
        for word in ["full", "No space left", "make room", "repaired first"] {
            assert!(said.contains(word), "{word:?} is missing in: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
    for name in if code == 0 { &["left", "room"][..] } else { &["room"] } {
        let (code, report, said) = step(&out, name);
        assert_eq!(code, 0, "{name}: {said}");
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!((&report["items"], &report["problems_total"]), (&PAGES.into(), &0.into()), "{name}: {report}");
    }
    let begun: Value = serde_json::from_str(&step(&out, "begun").1).unwrap();
    let done = begun.as_array().unwrap().iter().filter(|item| item["status"] == "done").count();
    assert!((1..PAGES).contains(&done), "the crawl had begun, and not ended: {done} of {PAGES}");

    let (code, _, said) = step(&out, "after");
    assert_eq!(code, 0, "{said}");
    let report: Value = serde_json::from_str(&step(&out, "verify").1).unwrap();
    assert_eq!((&report["items"], &report["problems_total"]), (&PAGES.into(), &0.into()), "{report}");
    let items: Value = serde_json::from_str(&step(&out, "items").1).unwrap();
    let items = items.as_array().unwrap();
    assert_eq!(items.len(), PAGES);
    assert!(items.iter().all(|item| item["status"] == "done"), "{items:?}");
}
