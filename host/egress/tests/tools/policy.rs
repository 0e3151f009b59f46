//! Who may run what for which address, and what a tool is given of the host.

use std::{path::Path, sync::Arc};

use tollgate_core::{
    outcome::RefusalKind,
    spec::{SitePattern, parse},
    tool::{ToolContent, ToolError, ToolInput, ToolRequest},
};
use tollgate_egress::{Caller, Denial, ToolRefused};
use tollgate_sim::{
    Sim,
    sites::scripted::{Scripted, Step},
};

use crate::world::{World, caller, request, request_for, shell, shipped, stand_in};

const URL: &str = "https://tube.example/good";

/// A tool that leaves a mark where it ran.
fn marking(folder: &Path) -> String {
    let mark = folder.join("ran").display().to_string();
    shell(
        "mark",
        "echo ran > \"$MARK\"; echo ran",
        &format!("env = {{ MARK = {mark:?} }}\nproxy-env = [\"http_proxy\"]"),
    )
}

fn denied(refused: &ToolRefused) -> &str {
    match &refused.error {
        ToolError::Denied(text) if refused.refusal.is_none() => text,
        other => panic!("not denied: {other:?}"),
    }
}

#[tokio::test]
async fn trap17_a_tool_acts_for_no_site_and_no_job_that_policy_does_not_allow() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&format!("[proxy.main]\nurl = \"http://127.0.0.1:9\"\n{}", marking(folder.path())));
    let run = async |caller: &Caller, url: &str| {
        let refused = world.gate.run_tool(caller, request_for("mark", &[], url), &|_| ()).await.unwrap_err();
        denied(&refused).to_owned()
    };
    let only_other = Caller { allowed: vec![SitePattern::parse("other.example").unwrap()], ..caller() };
    let said = run(&only_other, URL).await;
    assert!(said.contains("add \"http tube.example\" to `grant` of [job.talks]"), "{said}");
    for tools in [None, Some(vec!["ffmpeg".to_owned()])] {
        let said = run(&Caller { tools, ..caller() }, URL).await;
        assert!(said.contains("add \"tools mark\" to `grant` of [job.talks]"), "{said}");
    }
    let said = run(&caller(), "http://127.0.0.1:8000/").await;
    assert!(said.contains("on this machine"), "{said}");
    let said = run(&caller(), "http://169.254.169.254/latest/").await;
    assert!(said.contains("its own network"), "{said}");
    let refused = world.run(request_for("other", &[], URL)).await.unwrap_err();
    assert!(denied(&refused).contains("add [tool.other]"));
    let refused = world.run(request_for("mark", &[], "file:///etc/passwd")).await.unwrap_err();
    assert!(matches!(refused.error, ToolError::Failed(_)), "{refused:?}");
    assert!(!folder.path().join("ran").exists(), "nothing has run");
    let counted: Vec<_> = world.gate.status().denials.iter().map(|count| (count.why, count.times)).collect();
    assert_eq!(counted, [(Denial::NotGranted, 1), (Denial::Local, 2), (Denial::Tool, 3)]);
}

#[tokio::test]
async fn r09_without_a_proxy_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&marking(folder.path()));
    let refused = world.run(request_for("mark", &[], URL)).await.unwrap_err();
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Down);
    assert!(!folder.path().join("ran").exists());
}

#[tokio::test]
async fn trap13_a_tool_that_ignores_its_proxy_is_given_no_address() {
    let blind = shell("blind", "echo $http_proxy$1", "network = false");
    let world = World::new(&format!("[proxy.main]\nurl = \"http://127.0.0.1:9\"\n{blind}"));
    let refused = world.run(request_for("blind", &[], URL)).await.unwrap_err();
    assert!(denied(&refused).contains("network = false"), "{refused:?}");
    let refused = world.run(request("blind", &[URL])).await.unwrap_err();
    assert!(denied(&refused).contains("accepts"), "an address is no plain text: {refused:?}");
    let output = world.run(request("blind", &["word"])).await.unwrap();
    assert_eq!(output.stdout, b"word\n", "and no proxy");
    assert_eq!(output.site, None);
}

#[tokio::test]
async fn trap13_a_tool_that_reaches_the_network_never_runs_without_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&format!("[proxy.main]\nurl = \"http://127.0.0.1:9\"\n{}", marking(folder.path())));
    let refused = world.run(request("mark", &[])).await.unwrap_err();
    assert!(denied(&refused).contains("give it the address"), "{refused:?}");
    assert!(!folder.path().join("ran").exists());
    let silent = "[tool.a]\ncommand = \"a\"\noutput = \"text\"\n";
    let found = parse(silent, "jobs.toml").unwrap_err();
    assert!(found[0].to_string().contains("doesn't say how it takes a proxy"), "{}", found[0]);
}

#[tokio::test]
async fn r03_proxy_and_certificates_are_handed_over_and_nothing_else_of_us() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, "").unwrap();
    let proxy =
        format!("[proxy.main]\nurl = \"http://me:hush-hush@127.0.0.1:9\"\nca = {:?}\n", ca.display().to_string());
    let world = World::new(&format!("{proxy}{}", shipped("yt-dlp", &stand_in())));
    let output = world.run(request_for("yt-dlp", &[], "https://tube.example/environment")).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("hush"), "not even what it prints of it comes back: {said}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let env = json["env"].as_object().unwrap();
    let proxies = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"];
    let ours = ["HOME", "TMPDIR", "PATH", "LANG", "SSL_CERT_FILE"].into_iter().chain(proxies).collect::<Vec<_>>();
    // What a shell or pyenv's shim adds on the way is not of our environment.
    let added = ["PWD", "SHLVL", "_", "LC_CTYPE", "OLDPWD"];
    for name in env.keys() {
        let is_known = ours.contains(&name.as_str()) || added.contains(&name.as_str()) || name.contains("PYENV");
        assert!(is_known, "{name} has come through");
    }
    for name in ours {
        assert!(env.contains_key(name), "{name} is missing");
    }
    assert_eq!(env["https_proxy"], "[hidden]", "it was there");
    assert_eq!((&env["no_proxy"], &env["NO_PROXY"]), (&"".into(), &"".into()), "no name is an exception");
    assert_eq!(env["SSL_CERT_FILE"], ca.display().to_string());
    let args = json["args"].as_array().unwrap();
    assert!(!args.iter().any(|arg| arg.as_str().unwrap().contains("[hidden]")), "arguments are for all to read");
    assert_eq!(env["HOME"], "[hidden]/home");
    assert_eq!(json["cwd"], "[hidden]/files");
}

#[tokio::test]
async fn r03_a_password_that_a_tool_prints_is_in_no_message() {
    let world = World::new(&format!(
        "[proxy.main]\nurl = \"http://me:hush-hush@127.0.0.1:9\"\n{}",
        shipped("yt-dlp", &stand_in())
    ));
    let refused = world.run(request_for("yt-dlp", &[], "https://tube.example/proxy")).await.unwrap_err();
    assert!(!format!("{refused:?}{:?}", world.gate.status()).contains("hush"), "{refused:?}");
    assert!(refused.error.to_string().contains("[hidden]"), "{refused:?}");
}

#[tokio::test]
async fn r06_a_proxy_that_is_gone_is_not_the_site_s_fault() {
    let site = Arc::new(Scripted::new().path("/", [Step::ok("x")]));
    let sim = Sim::builder().site("tube.example", site).start().await.unwrap();
    let proxy = format!("[proxy.main]\nurl = \"{}\"\n", sim.proxy_url());
    let world = World::new(&format!("{proxy}{}", shipped("yt-dlp", &stand_in())));
    let reset = || request_for("yt-dlp", &[], "https://tube.example/reset");
    let refused = world.run(reset()).await.unwrap_err();
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Transport, "the proxy answers, so it is the address's");
    sim.proxy_down().await.unwrap();
    for what in ["reset", "odd"] {
        let world = World::new(&format!("{proxy}{}", shipped("yt-dlp", &stand_in())));
        let gone = world.run(request_for("yt-dlp", &[], &format!("https://tube.example/{what}"))).await.unwrap_err();
        assert_eq!(gone.refusal.unwrap().kind, RefusalKind::Down, "{what}");
        let next = world.run(request_for("yt-dlp", &[], URL)).await.unwrap_err();
        assert_eq!(next.refusal.unwrap().kind, RefusalKind::Down, "nothing runs while it is down");
        assert_eq!(world.site("tube.example:443").unwrap().requests, 1);
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_missing_with_how_to_install_it() {
    let world = World::new(
        "[tool.none]\ncommand = \"tollgate-no-such-program\"\noutput = \"text\"\nnetwork = false\n\
         install = \"apt install it\"\n",
    );
    let refused = world.run(request("none", &[])).await.unwrap_err();
    assert!(matches!(&refused.error, ToolError::Missing(text) if text.contains("apt install it")), "{refused:?}");
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Down, "uncounted: it is no item's fault");
}

#[tokio::test]
async fn trap17_files_are_laid_under_their_own_names_or_not_at_all() {
    let world = World::new(&shell("list", "ls; cat \"$1\"", "network = false"));
    let input =
        |name: &str| ToolInput { name: name.to_owned(), content: ToolContent::Bytes(b"inside".as_slice().into()) };
    let with = |files: Vec<ToolInput>, arg: &str| ToolRequest { files, ..request("list", &[arg]) };
    for name in ["../out", "/tmp/out", "-rf", ".profile", "a/b", "a\nb", "concat:a", ""] {
        let refused = world.run(with(vec![input(name)], "x")).await.unwrap_err();
        assert!(denied(&refused).contains("can't name a file"), "{name:?}");
    }
    let twice = world.run(with(vec![input("a"), input("a")], "x")).await.unwrap_err();
    assert!(denied(&twice).contains("two files"));
    let outside = world.folder.path().join("kept");
    std::fs::write(&outside, "kept").unwrap();
    let kept = ToolInput { name: "kept".to_owned(), content: ToolContent::File(outside.clone()) };
    let output = world.run(with(vec![input("a b"), kept], "a b")).await.unwrap();
    assert_eq!(output.stdout, b"a b\nkept\ninside");
    assert!(output.files.is_empty(), "what was laid there is nothing that it left");
    let spoil = World::new(&shell("spoil", "echo spoilt > kept; cat kept", "network = false"));
    let kept = ToolInput { name: "kept".to_owned(), content: ToolContent::File(outside.clone()) };
    spoil.run(ToolRequest { files: vec![kept], ..request("spoil", &[]) }).await.unwrap();
    assert_eq!(std::fs::read(&outside).unwrap(), b"kept", "a tool has its own copy");
}
