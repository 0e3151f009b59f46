//! How handlers are compiled, as cargo's `--config` takes it; `cargo xtask build-handlers` includes this file.

/// Whole-program optimisation, since a guest's code is small and runs a million times. Vectors, which searching in
/// pages lives by. And inlining further than usual, because each call of a function in wasm asks whether its time is
/// up. The guest's own stack is 256 KiB, a quarter of what rustc gives: all of it is wiped after each task, which is
/// what a small task costs most.
pub(crate) const HANDLER_PROFILE: [&str; 5] = [
    "profile.release.lto=true",
    "profile.release.codegen-units=1",
    "profile.release.panic='abort'",
    "profile.release.debug=false",
    "target.wasm32-wasip2.rustflags=['-Ctarget-feature=+simd128','-Cllvm-args=-inline-threshold=1000','-Clink-args=-z \
     stack-size=262144']",
];
