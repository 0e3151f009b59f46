//! jobs.toml as it is written: serde's view of the file, before any rule is applied.
