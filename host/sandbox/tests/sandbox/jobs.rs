//! A handler held against jobs.toml: everything that doesn't fit, with its line and what to write.

use tollgate_core::spec;
use tollgate_sandbox::{Handler, check_job};

use crate::guests::{Bench, Guest};

async fn said(jobs: &str) -> Vec<String> {
    let outcomes = Bench::new().outcomes().await;
    said_of(&outcomes, jobs)
}

fn said_of(outcomes: &Handler, jobs: &str) -> Vec<String> {
    let deployment = spec::parse(jobs, "jobs.toml").unwrap();
    let checked = check_job(outcomes, deployment.job("trial").unwrap(), "jobs.toml");
    checked.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_job_that_fits_is_taken() {
    let jobs = r#"
        [job.trial]
        kind = "backfill"
        handler = "outcomes"
        grant = ["http", "artifacts", "state"]
        [job.trial.params]
        count = 3
    "#;
    assert_eq!(said(jobs).await, Vec::<String>::new());
}

#[tokio::test]
async fn i04_missing_grants_print_the_line_to_write() {
    let jobs = "[job.trial]\nkind = \"backfill\"\nhandler = \"outcomes\"\ngrant = [\"http\"]\n";
    let all = said(jobs).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with("jobs.toml:4:"), "{}", all[0]);
    assert!(all[0].contains(r#"grant = ["http", "artifacts", "state"]"#), "{}", all[0]);
}

#[tokio::test]
async fn unknown_stages_and_bad_params_are_all_said_at_once() {
    let jobs = r#"[job.trial]
kind = "backfill"
handler = "outcomes"
grant = ["http", "artifacts", "state"]
[job.trial.params]
count = "three"
[job.trial.stage.frist]
concurrency = 2
"#;
    let all = said(jobs).await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].starts_with("jobs.toml:7:") && all[0].contains("did you mean `first`?"), "{}", all[0]);
    assert!(all[1].starts_with("jobs.toml:6:9: ") && all[1].contains(" count: \"three\""), "{}", all[1]);
}

#[tokio::test]
async fn what_a_stage_must_be_given_is_missed_where_it_runs() {
    let params = r#"{"type": "object", "properties": {"seeds": {}}, "additionalProperties": false,
        "$defs": {"stage.only": {"allOf": [{"properties": {"seeds": {"type": "array"}}, "required": ["seeds"]}]}}}"#;
    let handler = Bench::new().guest(Guest { params, ..Guest::default() }).await;
    let said = |params: &str| {
        let jobs = format!("[job.trial]\nkind = \"backfill\"\nhandler = \"hostile\"\n{params}\n");
        let deployment = spec::parse(&jobs, "jobs.toml").unwrap();
        let checked = check_job(&handler, deployment.job("trial").unwrap(), "jobs.toml");
        checked.err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let missing = said("");
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].starts_with("jobs.toml:1:") && missing[0].contains("\"seeds\" is a required"), "{missing:?}");
    let mistyped = said("[job.trial.stage.only.params]\nseeds = 3");
    assert_eq!(mistyped.len(), 1, "{mistyped:?}");
    assert!(mistyped[0].starts_with("jobs.toml:5:9: ") && mistyped[0].contains(" seeds: 3"), "{mistyped:?}");
    assert_eq!(said("[job.trial.stage.only.params]\nseeds = []"), Vec::<String>::new());
}

#[tokio::test]
async fn p03_conditions_and_needs_that_can_not_work_are_refused_with_their_lines() {
    let outcomes = Bench::new().outcomes().await;
    let head =
        "[job.trial]\nkind = \"backfill\"\nhandler = \"outcomes\"\ngrant = [\"http\", \"artifacts\", \"state\"]\n";
    for (stage, line, message, help) in [
        ("second", "when = \"first.grad >= 6\"", "`first` has no field `grad`", "did you mean `grade`?"),
        ("second", "when = \"first.text >= 6\"", "a text is compared with a number", ""),
        ("second", "when = \"first.grade\"", "neither true nor false", "compare it"),
        ("second", "when = \"second.grade > 1\"", "names `second`, this stage itself", "it may name first, data"),
        (
            "second",
            "when = \"frist.grade > 1\"",
            "neither `data` nor a stage that runs",
            "did you mean `first`? it may name first, data",
        ),
        ("second", "needs = []", "`needs` leaves it out", "write: needs = [\"first\"]"),
        ("last", "needs = [\"first\", \"left|second\"]", "takes what `left|right` makes", "\"left|right\", \"first\""),
    ] {
        let all = said_of(&outcomes, &format!("{head}[job.trial.stage.{stage}]\nattempts = 2\n{line}\n"));
        assert_eq!(all.len(), 1, "{line}: {all:?}");
        assert!(all[0].starts_with("jobs.toml:7:"), "{}", all[0]);
        assert!(all[0].contains(message) && all[0].contains(help), "{}", all[0]);
    }
    for (stage, line) in [
        ("last", "needs = [\"left\", \"first\"]\nwhen = \"first.grade > 1 && data.first != null\""),
        ("second", "when = \"first.list.exists(word, word == 'done')\""),
    ] {
        assert_eq!(
            said_of(&outcomes, &format!("{head}[job.trial.stage.{stage}]\n{line}\n")),
            Vec::<String>::new(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_format_that_is_known_is_held_to_and_another_passed_over() {
    let params = r#"{"type": "object", "properties": {
        "list": {"type": "array", "description": "What to\u001b[2J take.", "items": {"type": "string", "minLength": 2}},
        "page": {"anyOf": [{"type": "string", "format": "web-address"}, {"type": "null"}]},
        "title": {"type": "string", "format": "css-selector"}, "day": {"type": "string", "format": "date"},
        "own": {"type": "string", "format": "no-such-format"}}}"#;
    let handler = Bench::new().guest(Guest { params, ..Guest::default() }).await;
    let said = |line: &str| {
        said_of(
            &handler,
            &format!("[job.trial]\nkind = \"backfill\"\nhandler = \"hostile\"\n[job.trial.params]\n{line}\n"),
        )
    };
    for line in ["page = \"http://a.example\"", "title = \"h1\"", "day = \"2026-01-31\"", "own = \"h1[\""] {
        assert_eq!(said(line), Vec::<String>::new(), "{line}");
    }
    for (line, message, help) in [
        (
            "page = \"a.example\"",
            "5:8: params of job trial: page: \"a.example\" is no http or https address",
            "a whole one",
        ),
        ("title = \"h1[\"", "5:9: params of job trial: title: \"h1[\" is no CSS selector\n", "\"h1\""),
        ("day = \"today\"", "5:7: params of job trial: day: \"today\" is not a \"date\"", ""),
        (
            "list = [\"ab\",\n  \"a\"]",
            "6:3: params of job trial: list[1]: \"a\" is shorter",
            "What to\u{fffd}[2J take.",
        ),
    ] {
        let all = said(line);
        assert_eq!(all.len(), 1, "{line}: {all:?}");
        assert!(all[0].contains(message) && all[0].contains(help), "{line}: {}", all[0]);
    }
}
