//! `tollgate check --url`: which policy an address gets, why, and who may ask for it.

use serde_json::json;
use tollgate_core::{
    JobName,
    budget::{Budget, Size},
    spec::{Deployment, JobSpec, ProxySpec, Route, SitePattern, SiteSpec, ToolSpec},
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
    let proxies = proxies(&deployment, site);
    if global.output != Format::Table {
        let jobs = explained.jobs.iter().map(|(job, refused)| {
            let tools = tools(&deployment, job, refused.as_deref());
            json!({"job": job, "refused": refused, "tools": tools})
        });
        let document = json!({"site": explained.authority, "policy": site.pattern.to_string(),
            "line": site.at.map(|at| at.line), "wider": wider, "reached": route(site), "rate": rate(site),
            "concurrency": site.concurrency, "timeout_ms": site.timeout.as_millis().to_string(),
            "body_max": site.body_max, "cool_down_ms": site.cool_down.as_millis().to_string(),
            "headers": headers, "session": site.session, "guards": guards, "guard_builtin": site.guard.builtin,
            "duplicates": site.duplicates, "budget": limits(&site.budget),
            "proxies": proxies.iter().map(|proxy| json!({"name": proxy.name, "price": price(proxy),
                "budget": limits(&proxy.budget)})).collect::<Vec<_>>(),
            "jobs": jobs.collect::<Vec<_>>()});
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
    for proxy in &proxies {
        text.push_str(&format!("  proxy {}: {}{}\n", proxy.name, price(proxy), at_most(&proxy.budget)));
    }
    if site.budget != Budget::default() {
        text.push_str(&format!("  all under {} together{}\n", site.pattern, at_most(&site.budget)));
    }
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
        let tools = tools(&deployment, job, refused.as_deref());
        let tools = if tools.is_empty() { String::new() } else { format!(", by {} as well", tools.join(", ")) };
        text.push_str(&format!("  job {job} {verdict}{tools}\n"));
    }
    output::print(&text)
}

/// The proxies that its requests may take.
fn proxies<'d>(deployment: &'d Deployment, site: &SiteSpec) -> Vec<&'d ProxySpec> {
    let Route::Proxy(names, _) = &site.route else { return Vec::new() };
    deployment.proxies.iter().filter(|proxy| names.contains(&proxy.name)).collect()
}

fn price(proxy: &ProxySpec) -> String {
    proxy.price.map_or_else(
        || "nobody said what its bytes cost".to_owned(),
        |price| format!("{} for {}", price.money, Size(price.bytes)),
    )
}

fn limits(budget: &Budget) -> Vec<String> {
    budget.limits().map(|(kind, limit)| format!("{limit} a {}", kind.as_str())).collect()
}

fn at_most(budget: &Budget) -> String {
    let limits = limits(budget);
    if limits.is_empty() { String::new() } else { format!(", at most {}", limits.join(", ")) }
}

/// The tools with which a job may ask for it: those of its grants that reach the network.
fn tools<'d>(deployment: &'d Deployment, job: &JobName, refused: Option<&str>) -> Vec<&'d str> {
    let job = deployment.jobs.iter().find(|spec| spec.name == *job).filter(|_| refused.is_none());
    let Some(granted) = job.and_then(JobSpec::tools) else { return Vec::new() };
    let may_run = |tool: &&ToolSpec| tool.network.is_some() && (granted.is_empty() || granted.contains(&tool.name));
    deployment.tools.iter().filter(may_run).map(|tool| tool.name.as_str()).collect()
}
