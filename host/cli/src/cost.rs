//! `tollgate cost`: what models, searches and speech have cost, in sums or call by call. What has no price is said to
//! be unpriced, and never shown as nothing (trap 4).

use tollgate_core::{
    ItemId, ItemKey, JobId,
    ledger::{CallEnd, CallId, Cost, Costs},
    model::Tokens,
};
use tollgate_engine::operations::{CostReport, ProxyCost};
use tollgate_store::{CostGroup, CostKey, CostView, EntryView};
use tollgate_web::api::LedgerPage;

use crate::{
    CliError, Program,
    api::{Api, encode},
    args::{CostArgs, Format, Global},
    items::PAGE,
    output,
};

/// What of a job is no item's and no stage's.
const DISCOVERY: &str = "discovery";

pub(crate) async fn cost(program: &dyn Program, global: &Global, args: CostArgs) -> Result<(), CliError> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(CliError::configuration(format!("no day is from {from} on and up to {to}; swap the two")));
    }
    let api = Api::find(program, global).await?;
    if let Some(call) = args.answer {
        let answer: serde_json::Value = api.get(&format!("/ledger/{call}/answer")).await?;
        return output::one(global.output, &answer, |answer| format!("{answer:#}\n"));
    }
    if args.rows { rows(&api, global, &args).await } else { sums(&api, global, &args).await }
}

/// The part of a query that sums and rows have in common.
fn query(path: &str, args: &CostArgs, limit: usize) -> String {
    let mut query = format!("{path}?limit={}", limit.max(1));
    let days = [("from", args.from), ("to", args.to)];
    let days = days.into_iter().filter_map(|(name, day)| day.map(|day| (name, day.to_string())));
    let named = [("job", &args.job), ("stage", &args.stage), ("key", &args.item)];
    let named = named.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value.clone())));
    for (name, value) in days.chain(named) {
        query.push_str(&format!("&{name}={}", encode(&value)));
    }
    query
}

async fn sums(api: &Api, global: &Global, args: &CostArgs) -> Result<(), CliError> {
    let mut report = page(api, args, None, args.limit.min(PAGE)).await?;
    // Only items are paged.
    while let Some(after) = report.next.filter(|_| report.sums.len() < args.limit) {
        let more = page(api, args, Some(after), (args.limit - report.sums.len()).min(PAGE)).await?;
        let mut sums = report.sums;
        sums.extend(more.sums);
        // What a running host has settled meanwhile is in the newest total alone.
        report = CostReport { sums, ..more };
    }
    match global.output {
        Format::Table => output::print(&text(&report))?,
        Format::Json => output::one(Format::Json, &report, |_| String::new())?,
        Format::Jsonl => output::list(Format::Jsonl, &report.sums, |_| String::new())?,
    }
    if report.next.is_some() {
        eprintln!("there are more items; --limit shows them. The sum is of all");
    }
    Ok(())
}

async fn page(
    api: &Api,
    args: &CostArgs,
    after: Option<(JobId, ItemId)>,
    limit: usize,
) -> Result<CostReport, CliError> {
    let by = serde_json::to_value(CostGroup::from(args.by))?;
    let mut path = query("/cost", args, limit);
    path.push_str(&format!("&by={}", by.as_str().unwrap_or_default()));
    if let Some((job, item)) = after {
        path.push_str(&format!("&after_job={}&after_item={}", job.0, item.0));
    }
    api.get(&path).await
}

fn text(report: &CostReport) -> String {
    let names: &[&str] = match report.by {
        CostGroup::Day => &["day"],
        CostGroup::Job => &["job"],
        CostGroup::Stage => &["job", "stage"],
        CostGroup::Model => &["model", "named"],
        CostGroup::Item => &["job", "item"],
    };
    let measures = ["calls", "input", "cache read", "cache written", "output", "credits", "audio"];
    let money = ["cost", "estimated", "unpriced"];
    let header = names.iter().chain(&measures).chain(&money).map(|name| (*name).to_owned()).collect();
    let row = |of: Vec<String>, costs: &Costs| of.into_iter().chain(measured(costs)).chain(paid(costs)).collect();
    let mut rows: Vec<Vec<String>> = report.sums.iter().map(|CostView { of, costs }| row(named(of), costs)).collect();
    let mut of_total = vec![String::new(); names.len()];
    "sum".clone_into(&mut of_total[0]);
    rows.push(row(of_total, &report.total));
    let mut text = output::wide_table(header, rows);
    for ProxyCost { name, nano_usd_today, nano_usd_month } in &report.proxies {
        text.push_str(&format!(
            "proxy {name}: {nano_usd_today} today, {nano_usd_month} this month, which is not in the sum\n"
        ));
    }
    text
}

fn named(of: &CostKey) -> Vec<String> {
    match of {
        CostKey::Day(day) => vec![day.to_string()],
        CostKey::Job(job) => vec![job.to_string()],
        CostKey::Stage { job, stage } => {
            vec![job.to_string(), stage.as_ref().map_or_else(|| DISCOVERY.to_owned(), ToString::to_string)]
        }
        CostKey::Model(paid) => {
            vec![format!("{} {}", paid.kind.as_str(), paid.alias), format!("{} {}", paid.provider, paid.model)]
        }
        CostKey::Item { job, item } => {
            vec![job.to_string(), item.as_ref().map_or_else(|| DISCOVERY.to_owned(), |(_, key)| key.to_string())]
        }
    }
}

/// What of nothing there is isn't shown: most calls have no credits and no audio.
fn some(count: u64) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

fn seconds(audio_ms: u64) -> String {
    if audio_ms == 0 { String::new() } else { format!("{}.{:03} s", audio_ms / 1_000, audio_ms % 1_000) }
}

fn token_cells(tokens: &Tokens) -> [String; 4] {
    let written = tokens.cache_write.saturating_add(tokens.cache_write_long);
    [tokens.input, tokens.cache_read, written, tokens.output].map(some)
}

fn measured(costs: &Costs) -> [String; 7] {
    let [input, read, written, output] = token_cells(&costs.tokens);
    let (credits, audio) = (some(costs.units.credits), seconds(costs.units.audio_ms));
    [costs.calls.to_string(), input, read, written, output, credits, audio]
}

/// What it cost, how much of it is an estimate, and how many calls it is without.
fn paid(costs: &Costs) -> [String; 3] {
    let cost = match costs.unpriced {
        0 => costs.cost.to_string(),
        unpriced if unpriced == costs.calls => "unpriced".to_owned(),
        unpriced => format!("{} and {unpriced} unpriced", costs.cost),
    };
    let estimated =
        if costs.estimates == 0 { String::new() } else { format!("{} ({})", costs.estimated, costs.estimates) };
    [cost, estimated, some(costs.unpriced)]
}

async fn rows(api: &Api, global: &Global, args: &CostArgs) -> Result<(), CliError> {
    if let Some(key) = &args.item {
        ItemKey::new(key).map_err(|error| CliError::configuration(format!("the key {key:?}: {error}")))?;
    }
    let mut entries: Vec<EntryView> = Vec::new();
    let mut after: Option<CallId> = None;
    loop {
        let mut path = query("/ledger", args, args.limit.saturating_sub(entries.len()).min(PAGE));
        if let Some(after) = after {
            path.push_str(&format!("&after={}", after.0));
        }
        let page: LedgerPage = api.get(&path).await?;
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() || entries.len() >= args.limit {
            break;
        }
    }
    entries.truncate(args.limit);
    output::list(global.output, &entries, entries_text)?;
    if after.is_some() {
        eprintln!("there are more rows; --limit shows them");
    }
    Ok(())
}

fn entries_text(entries: &[EntryView]) -> String {
    let header = ["call", "day", "job", "stage", "item", "model", "ended"];
    let header = header.into_iter().chain(["input", "cache read", "cache written", "output", "cost"]);
    let rows = entries.iter().map(|EntryView { entry, job, stage, key }| {
        let paid = &entry.call.paid;
        let of = [
            entry.id.0.to_string(),
            entry.day.to_string(),
            job.to_string(),
            stage.as_ref().map_or_else(|| DISCOVERY.to_owned(), ToString::to_string),
            key.as_ref().map_or_else(String::new, ToString::to_string),
            format!("{} {}", paid.kind.as_str(), paid.alias),
        ];
        let (how, tokens, cost) = match &entry.end {
            Some(CallEnd { how, tokens, cost, is_estimate, .. }) => {
                (how.as_str(), *tokens, amount(*cost, if *is_estimate { " estimated" } else { "" }))
            }
            None => ("under way", Tokens::default(), amount(entry.call.estimate, " held")),
        };
        of.into_iter().chain([how.to_owned()]).chain(token_cells(&tokens)).chain([cost]).collect()
    });
    output::wide_table(header.map(ToOwned::to_owned).collect(), rows)
}

fn amount(cost: Cost, what: &str) -> String {
    cost.known().map_or_else(|| "unpriced".to_owned(), |cost| format!("{cost}{what}"))
}

#[cfg(test)]
mod tests {
    use tollgate_core::{
        JobName, StageName, Timestamp,
        ledger::{How, Units},
        money::NanoUsd,
    };

    use super::*;

    fn call(cost: Cost, is_estimate: bool) -> Costs {
        let tokens = Tokens { input: 10, cache_read: 4, cache_write: 3, cache_write_long: 2, output: 5 };
        let units = Units { credits: 0, audio_ms: 61_002 };
        let end =
            CallEnd { at: Timestamp(1), how: How::Answered, cost, is_estimate, tokens, units, provider_request: None };
        Costs::of(&end)
    }

    #[test]
    fn trap04_what_has_no_price_is_told_apart_from_what_costs_nothing() {
        let (free, unpriced) = (call(Cost::Known(NanoUsd::ZERO), false), call(Cost::Unpriced, false));
        assert_eq!(paid(&free), ["0.00 USD", "", ""]);
        assert_eq!(paid(&unpriced), ["unpriced", "", "1"]);
        let dear = call(Cost::Known(NanoUsd(1)), true);
        assert_eq!(paid(&dear.and(&unpriced)), ["0.000000001 USD and 1 unpriced", "0.000000001 USD (1)", "1"]);
        assert_eq!(paid(&free.and(&unpriced)), ["0.00 USD and 1 unpriced", "", "1"]);
        assert_eq!(amount(Cost::Unpriced, " held"), "unpriced");
        assert_eq!(amount(Cost::Known(NanoUsd::ZERO), " held"), "0.00 USD held");
    }

    #[test]
    fn p05_a_table_names_stages_and_has_every_kind_of_token_once() {
        let costs = call(Cost::Known(NanoUsd(2_500_000)), false);
        let job = || JobName::new("news").unwrap();
        let of = |stage| CostKey::Stage { job: job(), stage };
        let sums =
            vec![CostView { of: of(Some(StageName::new("digest").unwrap())), costs }, CostView { of: of(None), costs }];
        let total = costs.and(&costs);
        let proxies = vec![ProxyCost {
            name: "main".to_owned(),
            nano_usd_today: NanoUsd(5),
            nano_usd_month: NanoUsd(1_000_000_000),
        }];
        let report = CostReport { by: CostGroup::Stage, sums, total, proxies, next: None };
        let text = text(&report);
        let line = |of: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.contains(of)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(line("digest"), ["news", "digest", "1", "10", "4", "5", "5", "61.002", "s", "0.0025", "USD"]);
        assert_eq!(line("discovery")[1], "discovery");
        assert_eq!(line(" sum"), ["sum", "2", "20", "8", "10", "10", "122.004", "s", "0.005", "USD"]);
        assert!(text.contains("proxy main: 0.000000005 USD today, 1.00 USD this month"), "{text}");
    }
}
