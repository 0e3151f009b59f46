//! Claiming: the head of a lane's queue, merged from what is ready and what is due again.

use std::collections::BTreeMap;

use redb::ReadTransaction;
use tollgate_core::{Digest, Lane, Timestamp, task::TaskState};

use super::{
    Shared,
    fault::Fault,
    jobs::Spec,
    json,
    tables::{
        ITEMS, LATER, OUTPUTS, Place, QueueKey, READY, TASKS, lane_range, later_place, later_until, ready_place,
        task_key,
    },
    tasks::{ItemTasks, read_item},
};
use crate::{
    Claim, InputOutput, StoreError, TaskRef,
    stored::{StoredOutput, decode},
};

/// Most claims at once: more than any lane's concurrency, and the inputs of that many tasks fit in memory.
pub const CLAIMS_MAX: usize = 1_024;
/// Tasks due again that are looked at for each that is asked for: among those the order is by priority. Were more
/// due at once, one of a higher priority may go after one that has been due for longer.
const LATER_WINDOW: usize = 8;
/// Looked at however few are asked for.
const LATER_WINDOW_MIN: usize = 256;

/// See [`Store::claim`](crate::Store::claim).
pub(crate) fn claim(shared: &Shared, lane: Lane, limit: usize, now: Timestamp) -> Result<Vec<Claim>, Fault> {
    let limit = limit.min(CLAIMS_MAX);
    // The snapshot begins under the lock: a task that was settled before is seen settled, one that is being settled is
    // still held. Taken the other way round, an old snapshot could give out a task that has just been settled.
    let mut claims = shared.claims();
    let jobs = shared.jobs();
    let job = jobs.get(lane.job)?;
    if limit == 0 || job.pause.is_some() || !job.spec.has(lane.stage) {
        return Ok(Vec::new());
    }
    let snapshot = shared.begin_read()?;
    let is_free = |place: &Place| !claims.is_held(TaskRef { item: place.item, stage: lane.stage });
    let places = head(&snapshot, lane, limit, now, is_free)?;
    let tasks = places.iter().map(|place| TaskRef { item: place.item, stage: lane.stage });
    let taken: Vec<_> = tasks.map(|task| (task, claims.take(task, lane.job))).collect();
    drop(claims);
    let read = || -> Result<Vec<Claim>, Fault> {
        let reader = Reader::open(&snapshot)?;
        taken.iter().map(|(task, token)| reader.claim(&job.spec, *task, *token)).collect()
    };
    read().inspect_err(|_| {
        let mut claims = shared.claims();
        taken.iter().for_each(|(task, token)| claims.release(*task, *token));
    })
}

/// The first places of the lane that are due and free.
fn head(
    snapshot: &ReadTransaction,
    lane: Lane,
    limit: usize,
    now: Timestamp,
    is_free: impl Fn(&Place) -> bool,
) -> Result<Vec<Place>, Fault> {
    let (first, last) = lane_range(lane);
    let later = snapshot.open_table(LATER)?;
    let window = limit.saturating_mul(LATER_WINDOW).max(LATER_WINDOW_MIN);
    let mut due: Vec<Place> = Vec::new();
    for row in later.range::<&QueueKey>(&first..=&later_until(lane, now))? {
        let place = later_place(row?.0.value());
        if is_free(&place) {
            due.push(place);
            if due.len() == window {
                break;
            }
        }
    }
    due.sort_unstable();
    let mut due = due.into_iter().peekable();
    let mut places = Vec::with_capacity(limit);
    let ready = snapshot.open_table(READY)?;
    for row in ready.range::<&QueueKey>(&first..=&last)? {
        let place = ready_place(row?.0.value());
        while places.len() < limit && due.peek().is_some_and(|first| *first < place) {
            places.extend(due.next());
        }
        if places.len() == limit {
            break;
        }
        if is_free(&place) {
            places.push(place);
        }
    }
    let left = limit - places.len();
    places.extend(due.take(left));
    Ok(places)
}

/// When the next task of the lane is due that isn't at `now`.
pub(crate) fn next_due(shared: &Shared, lane: Lane, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
    let later = shared.begin_read()?.open_table(LATER)?;
    let (_, last) = lane_range(lane);
    let mut rows = later
        .range::<&QueueKey>((std::ops::Bound::Excluded(&later_until(lane, now)), std::ops::Bound::Included(&last)))?;
    Ok(rows.next().transpose()?.map(|(key, _)| later_place(key.value()).due))
}

/// What a claim brings along.
struct Reader {
    items: redb::ReadOnlyTable<u64, &'static [u8]>,
    tasks: redb::ReadOnlyTable<u64, &'static [u8]>,
    outputs: redb::ReadOnlyTable<&'static super::tables::TaskKey, &'static [u8]>,
}

impl Reader {
    fn open(snapshot: &ReadTransaction) -> Result<Self, Fault> {
        Ok(Self {
            items: snapshot.open_table(ITEMS)?,
            tasks: snapshot.open_table(TASKS)?,
            outputs: snapshot.open_table(OUTPUTS)?,
        })
    }

    fn claim(&self, spec: &Spec, task: TaskRef, token: tollgate_core::ClaimToken) -> Result<Claim, Fault> {
        let (head, key, data) = read_item(&self.items, task.item, |head, row| {
            let key = tollgate_core::ItemKey::new(row.key).map_err(crate::stored::corrupt)?;
            Ok((head, key, json::text("items", row.data)?))
        })?;
        let tasks = ItemTasks::read(&self.tasks, task.item, head.created, &spec.graph)?;
        let mut inputs = BTreeMap::new();
        for &stage in spec.declared(task.stage).map_or(&[][..], |stage| &stage.brings) {
            if !matches!(tasks.state(stage), Some(TaskState::Done)) {
                continue;
            }
            let row = self.outputs.get(&task_key(task.item, stage))?.ok_or_else(|| {
                StoreError::Corrupt(format!("item {} has no output of stage {}, which is done", task.item.0, stage.0))
            })?;
            let StoredOutput::V1(output) = decode("outputs", row.value())?;
            let input = InputOutput { fields: json::text("outputs", output.fields)?, digest: Digest(output.digest) };
            inputs.insert(spec.stage_name(stage)?.clone(), input);
        }
        Ok(Claim { task, token, key, data, inputs, tally: tasks.tally(task.stage) })
    }
}
