//! Paid answers: durable with the settlements of their calls, before their guests see them, and found by their
//! requests.
//!
//! Those of the attempt under way are all kept, so that a task that runs again after a crash pays for none of them
//! twice. Of earlier attempts, a task keeps its newest, for a re-run that wants them.

use std::collections::BTreeSet;

use redb::ReadableTable as _;
use tollgate_core::{
    Digest, ItemId, JobId, StageIx, Timestamp,
    ledger::{CallId, Caller, Entry},
};

use super::{
    Shared,
    fault::Fault,
    ledger_tables::{
        ANSWER_CALLS, ANSWERS, AnswerPlace, LedgerTables, RequestKey, answer_call, answer_place, request_key,
        request_of,
    },
};
use crate::{
    AnswerKey, KeptAnswer, StoreError, StoredBlob,
    stored::{StoredAnswer, StoredAnswerBody, StoredAnswerV1, corrupt, decode, encode},
};

/// Answers up to this many bytes stand in their rows, longer ones are blobs: most are a few KiB, and a blob costs a
/// commit of its own.
pub const ANSWER_INLINE_BYTES_MAX: usize = 64 << 10;
/// Most bytes of one answer: the transcript of a day with a time for each word.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Answers of earlier attempts that a task keeps at the most, those of the attempt under way counted in: more than most
/// tasks ask for, and an end to what failing again and again piles up. Of a job's discovery it is the newest.
pub const ANSWERS_PER_TASK_KEPT: usize = 256;

/// An answer on its way into the ledger.
#[derive(Debug)]
pub(crate) enum Body {
    /// Its text.
    Inline(String),
    /// A blob, durable already.
    Blob(StoredBlob),
}

impl Body {
    /// Its blob.
    pub(crate) fn blob(&self) -> Option<StoredBlob> {
        match self {
            Self::Inline(_) => None,
            Self::Blob(blob) => Some(*blob),
        }
    }

    /// About its bytes in the writer's batch.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Inline(text) => text.len(),
            Self::Blob(_) => 0,
        }
    }
}

/// Whether an answer is short enough to be kept.
pub(crate) fn check(text: &str) -> Result<(), StoreError> {
    let (bytes, max) = (text.len() as u64, ANSWER_BYTES_MAX as u64);
    if bytes > max { Err(StoreError::TooLarge { what: "an answer", bytes, max }) } else { Ok(()) }
}

/// Keeps the answer of a call, in place of an older call's to the same request. Answers the blobs of those that go for
/// it; absent: a later call's is there already, which the attempt under way has asked for, so that this one, which came
/// late, isn't kept.
pub(crate) fn keep(
    tables: &mut LedgerTables<'_>,
    entry: &Entry,
    body: &Body,
    at: Timestamp,
) -> Result<Option<Vec<StoredBlob>>, Fault> {
    let (caller, id) = (&entry.call.caller, entry.id);
    let key = request_key(caller, &entry.call.request);
    let old = tables.answer_calls.get(&key)?.map(|old| CallId(old.value()));
    if old.is_some_and(|old| old > id) {
        return Ok(None);
    }
    let body = match body {
        Body::Inline(text) => StoredAnswerBody::Inline(text.as_bytes()),
        Body::Blob(blob) => StoredAnswerBody::Blob(blob.digest.0, blob.size),
    };
    let (attempt, request) = (caller.attempt, entry.call.request.0);
    let row = encode(&StoredAnswer::V1(StoredAnswerV1 { attempt, request, at_ms: at.0, body }))?;
    tables.answer_calls.insert(&key, id.0)?;
    let mut gone = Vec::new();
    if let Some(old) = old {
        gone.extend(remove(tables, &answer_place(caller, old))?);
    }
    tables.answers.insert(&answer_place(caller, id), row.as_slice())?;
    match make_room(tables, caller) {
        // What is paid is kept all the same; `store verify` tells which row it is.
        Err(Fault::Broken(error)) => {
            tracing::error!(%error, "whether a task keeps too many answers can't be told: one of them can't be read")
        }
        made => gone.extend(made?),
    }
    Ok(Some(gone))
}

/// Removes a row; answers its blob, if it had one.
fn remove(tables: &mut LedgerTables<'_>, place: &AnswerPlace) -> Result<Option<StoredBlob>, Fault> {
    let Some(row) = tables.answers.remove(place)? else { return Ok(None) };
    Ok(placed(place, row.value()).map_or_else(
        |error| {
            // It goes all the same, and the next start looks for what it may have named.
            tracing::error!(%error, "an answer that gives way to another can't be read");
            None
        },
        |(_, _, blob)| blob,
    ))
}

/// Drops the task's oldest answer if it has too many, and that one isn't of the attempt under way; answers its blob.
fn make_room(tables: &mut LedgerTables<'_>, caller: &Caller) -> Result<Option<StoredBlob>, Fault> {
    let (first, last) = (answer_place(caller, CallId(0)), answer_place(caller, CallId(u64::MAX)));
    let oldest = match tables.answers.range::<&AnswerPlace>(&first..=&last)?.next().transpose()? {
        Some((place, row)) => {
            let StoredAnswer::V1(row) = decode("answers", row.value())?;
            Some((*place.value(), row.attempt, Digest(row.request)))
        }
        None => None,
    };
    let Some((place, attempt, request)) = oldest else {
        return Err(corrupt("answers are found by requests, and have no rows").into());
    };
    // Looked at before they are counted: in a task's first attempt there is nothing to count.
    if caller.task.is_some() && attempt >= caller.attempt {
        return Ok(None);
    }
    let [first, last] = &requests_of(caller);
    let rows = tables.answer_calls.range::<&RequestKey>(first..=last)?;
    if rows.take(ANSWERS_PER_TASK_KEPT + 1).count() <= ANSWERS_PER_TASK_KEPT {
        return Ok(None);
    }
    let request = request_key(caller, &request);
    tables.answer_calls.remove(&request)?;
    remove(tables, &place)
}

/// A kept answer as it is found.
pub(crate) enum Found {
    /// With its text.
    Whole(KeptAnswer),
    /// Its text is a blob.
    Blob(KeptAnswer, StoredBlob),
}

/// The key of its row in [`ANSWER_CALLS`].
pub(crate) fn key_of(key: &AnswerKey) -> RequestKey {
    request_key(&caller_of(key), &key.request)
}

fn caller_of(key: &AnswerKey) -> Caller {
    Caller { job: key.job, task: key.task, attempt: 0, number: 0 }
}

/// The first and the last key that a request of that task can have.
fn requests_of(caller: &Caller) -> [RequestKey; 2] {
    [[0; 32], [0xff; 32]].map(|digest| request_key(caller, &Digest(digest)))
}

/// The requests of a task whose answers are kept.
pub(crate) fn requests(shared: &Shared, job: JobId, task: (ItemId, StageIx)) -> Result<BTreeSet<Digest>, Fault> {
    let [first, last] = &requests_of(&Caller { job, task: Some(task), attempt: 0, number: 0 });
    // The book first, as below.
    let mut requests: BTreeSet<Digest> = shared.book().answers_between(first, last).map(request_of).collect();
    let table = shared.begin_read()?.open_table(ANSWER_CALLS)?;
    for row in table.range::<&RequestKey>(first..=last)? {
        requests.insert(request_of(row?.0.value()));
    }
    Ok(requests)
}

/// Finds the answer to a request of that task.
pub(crate) fn find(shared: &Shared, key: &AnswerKey) -> Result<Option<Found>, Fault> {
    // First: what isn't in the book any more is in the tables by then.
    let booked = shared.book().answer(key);
    let snapshot = shared.begin_read()?;
    let caller = caller_of(key);
    let call = snapshot.open_table(ANSWER_CALLS)?.get(&key_of(key))?;
    let call = call.map(|call| CallId(call.value()));
    // As it is once they have taken it in.
    let booked = booked.filter(|booked| call.is_none_or(|call| call <= booked.call));
    let (None, Some(call)) = (&booked, call) else {
        return Ok(booked.map(Found::Whole));
    };
    let row = snapshot.open_table(ANSWERS)?.get(&answer_place(&caller, call))?;
    let row = row.ok_or_else(|| corrupt(format!("the answer of call {} has no row", call.0)))?;
    let StoredAnswer::V1(row) = decode("answers", row.value())?;
    let mut answer = KeptAnswer { call, attempt: row.attempt, at: Timestamp(row.at_ms), json: String::new() };
    if let Some(blob) = row.body.blob() {
        return Ok(Some(Found::Blob(answer, blob)));
    }
    if let StoredAnswerBody::Inline(text) = row.body {
        answer.json = self::text(text.to_vec())?;
    }
    Ok(Some(Found::Whole(answer)))
}

/// An answer's text.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(bytes).map_err(|error| corrupt(format!("answers: {error}")))
}

/// The call that a place is of, with its row's request and blob.
pub(crate) fn placed(place: &AnswerPlace, row: &[u8]) -> Result<(CallId, Digest, Option<StoredBlob>), StoreError> {
    let StoredAnswer::V1(row) = decode("answers", row)?;
    Ok((answer_call(place), Digest(row.request), row.body.blob()))
}
