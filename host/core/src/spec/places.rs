//! Where each param of a jobs.toml stands, so that a faulty one is told with its own line and column.

use std::collections::BTreeMap;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::Place;

/// Places of a table's values, by the keys, and the numbers in lists, on the way to each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Places(BTreeMap<Vec<String>, Place>);

impl Places {
    /// Places of what stands at `path` in a document whose text is `text`. Empty, if nothing does.
    pub(super) fn of(text: &str, document: &DeTable<'_>, path: &[&str]) -> Self {
        let Some((first, rest)) = path.split_first() else {
            return Self::default();
        };
        let mut found = document.get(*first);
        for key in rest {
            found = found.and_then(|value| value.get_ref().as_table()).and_then(|table| table.get(*key));
        }
        let mut offsets = Vec::new();
        if let Some(value) = found {
            collect(value, &mut Vec::new(), &mut offsets);
        }
        Self(places(text, offsets))
    }

    /// The place of the value that the keys lead to, or of the nearest around it. Absent, if the first leads nowhere.
    #[must_use]
    pub fn nearest(&self, path: &[String]) -> Option<Place> {
        (1..=path.len()).rev().find_map(|length| self.0.get(&path[..length])).copied()
    }
}

/// Every value with its offset. TOML's own reader bounds how deep they are nested.
fn collect(value: &Spanned<DeValue<'_>>, path: &mut Vec<String>, into: &mut Vec<(usize, Vec<String>)>) {
    into.push((value.span().start, path.clone()));
    let mut inside = |key: String, value: &Spanned<DeValue<'_>>| {
        path.push(key);
        collect(value, path, into);
        path.pop();
    };
    match value.get_ref() {
        DeValue::Table(table) => table.iter().for_each(|(key, value)| inside(key.get_ref().to_string(), value)),
        DeValue::Array(list) => list.iter().enumerate().for_each(|(place, value)| inside(place.to_string(), value)),
        _ => {}
    }
}

/// Offsets become lines and columns in one walk: a job may have ten thousand seeds.
fn places(text: &str, mut offsets: Vec<(usize, Vec<String>)>) -> BTreeMap<Vec<String>, Place> {
    offsets.sort_unstable();
    let (mut at, mut place) = (0, Place { line: 1, column: 1 });
    let mut places = BTreeMap::new();
    for (offset, path) in offsets {
        for char in text.get(at..offset).unwrap_or_default().chars() {
            place = match char {
                '\n' => Place { line: place.line.saturating_add(1), column: 1 },
                _ => Place { column: place.column.saturating_add(1), ..place },
            };
        }
        at = offset;
        places.insert(path, place);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_own_place_and_what_is_missing_that_of_what_is_around_it() {
        let text = "[job.a.params]\nseeds = [\"é\", \"b\"]\nfields.x = { select = 1 }\n[job.a.params.more]\ny = 2\n";
        let document = DeTable::parse(text).unwrap();
        let places = Places::of(text, document.get_ref(), &["job", "a", "params"]);
        let at = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(ToString::to_string).collect();
            places.nearest(&path).map(|place| (place.line, place.column))
        };
        assert_eq!(at(&["seeds", "1"]), Some((2, 15)));
        assert_eq!(at(&["seeds", "7"]), Some((2, 9)));
        assert_eq!(at(&["fields", "x", "select"]), Some((3, 23)));
        assert_eq!(at(&["more", "y"]), Some((5, 5)));
        assert_eq!(at(&["absent"]), None);
        assert_eq!(at(&[]), None);
        for (at, value) in [(Place { line: 2, column: 15 }, "\"b\""), (Place { line: 5, column: 5 }, "2")] {
            assert_eq!(Place::of(text, text.find(value).unwrap()), at, "as places are reckoned elsewhere");
        }
    }
}
