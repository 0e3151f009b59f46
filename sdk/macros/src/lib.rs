//! Macros of the SDK: stages, data, outputs and source hashes from the code itself.
