//! Files that no row names: those that somebody may be about to name, or still reads, and removing those that nobody
//! can.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, ErrorKind},
    sync::Arc,
};

use tollgate_core::{ClaimToken, Digest};

use super::{
    Shared,
    content::{file_of, scratch_folder},
    fault::Fault,
    files::FILES,
    writer::unpoisoned,
};
use crate::StoreError;

/// Files that are remembered before it is looked which of them can go: some KiB of memory.
const REMEMBERED_MIN: usize = 1_024;

/// Who keeps a blob, or reads one, has a claim, so that a file which was kept, or lost its last name, while a claim was
/// out stays until that claim and all older ones have ended. Then it is named, or nobody will ever name it.
#[derive(Debug)]
pub(crate) struct Unnamed {
    files: HashMap<Digest, Waiting>,
    /// The oldest mark of those that lost their names.
    lost: Option<ClaimToken>,
    /// Look which of them can go once there are so many.
    look_at: usize,
    /// While a sweep is under way: all that was kept since the store was opened, rows of `content.redb` too.
    since_open: Option<HashSet<Digest>>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// The newest claim of that time.
    newest: ClaimToken,
    is_lost: bool,
}

impl Unnamed {
    /// For a store that is opened now. `sweeps`: until [`Unnamed::has_swept`], what is kept is remembered.
    pub(crate) fn new(sweeps: bool) -> Self {
        let since_open = sweeps.then(HashSet::new);
        Self { files: HashMap::new(), lost: None, look_at: REMEMBERED_MIN, since_open }
    }

    /// A file is kept; `newest`: the newest claim there is. Answers whether it is time to look which can go.
    fn put(&mut self, digest: Digest, newest: ClaimToken) -> bool {
        self.kept(digest);
        self.files.entry(digest).or_insert(Waiting { newest, is_lost: false }).newest = newest;
        self.files.len() >= self.look_at
    }

    /// A blob is kept, as a row or a file.
    pub(super) fn kept(&mut self, digest: Digest) {
        if let Some(since_open) = &mut self.since_open {
            since_open.insert(digest);
        }
    }

    /// These have no name any more.
    pub(super) fn lost(&mut self, digests: &[Digest], newest: ClaimToken) {
        for digest in digests {
            self.files.insert(*digest, Waiting { newest, is_lost: true });
            self.lost.get_or_insert(newest);
        }
    }

    /// Whether one that lost its name may go, by the oldest claim there is.
    pub(super) fn has_ended(&self, oldest: impl FnOnce() -> Option<ClaimToken>) -> bool {
        self.lost.is_some_and(|lost| oldest().is_none_or(|oldest| lost < oldest))
    }

    /// Takes those that nobody can name or read any more, unless a row names them. Absent: no claim is out.
    fn take_ended(&mut self, oldest: Option<ClaimToken>) -> Vec<Digest> {
        let has_ended = |waiting: &Waiting| oldest.is_none_or(|oldest| waiting.newest < oldest);
        let ended = self.files.extract_if(|_, waiting| has_ended(waiting)).map(|(digest, _)| digest).collect();
        self.lost = self.files.values().filter(|waiting| waiting.is_lost).map(|waiting| waiting.newest).min();
        // Twice as many before the next look, so that looking costs each file a little, however long a claim is out.
        self.look_at = REMEMBERED_MIN.max(2 * self.files.len());
        ended
    }

    /// Whether a blob was kept since the store was opened, as far as a sweep asks for it.
    pub(super) fn is_new(&self, digest: Digest) -> bool {
        self.since_open.as_ref().is_some_and(|since_open| since_open.contains(&digest))
    }

    /// The sweep has ended.
    pub(super) fn has_swept(&mut self) {
        self.since_open = None;
    }
}

/// Somebody who keeps a blob and means to name it, without the claim of a task: as good as one until it is dropped.
pub(crate) struct Keeping {
    shared: Arc<Shared>,
    token: ClaimToken,
}

impl Keeping {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let token = shared.claims().begin_keeping();
        Self { shared, token }
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.shared.claims().end_keeping(self.token);
    }
}

/// Remembers a file before it gets its name in the folder: from here on nobody removes it, until its claim has ended.
/// Answers whether it is time for [`forget`].
pub(super) fn put(shared: &Shared, digest: Digest) -> bool {
    let newest = shared.claims().newest();
    shared.unnamed().put(digest, newest)
}

/// Until when who may name a file, or reads it, is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// All claims of its time have ended.
    Claims,
    /// The writer of the queue has ended: nothing is named any more.
    Closed,
}

/// Removes the files that no row names, and that nobody can be about to name. Looks for each by itself, so that it
/// costs as much as goes. What can't be looked up or removed stays until the next start, and is told.
pub(super) fn forget(shared: &Shared, until: Until) {
    // What a writer that died was about to say may be on the disk or not: only the next start knows who names what.
    if shared.ended.get().is_some_and(|reason| !matches!(reason, StoreError::Closed)) {
        return;
    }
    // One after the other: a file that this one has seen without a name, somebody may keep and name anew, and another
    // one take it from what is remembered before this one comes to it.
    let _alone = unpoisoned(shared.forgetting.lock());
    // The claims first and the rows after: who has named a file and ended its claim in between is seen.
    let oldest = if until == Until::Closed { None } else { shared.claims().oldest() };
    let ended = shared.unnamed().take_ended(oldest);
    if ended.is_empty() {
        return;
    }
    let unnamed = match without_name(shared, ended) {
        Ok(unnamed) => unnamed,
        Err(fault) => {
            let error = StoreError::from(fault);
            tracing::warn!(%error, "files that no row names stay until the next start: their names can't be read");
            return;
        }
    };
    let (mut files, mut bytes) = (0_u64, 0);
    for digest in unnamed {
        match remove_file(shared, digest) {
            Ok(Some(size)) => {
                files += 1;
                bytes += size;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%digest, %error, "a file that no row names can't be removed; the next start tries again");
            }
        }
    }
    if files > 0 {
        tracing::debug!(files, bytes, "files that no row names any more are removed");
    }
}

fn without_name(shared: &Shared, mut digests: Vec<Digest>) -> Result<Vec<Digest>, Fault> {
    let names = shared.begin_read()?.open_table(FILES)?;
    let mut at = 0;
    while let Some(digest) = digests.get(at) {
        if names.get(&digest.0)?.is_some() {
            digests.swap_remove(at);
        } else {
            at += 1;
        }
    }
    Ok(digests)
}

/// Removes a file, unless somebody has kept it anew. Answers its size, if it was there.
pub(super) fn remove_file(shared: &Shared, digest: Digest) -> io::Result<Option<u64>> {
    let aside = scratch_folder(&shared.folder).join(digest.to_hex());
    {
        // Held while it loses its name, which takes no time; to free the room of a large file may.
        let unnamed = shared.unnamed();
        if unnamed.files.contains_key(&digest) || unnamed.is_new(digest) {
            return Ok(None);
        }
        match fs::rename(file_of(&shared.folder, digest), &aside) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            renamed => renamed?,
        }
    }
    let size = fs::metadata(&aside)?.len();
    fs::remove_file(&aside)?;
    Ok(Some(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    #[test]
    fn a_file_waits_for_the_claims_of_its_time_and_for_no_later_one() {
        let mut unnamed = Unnamed::new(false);
        assert!(!unnamed.put(digest("kept"), ClaimToken(5)));
        unnamed.lost(&[digest("lost")], ClaimToken(7));
        assert!(!unnamed.has_ended(|| Some(ClaimToken(7))));
        assert!(unnamed.take_ended(Some(ClaimToken(5))).is_empty());
        assert_eq!(unnamed.take_ended(Some(ClaimToken(6))), [digest("kept")]);
        assert!(unnamed.has_ended(|| Some(ClaimToken(8))) && unnamed.has_ended(|| None));
        assert_eq!(unnamed.take_ended(Some(ClaimToken(8))), [digest("lost")]);
        assert!(!unnamed.has_ended(|| None));
    }

    #[test]
    fn one_that_is_kept_anew_waits_for_who_kept_it_last() {
        let mut unnamed = Unnamed::new(false);
        unnamed.put(digest("a"), ClaimToken(5));
        unnamed.put(digest("a"), ClaimToken(9));
        assert!(unnamed.take_ended(Some(ClaimToken(9))).is_empty());
        assert_eq!(unnamed.take_ended(None), [digest("a")]);
    }

    #[test]
    fn what_is_remembered_is_looked_through_once_it_has_doubled() {
        let mut unnamed = Unnamed::new(false);
        let put = |unnamed: &mut Unnamed, number: usize| unnamed.put(digest(&number.to_string()), ClaimToken(1));
        let looked_at = (0..).find(|number| put(&mut unnamed, *number)).unwrap() + 1;
        assert_eq!(looked_at, REMEMBERED_MIN);
        assert!(unnamed.take_ended(Some(ClaimToken(1))).is_empty(), "a claim is still out");
        assert_eq!((looked_at..).find(|number| put(&mut unnamed, *number)).unwrap() + 1, 2 * REMEMBERED_MIN);
    }
}
