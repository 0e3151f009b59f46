//! `tollgate item retry`: by key, what has failed, or one stage of many items, which is shown first.

use std::io::{BufRead, IsTerminal, Write};

use serde::Serialize;
use tollgate_core::{ItemKey, budget::Size, item::ItemStatus};
use tollgate_engine::operations::Done;
use tollgate_store::{Gone, Lacking};
use tollgate_web::api::{KeysPage, RetryBody};

use crate::{
    CliError, Program,
    api::{Api, encode},
    args::{Global, ItemRetryArgs},
    items::{PAGE, keys, parts, told},
    lacking::sentences,
    output,
};

/// Items of one request: what one transaction of the store takes.
const RETRY_ITEMS: usize = 5_000;
/// Bytes of keys in one request: half of what the API takes.
const RETRY_BYTES: usize = 1 << 20;
/// Items that are named where they are counted.
pub(crate) const NAMED_MAX: usize = 3;

/// One stage of items, as it was shown: no others are opened (trap 31).
#[derive(Debug, Serialize)]
struct Shown {
    stage: String,
    /// Absent: of any.
    status: Option<ItemStatus>,
    /// How many.
    items: usize,
    /// The first of them.
    named: Vec<ItemKey>,
    /// Large binaries that the stage had left for these, and has to fetch or make again (P06).
    #[serde(skip_serializing_if = "Option::is_none")]
    again: Option<Gone>,
    /// Items that are left alone, as what the stage reads has gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacking: Vec<Lacking>,
}

impl Shown {
    fn sentence(&self, job: &str, with_answers: bool) -> String {
        let items = self.status.map_or_else(|| "items".to_owned(), |status| format!("{} items", status.as_str()));
        let answers = if with_answers { " with the answers that it has paid for" } else { "" };
        let mut text = format!(
            "stage {} of {} {items} of {job} would run again{answers}, and the job be resumed",
            self.stage, self.items
        );
        if !self.named.is_empty() {
            let named: Vec<&str> = self.named.iter().map(ItemKey::as_str).collect();
            text.push_str(&format!(": {}", named.join(", ")));
        }
        if self.items > self.named.len() {
            text.push_str(&format!(" and {} more", self.items - self.named.len()));
        }
        if let Some(Gone { items, binaries, bytes }) = self.again {
            text.push_str(&format!(
                "\nof {items} of them large binaries have gone ({binaries} of them, {}): these are fetched again",
                Size(bytes)
            ));
        }
        for sentence in sentences(job, &self.stage, &self.lacking) {
            text.push_str(&format!("\n{sentence}"));
        }
        text
    }
}

pub(crate) async fn retry(program: &dyn Program, global: &Global, args: ItemRetryArgs) -> Result<(), CliError> {
    let is_by_filter = args.failed || args.status.is_some() || args.all;
    if args.keys.is_empty() && !is_by_filter {
        return Err(CliError::configuration(
            "which items? Add their keys, or --failed for every failed one; with --stage STAGE also --status STATUS or \
             --all",
        ));
    }
    let body = match args.stage.clone() {
        Some(stage) if is_by_filter => return stage_of(program, global, args, stage).await,
        Some(stage) => RetryBody::Stage { stage, keys: keys(&args.keys)? },
        None if args.failed => RetryBody::Failed,
        None => RetryBody::Keys(keys(&args.keys)?),
    };
    let done: Done = Api::find(program, global).await?.post(&path(&args), &body).await?;
    told(global, &args.job, args.stage.as_deref(), &done, what(&args))
}

fn path(args: &ItemRetryArgs) -> String {
    let answers = if args.reuse_answers { "?answers=kept" } else { "" };
    format!("/jobs/{}/retry{answers}", args.job)
}

fn what(args: &ItemRetryArgs) -> &'static str {
    if args.reuse_answers { "opened again, with the answers that they have paid for" } else { "opened again" }
}

/// One stage of all items that a filter means: counted, shown, and those opened.
async fn stage_of(program: &dyn Program, global: &Global, args: ItemRetryArgs, stage: String) -> Result<(), CliError> {
    let job = args.job.as_str();
    let api = Api::find(program, global).await?;
    let status = args.status.or(args.failed.then_some(ItemStatus::Failed));
    let (found, shown) = found(&api, job, &stage, status).await?;
    if args.dry_run {
        return output::one(global.output, &shown, |shown| {
            format!("{}\nnothing was changed: a dry run\n", shown.sentence(job, args.reuse_answers))
        });
    }
    if !found.is_empty() {
        eprintln!("{}", shown.sentence(job, args.reuse_answers));
        agreed(args.yes)?;
    }
    // Those aren't sent, and stand in the answer all the same.
    let (mut total, mut sent) = (Done { lacking: shown.lacking, ..Done::default() }, 0);
    for part in parts(&found, RETRY_ITEMS, RETRY_BYTES)?.into_iter().filter(|part| !part.is_empty()) {
        let body = RetryBody::Stage { stage: stage.clone(), keys: part.to_vec() };
        let done: Done = api.post(&path(&args), &body).await.map_err(|error| {
            let text = format!("{sent} of {} items had been opened again", found.len());
            if sent == 0 { error } else { error.after(&text) }
        })?;
        sent += part.len();
        total.items += done.items;
        total.tasks += done.tasks;
        total.resumed = total.resumed.or(done.resumed);
        total.unknown.extend(done.unknown);
        total.in_progress.extend(done.in_progress);
        total.lacking.extend(done.lacking);
    }
    told(global, job, Some(stage.as_str()), &total, what(&args))
}

/// Items whose stage would be opened, and what is shown of them.
async fn found(
    api: &Api,
    job: &str,
    stage: &str,
    status: Option<ItemStatus>,
) -> Result<(Vec<ItemKey>, Shown), CliError> {
    let (mut found, mut gone, mut lacking) = (Vec::new(), Gone::default(), Vec::new());
    let mut after = None;
    loop {
        let mut path = format!("/jobs/{job}/retry?stage={}&limit={PAGE}", encode(stage));
        if let Some(status) = status {
            path.push_str(&format!("&status={}", status.as_str()));
        }
        if let Some(after) = after {
            path.push_str(&format!("&after={after}"));
        }
        let page: KeysPage = api.get(&path).await?;
        found.extend(page.entries);
        gone = gone.and(page.gone);
        lacking.extend(page.lacking);
        after = page.next.map(|next| next.0);
        if after.is_none() {
            let named = found.iter().take(NAMED_MAX).cloned().collect();
            let again = (gone.items > 0).then_some(gone);
            let shown = Shown { stage: stage.to_owned(), status, items: found.len(), named, again, lacking };
            return Ok((found, shown));
        }
    }
}

/// Whether a person wants what was shown: said with the command, or asked on a terminal.
fn agreed(is_said: bool) -> Result<(), CliError> {
    if is_said {
        return Ok(());
    }
    let unsaid = || CliError::configuration("nothing was changed; --yes opens them");
    if !std::io::stdin().is_terminal() {
        return Err(unsaid());
    }
    eprint!("open them? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "yes") { Ok(()) } else { Err(unsaid()) }
}
