//! What handler authors write against: stages, http, artifacts, state, html, and a mock host for unit tests.
