//! The one writer of `queue.redb` and the ledger's write-ahead log: takes what waits, does all of it at one go, makes
//! it durable, then answers. Payments alone are durable in the log, anything else in a transaction, which takes the log
//! in.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
};

use redb::{Durability, WriteTransaction};
use tokio::sync::mpsc;
use tollgate_core::{ClaimToken, Digest, JobId};

use super::{
    Shared,
    company::Company,
    content::ContentMessage,
    fault::Fault,
    jobs::Jobs,
    ledger::Paying,
    message::{Asked, Message, Operation, Payment},
    tables::{Tables, meta},
    wal::Wal,
};
use crate::{StoreError, TaskRef};

/// Operations that may wait for the writer; who comes after waits to be let in.
pub(crate) const QUEUE_OPERATIONS_MAX: usize = 4_096;
/// Operations of one transaction: enough to share a commit well, few enough that the first isn't kept long.
const BATCH_OPERATIONS_MAX: usize = 1_024;
/// Bytes of one transaction, about; an operation larger than that has one of its own.
const BATCH_BYTES_MAX: usize = 16 << 20;

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

/// What was asked at the same time.
#[derive(Default)]
struct Together {
    operations: Vec<Box<dyn Operation>>,
    payments: Vec<Box<dyn Payment>>,
    bytes: usize,
    /// Nothing comes after it.
    is_last: bool,
}

impl Together {
    /// Puts the next message to it.
    fn add(&mut self, message: Message) {
        match message {
            Message::Do(operation) => {
                self.bytes += operation.bytes();
                self.operations.push(operation);
            }
            Message::Pay(payment) => {
                self.bytes += payment.bytes();
                self.payments.push(payment);
            }
            Message::Close => self.is_last = true,
        }
    }

    fn count(&self) -> usize {
        self.operations.len() + self.payments.len()
    }

    fn may_have_more(&self) -> bool {
        !self.is_last && self.count() < BATCH_OPERATIONS_MAX && self.bytes < BATCH_BYTES_MAX
    }

    fn fail(&mut self, error: &StoreError) {
        self.operations.iter_mut().for_each(|operation| operation.fail(error.clone()));
        self.payments.iter_mut().for_each(|payment| payment.fail(error.clone()));
    }

    fn answer(self) {
        self.payments.into_iter().for_each(Asked::answer);
        self.operations.into_iter().for_each(Asked::answer);
    }
}

/// Runs the writer until it is closed, nobody is left to ask, or the database refuses.
pub(crate) fn run(
    shared: &Arc<Shared>,
    mut inbox: mpsc::Receiver<Message>,
    content: &mpsc::Sender<ContentMessage>,
    wal: Wal,
) {
    let mut writer = Writer { shared, content, wal };
    let reason = match writer.serve(&mut inbox) {
        Ok(()) => StoreError::Closed,
        Err(error) => {
            tracing::error!(%error, "the store's writer has ended; nothing can be written until the host is restarted");
            error
        }
    };
    shared.end(reason.clone());
    inbox.close();
    let mut rest = Together::default();
    while let Some(message) = inbox.blocking_recv() {
        rest.add(message);
    }
    rest.fail(&reason);
    rest.answer();
}

struct Writer<'w> {
    shared: &'w Arc<Shared>,
    content: &'w mpsc::Sender<ContentMessage>,
    wal: Wal,
}

impl Writer<'_> {
    fn serve(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<(), StoreError> {
        let mut company = Company::default();
        while let Some(message) = inbox.blocking_recv() {
            // Who pays isn't kept waiting: the log costs little.
            if matches!(message, Message::Do(_)) {
                company.wait(inbox);
            }
            let mut together = Together::default();
            together.add(message);
            while together.may_have_more()
                && let Ok(message) = inbox.try_recv()
            {
                together.add(message);
            }
            together.payments.append(&mut *unpoisoned(self.shared.returned.lock()));
            let outcome = catch_unwind(AssertUnwindSafe(|| self.make_durable(&mut together)));
            let outcome = outcome.unwrap_or_else(|_| {
                Err(Fault::Fatal(StoreError::Io("the store's writer panicked; restart the host".to_owned())))
            });
            let outcome = outcome.map_err(end_of_all);
            if let Err(error) = &outcome {
                // First: what is answered lets go of files that rows name by now, for all that anybody knows.
                self.shared.end(error.clone());
                together.fail(error);
            }
            if !together.operations.is_empty() {
                company.was(together.operations.len());
            }
            let (is_last, has_paid) = (together.is_last, !together.payments.is_empty());
            if outcome.is_ok() {
                self.remind();
            }
            together.answer();
            outcome?;
            if has_paid {
                // Payments have kept the blobs of their answers until here.
                self.remind();
            }
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Has files removed that lost their names, once nobody reads them any more.
    fn remind(&self) {
        if self.shared.unnamed().has_ended(|| self.shared.claims().oldest()) {
            // Where there is no room for it, what is on its way comes first, and the next batch or the end asks again.
            drop(self.content.try_send(ContentMessage::Forget));
        }
    }

    fn make_durable(&mut self, together: &mut Together) -> Result<(), Fault> {
        self.pay(&mut together.payments)?;
        let book = self.shared.book();
        let is_folded = together.is_last && book.is_unfolded();
        if together.operations.is_empty() && !is_folded && !book.must_fold() {
            let frame = book.frame()?;
            drop(book);
            match frame {
                Some(frame) if self.wal.has_room(frame.len()) => {
                    self.wal.write(&frame)?;
                    self.shared.write_book().is_told();
                    return Ok(());
                }
                Some(_) => {}
                None => return Ok(()),
            }
        } else {
            drop(book);
        }
        self.commit(&mut together.operations)
    }

    /// Does the payments in the book: one that fails has written nothing in it.
    fn pay(&self, payments: &mut [Box<dyn Payment>]) -> Result<(), Fault> {
        if payments.is_empty() {
            return Ok(());
        }
        let (jobs, mut book) = (self.shared.jobs(), self.shared.write_book());
        let mut paying = Paying { shared: self.shared, jobs: &jobs, book: &mut book };
        for payment in payments {
            match payment.apply(&mut paying) {
                Ok(()) => {}
                Err(Fault::Refused(error) | Fault::Broken(error)) => payment.fail(error),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Does the operations in one durable transaction, with what the book has beyond the tables; those that fail are
    /// left out of it.
    fn commit(&mut self, operations: &mut [Box<dyn Operation>]) -> Result<(), Fault> {
        let shared = self.shared;
        loop {
            let mut transaction = shared.begin_write()?;
            transaction.set_durability(Durability::Immediate).map_err(|error| StoreError::Io(error.to_string()))?;
            let mut ending = Ending::default();
            match self.work(&transaction, operations, &mut ending) {
                Ok(jobs) => {
                    transaction.commit().map_err(Fault::from)?;
                    if ending.is_folded {
                        shared.write_book().is_folded();
                        self.wal.begin(self.wal.next());
                    }
                    // From here on claims read what was settled, so the old ones may go.
                    shared.publish(jobs);
                    let mut claims = shared.claims();
                    ending.settling.iter().chain(&ending.revoked).for_each(|task| claims.end(*task));
                    ending.discoveries.iter().for_each(|job| claims.end_discovery(*job));
                    let newest = claims.newest();
                    drop(claims);
                    shared.unnamed().lost(&ending.lost, newest);
                    return Ok(());
                }
                Err(fault) => {
                    let mut claims = shared.claims();
                    ending.settling.iter().for_each(|task| claims.set_settling(*task, false));
                    ending.barred.iter().for_each(|task| claims.end(*task));
                    drop(claims);
                    transaction.abort().map_err(Fault::from)?;
                    if !matches!(fault, Fault::Redo) {
                        return Err(fault);
                    }
                }
            }
        }
    }

    /// Does the operations within `transaction`; answers the jobs as they then are.
    fn work(
        &self,
        transaction: &WriteTransaction,
        operations: &mut [Box<dyn Operation>],
        ending: &mut Ending,
    ) -> Result<Jobs, Fault> {
        let shared = self.shared;
        let before = shared.jobs();
        let mut tables = Tables::open(transaction)?;
        let is_folded = self.fold(&mut tables)?;
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
        *ending = Ending { settling, revoked, barred, discoveries, lost, is_folded };
        outcome.map(|()| jobs)
    }

    /// Takes into the tables what they lack of the book, and begins the log's next generation. Answers whether they
    /// lacked anything.
    fn fold(&self, tables: &mut Tables<'_>) -> Result<bool, Fault> {
        let book = self.shared.book();
        if !book.is_unfolded() {
            return Ok(false);
        }
        book.fold(tables)?;
        tables.meta.insert(meta::WAL_GENERATION, self.wal.next())?;
        Ok(true)
    }
}

/// What ends the writer, as all are told who ask from then on: nothing goes on after it, whatever it began with.
fn end_of_all(fault: Fault) -> StoreError {
    match fault.into() {
        StoreError::Corrupt(text) => StoreError::Io(format!("{text}, which everything stands on")),
        error => error,
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
    /// The tables have all of the book with it.
    is_folded: bool,
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
