//! libFuzzer over any bytes as the answer to a request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::{HttpResponses, Target};

thread_local! {
    static TARGET: HttpResponses = HttpResponses::new();
}

fuzz_target!(|input: &[u8]| TARGET.with(|target| target.run(input)));
