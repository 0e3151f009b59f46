//! libFuzzer over any answer of a handler.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::{HandlerOutputs, Target};

thread_local! {
    static TARGET: HandlerOutputs = HandlerOutputs::new();
}

fuzz_target!(|input: &[u8]| TARGET.with(|target| target.run(input)));
