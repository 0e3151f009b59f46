//! Figures beside their reference, in one run.
fn main() {}
