//! Forms of jobs.toml that the documentation shows, and what is said of others.

use std::time::Duration;

use super::*;
use crate::spec::GuardOutcome;

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
fn models_are_read_as_the_documentation_and_the_fuzzers_corpus_show_them() {
    let documentation = include_str!("../../../../../docs/jobs.md");
    let (_, shown) = documentation.split_once("## `[model.ALIAS]`").unwrap();
    let (shown, _) = shown.split_once("```toml\n").unwrap().1.split_once("```").unwrap();
    let deployment = parse(shown, "jobs.toml").unwrap();
    assert_eq!(deployment.model_chain("cheap").len(), 2);
    let whole = include_str!("../../../../../tests/fuzz/corpus/jobs_toml/whole.toml");
    let deployment = parse(whole, "jobs.toml").unwrap();
    let counts = (deployment.models.len(), deployment.searches.len(), deployment.speeches.len());
    assert_eq!(counts, (2, 1, 1));
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

#[test]
fn r01_r02_guards_are_lists_in_configuration_each_with_its_outcome() {
    let text = "[site.\"ideas.example\"]\nguard = [\n\
        { text = [\"access limits\", \"view count will reset\"], outcome = \"rate-limited\", for = \"24h\" },\n\
        { text = \"Please wait 24 hours\", outcome = \"rate-limited\" },\n\
        { require = \"article.thesis\", path = \"/idea/\", outcome = \"not-content\" },\n\
        { header = [\"x-wall\", \"Server: Sentry\"], status = [403, 503], below = 300, outcome = \"blocked\" },\n]\n\
        [site.\"*\"]\nguard = [{ title = \"Hold on\", outcome = \"blocked\" }]\nguard-builtin = false\n";
    let deployment = parse(text, "jobs.toml").unwrap();
    let own = &deployment.site("ideas.example", 443).unwrap().guard;
    assert_eq!(own.rules.len(), 4, "its own list, without that of *");
    assert!(!own.builtin, "a key that it doesn't have comes from *");
    let first = &own.rules[0];
    assert_eq!((first.text.len(), first.outcome), (2, GuardOutcome::RateLimited));
    assert_eq!((first.after, first.at.line), (Some(Duration::from_hours(24)), 3));
    assert_eq!((own.rules[1].text.len(), own.rules[1].after), (1, None));
    assert_eq!(own.rules[2].require.as_ref().unwrap().text, "article.thesis");
    let header: Vec<String> = own.rules[3].header.iter().map(ToString::to_string).collect();
    assert_eq!((header.join(" | "), own.rules[3].below), ("x-wall | server: sentry".to_owned(), Some(300)));
    let other = &deployment.site("b.example", 443).unwrap().guard;
    assert_eq!(other.rules[0].title, ["Hold on"]);
    assert!(parse("", "jobs.toml").unwrap().sites[0].guard.builtin);
}

#[test]
fn s11_how_many_items_may_share_a_page_is_a_number_or_false() {
    let read = |line: &str| {
        let text = format!("[site.\"*\"]\nduplicates = 5\n[site.\"a.example\"]\n{line}\n");
        parse(&text, "jobs.toml").map(|deployment| deployment.site("a.example", 443).unwrap().duplicates)
    };
    assert_eq!(read(""), Ok(Some(5)), "that of *");
    assert_eq!(read("duplicates = 3"), Ok(Some(3)));
    assert_eq!(read("duplicates = false"), Ok(None));
    assert_eq!(read("duplicates = 0"), Ok(None));
    for line in ["duplicates = true", "duplicates = \"no\"", "duplicates = 101", "duplicates = -1"] {
        let said = read(line).unwrap_err()[0].to_string();
        assert!(said.contains("duplicates is ") && said.contains("1 to 100"), "{line}: {said}");
    }
    let text = "[session.a]\nfile = \"a.txt\"\n[site.\"a.example\"]\nsession = \"a\"\n";
    let deployment = parse(text, "jobs.toml").unwrap();
    assert_eq!(deployment.site("a.example", 443).unwrap().duplicates, Some(10), "its session may expire");
    assert_eq!(deployment.site("b.example", 443).unwrap().duplicates, None);
}

#[test]
fn r02_a_guard_that_cannot_be_is_said_with_its_place_and_what_can() {
    for (rule, value, wanted) in [
        ("{ text = \"x\", outcome = \"ratelimited\" }", "\"ratelimited\"", "did you mean `rate-limited`?"),
        ("{ require = \"article[\", outcome = \"not-content\" }", "\"article[\"", "is no CSS selector"),
        ("{ text = [\"a\", \" \"], outcome = \"blocked\" }", "\" \"", "text is an empty text, which every page meets"),
        ("{ text = [], outcome = \"blocked\" }", "[]", "text is an empty list"),
        ("{ text = \"x\", outcome = \"blocked\", for = \"2h\" }", "\"2h\"", "only what is rate-limited has a `for`"),
        ("{ text = \"x\", outcome = \"rate-limited\", for = \"0s\" }", "\"0s\"", "for is \"0s\""),
        ("{ outcome = \"blocked\" }", "{ outcome", "says of no page what is wrong with it"),
        ("{ path = \"a\", text = \"x\", outcome = \"blocked\" }", "\"a\"", "begin it with /"),
        ("{ status = [99], outcome = \"blocked\" }", "99", "write a whole number, 200 to 599"),
        ("{ below = 0, outcome = \"blocked\" }", "0", "below is 0"),
        ("{ text = 5, outcome = \"blocked\" }", "5", "a text in quotes, or a list of them"),
        ("{ texts = \"x\", outcome = \"blocked\" }", "texts", "did you mean `text`?"),
    ] {
        // A second site takes over what `*` says.
        let text = format!("[site.\"b.example\"]\n[site.\"*\"]\nguard = [\n  {rule},\n]\n");
        let found = parse(&text, "jobs.toml").unwrap_err();
        assert_eq!(found.len(), 1, "{rule}: {found:?}");
        assert_eq!(found[0].at, Place::of(&text, text.find(value).unwrap()), "{rule}: {}", found[0]);
        assert!(found[0].to_string().contains(wanted), "{rule}: {}", found[0]);
    }
}

#[test]
fn trap16_a_site_s_proxies_headers_and_jobs_that_cannot_be_are_said_with_their_place() {
    let head = "[proxy.main]\nurl = \"http://a\"\n[job.a]\nkind = \"monitor\"\nhandler = \"a\"\n[site.";
    for (lines, at, said) in [
        ("\"*\"]\nproxy = [\"main\", \"bakcup\"]", "7:18", "no proxy is named \"bakcup\"\n  the proxies are main"),
        ("\"*\"]\nproxy = []", "7:9", "the list of proxies is empty"),
        ("\"*\"]\nproxy = 3", "7:9", "a text in quotes, or a list of them"),
        ("\"*\"]\nrotate = \"requets\"", "7:10", "did you mean `request`"),
        ("\"*\"]\nheaders = { Authorization = \"x\" }", "7:29", "would be sent to every site"),
        ("\"*\"]\nheaders = { X-Key = { env = \"K\" } }", "7:21", "would be sent to every site"),
        ("\"b.example\"]\nheaders = { Cookie = \"x\" }", "7:22", "the header Cookie is the host's own"),
        ("\"b.example\"]\nheaders = { \"a b\" = \"x\" }", "7:21", "is no header's name"),
        ("\"b.example\"]\nheaders = { X = \"a\\nb\" }", "7:17", "has a control character"),
        ("\"b.example\"]\njobs = [\"aa\"]", "7:9", "no job is named \"aa\"\n  did you mean `a`?"),
    ] {
        let found = parse(&format!("{head}{lines}\n"), "jobs.toml").unwrap_err();
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 1, "{lines}: {shown:?}");
        assert!(shown[0].starts_with(&format!("jobs.toml:{at}: ")) && shown[0].contains(said), "{lines}: {shown:?}");
    }
    let good = "\"b.example\"]\nheaders = { Authorization = { file = \"k\" }, Accept-Language = \"en\" }\n\
        proxy = \"main\"\njobs = [\"a\"]";
    assert!(parse(&format!("{head}{good}\n"), "jobs.toml").is_ok());
}

#[test]
fn q08_a_check_asks_a_question_of_a_stored_page_and_has_a_lane_of_its_own() {
    let job = "[job.ideas]\nkind = \"backfill\"\nhandler = \"ideas\"\n[job.ideas.check.sane]\n";
    let of = "of = \"fetch/page.html\"\nask = \"Is this a thesis about {company}?\"\n";
    let model = "[model.cheap]\nprovider = \"openai\"\nname = \"n\"\nkey = { env = \"K\" }\n";
    let text = format!("{job}{of}model = \"cheap\"\nconcurrency = 2\nattempts = 3\n{model}");
    let deployment = parse(&text, "jobs.toml").unwrap();
    let check = &deployment.job("ideas").unwrap().checks[0];
    assert_eq!((check.of.as_str(), check.artifact.as_str()), ("fetch", "page.html"));
    assert_eq!((check.outcome, check.model.as_deref()), (GuardOutcome::NotContent, Some("cheap")));
    assert_eq!((check.stage.concurrency, check.stage.retry.attempts_max), (2, 3));
    let blocked = parse(&format!("{job}{of}outcome = \"blocked\"\n"), "jobs.toml").unwrap();
    assert_eq!((blocked.jobs[0].checks[0].outcome, blocked.jobs[0].checks[0].after), (GuardOutcome::Blocked, None));
    let limited = parse(&format!("{job}{of}outcome = \"rate-limited\"\nfor = \"24h\"\n"), "jobs.toml").unwrap();
    assert_eq!(limited.jobs[0].checks[0].after, Some(Duration::from_hours(24)));
}

#[test]
fn q08_a_check_that_cannot_be_is_refused_with_its_line() {
    let (of, ask) = ("of = \"fetch/page.html\"", "ask = \"Is it one?\"");
    for (lines, at, wanted) in [
        (format!("of = \"fetch\"\n{ask}"), 5, "such as \"fetch/page.html\""),
        (format!("of = \"Fetch/page.html\"\n{ask}"), 5, "of is"),
        (format!("of = \"fetch/\"\n{ask}"), 5, "of is"),
        (format!("{of}\nask = \"About {{company?\""), 6, "`{` is never closed"),
        (format!("{of}\nask = \"About company}}?\""), 6, "`}` closes nothing"),
        (format!("{of}\nask = \"About {{}}?\""), 6, "`{}` names no field"),
        (format!("{of}\nask = \"About {{a {{b}}?\""), 6, "names no field"),
        (format!("{of}\nask = \" \""), 6, "it asks nothing"),
        (format!("{of}\n{ask}\noutcome = \"wrong\""), 7, "not-content"),
        (format!("{of}\n{ask}\nfor = \"1h\""), 7, "only what is rate-limited has a `for`"),
        (format!("{of}\n{ask}\noutcome = \"rate-limited\"\nfor = \"soon\""), 8, "for"),
        (format!("{of}\n{ask}\nwhen = \"true\""), 7, "unknown key `when`"),
    ] {
        let text = format!("[job.a]\nkind = \"backfill\"\nhandler = \"a\"\n[job.a.check.sane]\n{lines}\n");
        let found = parse(&text, "jobs.toml").unwrap_err();
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        assert_eq!(found[0].at.line, at, "{lines}: {}", found[0]);
        assert!(found[0].to_string().contains(wanted), "{lines}: {}", found[0]);
    }
    let nameless = format!("[job.a]\nkind = \"backfill\"\nhandler = \"a\"\n[job.a.check.\"No name\"]\n{of}\n{ask}\n");
    assert!(parse(&nameless, "jobs.toml").unwrap_err()[0].to_string().contains("check \"No name\""));
}
