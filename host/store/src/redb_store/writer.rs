//! The one writer of `queue.redb`: takes what waits, does all of it in one transaction, commits, then answers.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
};

use redb::{Durability, WriteTransaction};
use tokio::sync::{mpsc, oneshot};
use tollgate_core::{ClaimToken, Digest, JobId};

use super::{Shared, company::Company, content::ContentMessage, fault::Fault, jobs::Jobs, tables::Tables};
use crate::{StoreError, TaskRef};

/// Operations that may wait for the writer; who comes after waits to be let in.
pub(crate) const QUEUE_OPERATIONS_MAX: usize = 4_096;
/// Operations of one transaction: enough to share a commit well, few enough that the first isn't kept long.
const BATCH_OPERATIONS_MAX: usize = 1_024;
/// Bytes of one transaction, about; an operation larger than that has one of its own.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What the writer is sent.
pub(crate) enum Message {
    /// Do it.
    Do(Box<dyn Operation>),
    /// Do what came before, then end.
    Close,
}

/// Something to be done in the writer's transaction, and told about once that is durable.
pub(crate) trait Operation: Send {
    /// About its bytes.
    fn bytes(&self) -> usize;
    /// Does it. It may be asked again, when its batch has to be done again.
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault>;
    /// It failed: it isn't asked again.
    fn fail(&mut self, error: StoreError);
    /// Whether it failed.
    fn has_failed(&self) -> bool;
    /// Tells who asked.
    fn answer(self: Box<Self>);
}

/// An operation made of a closure.
struct Ask<T, F> {
    run: F,
    bytes: usize,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

/// Makes an operation, and the end at which its answer comes out.
pub(crate) fn ask<T, F>(bytes: usize, run: F) -> (Box<dyn Operation>, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: FnMut(&mut Batch<'_>) -> Result<T, Fault> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Ask { run, bytes, result: None, reply }), answer)
}

impl<T: Send, F: FnMut(&mut Batch<'_>) -> Result<T, Fault> + Send> Operation for Ask<T, F> {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault> {
        self.result = Some(Ok((self.run)(batch)?));
        Ok(())
    }

    fn fail(&mut self, error: StoreError) {
        self.result = Some(Err(error));
    }

    fn has_failed(&self) -> bool {
        matches!(self.result, Some(Err(_)))
    }

    fn answer(self: Box<Self>) {
        let result = self.result.unwrap_or(Err(StoreError::Closed));
        // Who asked may have gone; what they asked for is done all the same.
        drop(self.reply.send(result));
    }
}

/// The transaction that operations work in.
pub(crate) struct Batch<'t> {
    pub(crate) tables: Tables<'t>,
    /// A copy, published once the transaction is durable.
    pub(crate) jobs: Jobs,
    /// Tasks whose claims end with the transaction, because what they stand for is no more.
    revoked: HashSet<TaskRef>,
    /// Those of them that nobody held: claims on them wait for the transaction's end.
    barred: Vec<TaskRef>,
    /// The same as `revoked` for claims on discoveries.
    pub(crate) discoveries_ended: HashSet<JobId>,
    settling: Vec<TaskRef>,
    shared: &'t Shared,
}

impl Batch<'_> {
    /// Whether a task is claimed, and its claim isn't ending in this very batch.
    pub(crate) fn is_claimed(&self, task: TaskRef) -> bool {
        !self.revoked.contains(&task) && !self.settling.contains(&task) && self.shared.claims().is_held(task)
    }

    /// Ends the claim that there is on a task of that job; until the transaction's end there is no other.
    pub(crate) fn revoke(&mut self, task: TaskRef, job: JobId) {
        self.revoked.insert(task);
        if self.shared.claims().bar(task, job) {
            self.barred.push(task);
        }
    }

    /// The job of a claim that may settle.
    pub(crate) fn check_claim(&self, task: TaskRef, token: ClaimToken) -> Result<JobId, StoreError> {
        if self.revoked.contains(&task) {
            return Err(StoreError::StaleClaim(task.item));
        }
        self.shared.claims().check(task, token)
    }

    /// Whether that claim on a job's discovery may settle.
    pub(crate) fn check_discovery(&self, job: JobId, token: ClaimToken) -> Result<(), StoreError> {
        if self.discoveries_ended.contains(&job) {
            return Err(StoreError::StaleDiscovery(job));
        }
        self.shared.claims().check_discovery(job, token)
    }

    /// Keeps a claim from being given back or settled again while this batch is under way.
    pub(crate) fn hold_settling(&mut self, task: TaskRef) {
        self.shared.claims().set_settling(task, true);
        self.settling.push(task);
    }
}

/// Runs the writer until it is closed, nobody is left to ask, or the database refuses.
pub(crate) fn run(shared: &Arc<Shared>, mut inbox: mpsc::Receiver<Message>, content: &mpsc::Sender<ContentMessage>) {
    let ended = catch_unwind(AssertUnwindSafe(|| serve(shared, &mut inbox, content)));
    let reason = match ended {
        Ok(Ok(())) => StoreError::Closed,
        Ok(Err(error)) => {
            tracing::error!(%error, "the store's writer has ended; nothing can be written until the host is restarted");
            error
        }
        Err(_) => {
            let error = StoreError::Io("the store's writer panicked; restart the host".to_owned());
            tracing::error!(%error, "the store's writer has ended; nothing can be written until the host is restarted");
            error
        }
    };
    shared.end(reason.clone());
    inbox.close();
    while let Some(message) = inbox.blocking_recv() {
        if let Message::Do(mut operation) = message {
            operation.fail(reason.clone());
            operation.answer();
        }
    }
}

fn serve(
    shared: &Arc<Shared>,
    inbox: &mut mpsc::Receiver<Message>,
    content: &mpsc::Sender<ContentMessage>,
) -> Result<(), StoreError> {
    let mut company = Company::default();
    while let Some(message) = inbox.blocking_recv() {
        let Message::Do(first) = message else {
            return Ok(());
        };
        company.wait(inbox);
        let (mut bytes, mut operations, mut closing) = (first.bytes(), vec![first], false);
        while operations.len() < BATCH_OPERATIONS_MAX && bytes < BATCH_BYTES_MAX {
            match inbox.try_recv() {
                Ok(Message::Do(operation)) => {
                    bytes += operation.bytes();
                    operations.push(operation);
                }
                Ok(Message::Close) => {
                    closing = true;
                    break;
                }
                Err(_) => break,
            }
        }
        let together = operations.len();
        let outcome = commit(shared, &mut operations, content);
        if let Err(error) = &outcome {
            operations.iter_mut().for_each(|operation| operation.fail(error.clone()));
        }
        company.was(together);
        operations.into_iter().for_each(Operation::answer);
        outcome?;
        if closing {
            return Ok(());
        }
    }
    Ok(())
}

/// Does the operations in one durable transaction; those that fail are left out of it.
fn commit(
    shared: &Arc<Shared>,
    operations: &mut [Box<dyn Operation>],
    content: &mpsc::Sender<ContentMessage>,
) -> Result<(), StoreError> {
    loop {
        let mut transaction = shared.begin_write()?;
        transaction.set_durability(Durability::Immediate).map_err(|error| StoreError::Io(error.to_string()))?;
        let mut ending = Ending::default();
        match work(shared, &transaction, operations, &mut ending) {
            Ok(jobs) => {
                transaction.commit().map_err(Fault::from)?;
                // From here on claims read what was settled, so the old ones may go.
                shared.publish(jobs);
                let mut claims = shared.claims();
                ending.settling.iter().chain(&ending.revoked).for_each(|task| claims.end(*task));
                ending.discoveries.iter().for_each(|job| claims.end_discovery(*job));
                let newest = claims.newest();
                drop(claims);
                let mut unnamed = shared.unnamed();
                unnamed.lost(&ending.lost, newest);
                if unnamed.has_ended(|| shared.claims().oldest()) {
                    // Where there is no room for it, what is on its way comes first, and the next commit or the end asks again.
                    drop(content.try_send(ContentMessage::Forget));
                }
                return Ok(());
            }
            Err(fault) => {
                let mut claims = shared.claims();
                ending.settling.iter().for_each(|task| claims.set_settling(*task, false));
                ending.barred.iter().for_each(|task| claims.end(*task));
                drop(claims);
                transaction.abort().map_err(Fault::from)?;
                if !matches!(fault, Fault::Redo) {
                    return Err(fault.into());
                }
            }
        }
    }
}

/// Claims that end with a transaction.
#[derive(Default)]
struct Ending {
    settling: Vec<TaskRef>,
    revoked: HashSet<TaskRef>,
    barred: Vec<TaskRef>,
    discoveries: HashSet<JobId>,
    /// Files that no row names any more.
    lost: Vec<Digest>,
}

/// Does the operations within `transaction`; answers the jobs as they then are.
fn work(
    shared: &Shared,
    transaction: &WriteTransaction,
    operations: &mut [Box<dyn Operation>],
    ending: &mut Ending,
) -> Result<Jobs, Fault> {
    let before = shared.jobs();
    let tables = Tables::open(transaction)?;
    let mut batch = Batch {
        tables,
        jobs: Jobs::clone(&before),
        revoked: HashSet::new(),
        barred: Vec::new(),
        discoveries_ended: HashSet::new(),
        settling: Vec::new(),
        shared,
    };
    let outcome = apply_all(&mut batch, operations).and_then(|()| batch.jobs.save(&before, &mut batch.tables));
    let lost = batch.tables.files.take_lost();
    let Batch { settling, revoked, barred, discoveries_ended: discoveries, jobs, .. } = batch;
    *ending = Ending { settling, revoked, barred, discoveries, lost };
    outcome.map(|()| jobs)
}

/// Asks each operation; [`Fault::Redo`] when what one of them wrote must not stay.
fn apply_all(batch: &mut Batch<'_>, operations: &mut [Box<dyn Operation>]) -> Result<(), Fault> {
    for operation in operations.iter_mut().filter(|operation| !operation.has_failed()) {
        match operation.apply(batch) {
            Ok(()) => {}
            Err(Fault::Refused(error)) => operation.fail(error),
            Err(Fault::Broken(error)) => {
                tracing::warn!(%error, "an operation on the store failed; its batch is done again without it");
                operation.fail(error);
                return Err(Fault::Redo);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// A lock whose holder panicked still guards what it guards: each change under it is whole.
pub(crate) fn unpoisoned<T>(lock: Result<T, PoisonError<T>>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}
