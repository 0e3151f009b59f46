//! `tollgate check --url`: which policy an address gets, why, and who may ask for it.

use serde_json::json;
use tollgate_core::{
    spec::{SitePattern, SiteSpec},
    time::Short,
};

use crate::{
    CliError, Program,
    args::{Format, Global},
    check::{rate, route},
    output,
};

pub(crate) async fn explain(program: &dyn Program, global: &Global, url: &str) -> Result<(), CliError> {
    let deployment = program.check(&global.file, global.data.as_deref()).await?.deployment;
    let explained = tollgate_engine::explain(&deployment, url).map_err(CliError::configuration)?;
    let file = global.file.display();
    let place = |site: &SiteSpec| match site.at {
        Some(at) => format!("{}, {file}:{}", site.pattern.section(), at.line),
        None => format!("the built-in policy for \"{}\"", site.pattern),
    };
    let site = &explained.site;
    let headers: Vec<&str> = site.headers.iter().map(|(name, _)| name.as_str()).collect();
    let guards: Vec<String> = site.guard.rules.iter().map(|rule| format!("{file}:{}", rule.at.line)).collect();
    let wider: Vec<String> = explained.wider.iter().map(|site| site.pattern.to_string()).collect();
    if global.output != Format::Table {
        let jobs = explained.jobs.iter().map(|(job, refused)| json!({"job": job, "refused": refused}));
        let document = json!({"site": explained.authority, "policy": site.pattern.to_string(),
            "line": site.at.map(|at| at.line), "wider": wider, "reached": route(site), "rate": rate(site),
            "concurrency": site.concurrency, "timeout_ms": site.timeout.as_millis().to_string(),
            "body_max": site.body_max, "cool_down_ms": site.cool_down.as_millis().to_string(),
            "headers": headers, "session": site.session, "guards": guards, "guard_builtin": site.guard.builtin,
            "duplicates": site.duplicates, "jobs": jobs.collect::<Vec<_>>()});
        return output::list(global.output, &[document], |_| String::new());
    }
    let why = if matches!(site.pattern, SitePattern::Endpoint(_)) {
        "an endpoint's; nothing of it comes from [site.\"*\"]".to_owned()
    } else if wider.is_empty() {
        "no other pattern covers it".to_owned()
    } else {
        format!("more specific than {}; what it doesn't say comes from [site.\"*\"]", wider.join(", "))
    };
    let mut text = format!("{}\n  policy: {}: {why}\n  reached {}\n", explained.authority, place(site), route(site));
    text.push_str(&format!(
        "  rate {}, {} at a time, {} for a request, {} bytes at the most, left alone for {} when it refuses\n",
        rate(site),
        site.concurrency,
        Short(site.timeout),
        site.body_max,
        Short(site.cool_down)
    ));
    if !headers.is_empty() {
        text.push_str(&format!("  each request bears {}\n", headers.join(", ")));
    }
    if let Some(session) = &site.session {
        text.push_str(&format!("  its cookies are those of [session.{session}]\n"));
    }
    let own =
        if guards.is_empty() { "no rule of its own".to_owned() } else { format!("the rules {}", guards.join(", ")) };
    let builtin = if site.guard.builtin { ", then by those that Tollgate brings along" } else { "" };
    text.push_str(&format!("  its pages are judged by {own}{builtin}\n"));
    if let Some(most) = site.duplicates {
        text.push_str(&format!("  one page may be served for {most} items at the most\n"));
    }
    for (job, refused) in &explained.jobs {
        let verdict = refused.as_ref().map_or_else(|| "may ask for it".to_owned(), |why| format!("may not: {why}"));
        text.push_str(&format!("  job {job} {verdict}\n"));
    }
    output::print(&text)
}
