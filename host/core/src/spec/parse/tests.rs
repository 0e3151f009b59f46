//! Forms of jobs.toml that the documentation shows, and what is said of others.

use std::time::Duration;

use super::*;

fn job(lines: &str) -> Result<JobSpec, Vec<Diagnostic>> {
    let text = format!("[job.a]\nkind = \"monitor\"\nhandler = \"a\"\n{lines}");
    parse(&text, "jobs.toml").map(|deployment| deployment.job("a").unwrap().clone())
}

#[test]
fn every_form_of_discover_is_read() {
    let discover = |lines: &str| job(lines).unwrap().discover;
    let rounds =
        |hours, empty_rounds_max| Some(DiscoverSpec { every: Some(Duration::from_hours(hours)), empty_rounds_max });
    assert_eq!(discover("discover = { every = \"6h\" }"), rounds(6, EMPTY_ROUNDS_DEFAULT));
    assert_eq!(discover("discover = { every = \"6h\", empty-rounds = 7 }"), rounds(6, 7));
    assert_eq!(discover("[job.a.discover]\nevery = \"1h\""), rounds(1, EMPTY_ROUNDS_DEFAULT));
    assert_eq!(discover(""), None);
    let once = "[job.a]\nkind = \"backfill\"\nhandler = \"a\"\ndiscover = \"once\"\n";
    let once = parse(once, "jobs.toml").unwrap().job("a").unwrap().discover;
    assert_eq!(once, Some(DiscoverSpec { every: None, empty_rounds_max: EMPTY_ROUNDS_DEFAULT }));
}

#[test]
fn every_form_of_a_secret_is_read() {
    let url = |url: &str| parse(&format!("[proxy.main]\nurl = {url}\n"), "jobs.toml").unwrap().proxies[0].url.clone();
    assert_eq!(url("\"http://a\""), Secret::Literal("http://a".to_owned()));
    assert_eq!(url("{ env = \"A\" }"), Secret::Env("A".to_owned()));
    assert_eq!(url("{ file = \"a\" }"), Secret::File("a".into()));
}

#[test]
fn the_job_in_the_sdk_s_documentation_is_read() {
    let guide = include_str!("../../../../../sdk/rust/src/lib.rs");
    let (_, shown) = guide.split_once("//! ```toml\n").unwrap();
    let (shown, _) = shown.split_once("//! ```\n").unwrap();
    let shown: Vec<&str> = shown.lines().map(|line| line.trim_start_matches("//!").trim()).collect();
    let deployment = parse(&shown.join("\n"), "jobs.toml").unwrap();
    assert!(deployment.jobs[0].discover.is_some());
}

#[test]
fn what_is_of_the_wrong_kind_is_said_in_the_file_s_words() {
    for (lines, wanted) in [
        ("discover = 6", "\"once\" or { every = \"6h\" }"),
        ("discover = { evry = \"6h\" }", "unknown key `evry`"),
        ("discover = { every = 6 }", "every: invalid type: integer `6`, expected a text in quotes"),
        ("breaker = \"ten\"", "breaker: invalid type: string \"ten\", expected a whole number"),
        ("discover = { every = \"often\" }", "every"),
        ("discover = \"twice\"", "discover is \"twice\""),
        ("stage.fetch = 3", "a table [job.NAME.stage.STAGE]"),
        ("[proxy.main]\nurl = 3", "a text, { env = \"NAME\" } or { file = \"PATH\" }"),
        ("[proxy.main]\nurl = { env = \"A\", nev = \"B\" }", "unknown key `nev`"),
        ("[proxy]\nmain = 3", "a table [proxy.NAME]"),
        ("[site]\n\"*\" = 3", "a table [site.\"PATTERN\"]"),
        ("[host]\nlisten = 3", "a text in quotes"),
    ] {
        let found = job(lines).unwrap_err();
        let said = found[0].to_string();
        assert!(said.contains(wanted) && !said.contains("Raw") && !said.contains("enum"), "{lines}: {said}");
        assert!(found[0].at.line > 3, "{said}");
    }
}
