//! A reservation on its way to who asked for it: if they have gone meanwhile, it is given back, since nobody knows its
//! number and nobody will make the call.

use std::sync::{Arc, Mutex};

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};
use tollgate_core::{
    ledger::{CallEnd, CallId, Cost, How, Reservation},
    money::NanoUsd,
};

use super::{
    fault::Fault,
    ledger::{self, Paying},
    message::{self, Answer, Asked, Message, Payment},
    writer::unpoisoned,
};
use crate::{Reserved, StoreError};

/// About the bytes of a reservation's rows.
const BYTES: usize = 1_024;

/// Payments that found no place on their way to the writer, which takes them with what it does next.
pub(crate) type Returned = Mutex<Vec<Box<dyn Payment>>>;

/// The way to the writer.
#[derive(Clone)]
struct Way {
    queue: mpsc::WeakSender<Message>,
    returned: Arc<Returned>,
}

/// What a reservation came to; dropped before it is taken, it is given back.
pub(crate) struct Handed {
    reserved: Option<Reserved>,
    reservation: Reservation,
    way: Way,
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
        match self.way.queue.upgrade().map(|queue| queue.try_send(payment)) {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(Message::Pay(payment)))) => unpoisoned(self.way.returned.lock()).push(payment),
            Some(Err(_)) | None => {
                tracing::warn!(
                    call = call.0,
                    "a reservation that nobody waits for can't be given back; the next start settles it at its estimate"
                );
            }
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
    way: Way,
}

/// Makes the payment, and the end at which its answer comes out.
pub(crate) fn reserve(
    reservation: Reservation,
    queue: &mpsc::Sender<Message>,
    returned: &Arc<Returned>,
) -> (Message, Answer<Handed>) {
    let (reply, answer) = oneshot::channel();
    let way = Way { queue: queue.downgrade(), returned: returned.clone() };
    (Message::Pay(Box::new(Reserve { reservation, result: None, reply, way })), answer)
}

impl Asked for Reserve {
    fn bytes(&self) -> usize {
        BYTES
    }

    fn fail(&mut self, error: StoreError) {
        self.result = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        let Self { reservation, result, reply, way } = *self;
        let result = result.unwrap_or(Err(StoreError::Closed));
        let handed = result.map(|reserved| Handed { reserved: Some(reserved), reservation, way });
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

#[cfg(test)]
mod tests {
    use tollgate_core::{
        Digest, JobId, Timestamp,
        calendar::Zone,
        ledger::{Budgets, Call, Caller, Paid, PaidKind},
    };

    use super::*;

    #[test]
    fn a_reservation_that_finds_the_writer_busy_is_given_back_all_the_same() {
        let (queue, mut inbox) = mpsc::channel(1);
        let returned = Arc::new(Returned::default());
        let hand = || Handed {
            reserved: Some(Reserved::Made { call: CallId(1), warned: Vec::new() }),
            reservation: Reservation {
                call: Call {
                    caller: Caller { job: JobId(1), task: None, attempt: 0, number: 1 },
                    paid: Paid {
                        kind: PaidKind::Model,
                        provider: "sim".to_owned(),
                        alias: "fast".to_owned(),
                        model: "sim-1".to_owned(),
                    },
                    request: Digest::of(b"q"),
                    at: Timestamp(1),
                    estimate: Cost::Unpriced,
                },
                claim: tollgate_core::ClaimToken(1),
                budgets: Budgets::default(),
                zone: Zone::default(),
            },
            way: Way { queue: queue.downgrade(), returned: returned.clone() },
        };
        let waiting = || returned.lock().unwrap().len();
        drop(hand());
        assert_eq!(waiting(), 0, "it goes the usual way while there is room");
        drop(hand());
        assert_eq!(waiting(), 1);
        assert!(matches!(inbox.try_recv(), Ok(Message::Pay(_))) && inbox.try_recv().is_err());
        drop(hand().take());
        assert!(inbox.try_recv().is_err(), "one that is taken is nobody's to give back");
    }
}
