//! Which answers a task may have from before: the store is asked once for all of a task's, and not by each call of it,
//! since nearly no task has any.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::OnceCell;
use tollgate_core::{Digest, ItemId, JobId, StageIx};

/// A task of a job.
type Task = (JobId, ItemId, StageIx);

/// Those of the tasks whose attempts pay now, or have calls that are under way still.
#[derive(Default)]
pub(super) struct TasksAnswers(Arc<Mutex<BTreeMap<Task, Weak<TaskAnswers>>>>);

/// What is known of a task's answers. All that pay for the task at once have the same: a call of an attempt that is
/// over may be answered while the next one asks.
pub(super) struct TaskAnswers {
    task: Task,
    /// Requests whose answers the store had at the first question.
    before: OnceCell<BTreeSet<Digest>>,
    /// Requests that were sent since, whatever became of them.
    since: Mutex<BTreeSet<Digest>>,
    all: Arc<Mutex<BTreeMap<Task, Weak<TaskAnswers>>>>,
}

// Nothing that could panic half-way happens under a lock.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TasksAnswers {
    /// What is known of that task's.
    pub(super) fn of(&self, task: Task) -> Arc<TaskAnswers> {
        let mut all = lock(&self.0);
        if let Some(known) = all.get(&task).and_then(Weak::upgrade) {
            return known;
        }
        let (before, since) = (OnceCell::new(), Mutex::default());
        let new = Arc::new(TaskAnswers { task, before, since, all: self.0.clone() });
        all.insert(task, Arc::downgrade(&new));
        new
    }
}

impl Drop for TaskAnswers {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        // Another may stand in its place by now.
        if all.get(&self.task).is_some_and(|known| known.strong_count() == 0) {
            all.remove(&self.task);
        }
    }
}

impl TaskAnswers {
    /// A request is about to be sent: it may have an answer from now on.
    pub(super) fn asked(&self, request: Digest) {
        lock(&self.since).insert(request);
    }

    /// Whether a request may have an answer in the store. `read` gives all that have one, and runs until it has worked
    /// once.
    ///
    /// # Errors
    /// What `read` says.
    pub(super) async fn may_have<E>(
        &self,
        request: Digest,
        read: impl Future<Output = Result<BTreeSet<Digest>, E>>,
    ) -> Result<bool, E> {
        // Of what was sent since then the store may have more than it had.
        let before = self.before.get_or_try_init(|| read).await?;
        Ok(before.contains(&request) || lock(&self.since).contains(&request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: Task = (JobId(1), ItemId(2), StageIx(3));

    fn request(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    async fn has(answers: &TaskAnswers, text: &str, store: &[&str]) -> bool {
        let read = async { Ok::<_, String>(store.iter().map(|text| request(text)).collect()) };
        answers.may_have(request(text), read).await.unwrap()
    }

    #[tokio::test]
    async fn the_store_is_read_once_and_again_where_it_could_not_be_read() {
        let answers = TasksAnswers::default().of(TASK);
        let failed = answers.may_have(request("a"), async { Err("the disk is gone") }).await;
        assert_eq!(failed, Err("the disk is gone"));
        assert!(has(&answers, "a", &["a", "b"]).await);
        assert!(has(&answers, "b", &[]).await && !has(&answers, "c", &["c"]).await, "it isn't read again");
    }

    #[tokio::test]
    async fn trap02_what_an_earlier_attempt_has_sent_may_be_answered_while_the_next_one_asks() {
        let all = TasksAnswers::default();
        let (earlier, next) = (all.of(TASK), all.of(TASK));
        assert!(!has(&next, "a", &[]).await);
        earlier.asked(request("a"));
        assert!(has(&next, "a", &[]).await);
        let other = all.of((JobId(1), ItemId(2), StageIx(4)));
        assert!(!has(&other, "a", &[]).await, "it is of one task alone");
    }

    #[tokio::test]
    async fn a_task_that_nobody_pays_for_any_more_is_forgotten_and_read_anew() {
        let all = TasksAnswers::default();
        let earlier = all.of(TASK);
        assert!(!has(&earlier, "a", &[]).await);
        drop(earlier);
        assert!(lock(&all.0).is_empty());
        assert!(has(&all.of(TASK), "a", &["a"]).await, "the store is asked for what has come meanwhile");
    }
}
