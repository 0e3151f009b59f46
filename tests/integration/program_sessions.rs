//! `tollgate session` as people run it: over a running host's API, and of a stopped host.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Output, Stdio},
    sync::Arc,
};

use serde_json::{Value, json};
use tollgate_sim::sites::ideas::{self, Exchange, Ideas, Settings, Wall};

use crate::{
    program::{run, tollgate},
    world::World,
};

const JOBS: &str = r#"
[site."ideas.example"]
rate = "1000/s"
session = "ideas"

[session.ideas]
file = "cookies/ideas.txt"
exchange = { url = "https://ideas.example/session", keeps = "ideas_session" }
test = "https://ideas.example/account"
"#;

/// A club for members, and a person who has left a member's persistent cookie.
struct Club {
    world: World,
    site: Arc<Ideas>,
}

impl Club {
    async fn new() -> Self {
        let site = Arc::new(Ideas::seeded(7));
        let world = World::new(vec![(ideas::HOST, site.clone())]).await;
        fs::create_dir(world.path("cookies")).unwrap();
        fs::write(world.path("cookies/ideas.txt"), site.cookie_file(None, true)).unwrap();
        world.jobs(JOBS);
        Self { world, site }
    }

    /// Runs a command, which must end so; in nothing that it says is a cookie.
    async fn says(&self, args: &[&str], code: i32) -> (String, String) {
        let Output { status, stdout, stderr } = run(&self.world, args).await;
        let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert_eq!(status.code(), Some(code), "{args:?}: {stdout}{stderr}");
        for secret in [self.site.remember().as_str(), "session-1-", "session-2-", "session-3-"] {
            assert!(!stdout.contains(secret) && !stderr.contains(secret), "{args:?}: {stdout}{stderr}");
        }
        (stdout, stderr)
    }

    async fn json(&self, args: &[&str], code: i32) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.says(&args, code).await.0).unwrap()
    }

    /// Starts the program and waits until it says that it runs.
    async fn start(&self) -> Child {
        let mut child = tollgate(&self.world, &["run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (told, running) = tokio::sync::oneshot::channel();
        // What it says after that is read too, so that it never waits for a reader.
        std::thread::spawn(move || {
            let mut told = Some(told);
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.starts_with("running;") {
                    told.take().into_iter().for_each(|told| told.send(()).unwrap());
                }
            }
        });
        running.await.expect("it ended before it ran");
        child
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What all of them say, whoever answers: the club has given `given` sessions before.
async fn commands_answer(club: &Club, given: u64) {
    let renewed = club.json(&["session", "renew", "ideas"], 0).await;
    assert_eq!((&renewed["name"], &renewed["source"]), (&json!("ideas"), &json!("file")), "{renewed}");
    assert_eq!(club.site.sessions_given(), given + 1, "it exchanges once");
    let tested = club.json(&["session", "test", "ideas"], 0).await;
    assert_eq!(
        tested,
        json!({"url": "https://ideas.example/account", "is_taken": true, "said": "ideas.example:443 answered 200"})
    );
    let (table, _) = club.says(&["session", "test", "ideas"], 0).await;
    assert!(table.starts_with("session ideas is taken: https://ideas.example/account"), "{table}");
    assert_eq!(club.site.sessions_given(), given + 1, "the one that was made is tested");
    club.site.expire();
    let tested = club.json(&["session", "test", "ideas"], 6).await;
    assert_eq!(tested["is_taken"], false, "{tested}");
    let (_, said) = club.says(&["session", "test", "ideas"], 6).await;
    assert!(said.contains("tollgate session renew ideas"), "{said}");
    let (_, said) = club.says(&["session", "renew", "idea"], 4).await;
    assert!(said.contains("did you mean `ideas`?"), "{said}");
    club.site.set(Settings { exchange: Exchange::Forgets, wall: Wall::Redirect, ..Settings::default() });
    let (out, said) = club.says(&["session", "renew", "ideas", "-o", "json"], 6).await;
    assert!(out.is_empty() && said.contains("export the cookies of a browser"), "what a person has to do: {said}");
    club.site.set(Settings::default());
    club.says(&["session", "renew", "ideas"], 0).await;
    club.json(&["session", "test", "ideas"], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_sessions_are_listed_tested_and_renewed_while_the_host_is_stopped_and_before_its_first_run() {
    let club = Club::new().await;
    let listed = club.json(&["session", "list"], 0).await;
    assert_eq!((&listed[0]["source"], &listed[0]["since"]), (&json!("file"), &json!(null)), "{listed}");
    assert_eq!(club.world.sim.counts().of_host(ideas::HOST), 0, "a list asks nobody");
    commands_answer(&club, 0).await;
    let listed = club.json(&["session", "list"], 0).await;
    assert_eq!((&listed[0]["name"], &listed[0]["source"]), (&json!("ideas"), &json!("cached")), "{listed}");
    assert_eq!(listed[0]["sites"], json!(["ideas.example"]));
    assert!(listed[0]["since"].is_u64(), "{listed}");
    let (table, _) = club.says(&["session", "list"], 0).await;
    assert!(table.contains("cached") && table.contains(" ago"), "{table}");
    let (lines, _) = club.says(&["session", "list", "-o", "jsonl"], 0).await;
    assert_eq!(serde_json::from_str::<Value>(lines.trim_end()).unwrap()["name"], "ideas");
    assert_eq!(club.world.sim.counts().direct, 0);
    fs::write(club.world.path("jobs.toml"), "[session.ideas]\nfiel = \"x\"\n").unwrap();
    let broken = run(&club.world, &["session", "list"]).await;
    let said = String::from_utf8(broken.stderr).unwrap();
    assert!(!broken.status.success() && said.contains("did you mean `file`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_a_running_host_answers_for_its_sessions_and_says_which_one_needs_a_person() {
    let club = Club::new().await;
    let child = club.start().await;
    commands_answer(&club, 0).await;
    let listed = club.json(&["session", "list"], 0).await;
    assert_eq!((&listed[0]["source"], &listed[0]["last_error"]), (&json!("file"), &json!(null)), "{listed}");
    club.site.set(Settings { exchange: Exchange::Forgets, wall: Wall::Redirect, ..Settings::default() });
    club.says(&["session", "renew", "ideas"], 6).await;
    let listed = club.json(&["session", "list"], 0).await;
    assert!(listed[0]["last_error"].as_str().unwrap().contains("cookies/ideas.txt"), "{listed}");
    let (table, _) = club.says(&["session", "list"], 0).await;
    assert!(table.contains("! session ideas: "), "{table}");
    let (status, _) = club.says(&["status"], 0).await;
    assert!(status.contains("! session ideas: ") && status.contains("export the cookies"), "{status}");
    // What comes of it lies in the data folder, for the next host.
    club.site.set(Settings::default());
    club.says(&["session", "renew", "ideas"], 0).await;
    assert!(!club.says(&["status"], 0).await.0.contains("! session ideas"));
    let given = club.site.sessions_given();
    end(child);
    assert_eq!(club.json(&["session", "list"], 0).await[0]["source"], "cached");
    club.json(&["session", "test", "ideas"], 0).await;
    assert_eq!(club.site.sessions_given(), given);
}
