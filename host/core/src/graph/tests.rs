//! Graphs: order, circles, and what each change opens, skips or closes.

use super::*;
use crate::task::{ErrorKind, LaterKind, LaterReason, TaskError};

fn stage(ix: u16, name: &str, needs: &[&str]) -> GraphStage {
    GraphStage {
        ix: StageIx(ix),
        name: StageName::new(name).unwrap(),
        needs: needs.iter().map(|need| Need::parse(need).unwrap()).collect(),
    }
}

fn set(states: &mut TaskStates, ix: u16, state: TaskState) {
    states.iter_mut().find(|(at, _)| at.0 == ix).unwrap().1 = state;
}

fn get(states: &TaskStates, ix: u16) -> &TaskState {
    &states.iter().find(|(at, _)| at.0 == ix).unwrap().1
}

#[test]
fn p01_a_stage_comes_after_what_it_needs() {
    let graph = StageGraph::new(vec![stage(0, "extract", &["fetch"]), stage(1, "fetch", &[])]).unwrap();
    let names: Vec<_> = graph.stages().iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["fetch", "extract"]);
    let mut states = graph.initial(Timestamp(5));
    assert_eq!(get(&states, 1), &TaskState::Ready { due: Timestamp(5) });
    assert_eq!(get(&states, 0), &TaskState::Waiting { on: vec!["fetch".into()] });
    set(&mut states, 1, TaskState::Done);
    graph.resolve(&mut states, Timestamp(9));
    assert_eq!(get(&states, 0), &TaskState::Ready { due: Timestamp(9) });
}

#[test]
fn p03_what_comes_before_a_stage_is_all_that_it_stands_on() {
    let stages = vec![stage(0, "a", &[]), stage(1, "b", &["a"]), stage(2, "c", &["b|d"]), stage(3, "d", &[])];
    let graph = StageGraph::new(stages).unwrap();
    let mut before = graph.before("c");
    before.sort();
    assert_eq!(before.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b", "d"]);
    assert!(graph.before("a").is_empty());
}

#[test]
fn p01_circles_and_unknown_names_are_refused() {
    let circle = StageGraph::new(vec![stage(0, "a", &["b"]), stage(1, "b", &["c"]), stage(2, "c", &["a"])]);
    assert!(matches!(circle, Err(GraphError::Cycle(path)) if path.len() == 4));
    let unknown = StageGraph::new(vec![stage(0, "a", &["x"])]);
    assert!(matches!(unknown, Err(GraphError::UnknownNeed { .. })));
    let twice = StageGraph::new(vec![stage(0, "a", &[]), stage(1, "a", &[])]);
    assert!(matches!(twice, Err(GraphError::Twice(_))));
}

#[test]
fn p05_the_dearer_alternative_runs_only_when_the_cheaper_has_nothing() {
    let graph = StageGraph::new(vec![
        stage(0, "whisper", &[]),
        stage(1, "captions", &[]),
        stage(2, "digest", &["captions|whisper"]),
    ])
    .unwrap();
    let mut states = graph.initial(Timestamp(0));
    assert_eq!(get(&states, 0), &TaskState::Waiting { on: vec!["captions".into()] });
    let mut served = states.clone();
    set(&mut served, 1, TaskState::Done);
    graph.resolve(&mut served, Timestamp(0));
    assert!(matches!(get(&served, 0), TaskState::Skipped { reason: SkipReason::Alternative { .. } }));
    assert!(matches!(get(&served, 2), TaskState::Ready { .. }));
    set(&mut states, 1, TaskState::Nothing { reason: "no captions".into() });
    graph.resolve(&mut states, Timestamp(0));
    assert!(matches!(get(&states, 0), TaskState::Ready { .. }));
    assert!(matches!(get(&states, 2), TaskState::Waiting { .. }));
}

#[test]
fn a_need_that_ended_closes_and_opens_what_stands_on_it() {
    let graph = StageGraph::new(vec![stage(0, "a", &[]), stage(1, "b", &["a"]), stage(2, "c", &["b"])]).unwrap();
    let mut states = graph.initial(Timestamp(0));
    set(&mut states, 0, TaskState::Failed { error: TaskError::new(ErrorKind::Failed, "x") });
    graph.resolve(&mut states, Timestamp(0));
    assert!(matches!(get(&states, 1), TaskState::Unreachable { .. }));
    assert!(matches!(get(&states, 2), TaskState::Unreachable { .. }));
    set(&mut states, 0, TaskState::Ready { due: Timestamp(1) });
    graph.resolve(&mut states, Timestamp(1));
    assert!(matches!(get(&states, 1), TaskState::Waiting { .. }));
    assert!(matches!(get(&states, 2), TaskState::Waiting { .. }));
}

#[test]
fn p01_what_is_ready_or_retrying_waits_again_for_a_need_that_is_not_met() {
    let graph =
        StageGraph::new(vec![stage(0, "fetch", &[]), stage(2, "clean", &[]), stage(1, "extract", &["clean"])]).unwrap();
    let reason = LaterReason { kind: LaterKind::Down, message: "x".into() };
    let begun = [TaskState::Ready { due: Timestamp(3) }, TaskState::RetryLater { due: Timestamp(3), reason }];
    for state in begun {
        let mut states = vec![(StageIx(0), TaskState::Done), (StageIx(1), state.clone())];
        graph.resolve(&mut states, Timestamp(9));
        assert_eq!(get(&states, 1), &TaskState::Waiting { on: vec!["clean".into()] });
        let mut met = vec![(StageIx(2), TaskState::Done), (StageIx(1), state.clone())];
        graph.resolve(&mut met, Timestamp(9));
        assert_eq!(get(&met, 1), &state, "it keeps its place");
    }
}

#[test]
fn p04_a_rejection_skips_what_has_not_begun() {
    let graph = StageGraph::new(vec![stage(0, "a", &[]), stage(1, "b", &["a"])]).unwrap();
    let mut states = graph.initial(Timestamp(0));
    let by = StageName::new("a").unwrap();
    let reason = SkipReason::Rejected { by, reason: "parked".into() };
    set(&mut states, 0, TaskState::Skipped { reason: reason.clone() });
    graph.resolve(&mut states, Timestamp(0));
    assert_eq!(get(&states, 1), &TaskState::Skipped { reason });
}
