//! Claims: which tasks are out, and the token that each must present. In memory, so a crash can't strand work (S04).

use std::collections::{BTreeSet, HashMap};

use tollgate_core::{ClaimToken, JobId};

use crate::{StoreError, TaskRef};

/// Bits of a token that count claims; above them stands how often the store was opened, so that every token is
/// larger than any of an earlier process. 2^40 claims are 1,000 years at 30 a second, 1 year at 30,000.
const COUNT_BITS: u32 = 40;

/// A claim that is out.
#[derive(Debug, Clone, Copy)]
struct Held {
    token: ClaimToken,
    job: JobId,
    /// Being settled in the writer's batch: it can neither be settled again nor given back.
    settling: bool,
}

/// All claims that are out.
#[derive(Debug)]
pub(crate) struct Claims {
    held: HashMap<TaskRef, Held>,
    discoveries: HashMap<JobId, ClaimToken>,
    /// Those who keep blobs without the claim of a task.
    keeping: BTreeSet<ClaimToken>,
    next: u64,
}

impl Claims {
    /// For the store's `opened`-th opening.
    pub(crate) fn new(opened: u64) -> Self {
        let next = opened << COUNT_BITS;
        Self { held: HashMap::new(), discoveries: HashMap::new(), keeping: BTreeSet::new(), next }
    }

    pub(crate) fn is_held(&self, task: TaskRef) -> bool {
        self.held.contains_key(&task)
    }

    fn token(&mut self) -> ClaimToken {
        self.next += 1;
        ClaimToken(self.next - 1)
    }

    /// The claim that was given out last, or none that ever was.
    pub(crate) fn newest(&self) -> ClaimToken {
        ClaimToken(self.next.saturating_sub(1))
    }

    /// The oldest of those claims on tasks that are out, and of those who keep blobs without one.
    pub(crate) fn oldest(&self) -> Option<ClaimToken> {
        let held = self.held.values().map(|held| held.token).min();
        held.into_iter().chain(self.keeping.first().copied()).min()
    }

    /// Somebody begins to keep a blob without the claim of a task.
    pub(crate) fn begin_keeping(&mut self) -> ClaimToken {
        let token = self.token();
        self.keeping.insert(token);
        token
    }

    pub(crate) fn end_keeping(&mut self, token: ClaimToken) {
        self.keeping.remove(&token);
    }

    /// Takes a job's discovery, from whoever has it: a page that panicked never gives it back.
    pub(crate) fn take_discovery(&mut self, job: JobId) -> ClaimToken {
        let token = self.token();
        self.discoveries.insert(job, token);
        token
    }

    /// Whether a job's discovery may be settled with `token`.
    pub(crate) fn check_discovery(&self, job: JobId, token: ClaimToken) -> Result<(), StoreError> {
        if self.discoveries.get(&job) == Some(&token) { Ok(()) } else { Err(StoreError::StaleDiscovery(job)) }
    }

    /// Ends whatever claim there is on a job's discovery; one taken meanwhile has seen what is no more.
    pub(crate) fn end_discovery(&mut self, job: JobId) {
        self.discoveries.remove(&job);
    }

    /// Takes a task that nobody holds.
    pub(crate) fn take(&mut self, task: TaskRef, job: JobId) -> ClaimToken {
        let token = self.token();
        self.held.insert(task, Held { token, job, settling: false });
        token
    }

    /// Keeps a task that nobody holds from being claimed, until [`Claims::end`]: what a claim would read of it is about
    /// to be no more. Whether it was free.
    pub(crate) fn bar(&mut self, task: TaskRef, job: JobId) -> bool {
        let is_free = !self.is_held(task);
        if is_free {
            self.take(task, job);
            self.set_settling(task, true);
        }
        is_free
    }

    /// The job of a claim that may be settled with `token`.
    pub(crate) fn check(&self, task: TaskRef, token: ClaimToken) -> Result<JobId, StoreError> {
        match self.held.get(&task) {
            Some(held) if held.token == token && !held.settling => Ok(held.job),
            _ => Err(StoreError::StaleClaim(task.item)),
        }
    }

    /// Marks a claim as being settled, or takes the mark away again.
    pub(crate) fn set_settling(&mut self, task: TaskRef, settling: bool) {
        if let Some(held) = self.held.get_mut(&task) {
            held.settling = settling;
        }
    }

    /// Ends whatever claim there is on a task: it was settled, or another has replaced what it stood for.
    pub(crate) fn end(&mut self, task: TaskRef) {
        self.held.remove(&task);
    }

    /// Gives a claim back, if it is still that one and isn't being settled.
    pub(crate) fn release(&mut self, task: TaskRef, token: ClaimToken) {
        if self.check(task, token).is_ok() {
            self.held.remove(&task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_core::{ItemId, StageIx};

    #[test]
    fn a_barred_task_is_given_out_and_settled_by_nobody_and_a_held_one_is_left_to_its_holder() {
        let (free, taken) =
            (TaskRef { item: ItemId(1), stage: StageIx(0) }, TaskRef { item: ItemId(2), stage: StageIx(0) });
        let mut claims = Claims::new(1);
        let token = claims.take(taken, JobId(1));
        assert!(claims.bar(free, JobId(1)) && claims.is_held(free));
        assert!(!claims.bar(taken, JobId(1)));
        assert!(claims.check(taken, token).is_ok());
        claims.end(free);
        assert!(!claims.is_held(free));
    }

    #[test]
    fn trap25_tokens_rise_over_openings_and_old_ones_are_refused() {
        let task = TaskRef { item: ItemId(1), stage: StageIx(0) };
        let mut first = Claims::new(1);
        let old = first.take(task, JobId(1));
        let mut second = Claims::new(2);
        let new = second.take(task, JobId(1));
        assert!(new > old);
        assert!(matches!(second.check(task, old), Err(StoreError::StaleClaim(_))));
        second.set_settling(task, true);
        second.release(task, new);
        assert!(second.is_held(task), "a claim that is being settled can't be given back");
    }
}
