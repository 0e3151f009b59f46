//! libFuzzer over any bytes as a row of the databases.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::{StoredRows, Target};

thread_local! {
    static TARGET: StoredRows = StoredRows::new();
}

fuzz_target!(|input: &[u8]| TARGET.with(|target| target.run(input)));
