//! Older stores stay readable, newer ones are refused (S10).
