//! The ledger's open book: calls under way, and what was done since the last transaction of `queue.redb`, in memory. It
//! is durable in the write-ahead log; a transaction takes it into the tables. Only the writer writes in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redb::{ReadTransaction, ReadableTable as _};
use tollgate_core::ledger::{Account, CallEnd, CallId, Costs, Entry, Scope, ScopeError};

use super::{
    answers::{self, Body},
    fault::Fault,
    ledger_tables::{
        ACCOUNTS, COSTS, LEDGER, LedgerTables, RequestKey, account_of, costs_key, costs_of, day_call_key, entry_of,
        item_call_key_of, request_key,
    },
    tables::{Tables, number_after},
    wal,
};
use crate::{
    AnswerKey, KeptAnswer, StoreError,
    stored::{StoredAccount, StoredFrame, StoredFrameCall, StoredFrameV1, corrupt, decode, encode},
};

/// Calls that are written in the book, and not yet in the tables, at the most: taking them over keeps the writer from
/// all else for some milliseconds. Where calls come one by one, the log has no room for as many, and they are taken over
/// when it is full.
const UNFOLDED_MAX: usize = 192;

/// A call that is written in the book.
#[derive(Debug)]
struct Written {
    entry: Entry,
    /// The tables have no row of it.
    is_new: bool,
    answer: Option<Body>,
}

/// The book.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// The number that was given last.
    last: u64,
    /// Which opening of the store its calls are of.
    opened: u64,
    calls: BTreeMap<CallId, Written>,
    /// Those that the tables don't have as they are.
    calls_unfolded: BTreeSet<CallId>,
    /// Those with an answer that the tables don't have, by their requests.
    answers: BTreeMap<RequestKey, CallId>,
    /// As they are, once somebody has asked for them; the tables have others where a call isn't folded.
    accounts: HashMap<Scope, Account>,
    unfolded: BTreeSet<Scope>,
    /// Sums by their keys in the tables, with what isn't folded.
    costs: BTreeMap<Vec<u8>, Costs>,
    /// What the log doesn't have yet.
    fresh: Fresh,
}

#[derive(Debug, Default)]
struct Fresh {
    calls: BTreeSet<CallId>,
    scopes: BTreeSet<Scope>,
    sums: BTreeSet<Vec<u8>>,
}

impl Book {
    /// An empty one. `last`: the number of the last call in the tables; `opened`: how often the store was opened.
    pub(crate) fn new(last: u64, opened: u64) -> Self {
        Self { last, opened, ..Self::default() }
    }

    /// The number of the last call; 0 where there is none.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Which opening of the store its calls are of.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// Whether the tables lack something of it.
    pub(crate) fn is_unfolded(&self) -> bool {
        !self.unfolded.is_empty()
    }

    /// Whether it can't wait any longer for the tables to take it over: it is long, or names a blob, which is looked
    /// for in the tables alone.
    pub(crate) fn must_fold(&self) -> bool {
        let fresh = |id: &CallId| self.calls.get(id).and_then(|call| call.answer.as_ref());
        self.calls_unfolded.len() >= UNFOLDED_MAX
            || self.fresh.calls.iter().any(|id| matches!(fresh(id), Some(Body::Blob(_))))
    }

    /// The account of a scope; one that nobody has charged is empty.
    pub(crate) fn account(
        &mut self,
        scope: &Scope,
        tables: impl FnOnce() -> Result<ReadTransaction, Fault>,
    ) -> Result<Account, Fault> {
        if let Some(account) = self.accounts.get(scope) {
            return Ok(*account);
        }
        let row = tables()?.open_table(ACCOUNTS)?.get(scope.to_string().as_str())?;
        let account = row.map_or(Ok(Account::default()), |row| account_of(row.value()))?;
        self.accounts.insert(scope.clone(), account);
        Ok(account)
    }

    /// The number of the next call.
    pub(crate) fn next(&self) -> Result<CallId, StoreError> {
        number_after("calls", self.last).map(CallId)
    }

    /// Writes a call that is reserved, with [`Book::next`] as its number, and the accounts of its scopes.
    pub(crate) fn reserve(&mut self, entry: Entry, accounts: impl IntoIterator<Item = (Scope, Account)>) {
        self.last = entry.id.0;
        self.write(Written { entry, is_new: true, answer: None }, accounts);
    }

    /// A call; absent: neither book nor tables have it.
    pub(crate) fn entry(
        &self,
        id: CallId,
        tables: impl FnOnce() -> Result<ReadTransaction, Fault>,
    ) -> Result<Option<Entry>, Fault> {
        if let Some(call) = self.calls.get(&id) {
            return Ok(Some(call.entry.clone()));
        }
        let row = tables()?.open_table(LEDGER)?.get(id.0)?;
        Ok(row.map(|row| entry_of(id.0, row.value())).transpose()?)
    }

    /// The sum that a call belongs to, by its key in the tables.
    pub(crate) fn sum(
        &self,
        entry: &Entry,
        tables: impl FnOnce() -> Result<ReadTransaction, Fault>,
    ) -> Result<(Vec<u8>, Costs), Fault> {
        let key = costs_key(entry)?;
        if let Some(sum) = self.costs.get(&key) {
            return Ok((key, *sum));
        }
        let row = tables()?.open_table(COSTS)?.get(key.as_slice())?;
        let sum = row.map(|row| costs_of(row.value())).transpose()?;
        Ok((key, sum.unwrap_or_default()))
    }

    /// Writes the end of a call, its answer, the accounts of its scopes, and the sum that it belongs to.
    pub(crate) fn settle(
        &mut self,
        entry: Entry,
        end: CallEnd,
        answer: Option<Body>,
        accounts: impl IntoIterator<Item = (Scope, Account)>,
        (key, sum): (Vec<u8>, Costs),
    ) {
        self.fresh.sums.insert(key.clone());
        self.costs.insert(key, sum);
        let is_new = self.calls.get(&entry.id).is_some_and(|call| call.is_new);
        self.write(Written { entry: Entry { end: Some(end), ..entry }, is_new, answer }, accounts);
    }

    fn write(&mut self, call: Written, accounts: impl IntoIterator<Item = (Scope, Account)>) {
        let id = call.entry.id;
        if call.answer.is_some() {
            let newest =
                self.answers.entry(request_key(&call.entry.call.caller, &call.entry.call.request)).or_insert(id);
            // As `answers::keep` has it.
            *newest = id.max(*newest);
        }
        for (scope, account) in accounts {
            self.fresh.scopes.insert(scope.clone());
            self.unfolded.insert(scope.clone());
            self.accounts.insert(scope, account);
        }
        self.fresh.calls.insert(id);
        self.calls_unfolded.insert(id);
        self.calls.insert(id, call);
    }

    /// The answer to a request that the tables don't have yet, once it is durable.
    pub(crate) fn answer(&self, key: &AnswerKey) -> Option<KeptAnswer> {
        let id = self.answers.get(&answers::key_of(key)).filter(|id| !self.fresh.calls.contains(id))?;
        let call = self.calls.get(id)?;
        let (end, Some(Body::Inline(json))) = (call.entry.end.as_ref()?, &call.answer) else {
            return None;
        };
        let attempt = call.entry.call.caller.attempt;
        Some(KeptAnswer { call: call.entry.id, attempt, at: end.at, json: json.clone() })
    }

    /// Keys from the first to the last of durable answers that the tables don't have yet.
    pub(crate) fn answers_between(&self, first: &RequestKey, last: &RequestKey) -> impl Iterator<Item = &RequestKey> {
        let durable = self.answers.range(*first..=*last).filter(|(_, id)| !self.fresh.calls.contains(id));
        durable.map(|(key, _)| key)
    }

    fn written(&self, id: CallId) -> Result<&Written, StoreError> {
        self.calls.get(&id).ok_or_else(|| corrupt(format!("call {} is in no book", id.0)))
    }

    /// What the log has to be told; absent: nothing was done since it was told last.
    pub(crate) fn frame(&self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.fresh.calls.is_empty() {
            return Ok(None);
        }
        let calls = self.fresh.calls.iter().map(|id| {
            let call = self.written(*id)?;
            let answer = match &call.answer {
                Some(Body::Inline(text)) => Some(text.as_str()),
                Some(Body::Blob(_)) | None => None,
            };
            Ok(StoredFrameCall { id: id.0, call: (&call.entry).into(), answer })
        });
        let account = |scope: &Scope| (scope.to_string(), self.accounts.get(scope).copied().unwrap_or_default().into());
        let sum = |key: &Vec<u8>| (key.clone(), self.costs.get(key).copied().unwrap_or_default().into());
        let frame = StoredFrame::V1(StoredFrameV1 {
            calls: calls.collect::<Result<_, StoreError>>()?,
            accounts: self.fresh.scopes.iter().map(account).collect(),
            sums: self.fresh.sums.iter().map(sum).collect(),
        });
        encode(&frame).map(Some)
    }

    /// The log has it.
    pub(crate) fn is_told(&mut self) {
        self.fresh = Fresh::default();
    }

    /// Writes again what the log was told by the process before this one. A frame that is refused has changed nothing.
    pub(crate) fn replay(&mut self, frame: &[u8], tables: &LedgerTables<'_>) -> Result<(), Fault> {
        let StoredFrame::V1(StoredFrameV1 { calls, accounts, sums }) =
            decode(wal::FILE, frame).map_err(wal::damaged)?;
        let account = |(scope, account): (String, StoredAccount)| Ok((scope.parse()?, account.into()));
        let accounts: Vec<(Scope, Account)> =
            accounts.into_iter().map(account).collect::<Result<_, ScopeError>>().map_err(wal::damaged)?;
        let mut written = Vec::with_capacity(calls.len());
        for StoredFrameCall { id, call, answer } in calls {
            let entry = call.entry(CallId(id)).map_err(wal::damaged)?;
            let row = tables.ledger.get(id)?;
            let is_new = row.is_none();
            if let Some(row) = row
                && entry_of(id, row.value()).is_ok_and(|known| known.call != entry.call || known.end.is_some())
            {
                return Err(wal::damaged(format_args!("queue.redb has another call {id}")));
            }
            let answer = answer.map(|text| Body::Inline(text.to_owned()));
            written.push(Written { entry, is_new, answer });
        }
        self.unfolded.extend(accounts.iter().map(|(scope, _)| scope.clone()));
        self.accounts.extend(accounts);
        self.costs.extend(sums.into_iter().map(|(key, sum)| (key, sum.into())));
        for call in written {
            self.last = self.last.max(call.entry.id.0);
            self.write(call, []);
        }
        Ok(())
    }

    /// Takes into the tables what they lack. They have it once their transaction is durable.
    pub(crate) fn fold(&self, tables: &mut Tables<'_>) -> Result<(), Fault> {
        let ledger = tables.ledger()?;
        let (mut named, mut gone) = (Vec::new(), Vec::new());
        for id in &self.calls_unfolded {
            let Written { entry, is_new, answer } = self.written(*id)?;
            ledger.set_entry(entry)?;
            if *is_new {
                ledger.item_calls.insert(&item_call_key_of(entry), ())?;
                ledger.day_calls.insert(&day_call_key(entry.day.number(), entry.id), ())?;
            }
            let Some(end) = &entry.end else {
                ledger.under_way.insert(entry.id.0, self.opened)?;
                continue;
            };
            if !is_new {
                ledger.under_way.remove(entry.id.0)?;
            }
            if let Some(answer) = answer
                && let Some(others) = answers::keep(ledger, entry, answer, end.at)?
            {
                gone.extend(others);
                named.extend(answer.blob());
            }
        }
        for (key, sum) in &self.costs {
            ledger.set_costs(key, *sum)?;
        }
        for scope in &self.unfolded {
            ledger.set_account(scope, self.accounts.get(scope).copied().unwrap_or_default())?;
        }
        named.into_iter().try_for_each(|blob| tables.files.name_paid(blob))?;
        gone.into_iter().try_for_each(|blob| tables.files.unname(blob))
    }

    /// The tables have all of it. Calls under way stay, to be settled.
    pub(crate) fn is_folded(&mut self) {
        self.calls.retain(|_, call| call.entry.end.is_none());
        self.calls.values_mut().for_each(|call| call.is_new = false);
        self.calls_unfolded.clear();
        self.answers.clear();
        self.costs.clear();
        self.unfolded.clear();
        self.fresh = Fresh::default();
    }
}
