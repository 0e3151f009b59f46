//! Digests of JSON values, for fingerprints.

use serde_json::Value;
use tollgate_core::Digest;

/// Digest of a value's JSON text. `serde_json`'s map is ordered by key, so equal values have equal digests whatever
/// order they were written in.
pub(crate) fn of_value(value: &Value) -> Digest {
    Digest::of(value.to_string().as_bytes())
}
