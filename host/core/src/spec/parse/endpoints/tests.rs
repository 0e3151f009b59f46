//! What an endpoint may say, and what is said of others.

use std::time::Duration;

use crate::{
    gcra::Rate,
    handler::{Capability, Grant},
    spec::{CONCURRENCY_DEFAULT, Deployment, Route, Secret, SitePattern, parse},
};

fn read(text: &str) -> Result<Deployment, String> {
    parse(text, "jobs.toml").map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn s02_an_endpoint_has_its_own_pacing_and_nothing_of_the_sites() {
    let text = "[proxy.main]\nurl = \"http://a\"\n[site.\"*\"]\nrate = \"1/h\"\nproxy = \"main\"\n\
                headers = { X = \"x\" }\n\
                [endpoint.ibkr]\nurl = \"http://localhost:7497/v1/\"\nrate = \"4/s\"\nburst = 3\ntimeout = \"5s\"\n\
                headers = { Authorization = { env = \"IBKR\" } }\n[endpoint.far]\nurl = \"https://far.example\"\n\
                proxy = \"main\"\n";
    let deployment = read(text).unwrap();
    let ibkr = deployment.endpoint("ibkr").unwrap();
    assert_eq!(ibkr.url.as_str(), "http://localhost:7497/v1/");
    let policy = &ibkr.policy;
    assert_eq!(policy.rate, Some(Rate { interval: Duration::from_millis(250), burst: 3 }));
    assert_eq!((policy.timeout, policy.concurrency), (Duration::from_secs(5), CONCURRENCY_DEFAULT));
    assert_eq!(policy.headers, [("authorization".to_owned(), Secret::Env("IBKR".to_owned()))]);
    assert_eq!(policy.route, Route::Direct, "no proxy that it doesn't name");
    assert!(!policy.guard.builtin && policy.guard.rules.is_empty() && policy.session.is_none());
    assert_eq!(policy.duplicates, None);
    assert_eq!(policy.pattern.to_string(), "endpoint ibkr");
    assert_eq!(policy.at.unwrap().line, 7);
    let far = &deployment.endpoint("far").unwrap().policy;
    assert!(matches!(&far.route, Route::Proxy(names, _) if names == &["main"]));
    assert_eq!(far.rate, None);
    assert!(deployment.sites.iter().all(|site| !matches!(site.pattern, SitePattern::Endpoint(_))));
}

#[test]
fn s02_what_an_endpoint_cannot_be_is_said_with_its_place_and_what_to_do() {
    for (lines, wanted) in [
        ("[endpoint.a]\nrate = \"1/s\"", "missing field `url`"),
        (
            "[endpoint.a]\nurl = \"localhost:7497\"",
            "2:7: the url of endpoint a is no http or https address\n  write where",
        ),
        (
            "[endpoint.a]\nurl = \"http://me:pw@a\"",
            "2:7: the url of endpoint a has a user or password\n  write headers",
        ),
        (
            "[endpoint.a]\nurl = \"http://a/?x=1\"",
            "2:7: the url of endpoint a has a query or a fragment\n  leave it out",
        ),
        ("[endpoint.a]\nurl = \"http://a\"\nratee = \"1/s\"", "3:1: unknown key `ratee`\n  did you mean `rate`?"),
        ("[endpoint.a]\nurl = \"http://a\"\nguard = []", "unknown key `guard`"),
        ("[endpoint.a]\nurl = \"http://a\"\nsession = \"s\"", "unknown key `session`"),
        ("[endpoint.a]\nurl = \"http://a\"\nproxy = \"mian\"", "3:9: no proxy is named \"mian\"\n  add [proxy.mian]"),
        ("[endpoint.a]\nurl = \"http://a\"\njobs = [\"b\"]", "3:9: no job is named \"b\""),
        ("[endpoint.a]\nurl = \"http://a\"\nconcurrency = 0", "3:15: concurrency is 0"),
        (
            "[endpoint.7]\nurl = \"http://a\"",
            "1:1: endpoint \"7\": '7' can't stand in a name; use a-z, 0-9, '-' and '_', beginning with a letter",
        ),
        ("[endpoint.\"A.b\"]\nurl = \"http://a\"", "1:1: endpoint \"A.b\": "),
        ("endpoint = 3", "expected"),
        ("[endpoint]\na = 3", "a table [endpoint.NAME]"),
        ("[endpont.a]\nurl = \"http://a\"", "did you mean `endpoint`?"),
    ] {
        let said = read(lines).unwrap_err();
        assert!(said.contains(wanted), "{lines}: {said}");
    }
}

#[test]
fn s02_a_grant_names_an_endpoint_that_there_is() {
    let job = |grant: &str| {
        read(&format!(
            "[endpoint.ibkr]\nurl = \"http://localhost:7497\"\n[job.a]\nkind = \"backfill\"\nhandler = \"a\"\n\
             grant = [\"{grant}\"]\n"
        ))
    };
    let granted = job("http a.example endpoint:ibkr").unwrap().jobs.remove(0).grants;
    let names = vec!["a.example".to_owned(), "endpoint:ibkr".to_owned()];
    assert_eq!(granted, [Grant { capability: Capability::Http, names }]);
    let said = job("http endpoint:ibrk").unwrap_err();
    assert!(said.contains("6:10: grant: no endpoint is named \"ibrk\"\n  did you mean `ibkr`?"), "{said}");
    assert!(job("http endpoint:").is_err() && job("http endpoint:a.b").is_err());
    assert_eq!(SitePattern::of_grant("endpoint:ibkr"), Some(SitePattern::Endpoint("ibkr".to_owned())));
    let a_host = SitePattern::Host { host: "endpoint".to_owned(), port: Some(80) };
    assert_eq!(SitePattern::of_grant("endpoint:80"), Some(a_host));
    assert!(read("[site.\"endpoint:ibkr\"]\n").is_err(), "no site's entry speaks of an endpoint");
}

#[test]
fn s02_a_site_that_leads_past_an_endpoint_s_pacing_is_found() {
    let around = |url: &str, site: &str| {
        let text = format!("[endpoint.a]\nurl = \"{url}\"\n[site.\"{site}\"]\n");
        read(&text).unwrap().ways_around_endpoints().count()
    };
    for (url, site) in [
        ("http://localhost:7497/v1", "localhost:7497"),
        ("http://localhost:7497", "localhost"),
        ("http://localhost:7497", "127.0.0.1:7497"),
        ("http://127.0.0.1:7497", "[::1]:7497"),
        ("https://API.example", "api.example:443"),
        ("http://10.0.0.5", "10.0.0.5"),
    ] {
        assert_eq!(around(url, site), 1, "{url} {site}");
    }
    for (url, site) in [
        ("http://localhost:7497", "localhost:80"),
        ("http://10.0.0.5", "10.0.0.6"),
        ("https://api.example", "*.example"),
        ("https://api.example", "*"),
    ] {
        assert_eq!(around(url, site), 0, "{url} {site}");
    }
}
