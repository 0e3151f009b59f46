//! Integration tests; all of them are in `main.rs` and its modules.
