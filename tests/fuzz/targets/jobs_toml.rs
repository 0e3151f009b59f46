//! libFuzzer over any text as jobs.toml.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::{JobsToml, Target};

thread_local! {
    static TARGET: JobsToml = JobsToml::new();
}

fuzz_target!(|input: &[u8]| TARGET.with(|target| target.run(input)));
