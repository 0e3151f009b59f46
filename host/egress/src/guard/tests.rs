//! Guards against the corpus, and against wordings that a site's own rules name.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Index {
    page: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    file: String,
    kind: String,
    status: u16,
    headers: std::collections::BTreeMap<String, String>,
    expect: Option<GuardOutcome>,
    after_seconds: Option<u64>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/guards")
}

fn entries(folder: &Path) -> Vec<Entry> {
    let index = std::fs::read_to_string(folder.join("index.toml")).unwrap();
    toml::from_str::<Index>(&index).unwrap().page
}

fn judged(folder: &Path, entry: &Entry, guards: &GuardSpec) -> Option<Guarded> {
    let body = std::fs::read(folder.join(&entry.file)).unwrap();
    let headers: Vec<(String, String)> = entry.headers.clone().into_iter().collect();
    let date = entry.headers.get("date").map(|date| httpdate::parse_http_date(date).unwrap());
    let now = date.map_or(0, |date| date.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis());
    let page = Page { url: "https://a.example/x", status: entry.status, headers: &headers, body: &body, is_cut: false };
    judge(&page, guards, Timestamp(u64::try_from(now).unwrap()))
}

#[test]
fn trap14_every_wall_is_caught_with_its_outcome_and_wait_and_no_look_alike_is() {
    let folder = corpus();
    let mut wrong = Vec::new();
    let (mut walls, mut look_alikes) = (0, 0);
    for entry in entries(&folder) {
        let guarded = judged(&folder, &entry, &GuardSpec::default());
        match entry.kind.as_str() {
            "block" => walls += 1,
            _ => look_alikes += 1,
        }
        let outcome = guarded.as_ref().map(|guarded| guarded.outcome);
        let after = guarded.as_ref().and_then(|guarded| guarded.after).map(|after| after.as_secs());
        if outcome != entry.expect || after != entry.after_seconds {
            wrong.push(format!("{}: {guarded:?}, not {:?} {:?}", entry.file, entry.expect, entry.after_seconds));
        }
        if let Some(guarded) = guarded {
            assert!(
                guarded.builtin && !guarded.rule.is_empty() && guarded.to_string().contains(&guarded.rule),
                "{guarded}"
            );
        }
    }
    assert!(wrong.is_empty(), "{} of {walls} walls and {look_alikes} look-alikes:\n{}", wrong.len(), wrong.join("\n"));
    assert!(walls >= 40 && look_alikes >= 40, "{walls} {look_alikes}");
}

#[test]
fn r02_a_site_s_own_rules_come_first_and_what_is_switched_off_is_not_asked() {
    let limit = b"<title>Ideas</title><p>Access limits: your view count will reset in 24 hours.</p>";
    let headers = [("content-type".to_owned(), "text/html".to_owned())];
    let page = Page { url: "https://a.example/ideas/7", status: 200, headers: &headers, body: limit, is_cut: false };
    let guards = |guard: &str| {
        let text = format!("[site.\"*\"]\n{guard}\n");
        tollgate_core::spec::parse(&text, "jobs.toml").unwrap().sites[0].guard.clone()
    };
    let rule = |guard: &str| judge(&page, &guards(guard), Timestamp(0)).map(|guarded| guarded.rule);
    assert_eq!(rule(""), Some("rate.limit".to_owned()));
    assert_eq!(rule("guard-builtin = false"), None);
    let own = |test: &str| rule(&format!("guard = [{{ {test}, outcome = \"blocked\" }}]\nguard-builtin = false"));
    for (test, holds) in [
        ("text = \"view  COUNT will\"", true),
        ("text = \"views\"", false),
        ("title = \"ideas\", status = [200]", true),
        ("title = \"ideas\", status = [403]", false),
        ("header = \"content-type: html\"", true),
        ("header = \"x-wall\"", false),
        ("below = 200", true),
        ("below = 20", false),
        ("require = \"article\"", true),
        ("require = \"p\"", false),
        ("require = \"article\", path = \"/ideas/\"", true),
        ("require = \"article\", path = [\"/about\", \"/terms\"]", false),
    ] {
        assert_eq!(own(test), holds.then(|| "jobs.toml:2".to_owned()), "{test}");
    }
}

#[test]
fn trap14_no_rule_asks_for_more_prose_than_is_read() {
    let asked = builtin::RULES.iter().flat_map(|rule| rule.when).filter_map(|condition| match condition {
        Is::Prose(most) => Some(*most),
        _ => None,
    });
    assert_eq!(asked.max(), Some(builtin::PROSE_MAX));
}

#[test]
fn trap14_a_page_of_which_not_all_was_read_is_not_below_anything() {
    let guards = tollgate_core::spec::parse(
        "[site.\"*\"]\nguard = [{ below = 2000, outcome = \"not-content\" }]\nguard-builtin = false\n",
        "jobs.toml",
    );
    let guards = guards.unwrap().sites[0].guard.clone();
    let headers = [("content-type".to_owned(), "text/html".to_owned())];
    let is_caught = |body: &str| {
        let page =
            Page { url: "https://a.example/", status: 200, headers: &headers, body: body.as_bytes(), is_cut: false };
        judge(&page, &guards, Timestamp(0)).is_some()
    };
    assert!(is_caught(&format!("<nav>{}</nav><p>{}", "link ".repeat(5_000), "a word ".repeat(200))));
    assert!(!is_caught(&format!("<nav>{}</nav><p>{}", "link ".repeat(5_000), "a word ".repeat(400))));
    // More than is read before the prose begins.
    assert!(!is_caught(&format!("<nav>{}</nav><p>{}", "link ".repeat(20_000), "a word ".repeat(200))));
}

#[test]
fn r10_a_place_of_signing_in_is_known_by_host_and_path_alone() {
    for (url, wanted) in [
        ("https://ideas.example/login", true),
        ("https://ideas.example/en/users/sign_in?next=/idea/7", true),
        ("https://login.ideas.example/", true),
        ("https://ideas.example/saml2/start", true),
        ("https://ideas.example/ideas?from=/login", false),
        ("https://ideas.example/authors/7", false),
        ("https://ideas.example/blogin/", false),
    ] {
        assert_eq!(is_place_of_signing_in(&url::Url::parse(url).unwrap()), wanted, "{url}");
    }
}

#[test]
fn r01_what_a_page_says_of_itself_goes_before_what_it_lacks() {
    let guards = tollgate_core::spec::parse(
        "[site.\"*\"]\nguard = [{ require = \"article\", outcome = \"not-content\" }]\n",
        "jobs.toml",
    );
    let guards = guards.unwrap().sites[0].guard.clone();
    let headers = [("content-type".to_owned(), "text/html".to_owned())];
    let outcome = |body: &str| {
        let page =
            Page { url: "https://a.example/", status: 200, headers: &headers, body: body.as_bytes(), is_cut: false };
        judge(&page, &guards, Timestamp(0)).map(|guarded| (guarded.outcome, guarded.builtin))
    };
    let login = "<title>Log in</title><form><input type=password></form>";
    assert_eq!(outcome(login), Some((GuardOutcome::LoginRequired, true)));
    assert_eq!(outcome("<p>Enough for one day."), Some((GuardOutcome::NotContent, false)));
    assert_eq!(outcome(""), None, "no page of HTML");
}
