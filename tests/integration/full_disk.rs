//! A disk that fills in the middle of a crawl: the host ends and says so, and goes on once there is room.

use std::{fs, path::Path, process::Command, sync::Arc};

use serde_json::Value;
use tollgate_sim::sites::scripted::{Scripted, Step};
use tollgate_store::{RedbStore, Store as _, StoreOptions};

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

/// The same with the store of a killed host on a disk that is full to its last byte.
const REPAIRED: &str = r#"
set -eu
said() {
  name=$1; shift; code=0
  "$@" >"$OUT/$name.out" 2>"$OUT/$name.err" || code=$?
  echo "$code" >"$OUT/$name.code"
}
mkdir "$DATA"
mount -t tmpfs -o size=64m tmpfs "$DATA"
cp --sparse=always "$KILLED"/* "$DATA"
head -c 64M /dev/zero >"$DATA/filler" 2>/dev/null || true
said full "$@" store verify -o json
truncate -s -1M "$DATA/filler"
said room "$@" store verify -o json
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

/// Whether a test may have a namespace of its own; said where it may not.
fn may_mount() -> bool {
    let may = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
    if !may {
        eprintln!("NOT TESTED: a full disk; this system lets nobody make a namespace (`unshare -rm true` fails)");
    }
    may
}

/// Runs a script in a namespace of its own, with the program as its arguments.
async fn run(script: &'static str, world: &World, env: &[(&str, &Path)]) {
    let program = tollgate(world, &world.path("data"), &[]);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, "sh"]).arg(program.get_program()).args(program.get_args());
    command.env("DATA", world.path("data")).env("ROOM_KIB", ROOM_KIB.to_string()).envs(env.iter().copied());
    let script = tokio::task::spawn_blocking(move || Ended::of(command)).await.unwrap();
    script.is("the script itself", 0, &[]);
}

/// A command found no room to open the store, and said what to do.
fn needs_room(out: &Path, name: &str) {
    let (code, printed, said) = step(out, name);
    assert_eq!((code, printed.as_str()), (1, ""), "{name}: {said}");
    for word in ["full", "No space left", "make room", "repaired first"] {
        assert!(said.contains(word), "{name}: {word:?} is missing in: {said}");
    }
    assert!(!said.contains("panicked"), "{name}: {said}");
}

/// A command found the store sound, with so many items.
fn is_sound(out: &Path, name: &str, items: usize) {
    let (code, report, said) = step(out, name);
    assert_eq!(code, 0, "{name}: {said}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["items"], &report["problems_total"]), (&items.into(), &0.into()), "{name}: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_to_be_repaired_on_a_full_disk_asks_for_a_little_room_and_is_sound_with_it() {
    if !may_mount() {
        return;
    }
    let world = World::new(vec![]).await;
    world.jobs("");
    let (open, killed, out) = (world.path("open"), world.path("killed"), world.path("out"));
    [&killed, &out].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    // As a kill leaves them: copied while they are open.
    let store = RedbStore::open(&open, StoreOptions::default()).unwrap();
    for file in ["queue.redb", "ledger.wal", "content.redb"] {
        fs::copy(open.join(file), killed.join(file)).unwrap();
    }
    store.close().await.unwrap();
    run(REPAIRED, &world, &[("OUT", &out), ("KILLED", &killed)]).await;
    needs_room(&out, "full");
    is_sound(&out, "room", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_host_with_its_reason_and_nothing_is_lost() {
    if !may_mount() {
        return;
    }
    let world = world().await;
    let out = world.path("out");
    fs::create_dir(&out).unwrap();
    run(SCRIPT, &world, &[("OUT", &out)]).await;
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
    // On the full disk it is sound, or can't be opened: that depends on where the disk became full. With a little room,
    // and before anything has run again, it is sound.
    if step(&out, "left").0 == 0 {
        is_sound(&out, "left", PAGES);
    } else {
        needs_room(&out, "left");
    }
    is_sound(&out, "room", PAGES);
    let begun: Value = serde_json::from_str(&step(&out, "begun").1).unwrap();
    let done = begun.as_array().unwrap().iter().filter(|item| item["status"] == "done").count();
    assert!((1..PAGES).contains(&done), "the crawl had begun, and not ended: {done} of {PAGES}");

    let (code, _, said) = step(&out, "after");
    assert_eq!(code, 0, "{said}");
    is_sound(&out, "verify", PAGES);
    let items: Value = serde_json::from_str(&step(&out, "items").1).unwrap();
    let items = items.as_array().unwrap();
    assert_eq!(items.len(), PAGES);
    assert!(items.iter().all(|item| item["status"] == "done"), "{items:?}");
}
