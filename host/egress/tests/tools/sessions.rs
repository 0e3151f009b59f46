//! The cookies of a site's session, given to a tool for its run and no longer.

use std::sync::Arc;

use tollgate_core::{outcome::RefusalKind, tool::ToolError};
use tollgate_sim::{
    Sim,
    sites::ideas::{HOST, Ideas, SESSION_COOKIE},
};

use crate::world::{World, request_for, shell, shipped};

const URL: &str = "http://ideas.example/idea/001";

/// A proxy, the club, and its session by a file; then tools.
fn jobs(sim: &Sim, exchange: &str, tools: &str) -> String {
    format!(
        "[proxy.main]\nurl = \"{}\"\n[site.\"ideas.example\"]\nsession = \"ideas\"\n[session.ideas]\n\
         file = \"ideas.txt\"\n{exchange}\n{tools}",
        sim.proxy_url()
    )
}

const PROXY: &str = "proxy-env = [\"http_proxy\"]\n";
const COOKIES: &str = "cookies-args = [\"{cookies}\"]\n";

async fn club() -> (Sim, Arc<Ideas>) {
    let site = Arc::new(Ideas::seeded(50));
    (Sim::builder().site(HOST, site.clone()).start().await.unwrap(), site)
}

#[tokio::test]
async fn r10_a_tool_is_given_the_cookies_of_its_site_for_the_run_alone() {
    let (sim, site) = club().await;
    let session = site.log_in();
    // Says how the file lies there, what its cookie is called, and its value.
    let script = "stat -c %a \"$1\"; cut -f 6,7 \"$1\"; echo >&2 \"$(cat \"$1\")\"";
    let world = World::new(&jobs(&sim, "", &shell("show", script, &format!("{PROXY}{COOKIES}"))));
    let file = format!(
        "{HOST}\tFALSE\t/\tFALSE\t0\t{SESSION_COOKIE}\t{session}\nother.example\tFALSE\t/\tFALSE\t0\tother\tx\n"
    );
    std::fs::write(world.folder.path().join("ideas.txt"), file).unwrap();
    let output = world.run(request_for("show", &[], URL)).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("600\n") && text.contains(SESSION_COOKIE) && !text.contains("other"), "{text}");
    assert!(!text.contains(&session) && text.contains("[hidden]"), "its value doesn't come back: {text}");
    assert!(!output.stderr.contains(&session), "{}", output.stderr);
    assert!(output.files.iter().all(|file| file.name != "cookies.txt"));
    let left = world.scratch_folders().into_iter().filter(|folder| folder.join("cookies.txt").exists()).count();
    assert_eq!((left, world.scratch_folders().len()), (0, 1), "the run is over, its output is still there");
    drop(output);
    assert!(world.scratch_folders().is_empty());
}

#[tokio::test]
async fn r10_a_tool_for_a_site_without_a_session_gets_no_cookie_file() {
    let (sim, _site) = club().await;
    let world = World::new(&jobs(&sim, "", &shell("show", "echo args: $#", &format!("{PROXY}{COOKIES}"))));
    std::fs::write(world.folder.path().join("ideas.txt"), format!("{HOST}\tFALSE\t/\tFALSE\t0\ta\tb\n")).unwrap();
    let with = world.run(request_for("show", &[], URL)).await.unwrap();
    let without = world.run(request_for("show", &[], "http://other.example/")).await.unwrap();
    assert_eq!((with.stdout, without.stdout), (b"args: 2\n".to_vec(), b"args: 1\n".to_vec()));
}

#[tokio::test]
async fn r10_a_tool_that_cannot_take_a_session_is_not_run_without_it_unless_its_entry_says_so() {
    let (sim, _site) = club().await;
    let tools = [shell("mute", "echo $#", PROXY), shell("free", "echo $#", &format!("{PROXY}cookies-args = []\n"))];
    let world = World::new(&jobs(&sim, "", &tools.concat()));
    let refused = world.run(request_for("mute", &[], URL)).await.unwrap_err();
    let ToolError::Denied(text) = &refused.error else { panic!("{refused:?}") };
    assert!(
        text.contains("ideas.example:80 has session ideas") && text.contains("to [tool.mute] in jobs.toml"),
        "{text}"
    );
    assert_eq!(world.run(request_for("free", &[], URL)).await.unwrap().stdout, b"1\n");
}

#[tokio::test]
async fn r10_a_tool_that_is_told_to_sign_in_runs_once_more_with_a_renewed_session() {
    let (sim, site) = club().await;
    // Takes the second session that the club gives, and no other.
    let script = "grep -q 'session-2-' \"$1\" && echo fine || { echo 'Login details are needed' >&2; exit 1; }";
    let rules = "rules = [{ stderr = [\"Login details are needed\"], outcome = \"login-required\" }]\n";
    let exchange = "exchange = { url = \"http://ideas.example/session\", keeps = \"ideas_session\" }";
    let world = World::new(&jobs(&sim, exchange, &shell("talk", script, &format!("{PROXY}{COOKIES}{rules}"))));
    std::fs::write(world.folder.path().join("ideas.txt"), site.cookie_file(None, false)).unwrap();
    assert_eq!(world.run(request_for("talk", &[], URL)).await.unwrap().stdout, b"fine\n");
    assert_eq!(site.sessions_given(), 2);
    assert!(world.gate.renew_session("ideas").await.is_ok());
    let refused = world.run(request_for("talk", &[], URL)).await.unwrap_err();
    assert_eq!(refused.refusal.as_ref().unwrap().kind, RefusalKind::LoginRequired);
    assert!(refused.error.to_string().contains("session ideas was renewed, and refused again"), "{}", refused.error);
    assert_eq!(site.sessions_given(), 4);
}

#[test]
fn r10_yt_dlp_as_it_ships_takes_cookies() {
    let entry = shipped("yt-dlp", "yt-dlp".as_ref());
    assert!(entry.contains("cookies-args = [\"--cookies\", \"{cookies}\"]"), "{entry}");
}
