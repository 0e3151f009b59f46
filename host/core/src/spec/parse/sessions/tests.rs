//! `[session.NAME]`: what is read, and what is said of mistakes.

use crate::spec::{Deployment, parse, session::BrowserStore};

/// The design's example of a jobs.toml, as far as this version goes.
const IDEAS: &str =
    "[proxy.main]\nurl = \"http://p\"\n[site.\"ideas.example\"]\nsession = \"ideas\"\n[session.ideas]\n";

fn read(lines: &str) -> Result<Deployment, String> {
    parse(&format!("{IDEAS}{lines}\n"), "jobs.toml")
        .map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn r10_the_chain_of_the_design_s_example_is_read() {
    let deployment = read(
        "file = \"cookies/ideas.txt\"\nbrowser = { store = \"chrome\", cookie = \"remember_web_*\" }\n\
         exchange = { url = \"https://ideas.example/session\", keeps = \"ideas_session\" }\n\
         test = \"https://ideas.example/account\"",
    );
    let deployment = deployment.unwrap();
    let session = deployment.session("ideas").unwrap();
    assert_eq!(session.file.as_deref(), Some("cookies/ideas.txt".as_ref()));
    let browser = session.browser.as_ref().unwrap();
    assert_eq!((browser.store, browser.cookies.len()), (BrowserStore::Chrome, 1));
    assert!(browser.cookies[0].matches("remember_web_59ba") && !browser.cookies[0].matches("remember_me"));
    assert_eq!(session.exchange.as_ref().unwrap().keeps[0].to_string(), "ideas_session");
    assert_eq!(deployment.site("ideas.example", 443).unwrap().session.as_deref(), Some("ideas"));
    assert_eq!(deployment.site("other.example", 443).unwrap().session, None);
    let lists = "browser = { store = \"firefox\", cookie = [\"a\", \"b_*\"], profile = \"p\" }\n\
                 exchange = { url = \"http://ideas.example/\", keeps = [\"c\", \"d\"] }";
    let lists = read(lists).unwrap();
    let session = lists.session("ideas").unwrap();
    assert_eq!(session.browser.as_ref().map(|browser| browser.cookies.len()), Some(2));
    assert_eq!(session.exchange.as_ref().map(|exchange| exchange.keeps.len()), Some(2));
}

#[test]
fn r10_a_mistake_in_a_session_is_said_with_its_place_and_what_to_do() {
    let browser = "browser = { store = \"firefox\", cookie = \"a\" }\n";
    for (lines, wanted) in [
        ("", "jobs.toml:5:1: session ideas doesn't say where its cookies come from"),
        ("file = \"\"", "file is empty"),
        (
            "browser = { store = \"chrom\", cookie = \"a\" }",
            "did you mean `chrome`? there are chrome, chromium, firefox",
        ),
        ("browser = { store = \"firefox\", cookie = [] }", "cookie names no cookie"),
        ("browser = { store = \"firefox\", cookie = \"a;b\" }", "cookie: \"a;b\" can't name a cookie"),
        ("browser = { store = \"firefox\" }", "missing field `cookie`"),
        (
            &format!("{browser}exchange = {{ url = \"ideas.example\", keeps = \"a\" }}"),
            "exchange: \"ideas.example\" is no address",
        ),
        (
            &format!("{browser}exchange = {{ url = \"https://other.example/\", keeps = \"a\" }}"),
            "exchange: other.example isn't a site of session ideas\n  write session = \"ideas\" into \
             [site.\"other.example\"]",
        ),
        (&format!("{browser}test = \"https://other.example/\""), "test: other.example isn't a site of session ideas"),
        (&format!("{browser}exchang = 1"), "did you mean `exchange`?"),
        (
            &format!("{browser}[site.\"b.example\"]\nsession = \"idea\""),
            "no session is named \"idea\"\n  did you mean `ideas`? the sessions are ideas",
        ),
        (&format!("{browser}[site.\"*\"]\nsession = \"ideas\""), "a session of [site.\"*\"] would be every site's"),
    ] {
        let said = read(lines).unwrap_err();
        assert!(said.contains(wanted), "{lines}: {said}");
    }
    let none = parse("[site.\"a.example\"]\nsession = \"a\"\n", "jobs.toml").unwrap_err();
    assert!(none[0].to_string().contains("add [session.a] with its file or its browser"), "{}", none[0]);
}
