//! Jobs in memory: declarations and counters as of the last commit, so that views and claims need no scan.
//!
//! The writer works on a copy and publishes it once its transaction is durable; readers take the published one.

use std::{collections::BTreeMap, sync::Arc};

use redb::ReadableTable;
use tollgate_core::{
    ItemId, JobId, JobName, StageIx, StageName, Timestamp,
    breaker::{Breaker, BreakerState},
    graph::{GraphStage, Need, StageGraph},
    item::ItemStatus,
    outcome::BreakerEffect,
    pause::Pause,
    spec::JobKind,
    task::TaskKind,
};

use super::{
    fault::Fault,
    tables::{self, Figure, FigureKey, Tables, figure_key, figure_number, figure_u64},
};
use crate::{
    DiscoveryState, StoreError,
    stored::{
        StoredDeclaredStage, StoredDiscovery, StoredJob, StoredJobV1, StoredLane, StoredLaneV1, StoredPause,
        StoredTotals, StoredTotalsV1, corrupt, decode, encode,
    },
};

/// Every job, and the number of the next item.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jobs {
    pub(crate) by_id: BTreeMap<JobId, Arc<Job>>,
    pub(crate) next_item: u64,
}

/// A job: what was declared, and what is counted.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) spec: Arc<Spec>,
    pub(crate) lanes: BTreeMap<StageIx, LaneFigures>,
    pub(crate) totals: Totals,
    pub(crate) pause: Option<Pause>,
    pub(crate) discovery: DiscoveryState,
    /// First and last item of its latest span.
    pub(crate) span: Option<(u64, u64)>,
}

/// A job as declared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) id: JobId,
    pub(crate) name: JobName,
    pub(crate) kind: JobKind,
    /// Every stage that it ever had; its place is its number.
    pub(crate) stages: Vec<StageName>,
    /// The stages of its last declaration, in the handler's order.
    pub(crate) declared: Vec<Declared>,
    /// Of those.
    pub(crate) graph: StageGraph,
    pub(crate) keep_attempts: u32,
    pub(crate) breaker: u32,
}

/// A stage of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) ix: StageIx,
    pub(crate) needs: Vec<Need>,
    pub(crate) brings: Vec<StageIx>,
}

/// Counters of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// By [`ItemStatus`], in the order of [`ItemStatus::ALL`].
    pub(crate) items: [u64; ItemStatus::ALL.len()],
    pub(crate) next_error: u64,
    pub(crate) next_state_version: u64,
}

/// What is counted of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LaneFigures {
    /// By [`TaskKind`].
    pub(crate) tasks: [u64; TaskKind::ALL.len()],
    pub(crate) breaker: LaneBreaker,
    pub(crate) last_progress_at: Option<Timestamp>,
    pub(crate) last_attempt_at: Option<Timestamp>,
    pub(crate) later_since: Option<Timestamp>,
}

/// `core`'s breaker with the list of items that it is stored as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LaneBreaker {
    rule: Breaker,
    failed: Vec<ItemId>,
}

impl LaneBreaker {
    pub(crate) fn failures(&self) -> u32 {
        u32::try_from(self.rule.failures()).unwrap_or(u32::MAX)
    }

    pub(crate) fn record(&mut self, item: ItemId, effect: BreakerEffect, threshold: u32) -> BreakerState {
        let state = self.rule.record(item, effect, threshold);
        if self.rule.failures() > self.failed.len() {
            self.failed.push(item);
        } else if self.rule.failures() == 0 {
            self.failed.clear();
        }
        state
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    fn from_failed(failed: impl IntoIterator<Item = ItemId>) -> Self {
        let mut breaker = Self::default();
        for item in failed {
            breaker.record(item, BreakerEffect::Failure, u32::MAX);
        }
        breaker
    }
}

impl Spec {
    /// The name of a stage that it has or had.
    pub(crate) fn stage_name(&self, ix: StageIx) -> Result<&StageName, StoreError> {
        let found = self.stages.get(usize::from(ix.0));
        found.ok_or_else(|| corrupt(format!("job {} has no stage {}", self.name, ix.0)))
    }

    pub(crate) fn declared(&self, ix: StageIx) -> Option<&Declared> {
        self.declared.iter().find(|stage| stage.ix == ix)
    }

    pub(crate) fn has(&self, ix: StageIx) -> bool {
        self.declared(ix).is_some()
    }

    pub(crate) fn graph_of(stages: &[StageName], declared: &[Declared]) -> Result<StageGraph, StoreError> {
        let mut of_graph = Vec::with_capacity(declared.len());
        for Declared { ix, needs, .. } in declared {
            let name = stages.get(usize::from(ix.0)).cloned().ok_or_else(|| corrupt("a stage without a name"))?;
            of_graph.push(GraphStage { ix: *ix, name, needs: needs.clone() });
        }
        StageGraph::new(of_graph).map_err(|error| StoreError::Declaration(error.to_string()))
    }

    fn row(&self) -> StoredJob {
        let declared = |stage: &Declared| StoredDeclaredStage {
            stage: stage.ix.0,
            needs: stage.needs.iter().map(ToString::to_string).collect(),
            brings: stage.brings.iter().map(|ix| ix.0).collect(),
        };
        StoredJob::V1(StoredJobV1 {
            name: self.name.to_string(),
            kind: self.kind.into(),
            stages: self.stages.iter().map(ToString::to_string).collect(),
            declared: self.declared.iter().map(declared).collect(),
            keep_attempts: self.keep_attempts,
            breaker: self.breaker,
        })
    }

    fn from_row(id: JobId, row: StoredJob) -> Result<Self, StoreError> {
        let StoredJob::V1(row) = row;
        let stages: Vec<StageName> =
            row.stages.iter().map(|name| StageName::new(name).map_err(corrupt)).collect::<Result<_, _>>()?;
        let mut declared = Vec::with_capacity(row.declared.len());
        for stage in row.declared {
            let needs = stage.needs.iter().map(|need| Need::parse(need).map_err(corrupt)).collect::<Result<_, _>>()?;
            let brings = stage.brings.into_iter().map(StageIx).collect();
            declared.push(Declared { ix: StageIx(stage.stage), needs, brings });
        }
        Ok(Self {
            id,
            name: JobName::new(&row.name).map_err(corrupt)?,
            kind: row.kind.into(),
            graph: Self::graph_of(&stages, &declared)?,
            stages,
            declared,
            keep_attempts: row.keep_attempts,
            breaker: row.breaker,
        })
    }
}

impl Job {
    /// A job that has no items yet.
    pub(crate) fn new(spec: Arc<Spec>) -> Self {
        Self {
            spec,
            lanes: BTreeMap::new(),
            totals: Totals { next_error: 0, next_state_version: 1, ..Totals::default() },
            pause: None,
            discovery: DiscoveryState::default(),
            span: None,
        }
    }

    /// Counts `by` more (or fewer) tasks of a kind in a lane.
    pub(crate) fn count_task(&mut self, stage: StageIx, kind: TaskKind, by: i64) -> Result<(), StoreError> {
        let count = &mut self.lanes.entry(stage).or_default().tasks[kind.index()];
        *count = count.checked_add_signed(by).ok_or_else(|| {
            corrupt(format!("fewer than no {} tasks of stage {} in job {}", kind.as_str(), stage.0, self.spec.name))
        })?;
        Ok(())
    }

    /// Counts `by` more (or fewer) items of a status.
    pub(crate) fn count_items(&mut self, status: ItemStatus, by: i64) -> Result<(), StoreError> {
        let count = &mut self.totals.items[status as usize];
        *count = count
            .checked_add_signed(by)
            .ok_or_else(|| corrupt(format!("fewer than no {} items in job {}", status.as_str(), self.spec.name)))?;
        Ok(())
    }
}

impl Jobs {
    pub(crate) fn get(&self, id: JobId) -> Result<&Arc<Job>, StoreError> {
        self.by_id.get(&id).ok_or_else(|| StoreError::NotFound(format!("job {}", id.0)))
    }

    /// The job, to be changed; copied first where readers have it.
    pub(crate) fn get_mut(&mut self, id: JobId) -> Result<&mut Job, StoreError> {
        let job = self.by_id.get_mut(&id).ok_or_else(|| StoreError::NotFound(format!("job {}", id.0)))?;
        Ok(Arc::make_mut(job))
    }

    pub(crate) fn by_name(&self, name: &JobName) -> Option<&Arc<Job>> {
        self.by_id.values().find(|job| &job.spec.name == name)
    }

    /// Reads them from the tables.
    pub(crate) fn load(tables: &Tables<'_>) -> Result<Self, Fault> {
        let mut jobs = Self { by_id: BTreeMap::new(), next_item: 1 };
        if let Some(next) = tables.figures.get(&figure_key(JobId(0), Figure::NextItem, 0))? {
            jobs.next_item = figure_u64(next.value())?;
        }
        for row in tables.jobs.iter()? {
            let (id, row) = row?;
            let id = JobId(id.value());
            let spec = Spec::from_row(id, decode("jobs", row.value())?)?;
            jobs.by_id.insert(id, Arc::new(Job::load(tables, spec)?));
        }
        Ok(jobs)
    }

    /// Writes what differs from `before`.
    pub(crate) fn save(&self, before: &Self, tables: &mut Tables<'_>) -> Result<(), Fault> {
        if self.next_item != before.next_item {
            tables
                .figures
                .insert(&figure_key(JobId(0), Figure::NextItem, 0), self.next_item.to_le_bytes().as_slice())?;
        }
        for (id, job) in &self.by_id {
            match before.by_id.get(id) {
                Some(old) if Arc::ptr_eq(old, job) => {}
                old => job.save(old.map(Arc::as_ref), tables)?,
            }
        }
        Ok(())
    }
}

impl Job {
    fn load(tables: &Tables<'_>, spec: Spec) -> Result<Self, Fault> {
        let id = spec.id;
        let mut job = Self::new(Arc::new(spec));
        let key = |figure, number| figure_key(id, figure, number);
        let lanes = key(Figure::Lane, 0)..=key(Figure::Lane, u64::MAX);
        for row in tables.figures.range::<&FigureKey>(&lanes.start()..=&lanes.end())? {
            let (stage, row) = row?;
            let (row, later_since_ms) = decode::<StoredLane>("figures", row.value())?.newest();
            let mut figures = LaneFigures {
                breaker: LaneBreaker::from_failed(row.breaker.into_iter().map(ItemId)),
                last_progress_at: row.last_progress_at_ms.map(Timestamp),
                last_attempt_at: row.last_attempt_at_ms.map(Timestamp),
                later_since: later_since_ms.map(Timestamp),
                ..LaneFigures::default()
            };
            fill(&mut figures.tasks, &row.tasks);
            let stage = u16::try_from(figure_number(stage.value())).map_err(corrupt)?;
            job.lanes.insert(StageIx(stage), figures);
        }
        if let Some(row) = tables.figures.get(&key(Figure::Totals, 0))? {
            let StoredTotals::V1(row) = decode("figures", row.value())?;
            fill(&mut job.totals.items, &row.items);
            job.totals.next_error = row.next_error;
            job.totals.next_state_version = row.next_state_version;
        }
        if let Some(row) = tables.figures.get(&key(Figure::Pause, 0))? {
            job.pause = Some(decode::<StoredPause>("figures", row.value())?.try_into()?);
        }
        if let Some(row) = tables.figures.get(&key(Figure::Discovery, 0))? {
            job.discovery = decode::<StoredDiscovery>("figures", row.value())?.into();
        }
        job.span = tables::spans(&tables.figures, id, u64::MAX)?.last().transpose()?;
        Ok(job)
    }

    fn save(&self, before: Option<&Self>, tables: &mut Tables<'_>) -> Result<(), Fault> {
        let id = self.spec.id;
        if before.is_none_or(|old| old.spec != self.spec) {
            tables.jobs.insert(id.0, encode(&self.spec.row())?.as_slice())?;
        }
        for (&stage, figures) in &self.lanes {
            if before.and_then(|old| old.lanes.get(&stage)) != Some(figures) {
                let row = StoredLaneV1 {
                    tasks: figures.tasks.to_vec(),
                    breaker: figures.breaker.failed.iter().map(|item| item.0).collect(),
                    last_progress_at_ms: figures.last_progress_at.map(|at| at.0),
                    last_attempt_at_ms: figures.last_attempt_at.map(|at| at.0),
                };
                let row = StoredLane::V2(row, figures.later_since.map(|at| at.0));
                let key = figure_key(id, Figure::Lane, u64::from(stage.0));
                tables.figures.insert(&key, encode(&row)?.as_slice())?;
            }
        }
        if before.is_none_or(|old| old.totals != self.totals) {
            let row = StoredTotals::V1(StoredTotalsV1 {
                items: self.totals.items.to_vec(),
                next_error: self.totals.next_error,
                next_state_version: self.totals.next_state_version,
            });
            tables.figures.insert(&figure_key(id, Figure::Totals, 0), encode(&row)?.as_slice())?;
        }
        if before.is_none_or(|old| old.pause != self.pause) {
            let key = figure_key(id, Figure::Pause, 0);
            match &self.pause {
                Some(pause) => drop(tables.figures.insert(&key, encode(&StoredPause::from(pause))?.as_slice())?),
                None => drop(tables.figures.remove(&key)?),
            }
        }
        if before.is_none_or(|old| old.discovery != self.discovery) {
            let row = encode(&StoredDiscovery::from(&self.discovery))?;
            tables.figures.insert(&figure_key(id, Figure::Discovery, 0), row.as_slice())?;
        }
        Ok(())
    }
}

/// Takes as many counters as are stored: a kind added later begins at none.
fn fill(into: &mut [u64], from: &[u64]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into = *from;
    }
}
