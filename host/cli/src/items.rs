//! `tollgate item`: list, show, add, exclude; `retry` opens again.

use std::io::{BufRead, BufReader};

use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_core::{ItemKey, item::NewItem, time::Short};
use tollgate_engine::operations::{Added, Done};
use tollgate_store::{AttemptEnd, AttemptRecord, ItemDetail, ItemView};
use tollgate_web::api::{ExcludeBody, ItemsPage};

use crate::{
    CliError, Program,
    api::{Api, encode},
    args::{Global, ItemAddArgs, ItemListArgs},
    lacking::sentences,
    output,
};

/// Items of one request.
pub(crate) const PAGE: usize = 500;
/// Items submitted with one request: each is a transaction.
const ADD_ITEMS: usize = 1_000;
/// Bytes of items submitted with one request; an item that is larger by itself goes alone.
const ADD_BYTES: usize = 4 << 20;

pub(crate) async fn list(program: &dyn Program, global: &Global, args: ItemListArgs) -> Result<(), CliError> {
    let api = Api::find(program, global).await?;
    let mut items: Vec<ItemView> = Vec::new();
    let mut after = None;
    loop {
        let wanted = args.limit.saturating_sub(items.len()).min(PAGE);
        let page = page(&api, &args.job, args.status, after, wanted, false).await?;
        items.extend(page.entries);
        after = page.next.map(|next| next.0);
        if after.is_none() || items.len() >= args.limit {
            break;
        }
    }
    items.truncate(args.limit);
    output::list(global.output, &items, |items| {
        let rows = items.iter().map(|item| [item.key.to_string(), item.status.as_str().to_owned(), why(item)]);
        output::table(["item", "status", "why"], rows)
    })?;
    if after.is_some() {
        eprintln!("there are more; --limit shows them");
    }
    Ok(())
}

/// One page of items.
pub(crate) async fn page(
    api: &Api,
    job: &str,
    status: Option<tollgate_core::item::ItemStatus>,
    after: Option<u64>,
    limit: usize,
    outputs: bool,
) -> Result<ItemsPage, CliError> {
    let mut path = format!("/jobs/{job}/items?limit={}&outputs={outputs}", limit.max(1));
    if let Some(status) = status {
        path.push_str(&format!("&status={}", status.as_str()));
    }
    if let Some(after) = after {
        path.push_str(&format!("&after={after}"));
    }
    api.get(&path).await
}

/// The sentence of the task that decides where the item stands.
fn why(item: &ItemView) -> String {
    use tollgate_core::task::TaskKind::{Done, Failed, Nothing, Ready, RetryLater, Skipped, Unreachable, Waiting};
    let order = [Failed, RetryLater, Ready, Skipped, Nothing, Unreachable, Waiting, Done];
    let deciding = order.iter().find_map(|kind| item.tasks.iter().find(|task| task.state.kind() == *kind));
    deciding.map_or_else(String::new, |task| format!("{}: {}", task.stage, task.state.why()))
}

pub(crate) async fn show(program: &dyn Program, global: &Global, job: &str, key: &str) -> Result<(), CliError> {
    let api = Api::find(program, global).await?;
    let detail: ItemDetail = api.get(&format!("/jobs/{job}/item?key={}", encode(key))).await?;
    output::one(global.output, &detail, detail_text)
}

fn detail_text(detail: &ItemDetail) -> String {
    let item = &detail.item;
    let mut text = format!("{}: {}\n", item.key, item.status.as_str());
    text.push_str(&format!("data: {}\n", Value::Object(item.data.clone())));
    let rows = item.tasks.iter().map(|task| {
        let reuses = task.tally.reuses.map(|last| format!("; takes answers up to attempt {last} again"));
        [
            task.stage.to_string(),
            task.state.kind().as_str().to_owned(),
            task.tally.attempts.to_string(),
            task.state.why() + &reuses.unwrap_or_default(),
        ]
    });
    text.push_str(&output::table(["stage", "state", "attempts", "why"], rows));
    for (stage, fields) in &item.outputs {
        let fields = serde_json::to_string_pretty(fields).unwrap_or_default();
        text.push_str(&format!("output of {stage}: {fields}\n"));
    }
    for (stage, flags) in &detail.quality_flags {
        text.push_str(&format!("flags of {stage}: {}\n", flags.join(", ")));
    }
    let rows = detail.attempts.iter().flat_map(|(stage, attempts)| {
        attempts.iter().map(move |attempt| {
            [
                stage.to_string(),
                attempt.number.to_string(),
                attempt_end(attempt),
                took(attempt),
                attempt.requests.to_string(),
                attempt.handler.artifact.short(),
                tools(attempt),
            ]
        })
    });
    text.push_str(&output::table(["stage", "attempt", "ended", "took", "requests", "handler", "tools"], rows));
    let rows = detail.artifacts.iter().map(|stored| {
        let artifact = &stored.artifact;
        let pending = if stored.pending { " (pending)" } else { "" };
        [
            format!("{}/{}{pending}", artifact.stage, artifact.name),
            artifact.content_type.clone(),
            artifact.size.to_string(),
        ]
    });
    if !detail.artifacts.is_empty() {
        text.push_str(&output::table(["artifact", "type", "bytes"], rows));
    }
    text
}

/// The tools that ran for an attempt, each with the profile that served.
fn tools(attempt: &AttemptRecord) -> String {
    let tools = attempt.tools.iter().map(|served| format!("{} ({})", served.tool, served.profile));
    tools.collect::<Vec<_>>().join(", ")
}

fn attempt_end(attempt: &AttemptRecord) -> String {
    let word = match attempt.ended {
        AttemptEnd::Done => "done".to_owned(),
        AttemptEnd::Nothing => "nothing here".to_owned(),
        AttemptEnd::Rejected => "rejected".to_owned(),
        AttemptEnd::Later(kind) => format!("later, {}", kind.as_str()),
        AttemptEnd::Failed => "failed".to_owned(),
    };
    match (&attempt.error, &attempt.reason) {
        (Some(error), _) => format!("{word}: {error}"),
        (None, Some(reason)) => format!("{word}: {reason}"),
        (None, None) => word,
    }
}

fn took(attempt: &AttemptRecord) -> String {
    Short(attempt.ended_at.since(attempt.started_at)).to_string()
}

pub(crate) async fn add(program: &dyn Program, global: &Global, args: ItemAddArgs) -> Result<(), CliError> {
    let items = match &args.from {
        Some(file) if file.as_os_str() == "-" => read(std::io::stdin().lock(), "standard input")?,
        Some(file) => {
            let opened = std::fs::File::open(file);
            let opened = opened.map_err(|error| CliError::configuration(format!("{}: {error}", file.display())))?;
            read(BufReader::new(opened), &file.display().to_string())?
        }
        None => args.keys.iter().map(|key| of_key(key)).collect::<Result<_, _>>()?,
    };
    let api = Api::find(program, global).await?;
    let (mut total, mut sent) = (Added::default(), 0);
    for part in parts(&items, ADD_ITEMS, ADD_BYTES)? {
        let added: Added = api.post(&format!("/jobs/{}/items", args.job), &part).await.map_err(|error| {
            let text = format!("{sent} of {} items had been added; adding them all again is no harm", items.len());
            if sent == 0 { error } else { error.after(&text) }
        })?;
        sent += part.len();
        total.new += added.new;
        total.reopened += added.reopened;
        total.known += added.known;
    }
    output::one(global.output, &total, |added| {
        format!("{} new, {} opened again, {} known already\n", added.new, added.reopened, added.known)
    })
}

/// Parts of a list, each of at most so many entries, and of at most so many bytes as JSON where it has more than one.
pub(crate) fn parts<T: Serialize>(mut items: &[T], items_max: usize, bytes_max: usize) -> Result<Vec<&[T]>, CliError> {
    let mut parts = Vec::new();
    let (mut count, mut bytes, mut place) = (0, 0, 0);
    while place < items.len() {
        let size = serde_json::to_vec(&items[place])?.len() + 1;
        if count > 0 && (count == items_max || bytes + size > bytes_max) {
            let (part, rest) = items.split_at(count);
            parts.push(part);
            (items, count, bytes, place) = (rest, 0, 0, 0);
            continue;
        }
        (count, bytes, place) = (count + 1, bytes + size, place + 1);
    }
    parts.push(items);
    Ok(parts)
}

fn item_key(key: &str) -> Result<ItemKey, CliError> {
    ItemKey::new(key).map_err(|error| CliError::configuration(format!("the key {key:?}: {error}")))
}

fn of_key(key: &str) -> Result<NewItem, CliError> {
    let mut data = Map::new();
    if key.starts_with("http://") || key.starts_with("https://") {
        data.insert("url".to_owned(), Value::from(key));
        data.insert("depth".to_owned(), Value::from(0));
    }
    Ok(NewItem { key: item_key(key)?, data, priority: 0, revision: None })
}

fn read(lines: impl BufRead, name: &str) -> Result<Vec<NewItem>, CliError> {
    let mut items = Vec::new();
    for (number, line) in lines.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let item = serde_json::from_str(&line);
        items.push(item.map_err(|error| {
            let text = "write one JSON object a line, such as {\"key\": \"a\", \"data\": {}}";
            CliError::configuration(format!("{name}:{}: {error}; {text}", number + 1))
        })?);
    }
    Ok(items)
}

pub(crate) fn keys(keys: &[String]) -> Result<Vec<ItemKey>, CliError> {
    keys.iter().map(|key| item_key(key)).collect()
}

pub(crate) async fn exclude(
    program: &dyn Program,
    global: &Global,
    job: &str,
    which: Vec<String>,
    reason: String,
) -> Result<(), CliError> {
    let body = ExcludeBody { keys: keys(&which)?, reason };
    let done: Done = Api::find(program, global).await?.post(&format!("/jobs/{job}/exclude"), &body).await?;
    told(global, job, None, &done, "left out")
}

/// Tells what was done. `stage`: the one that was opened alone.
pub(crate) fn told(global: &Global, job: &str, stage: Option<&str>, done: &Done, what: &str) -> Result<(), CliError> {
    output::one(global.output, done, |done| {
        let mut text = format!("{} items, {} tasks {what}\n", done.items, done.tasks);
        for key in &done.in_progress {
            text.push_str(&format!("{key} is in progress and was left to it\n"));
        }
        for sentence in sentences(job, stage.unwrap_or("the stage"), &done.lacking) {
            text.push_str(&format!("{sentence}\n"));
        }
        if let Some(pause) = &done.resumed {
            text.push_str(&format!("{job} goes on; it had been paused: {}\n", pause.sentence()));
        }
        text
    })?;
    if done.unknown.is_empty() {
        return Ok(());
    }
    let unknown: Vec<&str> = done.unknown.iter().map(ItemKey::as_str).collect();
    Err(CliError::not_found(format!("{job} has no item {}", unknown.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_go_in_parts_by_number_and_by_bytes() {
        let item = |bytes: usize| NewItem { key: item_key(&"k".repeat(bytes)).unwrap(), ..of_key("a").unwrap() };
        let lengths = |items: &[NewItem], items_max, bytes_max| -> Vec<usize> {
            parts(items, items_max, bytes_max).unwrap().into_iter().map(<[NewItem]>::len).collect()
        };
        let items: Vec<NewItem> = [1, 1, 1, 900, 1].map(item).into();
        assert_eq!(lengths(&items, 2, 10_000), [2, 2, 1]);
        assert_eq!(lengths(&items, 100, 500), [3, 1, 1], "one that is larger by itself goes alone");
        assert_eq!(lengths(&[], 2, 10), [0], "the job is asked for in any case");
    }
}
