//! Which items a stage may depend on: all but the other stages' own functions and what only they name.

use std::collections::{BTreeMap, BTreeSet};

use super::items::SourceItem;

/// The items that count for `stage`.
pub(super) fn covered<'a>(items: &'a [SourceItem], stage: &str, entry_points: &[&str]) -> Vec<&'a SourceItem> {
    let by_name = by_name(items);
    let others = entry_points.iter().copied().filter(|name| *name != stage);
    let of_stage = reach(items, &by_name, places(&by_name, [stage]));
    let of_others = reach(items, &by_name, places(&by_name, others));
    // What no entry point names may still be used in ways that names don't show (a trait's blanket impl, a macro):
    // it counts for every stage, with all that it names.
    let of_none = (0..items.len()).filter(|place| !of_stage.contains(place) && !of_others.contains(place));
    let ambient = reach(items, &by_name, of_none.collect());
    of_stage.union(&ambient).map(|&place| &items[place]).collect()
}

fn by_name(items: &[SourceItem]) -> BTreeMap<&str, Vec<usize>> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, item) in items.iter().enumerate() {
        if let Some(name) = &item.name {
            by_name.entry(name).or_default().push(place);
        }
    }
    by_name
}

fn places<'a>(by_name: &BTreeMap<&str, Vec<usize>>, names: impl IntoIterator<Item = &'a str>) -> BTreeSet<usize> {
    names.into_iter().filter_map(|name| by_name.get(name)).flatten().copied().collect()
}

/// All that `from` names, and what that names.
fn reach(items: &[SourceItem], by_name: &BTreeMap<&str, Vec<usize>>, from: BTreeSet<usize>) -> BTreeSet<usize> {
    let mut reached = from.clone();
    let mut open: Vec<usize> = from.into_iter().collect();
    while let Some(place) = open.pop() {
        let named = items[place].mentions.iter().filter_map(|name| by_name.get(name.as_str())).flatten();
        for &next in named {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}
