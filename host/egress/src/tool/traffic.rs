//! What a run transferred, as far as anybody can tell: what its program left behind.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tollgate_core::tool::ToolInput;

use crate::meter::Passage;

/// Entries of a folder that are looked at: more than a run may leave, and no more than is read in a moment.
const ENTRIES_MAX: usize = 10_000;

/// Counts a run as an estimate when it is over, however it ended: a download that failed half-way, was killed at its
/// deadline or was let go of has been transferred all the same.
pub(super) struct Traffic {
    passage: Passage,
    /// Where it ran.
    folder: PathBuf,
    inputs: Arc<[ToolInput]>,
    /// Bytes of stdout that were read.
    heard: Arc<AtomicU64>,
}

impl Traffic {
    /// Of a run in that folder, with these files of its caller's.
    pub(super) fn new(passage: Passage, folder: PathBuf, inputs: Arc<[ToolInput]>, heard: Arc<AtomicU64>) -> Self {
        Self { passage, folder, inputs, heard }
    }

    /// Bytes of the files that it left, unfinished ones too.
    fn left(&self) -> io::Result<u64> {
        let mut bytes = 0_u64;
        for entry in fs::read_dir(&self.folder)?.take(ENTRIES_MAX) {
            let entry = entry?;
            // Of the entry itself: a link is never followed.
            let found = entry.metadata()?;
            let is_input = || self.inputs.iter().any(|input| entry.file_name().to_str() == Some(&input.name));
            if found.is_file() && !is_input() {
                bytes = bytes.saturating_add(found.len());
            }
        }
        Ok(bytes)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let left = self.left().unwrap_or_else(|error| {
            tracing::warn!(%error, "what a tool left can't be looked at, and isn't counted");
            0
        });
        self.passage.estimate(left.saturating_add(self.heard.load(Relaxed)));
    }
}
