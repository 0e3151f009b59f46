//! Guards of today over stored pages: what they catch by now, and what they let pass (R02).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_core::{ItemId, ItemKey, Timestamp, spec::Deployment};
use tollgate_egress::guard::{self, CHECK_PREFIX, DUPLICATE, GUARDED_BYTES_MAX, Page as JudgedPage};
use tollgate_store::{BlobPart, ItemPages, PageView, RECHECK_ITEMS_MAX, Rechecked, Store, StoreError, TaskRef};

use crate::{EngineError, attempt::GUARDED_PREFIX};

/// Items named with a result: enough to look at one.
const NAMED_MAX: usize = 10;

/// What another look at the pages of some items found, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecheckedPart {
    /// Items looked at.
    pub items: u64,
    /// Pages judged.
    pub pages: u64,
    /// Pages that are no content by today's rules, by rule.
    pub caught: BTreeMap<String, u64>,
    /// Guarded pages that are content by today's rules, by the rule that caught them.
    pub passing: BTreeMap<String, u64>,
    /// Guarded pages that can't be judged by what is kept of them, by rule: it looks at headers or at other items, or a
    /// model was asked.
    pub unjudged: BTreeMap<String, u64>,
    /// Artifacts of text whose address isn't known: what a handler made, or an older version kept. They aren't judged.
    pub without_address: u64,
    /// Tasks queued again, without those that stand on them; 0 of a dry run.
    pub queued: u64,
    /// The first items of which a page was caught or passes.
    pub named: Vec<ItemKey>,
    /// Where to go on; absent: that was all.
    pub next: Option<ItemId>,
}

impl RecheckedPart {
    /// Adds what came after it.
    pub fn add(&mut self, after: Self) {
        let sum = |into: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>| {
            from.into_iter().for_each(|(rule, count)| *into.entry(rule).or_default() += count);
        };
        self.items += after.items;
        self.pages += after.pages;
        sum(&mut self.caught, after.caught);
        sum(&mut self.passing, after.passing);
        sum(&mut self.unjudged, after.unjudged);
        self.without_address += after.without_address;
        self.queued += after.queued;
        self.named.extend(after.named);
        self.named.truncate(NAMED_MAX);
        self.next = after.next;
    }
}

/// What a look at one artifact came to.
enum Judged {
    Caught(String),
    Passes(String),
    Stays,
    Unjudged(String),
    WithoutAddress,
    NoPage,
}

/// Looks at the pages of up to [`RECHECK_ITEMS_MAX`] items after `after`. Answers what was found, and what follows for
/// the store.
pub(crate) async fn look(
    store: &dyn Store,
    deployment: &Deployment,
    job: tollgate_core::JobId,
    after: Option<ItemId>,
    now: Timestamp,
) -> Result<(RecheckedPart, Vec<Rechecked>), EngineError> {
    let page = store.pages(job, after, RECHECK_ITEMS_MAX).await?;
    let mut part = RecheckedPart { next: page.next, ..RecheckedPart::default() };
    let mut rechecked = Vec::new();
    for item in &page.entries {
        part.items += 1;
        let before = rechecked.len();
        for view in &item.pages {
            let judged = judge(store, deployment, view, now).await?;
            count(&mut part, &judged);
            follow(&mut rechecked, item, view, judged);
        }
        if rechecked.len() > before && part.named.len() < NAMED_MAX {
            part.named.push(item.key.clone());
        }
    }
    Ok((part, rechecked))
}

fn count(part: &mut RecheckedPart, judged: &Judged) {
    let one = |into: &mut BTreeMap<String, u64>, rule: &str| *into.entry(rule.to_owned()).or_default() += 1;
    part.pages += u64::from(matches!(judged, Judged::Caught(_) | Judged::Passes(_) | Judged::Stays));
    match judged {
        Judged::Caught(rule) => one(&mut part.caught, rule),
        Judged::Passes(rule) => one(&mut part.passing, rule),
        Judged::Unjudged(rule) => one(&mut part.unjudged, rule),
        Judged::WithoutAddress => part.without_address += 1,
        Judged::Stays | Judged::NoPage => {}
    }
}

/// What follows from a look at an artifact: pages of one task are caught together.
fn follow(rechecked: &mut Vec<Rechecked>, item: &ItemPages, view: &PageView, judged: Judged) {
    let task = TaskRef { item: item.item, stage: view.stored.stage };
    let blob = view.stored.artifact.digest;
    match judged {
        Judged::Caught(rule) => {
            let name = (blob, format!("{GUARDED_PREFIX}{rule}"));
            let same = rechecked.iter_mut().find_map(|known| match known {
                Rechecked::Caught { task: of, pages } if *of == task => Some(pages),
                _ => None,
            });
            match same {
                Some(pages) => pages.push(name),
                None => rechecked.push(Rechecked::Caught { task, pages: vec![name] }),
            }
        }
        Judged::Passes(_) => rechecked.push(Rechecked::Passes { task, blob }),
        _ => {}
    }
}

async fn judge(
    store: &dyn Store,
    deployment: &Deployment,
    view: &PageView,
    now: Timestamp,
) -> Result<Judged, EngineError> {
    let artifact = &view.stored.artifact;
    // Of several pages that one rule caught, those after the first have a number.
    let rule = artifact.name.strip_prefix(GUARDED_PREFIX).filter(|_| view.stored.pending);
    let rule = rule.map(|rule| rule.split('~').next().unwrap_or(rule).to_owned());
    if view.stored.pending && rule.is_none() {
        return Ok(Judged::NoPage);
    }
    let Some((url, status)) = view.came.clone() else {
        let is_text = ["text/", "application/json", "application/xhtml", "application/xml"]
            .iter()
            .any(|kind| artifact.content_type.starts_with(kind));
        return Ok(if is_text { Judged::WithoutAddress } else { Judged::NoPage });
    };
    let Some(guards) = tollgate_egress::guards_of(deployment, &url) else {
        return Ok(Judged::WithoutAddress);
    };
    if let Some(rule) = &rule
        && (rule == DUPLICATE || rule.starts_with(CHECK_PREFIX) || guard::needs_headers(rule, &guards))
    {
        return Ok(Judged::Unjudged(rule.clone()));
    }
    let part = BlobPart { offset: 0, length: GUARDED_BYTES_MAX as u64 };
    let body = match store.read_blob(artifact.digest, Some(part)).await {
        Ok(body) => body,
        Err(error @ StoreError::NotFound(_)) => {
            tracing::warn!(%error, "a page can't be judged again: it was replaced just now, or `tollgate store verify` says what is missing");
            return Ok(Judged::NoPage);
        }
        Err(error) => return Err(error.into()),
    };
    let (content_type, size) = (artifact.content_type.clone(), artifact.size);
    // Beside the workers: a page takes up to some milliseconds, and there may be hundreds of thousands.
    let judging = tokio::task::spawn_blocking(move || {
        let headers = [("content-type".to_owned(), content_type)];
        // A part of a page can't be judged by what it says.
        let seen = if status == 206 { &[][..] } else { &body[..] };
        let is_cut = size > seen.len() as u64;
        let page = JudgedPage { url: &url, status, headers: &headers, body: seen, is_cut };
        guard::judge(&page, &guards, now)
    });
    let guarded = judging.await.map_err(|error| EngineError::Task { task: "a guard", message: error.to_string() })?;
    Ok(match (guarded, rule) {
        (Some(guarded), None) => Judged::Caught(guarded.rule),
        (None, Some(rule)) => Judged::Passes(rule),
        (Some(_), Some(_)) | (None, None) => Judged::Stays,
    })
}
