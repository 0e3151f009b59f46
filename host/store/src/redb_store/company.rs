//! How a writer shares its commits: it waits a little for those who wrote together just now, for a commit costs the
//! same for one as for many. Who writes alone is not kept waiting, but for the first after a shared commit.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

/// Longest wait before a commit. It is real time, whatever the clock says: the disk's pace, not the work's.
const WAIT_MAX: Duration = Duration::from_millis(3);
/// How often the writer looks who has come.
const LOOK: Duration = Duration::from_micros(500);

/// The last commit.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// How many shared it, and when it was done.
    last: Option<(usize, Instant)>,
}

impl Company {
    /// A commit for so many is done.
    pub(super) fn was(&mut self, together: usize) {
        self.last = Some((together, Instant::now()));
    }

    /// How many are waited for, the one in hand among them. Those of a commit that is long over are gone.
    fn expected(&self, now: Instant) -> usize {
        self.last.filter(|(_, done)| now.duration_since(*done) < WAIT_MAX).map_or(1, |(together, _)| together)
    }

    /// Waits until as many are there as are expected, or the wait is over.
    pub(super) fn wait<T>(&self, inbox: &mpsc::Receiver<T>) {
        let now = Instant::now();
        let (expected, end) = (self.expected(now), now + WAIT_MAX);
        while inbox.len() + 1 < expected && Instant::now() < end {
            thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wrote_together_just_now_are_waited_for_and_nobody_else() {
        let now = Instant::now();
        assert_eq!(Company::default().expected(now), 1);
        assert_eq!(Company { last: Some((1, now)) }.expected(now), 1);
        let shared = Company { last: Some((7, now)) };
        assert_eq!(shared.expected(now), 7);
        assert_eq!(shared.expected(now + WAIT_MAX), 1, "they are gone");
    }

    #[test]
    fn a_wait_ends_when_they_are_there() {
        let (sender, inbox) = mpsc::channel(8);
        let mut company = Company::default();
        company.was(3);
        for text in ["one", "two"] {
            sender.try_send(text).unwrap();
        }
        // With the one in hand they are three.
        company.wait(&inbox);
        assert_eq!(inbox.len(), 2);
    }
}
