//! A test handler: `fetch` leaves a large binary, which `hear` reads.

use tollgate_sdk::prelude::*;

/// Bytes of what `fetch` leaves: more than what stays whatever it is.
const BYTES: usize = (1 << 20) + 1;

/// What is left.
#[output]
pub(crate) struct Fetched {
    bytes: u64,
}

/// What was read.
#[output]
pub(crate) struct Heard {
    bytes: u64,
}

/// Leaves it.
#[stage]
pub(crate) fn fetch(kept: &Artifacts) -> Result<Fetched> {
    let saved = kept.put("audio.wav", "audio/wav", &vec![7; BYTES])?;
    Ok(Fetched { bytes: saved.size })
}

/// Reads it.
#[stage]
pub(crate) fn hear(_fetched: Fetched, #[reads("fetch/audio.wav")] audio: Artifact) -> Result<Heard> {
    Ok(Heard { bytes: audio.bytes()?.len() as u64 })
}

handler!(stages: [fetch, hear]);
