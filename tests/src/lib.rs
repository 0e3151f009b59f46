//! Integration tests: the real host, real compiled handlers, the small internet.
