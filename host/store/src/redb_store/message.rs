//! What the writer is sent: operations on the tables, and payments, which are the ledger's.

use tokio::sync::oneshot;

use super::{fault::Fault, ledger::Paying, writer::Batch};
use crate::StoreError;

/// A message to the writer.
pub(crate) enum Message {
    /// Do it.
    Do(Box<dyn Operation>),
    /// Do it in the ledger.
    Pay(Box<dyn Payment>),
    /// Do what came before, then end.
    Close,
}

/// Something that was asked of the writer, and is told about once it is durable.
pub(crate) trait Asked: Send {
    /// About its bytes.
    fn bytes(&self) -> usize;
    /// It failed: it isn't asked again.
    fn fail(&mut self, error: StoreError);
    /// Tells who asked.
    fn answer(self: Box<Self>);
}

/// Something to be done in the writer's transaction.
pub(crate) trait Operation: Asked {
    /// Does it. It may be asked again, when its batch has to be done again.
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault>;
    /// Whether it failed.
    fn has_failed(&self) -> bool;
}

/// Something to be done in the ledger, once. One that fails has changed nothing.
pub(crate) trait Payment: Asked {
    /// Does it.
    fn apply(&mut self, paying: &mut Paying<'_>) -> Result<(), Fault>;
}

/// An operation or a payment made of a closure.
struct Ask<T, F> {
    run: F,
    bytes: usize,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

/// At which an answer comes out.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

/// Makes an operation.
pub(crate) fn operation<T, F>(bytes: usize, run: F) -> (Message, Answer<T>)
where
    T: Send + 'static,
    F: FnMut(&mut Batch<'_>) -> Result<T, Fault> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Message::Do(Box::new(Ask { run, bytes, result: None, reply })), answer)
}

/// Makes a payment.
pub(crate) fn payment<T, F>(bytes: usize, run: F) -> (Message, Answer<T>)
where
    T: Send + 'static,
    F: FnMut(&mut Paying<'_>) -> Result<T, Fault> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Message::Pay(Box::new(Ask { run, bytes, result: None, reply })), answer)
}

impl<T: Send, F: Send> Asked for Ask<T, F> {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn fail(&mut self, error: StoreError) {
        self.result = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        let result = self.result.unwrap_or(Err(StoreError::Closed));
        // Who asked may have gone; what they asked for is done all the same.
        drop(self.reply.send(result));
    }
}

impl<T: Send, F: FnMut(&mut Batch<'_>) -> Result<T, Fault> + Send> Operation for Ask<T, F> {
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault> {
        self.result = Some(Ok((self.run)(batch)?));
        Ok(())
    }

    fn has_failed(&self) -> bool {
        matches!(self.result, Some(Err(_)))
    }
}

impl<T: Send, F: FnMut(&mut Paying<'_>) -> Result<T, Fault> + Send> Payment for Ask<T, F> {
    fn apply(&mut self, paying: &mut Paying<'_>) -> Result<(), Fault> {
        self.result = Some(Ok((self.run)(paying)?));
        Ok(())
    }
}
