//! How a writer shares its commits: it waits a little for those who wrote together last time, for a commit costs the
//! same for one as for many. Who writes alone is never kept waiting.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

/// Longest wait before a commit. It is real time, whatever the clock says: the disk's pace, not the work's.
const WAIT_MAX: Duration = Duration::from_millis(3);
/// How often the writer looks who has come.
const LOOK: Duration = Duration::from_micros(500);

/// Waits until as many are there as shared the `last` commit, the one in hand among them, or the wait is over.
pub(super) fn wait<T>(inbox: &mpsc::Receiver<T>, last: usize) {
    if inbox.len() + 1 >= last {
        return;
    }
    let end = Instant::now() + WAIT_MAX;
    while inbox.len() + 1 < last && Instant::now() < end {
        thread::sleep(LOOK);
    }
}
