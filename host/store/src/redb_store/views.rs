//! What people look at: items, their history, their artifacts. Figures come from counters, never from here.

use std::collections::BTreeMap;

use redb::ReadOnlyTable;
use tollgate_core::{
    ArtifactRef, Digest, ItemId, ItemKey, JobId, StageIx, Timestamp,
    item::ItemStatus,
    task::{TaskKind, TaskState},
};

use super::{
    Shared,
    fault::Fault,
    jobs::{Job, Spec},
    json,
    tables::{
        self, ARTIFACTS, ATTEMPTS, ERRORS, FAILED, FIGURES, ITEMS, JobKey, KEYS, OUTPUTS, TASKS, TaskKey, attempt_key,
        job_key, job_key_number, task_key, task_key_stage, text_key,
    },
    tasks::{ItemTasks, Side, read_item},
};
use crate::{
    ErrorView, ItemDetail, ItemQuery, ItemView, JobView, Page, StageView, StoreError, StoredArtifact, TaskView,
    stored::{StoredArtifactRow, StoredAttempt, StoredErrorRow, StoredOutput, corrupt, decode},
};

/// Most items of one page.
pub const ITEMS_PAGE_MAX: usize = 1_000;
/// Items that are looked at for one page of a status: a page may be short, or empty, and still name a next one.
pub const ITEMS_LOOKED_AT_MAX: usize = 20_000;
/// Most errors that are listed at once.
pub const ERRORS_LISTED_MAX: usize = 1_000;

/// A job with its counters.
pub(crate) fn job(job: &Job) -> Result<JobView, StoreError> {
    let spec = &job.spec;
    let mut stages = Vec::with_capacity(spec.declared.len());
    for declared in &spec.declared {
        let figures = job.lanes.get(&declared.ix).cloned().unwrap_or_default();
        stages.push(StageView {
            ix: declared.ix,
            name: spec.stage_name(declared.ix)?.clone(),
            needs: declared.needs.iter().map(ToString::to_string).collect(),
            tasks: TaskKind::ALL.into_iter().map(|kind| (kind, figures.tasks[kind.index()])).collect(),
            breaker: figures.breaker.failures(),
            last_progress_at: figures.last_progress_at,
            last_attempt_at: figures.last_attempt_at,
            later_since: figures.later_since,
        });
    }
    Ok(JobView {
        id: spec.id,
        name: spec.name.clone(),
        kind: spec.kind,
        stages,
        items: ItemStatus::ALL.into_iter().map(|status| (status, job.totals.items[status as usize])).collect(),
        pause: job.pause.clone(),
        discovery: job.discovery.clone(),
    })
}

/// Whether the last good output of a task still stands for it: until a re-run has settled that there is none.
fn serves(state: &TaskState) -> bool {
    !matches!(state, TaskState::Nothing { .. } | TaskState::Skipped { .. })
}

/// Tables of one snapshot.
struct Reader {
    items: ReadOnlyTable<u64, &'static [u8]>,
    tasks: ReadOnlyTable<u64, &'static [u8]>,
    outputs: ReadOnlyTable<&'static TaskKey, &'static [u8]>,
}

impl Reader {
    fn open(snapshot: &redb::ReadTransaction) -> Result<Self, Fault> {
        Ok(Self {
            items: snapshot.open_table(ITEMS)?,
            tasks: snapshot.open_table(TASKS)?,
            outputs: snapshot.open_table(OUTPUTS)?,
        })
    }

    /// The item, if it has the status asked for.
    fn item(&self, spec: &Spec, id: ItemId, query: &ItemQuery) -> Result<Option<ItemView>, Fault> {
        let found = read_item(&self.items, id, |head, row| {
            Ok((head, ItemKey::new(row.key).map_err(corrupt)?, row.data.to_vec()))
        });
        let (head, key, data) = found?;
        let tasks = ItemTasks::read(&self.tasks, id, head.created, &spec.graph)?;
        let status = Side { graph: &spec.graph, states: &tasks.states, priority: head.priority }.status();
        if query.status.is_some_and(|wanted| wanted != status) {
            return Ok(None);
        }
        let mut view = ItemView {
            id,
            key,
            status,
            data: json::object("items", &data)?,
            created_at: head.created,
            tasks: Vec::with_capacity(spec.declared.len()),
            outputs: BTreeMap::new(),
        };
        for declared in &spec.declared {
            let stage = spec.stage_name(declared.ix)?.clone();
            let state = tasks.state(declared.ix).cloned();
            let state = state.ok_or_else(|| corrupt(format!("item {} has no task of stage {stage}", id.0)))?;
            if query.outputs
                && serves(&state)
                && let Some(row) = self.outputs.get(&task_key(id, declared.ix))?
            {
                let StoredOutput::V1(output) = decode("outputs", row.value())?;
                view.outputs.insert(stage.clone(), json::object("outputs", output.fields)?);
            }
            view.tasks.push(TaskView { stage, state, tally: tasks.tally(declared.ix) });
        }
        Ok(Some(view))
    }
}

/// See [`Store::items`](crate::Store::items).
pub(crate) fn items(shared: &Shared, job: JobId, query: &ItemQuery) -> Result<Page<ItemView, ItemId>, Fault> {
    let spec = shared.jobs().get(job)?.spec.clone();
    let snapshot = shared.begin_read()?;
    let reader = Reader::open(&snapshot)?;
    let limit = query.limit.clamp(1, ITEMS_PAGE_MAX);
    let after = query.after.map_or(0, |after| after.0);
    let mut page = Page { entries: Vec::new(), next: None };
    let mut last = None;
    for (looked_at, id) in candidates(&snapshot, job, query.status, after)?.enumerate() {
        let id = id?;
        if page.entries.len() == limit || looked_at == ITEMS_LOOKED_AT_MAX {
            page.next = last;
            break;
        }
        last = Some(id);
        page.entries.extend(reader.item(&spec, id, query)?);
    }
    Ok(page)
}

pub(crate) type Ids = Box<dyn Iterator<Item = Result<ItemId, Fault>>>;

/// The job's items after `after` that may have the status, by rising number.
pub(crate) fn candidates(
    snapshot: &redb::ReadTransaction,
    job: JobId,
    status: Option<ItemStatus>,
    after: u64,
) -> Result<Ids, Fault> {
    if status == Some(ItemStatus::Failed) {
        let from = job_key(job, after.saturating_add(1));
        let rows = snapshot.open_table(FAILED)?.range_owned::<&JobKey>(&from..=&job_key(job, u64::MAX))?;
        return Ok(Box::new(rows.map(|row| Ok(ItemId(job_key_number(row?.0.value()))))));
    }
    let figures = snapshot.open_table(FIGURES)?;
    // Each holds an item at least, so no page looks at more of them.
    let spans = tables::spans(&figures, job, after)?.take(ITEMS_LOOKED_AT_MAX + 1);
    let spans: Vec<(u64, u64)> = spans.collect::<Result<_, _>>()?;
    let from = after.saturating_add(1);
    Ok(Box::new(spans.into_iter().flat_map(move |(first, last)| first.max(from)..=last).map(|id| Ok(ItemId(id)))))
}

/// See [`Store::item`](crate::Store::item).
pub(crate) fn item(shared: &Shared, job: JobId, key: &ItemKey) -> Result<Option<ItemDetail>, Fault> {
    let spec = shared.jobs().get(job)?.spec.clone();
    let snapshot = shared.begin_read()?;
    let id = snapshot.open_table(KEYS)?.get(text_key(job, key.as_str()).as_slice())?.map(|id| ItemId(id.value()));
    let Some(id) = id else {
        return Ok(None);
    };
    let reader = Reader::open(&snapshot)?;
    let query = ItemQuery { outputs: true, ..ItemQuery::default() };
    let Some(view) = reader.item(&spec, id, &query)? else {
        return Ok(None);
    };
    let mut detail = ItemDetail {
        item: view,
        quality_flags: BTreeMap::new(),
        fingerprints: BTreeMap::new(),
        artifacts: artifacts_of(&snapshot, &spec, id)?,
        attempts: BTreeMap::new(),
    };
    let (first, last) = (task_key(id, StageIx(0)), task_key(id, StageIx(u16::MAX)));
    for row in reader.outputs.range::<&TaskKey>(&first..=&last)? {
        let (key, row) = row?;
        let stage = spec.stage_name(task_key_stage(key.value()))?;
        if !detail.item.outputs.contains_key(stage) {
            continue;
        }
        let StoredOutput::V1(output) = decode("outputs", row.value())?;
        if !output.quality_flags.is_empty() {
            detail.quality_flags.insert(stage.clone(), output.quality_flags);
        }
        if let Some(print) = output.fingerprint {
            detail.fingerprints.insert(stage.clone(), print.try_into()?);
        }
    }
    let (first, last) = (attempt_key(id, StageIx(0), 0), attempt_key(id, StageIx(u16::MAX), u32::MAX));
    for row in snapshot.open_table(ATTEMPTS)?.range::<&[u8; 14]>(&first..=&last)? {
        let (key, row) = row?;
        let stage = StageIx(u16::from_be_bytes([key.value()[8], key.value()[9]]));
        let attempt: StoredAttempt = decode("attempts", row.value())?;
        detail.attempts.entry(spec.stage_name(stage)?.clone()).or_default().push(attempt.into());
    }
    Ok(Some(detail))
}

/// See [`Store::artifacts`](crate::Store::artifacts).
pub(crate) fn artifacts(shared: &Shared, item: ItemId, own: Option<StageIx>) -> Result<Vec<StoredArtifact>, Fault> {
    let snapshot = shared.begin_read()?;
    let row = snapshot.open_table(ITEMS)?;
    if row.get(item.0)?.is_none() {
        return Err(StoreError::NotFound(format!("item {}", item.0)).into());
    }
    let job = read_item(&row, item, |_, row| Ok(JobId(row.job)))?;
    let spec = shared.jobs().get(job)?.spec.clone();
    let mut all = artifacts_of(&snapshot, &spec, item)?;
    all.retain(|artifact| !artifact.pending || own == Some(artifact.stage));
    // What the stage's last attempt left hides the older one of the same name.
    let left: Vec<String> = all.iter().filter(|one| one.pending).map(|one| one.artifact.name.clone()).collect();
    all.retain(|one| one.pending || own != Some(one.stage) || !left.contains(&one.artifact.name));
    Ok(all)
}

pub(crate) fn artifacts_of(
    snapshot: &redb::ReadTransaction,
    spec: &Spec,
    item: ItemId,
) -> Result<Vec<StoredArtifact>, Fault> {
    let first = item.0.to_be_bytes();
    let mut all = Vec::new();
    for row in snapshot.open_table(ARTIFACTS)?.range::<&[u8]>(first.as_slice()..)? {
        let (key, row) = row?;
        let key = key.value();
        if !key.starts_with(&first) {
            break;
        }
        let bad = || corrupt(format!("an artifact of item {} has a bad key", item.0));
        let (head, name) = key.split_at_checked(11).ok_or_else(bad)?;
        let stage = StageIx(u16::from_be_bytes([head[8], head[9]]));
        let StoredArtifactRow::V1(row) = decode("artifacts", row.value())?;
        let artifact = ArtifactRef {
            stage: spec.stage_name(stage)?.clone(),
            name: std::str::from_utf8(name).map_err(|_| bad())?.to_owned(),
            content_type: row.content_type,
            size: row.size,
            digest: Digest(row.digest),
        };
        all.push(StoredArtifact { stage, artifact, pending: head[10] != 0 });
    }
    Ok(all)
}

/// See [`Store::recent_errors`](crate::Store::recent_errors).
pub(crate) fn recent_errors(shared: &Shared, job: JobId, limit: usize) -> Result<Vec<ErrorView>, Fault> {
    let spec = shared.jobs().get(job)?.spec.clone();
    let snapshot = shared.begin_read()?;
    let items = snapshot.open_table(ITEMS)?;
    let rows = snapshot.open_table(ERRORS)?;
    let rows = rows.range::<&JobKey>(&job_key(job, 0)..=&job_key(job, u64::MAX))?;
    let mut errors = Vec::new();
    for row in rows.rev().take(limit.min(ERRORS_LISTED_MAX)) {
        let StoredErrorRow::V1(row) = decode("errors", row?.1.value())?;
        errors.push(ErrorView {
            key: read_item(&items, ItemId(row.item), |_, row| ItemKey::new(row.key).map_err(corrupt))?,
            stage: spec.stage_name(StageIx(row.stage))?.clone(),
            at: Timestamp(row.at_ms),
            error: row.error.into(),
        });
    }
    Ok(errors)
}
