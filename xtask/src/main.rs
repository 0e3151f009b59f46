//! Chores: demo, test, build-handlers, bench, soak.
fn main() {}
