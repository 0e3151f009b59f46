//! Items that a stage is not run again for, as what it reads has gone: how many, and what to run first (P06).

use std::collections::BTreeMap;

use tollgate_core::{ItemKey, budget::Size};
use tollgate_store::{Gone, Lacking};

use crate::retry::NAMED_MAX;

/// A sentence for each stage that has to run first.
pub(crate) fn sentences(job: &str, stage: &str, lacking: &[Lacking]) -> Vec<String> {
    let mut by_maker: BTreeMap<&str, (Gone, Vec<&ItemKey>)> = BTreeMap::new();
    for one in lacking {
        let (gone, keys) = by_maker.entry(one.maker.as_str()).or_default();
        *gone = gone.and(one.gone);
        if keys.len() < NAMED_MAX {
            keys.push(&one.key);
        }
    }
    let sentence = |(maker, (Gone { items, binaries, bytes }, keys)): (&str, (Gone, Vec<&ItemKey>))| {
        let named: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let more = match usize::try_from(items).unwrap_or(usize::MAX) - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "{items} items are left alone: large binaries of {maker} have gone ({binaries} of them, {}), and {maker} \
             has to run again before {stage} can read them; first `tollgate item retry {job} --stage {maker} \
             KEY...`: {}{more}",
            Size(bytes),
            named.join(", ")
        )
    };
    by_maker.into_iter().map(sentence).collect()
}
