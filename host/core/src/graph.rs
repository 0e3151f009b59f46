//! The stage graph of a job: needs, alternatives, order, and which tasks a change opens, skips or closes.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{StageIx, StageName},
    task::{SkipReason, TaskState},
    time::Timestamp,
};

/// Most stages of one job: an item's tasks stand in one row.
pub const STAGES_MAX: usize = 64;

/// A need: the output of any one of these stages, in order of cost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Need {
    /// At least one.
    pub any_of: Vec<StageName>,
}

impl Need {
    /// Reads `fetch` or `captions|whisper`.
    ///
    /// # Errors
    /// A part isn't a stage's name.
    pub fn parse(text: &str) -> Result<Self, crate::ids::NameError> {
        let any_of = text.split('|').map(|part| StageName::new(part.trim())).collect::<Result<_, _>>()?;
        Ok(Self { any_of })
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, stage) in self.any_of.iter().enumerate() {
            write!(f, "{}{stage}", if place == 0 { "" } else { "|" })?;
        }
        Ok(())
    }
}

/// A stage as the graph takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphStage {
    /// Its number in the store.
    pub ix: StageIx,
    /// Its name.
    pub name: StageName,
    /// What must be done before.
    pub needs: Vec<Need>,
}

/// Why stages make no graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A need names a stage that isn't there.
    #[error("stage `{stage}` needs `{need}`, which is no stage of this job")]
    UnknownNeed {
        /// The stage that needs it.
        stage: StageName,
        /// What it names.
        need: StageName,
    },
    /// Stages need one another in a circle (P01).
    #[error("stages need one another in a \
        circle: {}", .0.iter().map(StageName::as_str).collect::<Vec<_>>().join(" → "))]
    Cycle(Vec<StageName>),
    /// A name stands twice.
    #[error("stage `{0}` stands twice")]
    Twice(StageName),
    /// More than [`STAGES_MAX`].
    #[error("{0} stages; {STAGES_MAX} is the limit")]
    TooMany(usize),
}

/// A checked graph: no circle, no unknown name; stages in an order in which each comes after what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageGraph {
    stages: Vec<GraphStage>,
    /// For each stage, the alternatives before it in order of cost, as places in `stages`.
    fallback_of: Vec<Vec<usize>>,
}

/// The tasks of one item: a state for each stage that is known.
pub type TaskStates = Vec<(StageIx, TaskState)>;

impl StageGraph {
    /// Checks and orders the stages.
    ///
    /// # Errors
    /// A name stands twice or is unknown, stages need one another in a circle, or there are too many.
    pub fn new(stages: Vec<GraphStage>) -> Result<Self, GraphError> {
        if stages.len() > STAGES_MAX {
            return Err(GraphError::TooMany(stages.len()));
        }
        for (place, stage) in stages.iter().enumerate() {
            if stages[..place].iter().any(|other| other.name == stage.name) {
                return Err(GraphError::Twice(stage.name.clone()));
            }
        }
        let place_of = |name: &StageName| stages.iter().position(|stage| &stage.name == name);
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); stages.len()];
        let mut fallback_of: Vec<Vec<usize>> = vec![Vec::new(); stages.len()];
        for (place, stage) in stages.iter().enumerate() {
            for need in &stage.needs {
                let mut cheaper = Vec::new();
                for name in &need.any_of {
                    let needed = place_of(name)
                        .ok_or_else(|| GraphError::UnknownNeed { stage: stage.name.clone(), need: name.clone() })?;
                    before[place].push(needed);
                    for &alternative in &cheaper {
                        if !fallback_of[needed].contains(&alternative) {
                            fallback_of[needed].push(alternative);
                            before[needed].push(alternative);
                        }
                    }
                    cheaper.push(needed);
                }
            }
        }
        let order = order(&stages, &before)?;
        let new_place: Vec<usize> =
            (0..stages.len()).map(|old| order.iter().position(|&place| place == old).unwrap_or(old)).collect();
        let fallback_of =
            order.iter().map(|&old| fallback_of[old].iter().map(|&place| new_place[place]).collect()).collect();
        let stages = order.iter().map(|&old| stages[old].clone()).collect();
        Ok(Self { stages, fallback_of })
    }

    /// The stages, each after what it needs.
    #[must_use]
    pub fn stages(&self) -> &[GraphStage] {
        &self.stages
    }

    /// The stage of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&GraphStage> {
        self.stages.iter().find(|stage| stage.name.as_str() == name)
    }

    /// All that comes before a stage: what it needs, and what that needs.
    #[must_use]
    pub fn before(&self, name: &str) -> Vec<&StageName> {
        let mut before: Vec<&StageName> = Vec::new();
        let mut open = vec![name];
        while let Some(stage) = open.pop().and_then(|name| self.by_name(name)) {
            for needed in stage.needs.iter().flat_map(|need| &need.any_of) {
                if !before.contains(&needed) {
                    before.push(needed);
                    open.push(needed.as_str());
                }
            }
        }
        before
    }

    /// The stage of that number.
    #[must_use]
    pub fn by_ix(&self, ix: StageIx) -> Option<&GraphStage> {
        self.stages.iter().find(|stage| stage.ix == ix)
    }

    /// The tasks of a new item at `now`: what needs nothing is ready, the rest waits.
    #[must_use]
    pub fn initial(&self, now: Timestamp) -> TaskStates {
        let mut states = Vec::with_capacity(self.stages.len());
        self.resolve(&mut states, now);
        states
    }

    /// Brings every task that has not ended with a word of its own into line with the others: after a settle, a change
    /// of stages, or a person's retry. What is ready or retrying keeps its place while its needs are met; where they
    /// are no longer, because the graph is another or a need was opened again, it waits for them (P01).
    pub fn resolve(&self, states: &mut TaskStates, now: Timestamp) {
        for (place, stage) in self.stages.iter().enumerate() {
            let found = states.iter().position(|(ix, _)| *ix == stage.ix);
            let state = match found.map(|at| &states[at].1) {
                None
                | Some(
                    TaskState::Waiting { .. }
                    | TaskState::Unreachable { .. }
                    | TaskState::Skipped { reason: SkipReason::Alternative { .. } },
                ) => self.open_state(place, states, now),
                Some(TaskState::Ready { .. } | TaskState::RetryLater { .. }) => {
                    match self.closed_state(place, states) {
                        Some(state) => state,
                        None => continue,
                    }
                }
                Some(_) => continue,
            };
            match found {
                Some(at) => states[at].1 = state,
                None => states.push((stage.ix, state)),
            }
        }
    }

    fn open_state(&self, place: usize, states: &TaskStates, now: Timestamp) -> TaskState {
        match rejection(states) {
            Some(reason) => TaskState::Skipped { reason },
            None => self.closed_state(place, states).unwrap_or(TaskState::Ready { due: now }),
        }
    }

    /// What keeps a task from running, if anything does: alternatives before it, and needs.
    fn closed_state(&self, place: usize, states: &TaskStates) -> Option<TaskState> {
        let stage = &self.stages[place];
        let of = |ix: StageIx| states.iter().find(|(other, _)| *other == ix).map(|(_, state)| state);
        for &cheaper in &self.fallback_of[place] {
            let cheaper = &self.stages[cheaper];
            match of(cheaper.ix) {
                Some(TaskState::Done) => {
                    let served_by = cheaper.name.clone();
                    return Some(TaskState::Skipped { reason: SkipReason::Alternative { served_by } });
                }
                Some(TaskState::Nothing { .. } | TaskState::Skipped { .. }) => {}
                Some(state) if state.has_ended() => {
                    return Some(TaskState::Unreachable { needs: vec![cheaper.name.to_string()] });
                }
                _ => return Some(TaskState::Waiting { on: vec![cheaper.name.to_string()] }),
            }
        }
        let (mut waiting, mut closed) = (Vec::new(), Vec::new());
        for need in &stage.needs {
            let parts: Vec<Option<&TaskState>> =
                need.any_of.iter().map(|name| self.by_name(name.as_str()).and_then(|stage| of(stage.ix))).collect();
            if parts.iter().any(|part| matches!(part, Some(TaskState::Done))) {
                continue;
            }
            if parts.iter().all(|part| part.is_some_and(TaskState::has_ended)) {
                closed.push(need.to_string());
            } else {
                waiting.push(need.to_string());
            }
        }
        if !closed.is_empty() {
            Some(TaskState::Unreachable { needs: closed })
        } else if waiting.is_empty() {
            None
        } else {
            Some(TaskState::Waiting { on: waiting })
        }
    }
}

/// A rejection or an exclusion holds for the whole item.
fn rejection(states: &TaskStates) -> Option<SkipReason> {
    states.iter().find_map(|(_, state)| match state {
        TaskState::Skipped { reason: reason @ (SkipReason::Rejected { .. } | SkipReason::Excluded { .. }) } => {
            Some(reason.clone())
        }
        _ => None,
    })
}

/// An order of places in which each comes after those before it; stable in the given order.
fn order(stages: &[GraphStage], before: &[Vec<usize>]) -> Result<Vec<usize>, GraphError> {
    let mut order: Vec<usize> = Vec::with_capacity(stages.len());
    while order.len() < stages.len() {
        let next = (0..stages.len())
            .find(|place| !order.contains(place) && before[*place].iter().all(|needed| order.contains(needed)));
        match next {
            Some(place) => order.push(place),
            None => return Err(GraphError::Cycle(circle(stages, before, &order))),
        }
    }
    Ok(order)
}

fn circle(stages: &[GraphStage], before: &[Vec<usize>], ordered: &[usize]) -> Vec<StageName> {
    let mut path: Vec<usize> = Vec::new();
    let mut at = (0..stages.len()).find(|place| !ordered.contains(place));
    while let Some(place) = at {
        if let Some(start) = path.iter().position(|&seen| seen == place) {
            path.drain(..start);
            path.push(place);
            break;
        }
        path.push(place);
        at = before[place].iter().copied().find(|needed| !ordered.contains(needed));
    }
    path.into_iter().map(|place| stages[place].name.clone()).collect()
}

#[cfg(test)]
mod tests;
