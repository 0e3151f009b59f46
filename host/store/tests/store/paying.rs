//! Short ways to reserve and settle paid calls.

use tollgate_core::{
    Digest, StageIx, Timestamp,
    budget::{Budget, Limit},
    calendar::Zone,
    ledger::{Account, Budgets, Call, CallEnd, CallId, Caller, Cost, How, Paid, PaidKind, Reservation, Scope, Units},
    model::Tokens,
    money::NanoUsd,
};
use tollgate_store::{Claim, CostGroup, CostQuery, Reserved, Store};

use crate::fixture::Fixture;

/// The first moment of a day of 1970, and how long one is.
pub(crate) const DAY: u64 = 86_400_000;

pub(crate) fn known(nano: u64) -> Cost {
    Cost::Known(NanoUsd(nano))
}

/// A day's budget of so many billionths of a dollar.
pub(crate) fn a_day(nano: u64) -> Budget {
    Budget { day: Some(Limit::Money(NanoUsd(nano))), month: None }
}

pub(crate) fn paid(alias: &str) -> Paid {
    Paid { kind: PaidKind::Model, provider: "sim".into(), alias: alias.into(), model: format!("{alias}-1") }
}

/// A call of a claimed task, which no budget bounds.
pub(crate) fn reservation(fixture: &Fixture, claim: &Claim, request: &str, estimate: Cost, at: u64) -> Reservation {
    let task = (claim.task.item, claim.task.stage);
    let attempt = claim.tally.attempts + 1;
    let caller = Caller { job: fixture.job, task: Some(task), attempt, number: 1 };
    let request = Digest::of(request.as_bytes());
    let call = Call { caller, paid: paid("fast"), request, at: Timestamp(at), estimate };
    Reservation { call, claim: claim.token, budgets: Budgets::default(), zone: Zone::default() }
}

/// A call that was answered.
pub(crate) fn answered(cost: Cost, at: u64) -> CallEnd {
    CallEnd {
        at: Timestamp(at),
        how: How::Answered,
        cost,
        is_estimate: false,
        tokens: Tokens { input: 10, cache_read: 4, cache_write: 3, cache_write_long: 2, output: 5 },
        units: Units { credits: 1, audio_ms: 2 },
        provider_request: Some("req-1".to_owned()),
    }
}

impl Fixture {
    /// A claim on the fetch stage of a new item.
    pub(crate) async fn claim_new(&self, text: &str) -> Claim {
        self.submit(&[text], 1).await;
        let claims = self.claim(StageIx(0), 100, 1).await;
        claims.into_iter().find(|claim| claim.key.as_str() == text).expect("it is new")
    }

    /// Reserves what there is room for.
    pub(crate) async fn reserve(&self, reservation: Reservation) -> CallId {
        match self.store.reserve_call(reservation).await.unwrap() {
            Reserved::Made { call, .. } => call,
            Reserved::Refused(refused) => panic!("there is no room: {refused:?}"),
        }
    }

    /// The account of a scope.
    pub(crate) async fn account(&self, scope: &Scope) -> Account {
        let all = self.store.accounts().await.unwrap();
        all.into_iter().find(|one| &one.scope == scope).map(|one| one.account).unwrap_or_default()
    }

    /// What a scope's day has settled and reserved.
    pub(crate) async fn charged(&self, scope: &Scope) -> (u64, u64) {
        let day = self.account(scope).await.day;
        (day.settled.0, day.reserved.0)
    }
}

/// Sums of all there is.
pub(crate) fn by(group: CostGroup) -> CostQuery {
    CostQuery { group, job: None, from: None, to: None, after: None, limit: 1_000 }
}
