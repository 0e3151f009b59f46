//! Deadlines, kills, floods and what a run leaves: nothing outlives it, and nothing of it is without end.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tollgate_core::tool::{ToolError, ToolRequest};
use tollgate_egress::Hop;

use crate::world::{World, caller, request, shell};

/// A pipe with a name. Whoever reads it learns that it was opened for writing, and that all its writers are gone.
fn pipe(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// A tool whose child's child holds the pipe open, and never ends by itself.
fn hanging(pipe: &Path, then: &str) -> String {
    let script = format!("sh -c 'sh -c \"exec 9>\\\"$PIPE\\\"; echo open >&9; sleep 100000\" & sleep 100000' & {then}");
    let env = format!("env = {{ PIPE = {:?}, PATH = {{ env = \"PATH\" }} }}\n", pipe.display().to_string());
    shell("hang", &script, &format!("network = false\n{env}"))
}

/// Ready once the pipe was opened and all who held it are gone.
async fn gone(pipe: PathBuf) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        std::fs::File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    read.await.unwrap()
}

#[tokio::test]
async fn a_deadline_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = pipe(folder.path());
    let world = World::new(&hanging(&pipe, "sleep 100000"));
    let reader = tokio::spawn(gone(pipe));
    let run = ToolRequest { timeout: Some(Duration::from_secs(3)), ..request("hang", &[]) };
    let refused = world.run(run).await.unwrap_err();
    assert!(matches!(&refused.error, ToolError::Timeout(text) if text.contains("killed after 3.0 s")), "{refused:?}");
    assert_eq!(reader.await.unwrap(), "open\n", "its child's child is gone too");
    assert!(world.scratch_folders().is_empty());
}

#[tokio::test]
async fn trap19_a_run_that_is_dropped_is_killed_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = pipe(folder.path());
    let world = World::new(&hanging(&pipe, "sleep 100000"));
    let (opened, is_open) = tokio::sync::oneshot::channel();
    let reader = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(pipe).unwrap();
        let mut text = [0; 5];
        file.read_exact(&mut text).unwrap();
        opened.send(()).unwrap();
        // The end comes when nobody holds the other side any more.
        file.read(&mut text).unwrap()
    });
    let gate = world.gate.clone();
    let run = tokio::spawn(async move { gate.run_tool(&caller(), request("hang", &[]), &|_| ()).await.map(drop) });
    is_open.await.unwrap();
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    assert_eq!(reader.await.unwrap(), 0);
    assert!(world.scratch_folders().is_empty());
}

#[tokio::test]
async fn a_child_that_stays_behind_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = pipe(folder.path());
    let world = World::new(&hanging(&pipe, "cat \"$PIPE.go\" > /dev/null; echo done"));
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe.go")).status().unwrap().success());
    let go = folder.path().join("pipe.go");
    let reader = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(pipe).unwrap();
        let mut text = [0; 5];
        file.read_exact(&mut text).unwrap();
        std::fs::write(go, "go").unwrap();
        file.read(&mut text).unwrap()
    });
    let output = world.run(request("hang", &[])).await.unwrap();
    assert_eq!(output.stdout, b"done\n");
    assert_eq!(reader.await.unwrap(), 0, "it is killed with its group");
}

#[tokio::test]
async fn what_a_tool_says_is_bounded() {
    let world = World::new(&shell("flood", "yes", "network = false\noutput-max = \"100 kB\""));
    let refused = world.run(request("flood", &[])).await.unwrap_err();
    assert!(refused.error.to_string().contains("more than 100000 bytes"), "{refused:?}");
    let script = "yes noise | head -c 3000000 >&2; echo the last word >&2; exit 1";
    let world = World::new(&shell("grumble", script, "network = false\nenv = { PATH = { env = \"PATH\" } }"));
    let refused = world.run(request("grumble", &[])).await.unwrap_err();
    let said = refused.error.to_string();
    assert!(said.contains("the last word") && said.len() < 10_000, "{}", said.len());
    let script = "yes noise | head -c 3000000 >&2; echo good";
    let world = World::new(&shell("grumble", script, "network = false\nenv = { PATH = { env = \"PATH\" } }"));
    let output = world.run(request("grumble", &[])).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.len()), (&b"good\n"[..], (256 << 10) - 4), "whole lines");
    assert!(output.stderr.starts_with("noise\n"), "{:?}", &output.stderr[..20]);
}

#[tokio::test]
async fn pipes_are_fed_and_read_side_by_side() {
    let world = World::new(&shell("cat", "cat; cat <&0 >&2", "network = false"));
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    let output = world.run(ToolRequest { stdin: Some(bytes.clone()), ..request("cat", &[]) }).await.unwrap();
    assert!(output.stdout == bytes);
    let world = World::new(&shell("deaf", "echo deaf", "network = false"));
    let output = world.run(ToolRequest { stdin: Some(bytes), ..request("deaf", &[]) }).await.unwrap();
    assert_eq!(output.stdout, b"deaf\n", "not every program reads what it is given");
}

/// A tool that gives files.
fn leaving(script: &str, more: &str) -> World {
    let more = format!("network = false\nenv = {{ PATH = {{ env = \"PATH\" }} }}\n{more}");
    World::new(&shell("leave", script, &more).replace("output = \"text\"", "output = \"files\""))
}

#[tokio::test]
async fn regular_files_are_collected_and_nothing_that_leads_elsewhere() {
    let script = "echo one > one.txt; echo two > 'two words'; ln -s /etc/passwd link; mkdir folder; echo x > folder/x; \
                  mkfifo fifo; : > empty; echo x > \"$(printf 'a\\nb')\"; echo x > \"$(printf 'a\\377')\"; \
                  echo x > half.part";
    let world = leaving(script, "unfinished = [\"*.part\"]");
    let output = world.run(request("leave", &[])).await.unwrap();
    let names: Vec<&str> = output.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["one.txt", "two words"]);
    assert_eq!(std::fs::read(&output.files[0].path).unwrap(), b"one\n");
    assert_eq!(output.files[0].bytes, 4);
    assert_eq!(output.warnings.len(), 6, "each is told: {:?}", output.warnings);
    assert!(!output.warnings.iter().any(|line| line.contains('\n')), "{:?}", output.warnings);
    let folder = world.scratch_folders();
    drop(output);
    assert!(!folder[0].exists(), "the folder goes with the output");
}

#[tokio::test]
async fn what_a_tool_leaves_is_bounded() {
    let many = leaving("for n in $(seq 101); do echo x > $n; done", "");
    let refused = many.run(request("leave", &[])).await.unwrap_err();
    assert!(refused.error.to_string().contains("more than 100 files"), "{refused:?}");
    let large = leaving("head -c 60000 /dev/zero > a; head -c 60000 /dev/zero > b", "output-max = \"100 kB\"");
    let refused = large.run(request("leave", &[])).await.unwrap_err();
    assert!(refused.error.to_string().contains("120000 bytes of files"), "{refused:?}");
    // More than any file may have: the system ends it.
    let huge = leaving("cat > go; head -c 200000000 /dev/zero > a || exit 9", "output-max = \"100 kB\"");
    let refused = huge.run(ToolRequest { stdin: Some(b"go".to_vec()), ..request("leave", &[]) }).await.unwrap_err();
    assert!(matches!(refused.error, ToolError::Failed(_)), "{refused:?}");
    for world in [many, large, huge] {
        assert!(world.scratch_folders().is_empty());
    }
}

#[tokio::test]
async fn a_tool_of_no_site_says_that_it_runs() {
    let world = World::new(&shell("quick", "echo quick", "network = false"));
    let told = std::sync::Mutex::new(Vec::new());
    let tell = |hop: Hop<'_>| told.lock().unwrap().push(hop == Hop::Runs);
    world.gate.run_tool(&caller(), request("quick", &[]), &tell).await.unwrap();
    assert_eq!(*told.lock().unwrap(), [true]);
}
