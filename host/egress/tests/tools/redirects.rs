//! Traps 11, 12 and 17 for tools: what a page says to a program, and which of it this machine does.
//!
//! The program decides where it goes. So what holds is that it has one way: whatever a page says, it goes to the proxy,
//! which is not on this machine and reaches nothing there, or nowhere. A small client by Python's own library stands
//! for programs that follow redirects; the real yt-dlp has tests of its own, in `tests/real_tools`.

use std::{path::Path, sync::Arc};

use http::StatusCode;
use tollgate_core::tool::ToolError;
use tollgate_egress::{ToolOutput, ToolRefused};
use tollgate_sim::{
    Sim, inside,
    sites::scripted::{Scripted, Step},
};

use crate::world::{World, request_for};

const SITE: &str = "tube.example";
/// Reached directly where configuration or a handler names it.
const DIRECT: &str = "api.example";

/// The small client, with more lines in its entry.
fn client(more: &str) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools/small-client");
    format!(
        "[tool.client]\ncommand = {:?}\noutput = \"text\"\nproxy-env = [\"http_proxy\", \"https_proxy\"]\n\
         url-args = [\"{{url}}\"]\n{more}\n",
        program.display().to_string()
    )
}

/// A site whose pages lead to `targets`, and one that listens on this machine, at the port that they are given.
async fn world(
    targets: impl Fn(u16) -> Vec<String>,
    tool: &str,
    more: impl Fn(u16) -> String,
) -> (Sim, World, Vec<String>) {
    let site = Arc::new(Scripted::new().path("/page", [Step::ok("a page")]));
    let near = Arc::new(Scripted::new().path("/inside", [Step::ok("inside")]));
    let sim = Sim::builder().site(SITE, site.clone()).site(DIRECT, near).start().await.unwrap();
    let port = sim.direct_addr(DIRECT).unwrap().port();
    let targets = targets(port);
    for (number, target) in targets.iter().enumerate() {
        site.set(&format!("/{number}"), [Step::redirect(StatusCode::FOUND, target)]);
    }
    let world = World::new(&format!("[proxy.main]\nurl = \"{}\"\n{}{tool}", sim.proxy_url(), more(port)));
    (sim, world, targets)
}

/// It came to nothing, and the tool's own word of it is told.
fn told(target: &str, answer: Result<ToolOutput, ToolRefused>) -> String {
    match answer {
        Err(ToolRefused { error: ToolError::Failed(text), .. }) => text,
        other => panic!("{target}: {other:?}"),
    }
}

fn ascii(targets: Vec<String>) -> Vec<String> {
    // Python's library takes no other address from a header.
    targets.into_iter().filter(|target| target.is_ascii()).collect()
}

#[tokio::test]
async fn trap12_a_page_sends_a_tool_to_the_proxy_or_nowhere() {
    let (sim, world, targets) = world(|port| ascii(inside::urls(port)), &client(""), |_| String::new()).await;
    // The control: it follows redirects, through the proxy.
    let fine = world.run(request_for("client", &[], &format!("http://{SITE}/page"))).await.unwrap();
    assert_eq!(fine.stdout, b"a page");
    for (number, target) in targets.iter().enumerate() {
        let said = told(target, world.run(request_for("client", &[], &format!("http://{SITE}/{number}"))).await);
        assert!(said.contains("ERROR: http"), "{target}: what happened is told: {said}");
    }
    let counts = sim.counts();
    assert_eq!(counts.direct, 0, "nothing of this machine was reached from it");
    assert_eq!(counts.of(DIRECT, "/inside"), 0);
    // Each of them, and after each the gate's own question whether the proxy is there.
    assert_eq!(counts.unknown_host, 2 * targets.len() as u64, "they were the proxy's to refuse");
}

#[tokio::test]
async fn trap12_a_page_opens_no_direct_site_to_a_tool() {
    let open = |port: u16| {
        format!(
            "[site.\"127.0.0.1:{port}\"]\ndirect = true\n[site.\"localhost:{port}\"]\ndirect = true\n\
             [site.\"{DIRECT}\"]\ndirect = true\n"
        )
    };
    let targets = |port: u16| {
        vec![
            format!("http://127.0.0.1:{port}/inside"),
            format!("http://localhost:{port}/inside"),
            format!("http://{DIRECT}/inside"),
        ]
    };
    let (sim, world, targets) = world(targets, &client(""), open).await;
    for (number, target) in targets.iter().enumerate() {
        let answer = world.run(request_for("client", &[], &format!("http://{SITE}/{number}"))).await;
        // By its name the proxy knows it; on this machine nobody does.
        assert_eq!(answer.is_ok(), target.contains(DIRECT), "{target}: {answer:?}");
        let refused = world.run(request_for("client", &[], target)).await.unwrap_err();
        assert!(matches!(&refused.error, ToolError::Denied(text) if text.contains("reached directly")), "{refused:?}");
    }
    assert_eq!((sim.counts().direct, sim.counts().hosts[DIRECT].via_proxy), (0, 1));
}

/// Without its proxy a tool would go out by itself: where the proxy is gone it reaches nothing.
#[tokio::test]
async fn trap17_a_tool_whose_proxy_is_gone_reaches_nothing() {
    let (sim, world, _) = world(|port| ascii(inside::urls(port)), &client(""), |_| String::new()).await;
    sim.proxy_down().await.unwrap();
    // The first finds out by itself; by then the gate knows, and starts no other.
    for says in ["Connection refused", "proxy main is down"] {
        let refused = world.run(request_for("client", &[], &format!("http://{SITE}/page"))).await.unwrap_err();
        assert!(refused.error.to_string().contains(says), "{refused:?}");
    }
    assert_eq!(sim.counts().total, 0);
}

/// The variable that undoes all proxies.
#[tokio::test]
async fn trap11_no_variable_of_an_entry_takes_its_proxy_from_a_tool() {
    for name in ["NO_PROXY", "no_proxy"] {
        let (sim, world, targets) = world(
            |port| vec![format!("http://127.0.0.1:{port}/inside")],
            &client(&format!("env = {{ {name} = \"*\" }}")),
            |_| String::new(),
        )
        .await;
        told(&targets[0], world.run(request_for("client", &[], &format!("http://{SITE}/0"))).await);
        let counts = sim.counts();
        // The page by the proxy, the redirect by the proxy, and the gate's question whether the proxy is there.
        assert_eq!((counts.direct, counts.via_proxy, counts.unknown_host), (0, 1, 2), "{name}");
    }
}
