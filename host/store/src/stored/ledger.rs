//! Paid calls, accounts, sums and kept answers on disk.

use serde::{Deserialize, Serialize};
use tollgate_core::{
    Digest, ItemId, JobId, StageIx, Timestamp,
    calendar::{Day, Period},
    ledger::{
        Account, Call, CallEnd, CallId, Caller, Charged, Cost, Costs, Entry, How, Paid, PaidKind, Periods, Units,
    },
    model::Tokens,
    money::NanoUsd,
};

use super::{corrupt, twin};
use crate::{StoreError, StoredBlob};

twin!(StoredPaidKind = PaidKind { Model, Search, Speech });
twin!(StoredHow = How { Answered, Refused, Lost, Cancelled });

/// Twin of [`Paid`]; a part of the key of sums too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredPaid {
    kind: StoredPaidKind,
    provider: String,
    alias: String,
    model: String,
}

/// Twin of [`Entry`]; its number is its row's key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredCall {
    /// From schema 4.
    V1(StoredCallV1),
}

/// See [`StoredCall`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredCallV1 {
    job: u32,
    task: Option<(u64, u16)>,
    attempt: u32,
    number: u32,
    paid: StoredPaid,
    request: [u8; 32],
    at_ms: u64,
    /// Absent: there is no price.
    estimate: Option<u64>,
    /// As [`Day::number`].
    day: u32,
    /// Begin and end of the day, begin and end of the month.
    periods_ms: [u64; 4],
    end: Option<StoredCallEnd>,
}

/// Twin of [`CallEnd`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredCallEnd {
    at_ms: u64,
    how: StoredHow,
    cost: Option<u64>,
    is_estimate: bool,
    tokens: StoredTokens,
    credits: u64,
    audio_ms: u64,
    provider_request: Option<String>,
}

/// Twin of [`Tokens`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredTokens {
    input: u64,
    cache_read: u64,
    cache_write: u64,
    cache_write_long: u64,
    output: u64,
}

/// What the log of paid calls is told at one go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredFrame<'a> {
    /// From schema 5.
    #[serde(borrow)]
    V1(StoredFrameV1<'a>),
}

/// See [`StoredFrame`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredFrameV1<'a> {
    #[serde(borrow)]
    pub(crate) calls: Vec<StoredFrameCall<'a>>,
    /// Accounts by scope, as they are with these calls.
    pub(crate) accounts: Vec<(String, StoredAccount)>,
    /// Sums by their keys, as they are with these calls.
    pub(crate) sums: Vec<(Vec<u8>, StoredCosts)>,
}

/// A call as it is now, and its answer as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredFrameCall<'a> {
    pub(crate) id: u64,
    pub(crate) call: StoredCall,
    pub(crate) answer: Option<&'a str>,
}

/// Twin of [`Account`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredAccount {
    /// From schema 4.
    V1 { day: StoredCharged, month: StoredCharged },
}

/// Twin of [`Charged`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredCharged {
    begins_ms: u64,
    ends_ms: u64,
    settled: u64,
    reserved: u64,
    is_warned: bool,
}

/// Twin of [`Costs`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredCosts {
    /// From schema 4.
    V1(StoredCostsV1),
}

/// See [`StoredCosts`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredCostsV1 {
    calls: u64,
    tokens: StoredTokens,
    credits: u64,
    audio_ms: u64,
    cost: u64,
    estimated: u64,
    estimates: u64,
    unpriced: u64,
}

/// A kept answer; its task and its call are its row's key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredAnswer<'a> {
    /// From schema 4.
    #[serde(borrow)]
    V1(StoredAnswerV1<'a>),
}

/// See [`StoredAnswer`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredAnswerV1<'a> {
    pub(crate) attempt: u32,
    pub(crate) request: [u8; 32],
    pub(crate) at_ms: u64,
    #[serde(borrow)]
    pub(crate) body: StoredAnswerBody<'a>,
}

/// Where an answer's text is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StoredAnswerBody<'a> {
    /// Here.
    Inline(#[serde(serialize_with = "super::as_bytes")] &'a [u8]),
    /// A blob: its digest and its size.
    Blob([u8; 32], u64),
}

impl StoredAnswerBody<'_> {
    /// The blob of that body.
    pub(crate) fn blob(&self) -> Option<StoredBlob> {
        match self {
            Self::Inline(_) => None,
            Self::Blob(digest, size) => Some(StoredBlob { digest: Digest(*digest), size: *size }),
        }
    }
}

impl From<&Paid> for StoredPaid {
    fn from(paid: &Paid) -> Self {
        let Paid { kind, provider, alias, model } = paid.clone();
        Self { kind: kind.into(), provider, alias, model }
    }
}

impl From<StoredPaid> for Paid {
    fn from(row: StoredPaid) -> Self {
        let StoredPaid { kind, provider, alias, model } = row;
        Self { kind: kind.into(), provider, alias, model }
    }
}

impl From<Tokens> for StoredTokens {
    fn from(tokens: Tokens) -> Self {
        let Tokens { input, cache_read, cache_write, cache_write_long, output } = tokens;
        Self { input, cache_read, cache_write, cache_write_long, output }
    }
}

impl From<StoredTokens> for Tokens {
    fn from(row: StoredTokens) -> Self {
        let StoredTokens { input, cache_read, cache_write, cache_write_long, output } = row;
        Self { input, cache_read, cache_write, cache_write_long, output }
    }
}

fn nano(cost: Cost) -> Option<u64> {
    cost.known().map(|amount| amount.0)
}

fn cost(nano: Option<u64>) -> Cost {
    nano.map_or(Cost::Unpriced, |nano| Cost::Known(NanoUsd(nano)))
}

impl From<&Entry> for StoredCall {
    fn from(entry: &Entry) -> Self {
        let Entry { call, day, periods: Periods { day: today, month }, end, .. } = entry;
        Self::V1(StoredCallV1 {
            job: call.caller.job.0,
            task: call.caller.task.map(|(item, stage)| (item.0, stage.0)),
            attempt: call.caller.attempt,
            number: call.caller.number,
            paid: (&call.paid).into(),
            request: call.request.0,
            at_ms: call.at.0,
            estimate: nano(call.estimate),
            day: day.number(),
            periods_ms: [today.begins.0, today.ends.0, month.begins.0, month.ends.0],
            end: end.as_ref().map(Into::into),
        })
    }
}

impl StoredCall {
    /// The entry of that number.
    pub(crate) fn entry(self, id: CallId) -> Result<Entry, StoreError> {
        let Self::V1(row) = self;
        let [begins, ends, month_begins, month_ends] = row.periods_ms.map(Timestamp);
        let periods =
            Periods { day: Period { begins, ends }, month: Period { begins: month_begins, ends: month_ends } };
        let caller = Caller {
            job: JobId(row.job),
            task: row.task.map(|(item, stage)| (ItemId(item), StageIx(stage))),
            attempt: row.attempt,
            number: row.number,
        };
        let call = Call {
            caller,
            paid: row.paid.into(),
            request: Digest(row.request),
            at: Timestamp(row.at_ms),
            estimate: cost(row.estimate),
        };
        let day = Day::from_number(row.day).map_err(corrupt)?;
        Ok(Entry { id, call, day, periods, end: row.end.map(Into::into) })
    }
}

impl From<&CallEnd> for StoredCallEnd {
    fn from(end: &CallEnd) -> Self {
        Self {
            at_ms: end.at.0,
            how: end.how.into(),
            cost: nano(end.cost),
            is_estimate: end.is_estimate,
            tokens: end.tokens.into(),
            credits: end.units.credits,
            audio_ms: end.units.audio_ms,
            provider_request: end.provider_request.clone(),
        }
    }
}

impl From<StoredCallEnd> for CallEnd {
    fn from(row: StoredCallEnd) -> Self {
        Self {
            at: Timestamp(row.at_ms),
            how: row.how.into(),
            cost: cost(row.cost),
            is_estimate: row.is_estimate,
            tokens: row.tokens.into(),
            units: Units { credits: row.credits, audio_ms: row.audio_ms },
            provider_request: row.provider_request,
        }
    }
}

impl From<Charged> for StoredCharged {
    fn from(charged: Charged) -> Self {
        let Charged { period, settled, reserved, is_warned } = charged;
        let (begins_ms, ends_ms) = (period.begins.0, period.ends.0);
        Self { begins_ms, ends_ms, settled: settled.0, reserved: reserved.0, is_warned }
    }
}

impl From<StoredCharged> for Charged {
    fn from(row: StoredCharged) -> Self {
        let StoredCharged { begins_ms, ends_ms, settled, reserved, is_warned } = row;
        let period = Period { begins: Timestamp(begins_ms), ends: Timestamp(ends_ms) };
        Self { period, settled: NanoUsd(settled), reserved: NanoUsd(reserved), is_warned }
    }
}

impl From<Account> for StoredAccount {
    fn from(account: Account) -> Self {
        Self::V1 { day: account.day.into(), month: account.month.into() }
    }
}

impl From<StoredAccount> for Account {
    fn from(row: StoredAccount) -> Self {
        let StoredAccount::V1 { day, month } = row;
        Self { day: day.into(), month: month.into() }
    }
}

impl From<Costs> for StoredCosts {
    fn from(costs: Costs) -> Self {
        let Costs { calls, tokens, units, cost, estimated, estimates, unpriced } = costs;
        let Units { credits, audio_ms } = units;
        let (cost, estimated) = (cost.0, estimated.0);
        let tokens = tokens.into();
        Self::V1(StoredCostsV1 { calls, tokens, credits, audio_ms, cost, estimated, estimates, unpriced })
    }
}

impl From<StoredCosts> for Costs {
    fn from(row: StoredCosts) -> Self {
        let StoredCosts::V1(row) = row;
        Self {
            calls: row.calls,
            tokens: row.tokens.into(),
            units: Units { credits: row.credits, audio_ms: row.audio_ms },
            cost: NanoUsd(row.cost),
            estimated: NanoUsd(row.estimated),
            estimates: row.estimates,
            unpriced: row.unpriced,
        }
    }
}
