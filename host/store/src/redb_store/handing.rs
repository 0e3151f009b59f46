//! A reservation on its way to who asked for it: if they have gone meanwhile, it is given back, since nobody knows its
//! number and nobody will make the call.

use tokio::sync::{mpsc, oneshot};
use tollgate_core::{
    ledger::{CallEnd, CallId, Cost, How, Reservation},
    money::NanoUsd,
};

use super::{
    fault::Fault,
    ledger::{self, Paying},
    message::{self, Answer, Asked, Message, Payment},
};
use crate::{Reserved, StoreError};

/// About the bytes of a reservation's rows.
const BYTES: usize = 1_024;

/// What a reservation came to; dropped before it is taken, it is given back.
pub(crate) struct Handed {
    reserved: Option<Reserved>,
    reservation: Reservation,
    queue: mpsc::WeakSender<Message>,
}

impl Handed {
    /// Takes it.
    pub(crate) fn take(mut self) -> Result<Reserved, StoreError> {
        self.reserved.take().ok_or(StoreError::Closed)
    }

    fn give_back(&self, call: CallId) {
        let call_end = CallEnd {
            how: How::Cancelled,
            cost: Cost::Known(NanoUsd::ZERO),
            is_estimate: false,
            ..CallEnd::lost(Cost::Unpriced, self.reservation.call.at)
        };
        let (payment, _) = message::payment(BYTES, move |paying| ledger::settle(paying, call, &call_end, None));
        let queue = self.queue.upgrade();
        if queue.is_none_or(|queue| queue.try_send(payment).is_err()) {
            tracing::warn!(
                call = call.0,
                "a reservation that nobody waits for can't be given back; the next start does it"
            );
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(Reserved::Made { call, .. }) = self.reserved {
            self.give_back(call);
        }
    }
}

/// The payment.
struct Reserve {
    reservation: Reservation,
    result: Option<Result<Reserved, StoreError>>,
    reply: oneshot::Sender<Result<Handed, StoreError>>,
    queue: mpsc::WeakSender<Message>,
}

/// Makes the payment, and the end at which its answer comes out.
pub(crate) fn reserve(reservation: Reservation, queue: &mpsc::Sender<Message>) -> (Message, Answer<Handed>) {
    let (reply, answer) = oneshot::channel();
    (Message::Pay(Box::new(Reserve { reservation, result: None, reply, queue: queue.downgrade() })), answer)
}

impl Asked for Reserve {
    fn bytes(&self) -> usize {
        BYTES
    }

    fn fail(&mut self, error: StoreError) {
        self.result = Some(Err(error));
    }

    fn has_failed(&self) -> bool {
        matches!(self.result, Some(Err(_)))
    }

    fn answer(self: Box<Self>) {
        let Self { reservation, result, reply, queue } = *self;
        let result = result.unwrap_or(Err(StoreError::Closed));
        let handed = result.map(|reserved| Handed { reserved: Some(reserved), reservation, queue });
        // Who asked may have gone: then it is given back as it is dropped here.
        drop(reply.send(handed));
    }
}

impl Payment for Reserve {
    fn apply(&mut self, paying: &mut Paying<'_>) -> Result<(), Fault> {
        self.result = Some(Ok(ledger::reserve(paying, &self.reservation)?));
        Ok(())
    }
}
