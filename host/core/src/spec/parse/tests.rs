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
        ("discover = { every = 6 }", "every: \"6\" is not a duration; write a number and a unit"),
        ("breaker = \"ten\"", "breaker is \"ten\"\n  write a whole number, 1 to 1000"),
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

/// Amounts that can't be, each in the table where it stands, with what is said.
const AMOUNTS: [(&str, &str, &str); 33] = [
    ("job.a", "breaker = -1", "breaker is -1\n  write a whole number, 1 to 1000"),
    ("job.a", "breaker = 0", "breaker is 0\n"),
    ("job.a", "breaker = true", "breaker is true\n"),
    ("job.a", "breaker = [1]", "invalid type: sequence, expected a number, or a text in quotes"),
    ("job.a", "reuse = 1.5", "reuse is 1.5\n  write a whole number, 1 to 100000"),
    ("job.a", "reuse = 5000000000", "reuse is 5000000000\n"),
    ("job.a", "discover = { every = \"0s\" }", "every is \"0s\"\n  write 1ms to 3650d"),
    (
        "job.a",
        "discover = { every = \"6h\", empty-rounds = 0 }",
        "empty-rounds is 0\n  write a whole number, 1 to 1000",
    ),
    ("job.a", "discover = { every = \"6h\", empty-rounds = -3 }", "empty-rounds is -3\n"),
    ("job.a.stage.b", "concurrency = 0", "concurrency is 0\n  write a whole number, 1 to 1000"),
    ("job.a.stage.b", "concurrency = -4", "concurrency is -4\n"),
    ("job.a.stage.b", "attempts = 1e9", "attempts is 1000000000.0\n  write a whole number, 1 to 1000"),
    ("job.a.stage.b", "attempts = 99999999999999999999", "attempts is 99999999999999999999\n"),
    ("job.a.stage.b", "attempts = 9999999999999999999999999999999999999999999", "integer"),
    ("job.a.stage.b", "backoff = \"-2s\"", "backoff: \"-2s\" is not a duration; write"),
    ("job.a.stage.b", "backoff = 2", "backoff: \"2\" is not a duration; write"),
    ("job.a.stage.b", "retry-for = \"0d\"", "retry-for is \"0d\"\n  write 1ms to 3650d"),
    ("job.a.stage.b", "timeout = \"0s\"", "timeout is \"0s\"\n  write 1ms to 3650d"),
    ("job.a.stage.b", "timeout = \"99999999999d\"", "timeout is \"99999999999d\"\n"),
    ("site.\"*\"", "burst = 0", "burst is 0\n  write a whole number, 1 to 10000"),
    ("site.\"*\"", "concurrency = 1001", "concurrency is 1001\n  write a whole number, 1 to 1000"),
    ("site.\"*\"", "rate = \"0/min\"", "rate: \"0/min\" is no rate; write a number and a time"),
    ("site.\"*\"", "rate = \"-3/s\"", "rate: \"-3/s\" is no rate"),
    ("site.\"*\"", "rate = 30", "rate: \"30\" is no rate"),
    ("site.\"*\"", "timeout = \"9999999d\"", "timeout is \"9999999d\"\n"),
    ("site.\"*\"", "cool-down = \"-1min\"", "cool-down: \"-1min\" is not a duration"),
    ("site.\"*\"", "body-max = \"-5 MB\"", "body-max: \"-5 MB\" is no size; write a number and a unit"),
    ("site.\"*\"", "body-max = -5", "body-max: \"-5\" is no size"),
    ("site.\"*\"", "body-max = \"0 MB\"", "body-max is 0 bytes\n  write 1 B to 1000 GB"),
    ("site.\"*\"", "body-max = \"99999999999 GiB\"", "body-max: \"99999999999 GiB\" is no size"),
    ("host", "keep-attempts = 0", "keep-attempts is 0\n  write a whole number, 1 to 1000"),
    ("host", "guest-memory = \"1 GB or so\"", "guest-memory: \"1 GB or so\" is no size"),
    ("host", "guest-memory = \"3 GiB\"", "guest-memory is 3221225472 bytes\n  write 1 MiB to 2 GiB"),
];

#[test]
fn an_amount_that_cannot_be_is_said_once_with_its_place_and_what_can() {
    for (table, line, wanted) in AMOUNTS {
        // A second site takes over what `*` says.
        let job = "[job.a]\nkind = \"backfill\"\nhandler = \"a\"\n";
        let text = match table {
            "job.a" => format!("{job}{line}\n"),
            _ => format!("[site.\"b.example\"]\n{job}[{table}]\n{line}\n"),
        };
        let found = parse(&text, "jobs.toml").unwrap_err();
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        let at = Place::of(&text, text.rfind(line).unwrap());
        assert_eq!(found[0].at.line, at.line, "{line}: {}", found[0]);
        assert!(found[0].at.column > at.column, "{line}: {}", found[0]);
        assert!(found[0].to_string().contains(wanted), "{line}: {}", found[0]);
    }
    let plain = "[site.\"*\"]\nbody-max = 4096\nburst = 3\n[host]\ngrace = \"0s\"\n";
    let deployment = parse(plain, "jobs.toml").unwrap();
    assert_eq!((deployment.sites[0].body_max, deployment.host.grace), (4_096, Duration::ZERO));
}
