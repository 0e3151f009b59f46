//! Every target holds for its seeds, and for each of them cut short or with a byte changed.

use std::{fs, path::Path};

use crate::{HandlerOutputs, HttpResponses, JobsToml, StoredRows, Target};

/// Changes of each seed.
const CHANGES: usize = 8;

fn holds<T: Target>(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let (target, mut seeds) = (T::new(), 0);
    for entry in fs::read_dir(&folder).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        seeds += 1;
        target.run(&seed);
        for step in 1..=CHANGES {
            let at = seed.len() * step / (CHANGES + 1);
            target.run(&seed[..at]);
            let mut changed = seed.clone();
            changed[at] ^= 1 << (step - 1);
            target.run(&changed);
        }
    }
    assert!(seeds > 3, "{} has its seeds", folder.display());
}

#[test]
fn jobs_toml_of_any_text_is_read_or_refused_with_places_in_it() {
    holds::<JobsToml>("jobs_toml");
}

#[test]
fn a_store_with_any_row_answers_and_never_panics() {
    holds::<StoredRows>("stored_rows");
}

#[test]
fn any_answer_to_a_request_is_taken_or_refused_within_its_limits() {
    holds::<HttpResponses>("http_responses");
}

#[test]
fn any_answer_of_a_handler_is_sound_or_refused() {
    holds::<HandlerOutputs>("handler_outputs");
}
