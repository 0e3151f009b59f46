//! Directories that are kept, by the address asked for: bounded in number and memory, the
//! longest unused forgotten first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{directory::Directory, range::Version};

/// Archives whose directory is kept: more than jobs read side by side.
const KEPT_MAX: usize = 64;
/// Bytes of memory that all directories may take: the largest one that is read, and some more.
const KEPT_BYTES_MAX: usize = 128 << 20;

/// A directory and the file that it was read from.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) directory: Directory,
    pub(super) version: Version,
}

/// The place of one archive. Whoever reads its directory holds the lock meanwhile, so that of many who
/// want members of it one does.
pub(super) type Slot = Arc<tokio::sync::Mutex<Option<Arc<Archive>>>>;

/// All that is kept.
#[derive(Default)]
pub(crate) struct Archives(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_url: HashMap<String, Entry>,
    /// Counts uses.
    uses: u64,
}

#[derive(Default)]
struct Entry {
    slot: Slot,
    bytes: usize,
    used: u64,
}

impl Archives {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of the archive at that address.
    pub(super) fn slot(&self, url: &str) -> Slot {
        let mut kept = self.kept();
        kept.uses += 1;
        let used = kept.uses;
        let entry = kept.by_url.entry(url.to_owned()).or_default();
        entry.used = used;
        let slot = entry.slot.clone();
        kept.shrink();
        slot
    }

    /// Notes what the archive in that place takes.
    pub(super) fn note(&self, url: &str, slot: &Slot, bytes: usize) {
        let mut kept = self.kept();
        if let Some(entry) = kept.by_url.get_mut(url).filter(|entry| Arc::ptr_eq(&entry.slot, slot)) {
            entry.bytes = bytes;
        }
        kept.shrink();
    }
}

impl Kept {
    /// Forgets what was unused longest until all is within its limits. Who reads it now goes on.
    fn shrink(&mut self) {
        let bytes = |kept: &Self| kept.by_url.values().map(|entry| entry.bytes).sum::<usize>();
        while self.by_url.len() > KEPT_MAX || bytes(self) > KEPT_BYTES_MAX {
            let oldest = self.by_url.iter().min_by_key(|(_, entry)| entry.used);
            let Some(url) = oldest.map(|(url, _)| url.clone()) else {
                return;
            };
            self.by_url.remove(&url);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes() {
        let archives = Archives::default();
        let is_kept = |url: &str| archives.kept().by_url.contains_key(url);
        for number in 0..=KEPT_MAX {
            archives.slot(&number.to_string());
        }
        assert!(!is_kept("0") && is_kept("1") && archives.kept().by_url.len() == KEPT_MAX);
        let (first, second) = (archives.slot("1"), archives.slot("2"));
        archives.note("1", &first, KEPT_BYTES_MAX);
        assert!(is_kept("1") && is_kept("2"));
        archives.note("2", &second, 1);
        assert!(!is_kept("1") && is_kept("2"), "the bytes of one that was used longer ago make room");
        assert_eq!(archives.kept().by_url.len(), 1);
    }
}
