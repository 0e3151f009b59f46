//! A jobs.toml that was changed while its host runs: what of it holds at once, and what waits for the next start (R02).

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Deployment, SitePattern, SiteSpec};
use crate::budget::Budget;

/// Keys of a site that each request looks up anew. What the others say is built at the start: clients, places, meters.
const LIVE_KEYS: [&str; 10] =
    ["rate", "burst", "timeout", "body-max", "cool-down", "headers", "jobs", "guard", "guard-builtin", "duplicates"];

/// A jobs.toml that was read without a mistake, with its text.
#[derive(Debug, Clone)]
pub struct ReadSpec {
    deployment: Deployment,
    /// Each section's values; those of a site that hold at once stand apart.
    sections: BTreeMap<String, Section>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Section {
    live: Table,
    rest: Table,
}

/// What a changed jobs.toml comes to for the host that runs.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// To go on by.
    pub deployment: Deployment,
    /// Sections of which something holds from now on.
    pub taken: Vec<String>,
    /// Sections of which something waits for the next start.
    pub waiting: Vec<String>,
}

impl ReadSpec {
    /// Reads a jobs.toml, as [`super::parse()`] does.
    ///
    /// # Errors
    /// Everything wrong with it, in the order of the file.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<super::Diagnostic>> {
        let deployment = super::parse(text, file)?;
        // What has just been read whole is a table.
        let document: Table = toml::from_str(text).unwrap_or_default();
        Ok(Self { deployment, sections: sections(document) })
    }

    /// What it says.
    #[must_use]
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// What it says, for who doesn't go on by it.
    #[must_use]
    pub fn into_deployment(self) -> Deployment {
        self.deployment
    }

    /// What this one, read at the start, and `last`, which the host goes on by, become by a newer one.
    #[must_use]
    pub fn reload(&self, last: &Self, newer: &Self) -> Reloaded {
        let differs = |from: &Self, part: fn(&Section) -> &Table| -> Vec<String> {
            let names = from.sections.keys().chain(newer.sections.keys());
            let empty = Section::default();
            let of = |spec: &Self, name: &String| part(spec.sections.get(name).unwrap_or(&empty)).clone();
            let mut names: Vec<String> = names.filter(|name| of(from, name) != of(newer, name)).cloned().collect();
            names.sort();
            names.dedup();
            names
        };
        let mut waiting = differs(self, |section| &section.rest);
        let mut sites = Vec::new();
        for site in &newer.deployment.sites {
            if let Some(started) = self.site(&site.pattern) {
                let SiteSpec { route, concurrency, budget, session, .. } = started.clone();
                // Whether anybody looks for duplicates where nothing is said follows from the session.
                let is_same = session == site.session;
                let duplicates = if is_same { site.duplicates } else { started.duplicates };
                sites.push(SiteSpec { route, concurrency, budget, session, duplicates, ..site.clone() });
            } else if newer.is_live(&site.pattern)
                && !waiting.contains(&SitePattern::Any.section())
                // What it inherits of a budget would be counted by no meter.
                && site.budget == Budget::default()
            {
                sites.push(site.clone());
            } else if !waiting.contains(&site.pattern.section()) {
                waiting.push(site.pattern.section());
            }
        }
        let gone = |site: &&SiteSpec| newer.site(&site.pattern).is_none() && !self.is_live(&site.pattern);
        sites.extend(self.deployment.sites.iter().filter(gone).cloned());
        sites.sort_by_key(|site| std::cmp::Reverse(site.pattern.specificity()));
        let taken = differs(last, |section| &section.live);
        let holds = |name: &String| {
            let is_there = sites.iter().any(|site| &site.pattern.section() == name);
            // One that is gone and waits goes on; one that is gone and doesn't has gone.
            if newer.sections.contains_key(name) { is_there } else { !is_there }
        };
        let taken = taken.into_iter().filter(holds).collect();
        Reloaded { deployment: Deployment { sites, ..self.deployment.clone() }, taken, waiting }
    }

    fn site(&self, pattern: &SitePattern) -> Option<&SiteSpec> {
        self.deployment.sites.iter().find(|site| &site.pattern == pattern)
    }

    /// Whether all that the section of a site says holds at once.
    fn is_live(&self, pattern: &SitePattern) -> bool {
        self.sections.get(&pattern.section()).is_none_or(|section| section.rest.is_empty())
    }
}

/// The sections as they are written: `[host]`, `[job.ideas]`, `[site."*"]`.
fn sections(document: Table) -> BTreeMap<String, Section> {
    let mut sections = BTreeMap::new();
    for (kind, value) in document {
        match value {
            Value::Table(named) if named.values().all(Value::is_table) && kind != "host" => {
                sections.extend(named.into_iter().map(|(name, value)| section(&kind, &name, value)));
            }
            value => {
                let rest = Table::from_iter([(kind.clone(), value)]);
                sections.insert(format!("[{kind}]"), Section { live: Table::new(), rest });
            }
        }
    }
    sections
}

fn section(kind: &str, name: &str, value: Value) -> (String, Section) {
    let Value::Table(values) = value else {
        return (format!("[{kind}.{name}]"), Section::default());
    };
    if kind != "site" {
        return (format!("[{kind}.{name}]"), Section { live: Table::new(), rest: values });
    }
    // As messages write it: two ways of writing one pattern are one section.
    let shown = SitePattern::parse(name).map_or_else(|| format!("[site.{name:?}]"), |pattern| pattern.section());
    let (live, rest) = values.into_iter().partition(|(key, _)| LIVE_KEYS.contains(&key.as_str()));
    (shown, Section { live, rest })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: &str = r#"
[proxy.main]
url = "http://proxy.example:3128"

[site."*"]
timeout = "10s"

[site."a.example"]
concurrency = 2
guard = [{ text = ["please wait"], outcome = "rate-limited", for = "1h" }]

[site."b.example"]
guard = [{ text = ["sign in"], outcome = "login-required" }]
"#;

    fn read(text: &str) -> ReadSpec {
        ReadSpec::parse(text, "jobs.toml").unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}"))
    }

    fn changed(from: &str, to: &str) -> Reloaded {
        let start = read(START);
        assert!(START.contains(from), "{from}");
        start.reload(&start, &read(&START.replacen(from, to, 1)))
    }

    fn texts(reloaded: &Reloaded, host: &str) -> Vec<String> {
        let site = reloaded.deployment.site(host, 443).unwrap();
        site.guard.rules.iter().flat_map(|rule| rule.text.clone()).collect()
    }

    #[test]
    fn r02_another_wording_holds_at_once_and_nothing_else_is_touched() {
        let reloaded = changed("\"please wait\"", "\"please wait\", \"come back tomorrow\"");
        assert_eq!(reloaded.taken, ["[site.\"a.example\"]"]);
        assert!(reloaded.waiting.is_empty(), "{:?}", reloaded.waiting);
        assert_eq!(texts(&reloaded, "a.example"), ["please wait", "come back tomorrow"]);
        assert_eq!(texts(&reloaded, "b.example"), ["sign in"]);
        assert_eq!(reloaded.deployment.site("a.example", 443).unwrap().concurrency, 2);
    }

    #[test]
    fn comments_and_lines_are_no_change_but_rules_are_named_by_their_new_lines() {
        let reloaded = changed("[site.\"a.example\"]", "\n# The wall has moved.\n[site.\"a.example\"]");
        assert!(reloaded.taken.is_empty() && reloaded.waiting.is_empty(), "{reloaded:?}");
        assert_eq!(reloaded.deployment.site("a.example", 443).unwrap().guard.rules[0].at.line, 12);
    }

    #[test]
    fn what_is_built_at_the_start_waits_and_the_rest_of_its_section_does_not() {
        let reloaded = changed("concurrency = 2\n", "concurrency = 9\nrate = \"1/s\"\n");
        assert_eq!(reloaded.waiting, ["[site.\"a.example\"]"]);
        assert_eq!(reloaded.taken, ["[site.\"a.example\"]"]);
        let site = reloaded.deployment.site("a.example", 443).unwrap();
        assert_eq!((site.concurrency, site.rate.map(|rate| rate.interval)), (2, Some(Duration::from_secs(1))));
        assert_eq!(changed("proxy.example:3128", "other.example:1").waiting, ["[proxy.main]"]);
        assert_eq!(changed("[proxy.main]", "[host]\ngrace = \"1s\"\n[proxy.main]").waiting, ["[host]"]);
    }

    #[test]
    fn a_new_section_holds_if_all_of_it_does_and_one_that_is_gone_goes() {
        let new = "[site.\"c.example\"]\nguard = [{ text = [\"closed\"], outcome = \"blocked\" }]\n";
        let reloaded = changed("[site.\"b.example\"]", &format!("{new}[site.\"b.example\"]"));
        assert_eq!((reloaded.taken.as_slice(), reloaded.waiting.len()), (&["[site.\"c.example\"]".to_owned()][..], 0));
        assert_eq!(texts(&reloaded, "c.example"), ["closed"]);
        let reloaded = changed("[site.\"b.example\"]", &format!("{new}proxy = \"main\"\n[site.\"b.example\"]"));
        assert_eq!((reloaded.taken.len(), reloaded.waiting), (0, vec!["[site.\"c.example\"]".to_owned()]));
        let (start, without_a) = (read(START), START.replace("a.example", "d.example"));
        let reloaded = start.reload(&start, &read(&without_a));
        assert_eq!(reloaded.waiting, ["[site.\"a.example\"]", "[site.\"d.example\"]"], "both say `concurrency`");
        assert_eq!(reloaded.deployment.site("a.example", 443).unwrap().concurrency, 2, "it stands until then");
        let (before, _) = START.split_once("[site.\"b.example\"]").unwrap();
        let reloaded = start.reload(&start, &read(before));
        assert!(texts(&reloaded, "b.example").is_empty() && reloaded.waiting.is_empty(), "{reloaded:?}");
        assert_eq!(reloaded.taken, ["[site.\"b.example\"]"], "that it has gone is news");
    }

    #[test]
    fn a03_a_new_section_that_inherits_a_budget_waits_for_its_meter() {
        let start = read(&START.replace("[site.\"*\"]", "[site.\"*\"]\nbudget = { day = \"1 GB\" }"));
        let text = START.replace("[site.\"*\"]", "[site.\"*\"]\nbudget = { day = \"1 GB\" }");
        let newer = read(&format!("{text}\n[site.\"c.example\"]\nguard-builtin = false\n"));
        let reloaded = start.reload(&start, &newer);
        assert_eq!((reloaded.taken.len(), reloaded.waiting), (0, vec!["[site.\"c.example\"]".to_owned()]));
        assert_eq!(reloaded.deployment.site("c.example", 443).unwrap().pattern, SitePattern::Any, "whose budget holds");
    }

    #[test]
    fn s11_a_session_that_waits_turns_nobodys_look_for_duplicates_on_or_off() {
        let session = "[session.club]\nfile = \"cookies.txt\"\n[site.\"a.example\"]\nsession = \"club\"";
        let reloaded = changed("[site.\"a.example\"]", session);
        assert_eq!(reloaded.waiting, ["[session.club]", "[site.\"a.example\"]"]);
        let site = reloaded.deployment.site("a.example", 443).unwrap();
        assert_eq!((&site.session, site.duplicates), (&None, None));
    }

    #[test]
    fn what_is_put_back_waits_for_nothing() {
        let start = read(START);
        let newer = read(&START.replace("please wait", "hold on"));
        let last = start.reload(&start, &newer);
        assert_eq!(texts(&last, "a.example"), ["hold on"]);
        let back = start.reload(&newer, &start);
        assert_eq!((back.taken.len(), back.waiting.len()), (1, 0));
        assert_eq!(texts(&back, "a.example"), ["please wait"]);
    }

    #[test]
    fn every_key_that_is_said_to_hold_at_once_does() {
        for (key, value) in [
            ("rate", "\"3/s\""),
            ("burst", "3"),
            ("timeout", "\"3s\""),
            ("body-max", "\"3 MiB\""),
            ("cool-down", "\"3s\""),
            ("headers", "{ accept = \"text/html\" }"),
            ("jobs", "[]"),
            ("guard", "[]"),
            ("guard-builtin", "false"),
            ("duplicates", "3"),
        ] {
            assert!(LIVE_KEYS.contains(&key), "{key}");
            let rate = if key == "burst" { "rate = \"1/s\"\n" } else { "" };
            let from = "[site.\"*\"]\ntimeout = \"10s\"\n";
            let reloaded = changed(from, &format!("[site.\"*\"]\n{rate}{key} = {value}\n"));
            assert_eq!((reloaded.taken.len(), reloaded.waiting.len()), (1, 0), "{key}");
            let before = read(START);
            let any = |deployment: &Deployment| deployment.site("z.example", 443).unwrap().clone();
            assert_ne!(any(&reloaded.deployment), any(&before.deployment), "{key}");
        }
    }
}
