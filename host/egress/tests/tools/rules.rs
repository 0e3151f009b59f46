//! What a tool's word comes to: the shipped rules of yt-dlp over its real messages, and the order of rules.

use std::{sync::Arc, time::Duration};

use tollgate_core::{
    http::{HttpError, HttpRequest},
    outcome::RefusalKind,
    tool::ToolError,
};
use tollgate_egress::{ToolOutput, ToolRefused};
use tollgate_sim::{
    Sim,
    sites::scripted::{Scripted, Step},
};

use crate::world::{World, caller, request, request_for, shell, shipped, stand_in};

const HOST: &str = "tube.example";
const SITE: &str = "tube.example:443";

/// A small internet, and a gate with the shipped yt-dlp, for which the stand-in stands.
async fn tube() -> (Sim, World) {
    let sim = Sim::builder().site(HOST, Arc::new(Scripted::new().path("/", [Step::ok("x")])));
    let sim = sim.proxy_auth("me", "hush-hush").start().await.unwrap();
    let proxy = sim.proxy_url_with_auth();
    let entry = shipped("yt-dlp", &stand_in());
    let world = World::new(&format!("[proxy.main]\nurl = \"{proxy}\"\n{entry}"));
    (sim, world)
}

async fn ask(world: &World, what: &str) -> Result<ToolOutput, ToolRefused> {
    world.run(request_for("yt-dlp", &["--dump-json"], &format!("https://{HOST}/{what}"))).await
}

fn text(error: &ToolError) -> String {
    error.to_string()
}

#[tokio::test]
async fn r03_a_bot_wall_is_blocked_and_the_site_is_left_alone_by_everyone() {
    let (_sim, world) = tube().await;
    let refused = ask(&world, "bot").await.unwrap_err();
    assert!(matches!(&refused.error, ToolError::Blocked(text) if text.contains("not a bot")), "{refused:?}");
    let refusal = refused.refusal.unwrap();
    assert_eq!((refusal.kind, refusal.about.as_str()), (RefusalKind::Blocked, SITE));
    assert_eq!(refusal.after, Some(Duration::from_mins(30)));
    // The next tool, and the next request, whichever job asks.
    let next = ask(&world, "good").await.unwrap_err();
    assert!(matches!(next.error, ToolError::Blocked(_)), "{next:?}");
    let page = HttpRequest {
        method: "GET".into(),
        url: format!("https://{HOST}/"),
        headers: Vec::new(),
        body: None,
        timeout: None,
    };
    let page = world.gate.fetch(&caller(), page, &|_| ()).await.unwrap_err();
    assert!(matches!(page.error, HttpError::Blocked(_)), "{page:?}");
    let site = world.site(SITE).unwrap();
    assert!(site.reason.unwrap().contains("not a bot"), "S08: the reason is shown with the site");
    assert_eq!(site.requests, 1);
}

#[tokio::test]
async fn r03_the_shipped_rules_know_yt_dlp_s_words() {
    use RefusalKind::{Blocked, Later, LoginRequired, Permanent, RateLimited, Transport};
    for (what, kind, after) in [
        ("captcha", Blocked, Some(30)),
        ("age", LoginRequired, None),
        ("unavailable", Permanent, None),
        ("private", Permanent, None),
        ("upcoming", Later, Some(60)),
        ("live", Later, Some(60)),
        ("session", RateLimited, Some(60)),
        ("429", RateLimited, Some(10)),
        ("reset", Transport, None),
        ("warned-then-gone", Permanent, None),
    ] {
        let (_sim, world) = tube().await;
        let refused = ask(&world, what).await.unwrap_err();
        let refusal = refused.refusal.unwrap_or_else(|| panic!("{what}: {:?}", refused.error));
        assert_eq!((refusal.kind, refusal.after), (kind, after.map(Duration::from_mins)), "{what}: {refusal:?}");
        let cools = matches!(kind, Blocked | RateLimited);
        assert_eq!(world.site(SITE).unwrap().cooling_until.is_some(), cools, "{what}");
        assert!(world.gate.status().proxies[0].down_until.is_none(), "{what} is no fault of the proxy");
    }
}

#[tokio::test]
async fn s08_an_empty_output_is_an_error_at_exit_0() {
    let (_sim, world) = tube().await;
    let refused = ask(&world, "empty").await.unwrap_err();
    let said = text(&refused.error);
    assert!(matches!(refused.error, ToolError::Failed(_)) && said.contains("exit status 0, and no output"), "{said}");
    for nothing in ["printf ''", "printf ' \\n'"] {
        let world = World::new(&shell("quiet", nothing, "network = false"));
        let refused = world.run(request("quiet", &[])).await.unwrap_err();
        assert!(text(&refused.error).contains("no output"), "{refused:?}");
    }
}

#[tokio::test]
async fn s08_what_no_rule_knows_is_failed_with_the_tool_s_last_lines() {
    let (_sim, world) = tube().await;
    let refused = ask(&world, "odd").await.unwrap_err();
    let said = text(&refused.error);
    assert!(matches!(refused.error, ToolError::Failed(_)) && said.contains("KeyError('streamingData')"), "{said}");
    assert!(said.contains("exit status 1") && said.contains("(web)") && said.contains("(android)"), "{said}");
}

#[tokio::test]
async fn s16_good_data_at_a_non_zero_exit_is_kept_with_its_warnings() {
    let (_sim, world) = tube().await;
    let output = ask(&world, "warned").await.unwrap();
    assert_eq!(output.exit_code, 1);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["title"], "A talk");
    assert!(output.warnings.iter().any(|line| line.contains("No supported JavaScript runtime")), "{output:?}");
    assert!(output.warnings.iter().any(|line| line.contains("subtitles for 'de'")), "{output:?}");
    assert!(world.site(SITE).unwrap().cooling_until.is_none(), "what was got over decides nothing");
    let output = ask(&world, "good").await.unwrap();
    assert_eq!((output.exit_code, output.warnings.len(), output.site.as_deref()), (0, 1, Some(SITE)));
}

#[tokio::test]
async fn s16_a_non_zero_exit_of_which_no_rule_knows_a_word_is_still_told() {
    let world = World::new(&shell("odd", "echo good; echo grumble >&2; exit 3", "network = false"));
    let output = world.run(request("odd", &[])).await.unwrap();
    assert_eq!((output.exit_code, output.warnings.as_slice()), (3, &["exit status 3: grumble".to_owned()][..]));
    let strict =
        World::new(&shell("odd", "echo good; echo grumble >&2; exit 3", "network = false\nstrict-exit = true"));
    let refused = strict.run(request("odd", &[])).await.unwrap_err();
    assert!(text(&refused.error).contains("can't be trusted: grumble"), "{refused:?}");
}

#[tokio::test]
async fn r05_clients_are_tried_in_turn_and_the_one_that_served_is_told() {
    let (_sim, world) = tube().await;
    let output = ask(&world, "needs-web").await.unwrap();
    assert_eq!(output.profile, "web");
    assert_eq!(ask(&world, "good").await.unwrap().profile, "android");
    let site = world.site(SITE).unwrap();
    assert!(site.cooling_until.is_none(), "a wall that another client got past leaves the site open");
    assert_eq!(site.requests, 2, "one turn for all its profiles");
}

#[tokio::test]
async fn r05_an_outcome_that_is_not_named_ends_the_run() {
    let (_sim, world) = tube().await;
    let refused = ask(&world, "unavailable").await.unwrap_err();
    let said = text(&refused.error);
    assert!(said.contains("(android)") && !said.contains("(web)"), "{said}");
}

#[tokio::test]
async fn r11_one_exit_status_and_three_meanings() {
    let rules = "network = false\nrules = [\n\
                 { output = [\"<captcha>\"], outcome = \"failed\" },\n\
                 { exit = 7, stderr = [\"quota\"], outcome = \"later\", for = \"2h\" },\n\
                 { stderr = [\"no such thing\"], outcome = \"permanent\" },\n]";
    let of = async |script: &str| {
        let world = World::new(&shell("odd", script, rules));
        let refused = world.run(request("odd", &[])).await.unwrap_err();
        refused.refusal.map(|refusal| (refusal.kind, refusal.after))
    };
    assert_eq!(of("echo Quota >&2; exit 7").await, Some((RefusalKind::Later, Some(Duration::from_hours(2)))));
    assert_eq!(of("echo no SUCH thing >&2; exit 7").await, Some((RefusalKind::Permanent, None)));
    assert_eq!(of("echo quota >&2; exit 1").await, None);
    assert_eq!(of("echo '<captcha> please'; exit 0").await, None, "the output is looked at first");
}

#[tokio::test]
async fn r04_fixed_arguments_stand_in_the_entry_and_a_handler_adds_only_its_own() {
    let (_sim, world) = tube().await;
    let output = ask(&world, "environment").await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let args: Vec<&str> = json["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    let at = |arg: &str| args.iter().position(|other| *other == arg).unwrap_or_else(|| panic!("{arg}: {args:?}"));
    assert!(at("ejs:github") < at("youtube:player_client=android") && at("--dump-json") > at("ejs:github"));
    assert_eq!(args[args.len() - 2..], ["--", "https://tube.example/environment"]);
    for args in [&["--exec", "id"][..], &["--proxy", ""], &["--dump-json", "-x"], &["--sub-langs", "--exec"]] {
        let refused = world.run(request_for("yt-dlp", args, "https://tube.example/good")).await.unwrap_err();
        assert!(matches!(&refused.error, ToolError::Denied(text) if text.contains("accepts")), "{args:?}: {refused:?}");
    }
}

#[tokio::test]
async fn s08_half_a_file_is_no_file() {
    let (_sim, world) = tube().await;
    let run = request_for("yt-dlp", &["--format", "bestaudio"], "https://tube.example/broken-off");
    let refused = world.run(run).await.unwrap_err();
    let said = text(&refused.error);
    assert!(said.contains("no file") && said.contains("403"), "{said}");
    let good = request_for("yt-dlp", &["--format", "bestaudio"], "https://tube.example/good");
    assert!(text(&world.run(good).await.unwrap_err().error).contains("no file"), "JSON is not what was asked for");
}
