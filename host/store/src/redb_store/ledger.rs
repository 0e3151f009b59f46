//! The ledger of paid calls: room is taken before a call, and what it came to is counted once. It is done in the book,
//! at one go with what was asked at the same time, and is durable once the log or the tables have it.

use tollgate_core::{
    JobId, Timestamp,
    budget::{Budget, Spending},
    ledger::{
        self, Account, Beside, CallEnd, CallId, Costs, ESTIMATE_MAX, Entry, Granted, Reservation, Scope, Unbalanced,
    },
};

use super::{Shared, answers::Body, book::Book, fault::Fault, jobs::Jobs, ledger_tables::UNDER_WAY, tables::SPENDING};
use crate::{
    CallSettled, Reserved, StoreError, TaskRef,
    stored::{StoredSpending, corrupt, decode},
};

/// Longest name of a provider, an alias or a model, in bytes: they stand in each row, and in the keys of sums.
pub const PAID_NAME_BYTES_MAX: usize = 256;
/// Bytes of a provider's name for a request that are kept; a longer one is kept as far as that, since what a provider
/// likes to call it is no reason to lose what was paid.
pub const PROVIDER_REQUEST_BYTES_MAX: usize = 256;
/// Calls that are expired at one go: the writer serves nobody else meanwhile.
const EXPIRED_AT_ONCE: usize = 1_000;

/// Whether a reservation keeps within the limits.
pub(crate) fn check(reservation: &Reservation) -> Result<(), StoreError> {
    let call = &reservation.call;
    let too_large = |what, bytes, max| Err(StoreError::TooLarge { what, bytes, max });
    for name in [&call.paid.provider, &call.paid.alias, &call.paid.model] {
        if name.len() > PAID_NAME_BYTES_MAX {
            return too_large("the name of a provider or a model", name.len() as u64, PAID_NAME_BYTES_MAX as u64);
        }
    }
    match call.estimate.known() {
        Some(estimate) if estimate > ESTIMATE_MAX => {
            too_large("what a call may cost, in billionths of a dollar,", estimate.0, ESTIMATE_MAX.0)
        }
        _ => Ok(()),
    }
}

/// What a call came to, as it is kept.
pub(crate) fn kept(mut end: CallEnd) -> CallEnd {
    if let Some(name) = &mut end.provider_request {
        name.truncate(name.floor_char_boundary(PROVIDER_REQUEST_BYTES_MAX));
    }
    end
}

fn unbalanced(error: Unbalanced) -> Fault {
    corrupt(error).into()
}

/// What payments work in: the book, and what they are held against.
pub(crate) struct Paying<'p> {
    pub(crate) shared: &'p Shared,
    pub(crate) jobs: &'p Jobs,
    pub(crate) book: &'p mut Book,
}

impl Paying<'_> {
    /// The accounts of a call's scopes.
    fn accounts(&mut self, scopes: &[Scope; 3]) -> Result<[Account; 3], Fault> {
        let mut accounts = [Account::default(); 3];
        for (account, scope) in accounts.iter_mut().zip(scopes) {
            *account = self.book.account(scope, || self.shared.begin_read())?;
        }
        Ok(accounts)
    }

    /// Whether the attempt still has its claim: one that has lost it would pay for what nobody takes (trap 25).
    fn check_claim(&self, reservation: &Reservation) -> Result<(), StoreError> {
        let caller = &reservation.call.caller;
        self.jobs.get(caller.job)?;
        let Some((item, stage)) = caller.task else {
            return self.shared.claims().check_discovery(caller.job, reservation.claim);
        };
        match self.shared.claims().check(TaskRef { item, stage }, reservation.claim)? {
            job if job == caller.job => Ok(()),
            JobId(_) => Err(StoreError::StaleClaim(item)),
        }
    }

    /// What proxies cost, where a budget of everything asks for it: a few rows, one a proxy. It is as new as what the
    /// gate has kept, which is a second old, or a MiB of bytes.
    fn beside(&self, everything: &Budget, now: Timestamp) -> Result<Beside, Fault> {
        let mut beside = Beside::default();
        if *everything == Budget::default() {
            return Ok(beside);
        }
        // Sites share the money of the proxies that they are reached by, so it is counted once.
        for row in self.shared.begin_read()?.open_table(SPENDING)?.range("proxy ".."proxy!")? {
            let spending: Spending = decode::<StoredSpending>("spending", row?.1.value())?.into();
            beside = beside.and(&spending, now);
        }
        Ok(beside)
    }
}

/// Takes room for a call in all of its budgets, or says which has none: in one step, so that settled and reserved never
/// exceed a limit, however many ask at once (trap 1).
pub(crate) fn reserve(paying: &mut Paying<'_>, reservation: &Reservation) -> Result<Reserved, Fault> {
    let call = &reservation.call;
    paying.check_claim(reservation).map_err(Fault::Refused)?;
    let beside = paying.beside(&reservation.budgets.everything, call.at)?;
    let scopes = call.scopes();
    let accounts = paying.accounts(&scopes)?;
    let granted = match ledger::reserve(reservation, accounts, beside).map_err(unbalanced)? {
        Ok(granted) => granted,
        Err(refused) => return Ok(Reserved::Refused(*refused)),
    };
    let id = paying.book.next()?;
    let Granted { accounts, periods, warned } = granted;
    let entry = Entry { id, call: call.clone(), day: reservation.zone.day(call.at), periods, end: None };
    paying.book.reserve(entry, scopes.into_iter().zip(accounts));
    Ok(Reserved::Made { call: id, warned })
}

/// Settles a call with what it came to and its answer, unless it is settled already.
pub(crate) fn settle(
    paying: &mut Paying<'_>,
    id: CallId,
    end: &CallEnd,
    answer: Option<Body>,
) -> Result<CallSettled, Fault> {
    let entry = paying.book.entry(id, || paying.shared.begin_read())?;
    let entry = entry.ok_or_else(|| Fault::Refused(StoreError::NotFound(format!("call {}", id.0))))?;
    if entry.end.is_some() {
        return Ok(CallSettled::Before);
    }
    let scopes = entry.call.scopes();
    let mut accounts = paying.accounts(&scopes)?;
    for account in &mut accounts {
        account.settle(entry.periods, entry.call.estimate, end.cost).map_err(unbalanced)?;
    }
    let (key, sum) = paying.book.sum(&entry, || paying.shared.begin_read())?;
    let sum = (key, sum.and(&Costs::of(end)));
    paying.book.settle(entry, end.clone(), answer, scopes.into_iter().zip(accounts), sum);
    Ok(CallSettled::Now)
}

/// Settles calls that an earlier process had under way, at their estimates, those after `after` by number; the tables
/// have all of the book. One that can't be settled is told, and left to the next start. Answers what they came to, and
/// the last one that was looked at where there may be more.
pub(crate) fn expire(paying: &mut Paying<'_>, after: CallId, now: Timestamp) -> Result<(Costs, Option<CallId>), Fault> {
    let mut left = Vec::new();
    // Numbers rise, so those of earlier openings stand first.
    let rows = paying.shared.begin_read()?.open_table(UNDER_WAY)?;
    for row in rows.range(after.0.saturating_add(1)..)?.take(EXPIRED_AT_ONCE) {
        let (id, of) = row?;
        if of.value() >= paying.book.opened() {
            break;
        }
        left.push(CallId(id.value()));
    }
    let mut total = Costs::default();
    for &id in &left {
        match lose(paying, id, now) {
            Ok(cost) => total = total.and(&cost),
            // Its row, or that of an account, can't be read; no other call stands back for it, nor anybody else's work.
            Err(Fault::Refused(error) | Fault::Broken(error)) => tracing::error!(
                call = id.0,
                %error,
                "a call that an earlier process had under way can't be settled; `tollgate store verify` says more"
            ),
            Err(fault) => return Err(fault),
        }
    }
    let next = left.last().copied().filter(|_| left.len() == EXPIRED_AT_ONCE);
    Ok((total, next))
}

/// Settles a call that was lost on its way at its estimate.
fn lose(paying: &mut Paying<'_>, id: CallId, now: Timestamp) -> Result<Costs, Fault> {
    let entry = paying.book.entry(id, || paying.shared.begin_read())?;
    let entry = entry.ok_or_else(|| corrupt(format!("call {} is under way and has no row", id.0)))?;
    let end = CallEnd::lost(entry.call.estimate, now);
    Ok(match settle(paying, id, &end, None)? {
        CallSettled::Now => Costs::of(&end),
        CallSettled::Before => Costs::default(),
    })
}
