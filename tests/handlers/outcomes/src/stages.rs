//! The graph: two stages in a row, and two alternatives with one that takes either.

use tollgate_sdk::prelude::*;

use crate::act::act;

/// What each stage is to do; absent: be done.
#[data]
#[derive(Default)]
pub(crate) struct Script {
    /// The item's number, where discovery made it.
    #[serde(default)]
    pub(crate) number: Option<u64>,
    /// For `first`.
    #[serde(default)]
    pub(crate) first: Option<String>,
    /// For `second`.
    #[serde(default)]
    pub(crate) second: Option<String>,
    /// For `left`.
    #[serde(default)]
    pub(crate) left: Option<String>,
    /// For `right`.
    #[serde(default)]
    pub(crate) right: Option<String>,
    /// For `last`.
    #[serde(default)]
    pub(crate) last: Option<String>,
}

/// What discovery gives, and what items do that have no script.
#[params]
pub(crate) struct Settings {
    /// Items of a round.
    #[serde(default)]
    count: u64,
    /// Items a page of discovery; 0 counts as 1.
    #[serde(default)]
    page: u64,
    /// What the discovery itself does first.
    #[serde(default)]
    discovery: Option<String>,
    /// What each discovered item's `first` does.
    #[serde(default)]
    first: Option<String>,
}

/// What a stage did. `tags` may be empty, `text` and `list` may not.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Done {
    /// What was asked for.
    pub(crate) text: String,
    /// The attempt that did it.
    pub(crate) attempt: u32,
    /// At most 10, says the contract.
    #[schemars(range(max = 10))]
    pub(crate) grade: u8,
    /// Something.
    pub(crate) list: Vec<String>,
    /// Nothing.
    #[may_be_empty]
    pub(crate) tags: Vec<String>,
}

macro_rules! outputs {
    ($($name:ident)*) => {$(
        #[doc = concat!("What stage `", stringify!($name), "` did.")]
        #[output]
        pub(crate) struct $name {
            #[serde(flatten)]
            done: Done,
        }

        impl From<Done> for $name {
            fn from(done: Done) -> Self {
                Self { done }
            }
        }
    )*};
}

outputs!(First Second Left Right Last);

/// Items by number, a page at a time.
#[discover]
pub(crate) fn numbers(round: &Round, settings: &Settings) -> Result<Found> {
    if let Some(action) = &settings.discovery {
        act::<Done>(action, 1)?;
    }
    let start = round.page();
    let end = settings.count.min(start + settings.page.max(1));
    let item = |number| {
        NewItem::new(
            format!("item-{number}"),
            &Script { number: Some(number), first: settings.first.clone(), ..Script::default() },
        )
    };
    let items = (start..end).map(item);
    Ok(if end == settings.count { Found::all(items) } else { Found::more(items, end) })
}

fn run<T: From<Done> + OutputExt>(action: Option<&String>, task: &Task) -> Result<With<T>> {
    act(action.map_or("done", String::as_str), task.attempt)
}

/// Needs nothing.
#[stage]
pub(crate) fn first(script: &Script, task: &Task) -> Result<With<First>> {
    run(script.first.as_ref(), task)
}

/// Needs `first`.
#[stage]
pub(crate) fn second(_first: First, script: &Script, task: &Task) -> Result<With<Second>> {
    run(script.second.as_ref(), task)
}

/// One way.
#[stage]
pub(crate) fn left(script: &Script, task: &Task) -> Result<With<Left>> {
    run(script.left.as_ref(), task)
}

/// The other way: runs where `left` says that it has nothing.
#[stage]
pub(crate) fn right(script: &Script, task: &Task) -> Result<With<Right>> {
    run(script.right.as_ref(), task)
}

/// Takes `left` or `right`.
#[stage]
pub(crate) fn last(either: Either<Left, Right>, script: &Script, task: &Task) -> Result<With<Last>> {
    let made = run::<Last>(script.last.as_ref(), task)?;
    Ok(match either {
        Either::First(_) => made.flag("took-left"),
        Either::Second(_) => made.flag("took-right"),
    })
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::{Map, json, mock};

    use super::*;
    use crate::handler;

    fn task(stage: &str, action: &str) -> Task {
        Task { stage: stage.into(), data: json!({ stage: action }), params: json!({}), attempt: 1, ..Task::default() }
    }

    #[test]
    fn the_graph_comes_from_the_types() {
        let needs: Vec<_> = handler().stages.iter().map(|stage| (stage.name, (stage.needs)())).collect();
        let none = Vec::<String>::new;
        assert_eq!(
            needs,
            [
                ("first", none()),
                ("second", vec!["first".into()]),
                ("left", none()),
                ("right", none()),
                ("last", vec!["left|right".into()]),
            ]
        );
    }

    #[test]
    fn every_error_of_the_interface_can_be_had() {
        let host = mock::Host::new();
        let of = |action: &str| host.run(|| handler().process(&task("first", action))).unwrap_err();
        assert!(matches!(of("retry-later"), StageError::RetryLater { after: None, .. }));
        assert!(matches!(of("retry-later 500"), StageError::RetryLater { after: Some(_), .. }));
        assert!(matches!(of("nothing"), StageError::NothingHere(_)));
        assert!(matches!(of("reject"), StageError::Reject(_)));
        assert!(matches!(of("blocked"), StageError::Blocked(_)));
        assert!(matches!(of("login"), StageError::LoginRequired(_)));
        assert!(matches!(of("permanent"), StageError::Permanent(_)));
        assert!(matches!(of("failed"), StageError::Failed(_)));
        assert!(matches!(of("nonsense"), StageError::Permanent(_)));
        assert!(matches!(of("get"), StageError::Failed(_)));
    }

    #[test]
    fn outputs_are_as_asked_for() {
        let host = mock::Host::new().page("https://a.example/", "<p>");
        let of = |action: &str| host.run(|| handler().process(&task("first", action))).unwrap();
        assert_eq!(of("done").fields, json!({"text": "done", "attempt": 1, "grade": 1, "list": ["done"], "tags": []}));
        assert_eq!(of("empty-string").fields["text"], "");
        assert_eq!(of("empty-list").fields["list"], json!([]));
        assert_eq!(of("found 2").found.len(), 2);
        assert_eq!(of("fetch https://a.example/").fields["text"], "200");
        assert_eq!(of("state counter").fields["text"], "1");
        assert_eq!(of("state counter").fields["text"], "2");
    }

    #[test]
    fn either_takes_whichever_is_done() {
        let done = json!({"text": "done", "attempt": 1, "grade": 1, "list": ["done"], "tags": []});
        for side in ["left", "right"] {
            let inputs = Map::from_iter([(side.to_owned(), done.clone())]);
            let made = handler().process(&Task { inputs, ..task("last", "done") }).unwrap();
            assert_eq!(made.flags, [format!("took-{side}")]);
        }
        assert!(matches!(handler().process(&task("last", "done")), Err(StageError::Failed(_))));
    }

    #[test]
    fn discovery_pages_by_cursor() {
        let mut round = Round { params: json!({"count": 5, "page": 2}), ..Round::default() };
        let mut keys = Vec::new();
        loop {
            let found = handler().discover(&round).unwrap();
            keys.extend(found.items.into_iter().map(|item| item.key));
            round.cursor = found.cursor;
            if round.cursor.is_none() {
                break;
            }
        }
        assert_eq!(keys, ["item-0", "item-1", "item-2", "item-3", "item-4"]);
    }
}
