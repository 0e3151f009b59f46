//! Discovery: claims, rounds, and what another declaration makes of them.

use std::time::Duration;

use tollgate_core::{ClaimToken, Digest, Timestamp};
use tollgate_store::{
    DeclaredDiscovery, DiscoveryPage, DiscoveryResult, DiscoveryState, JobDeclaration, Store, StoreError, Submitted,
};

use crate::fixture::{FETCH, Fixture, declaration, new_item, stage};

const HOUR: Duration = Duration::from_hours(1);

fn declared(params: &str, every: Option<Duration>) -> JobDeclaration {
    let discovery = Some(DeclaredDiscovery { basis: Digest::of(params.as_bytes()), every });
    JobDeclaration { discovery, ..declaration(vec![stage("fetch", &[]), stage("extract", &["fetch"])]) }
}

impl Fixture {
    async fn page(
        &self,
        token: ClaimToken,
        keys: &[&str],
        cursor: Option<&str>,
        now: u64,
    ) -> Result<Submitted, StoreError> {
        let items = keys.iter().map(|text| new_item(text)).collect();
        let result = DiscoveryResult::Page { items, cursor: cursor.map(Into::into), next_round: None };
        self.store.settle_discovery(DiscoveryPage { job: self.job, token, result, now: Timestamp(now) }).await
    }

    async fn claimed(&self) -> ClaimToken {
        self.store.claim_discovery(self.job).await.unwrap().token
    }

    async fn declared(&self, params: &str, every: Option<Duration>, now: u64) -> DiscoveryState {
        self.store.declare(declared(params, every), Timestamp(now)).await.unwrap();
        self.store.discovery(self.job).await.unwrap()
    }
}

#[tokio::test]
async fn trap25_a_page_is_settled_by_the_last_claim_alone_and_once() {
    let fixture = Fixture::new().await;
    let old = fixture.claimed().await;
    let new = fixture.claimed().await;
    assert!(new > old);
    let stale = |settled| matches!(settled, Err(StoreError::StaleDiscovery(_)));
    assert!(stale(fixture.page(old, &["a"], Some("1"), 1).await));
    assert_eq!(fixture.store.discovery(fixture.job).await.unwrap(), DiscoveryState::default());
    let (first, second) =
        tokio::join!(fixture.page(new, &["a"], Some("1"), 1), fixture.page(new, &["a", "b"], Some("2"), 2),);
    assert_eq!(first.unwrap().new, 1);
    assert!(stale(second), "once, within one batch too");
    let claim = fixture.store.claim_discovery(fixture.job).await.unwrap();
    assert_eq!(claim.state.cursor.as_deref(), Some("1"));
    let fixture = fixture.restart().await;
    assert!(stale(fixture.page(claim.token, &["b"], None, 3).await), "what an earlier process claimed is void");
    assert_eq!(fixture.claim(FETCH, 9, 4).await.len(), 1);
    fixture.sound().await;
}

#[tokio::test]
async fn a_finished_discovery_begins_anew_when_what_it_depends_on_is_another() {
    let fixture = Fixture::new().await;
    let first = fixture.declared("seeds", None, 1).await;
    assert_eq!((first.cursor, first.finished), (None, false));
    fixture.page(fixture.claimed().await, &["a", "b"], None, 2).await.unwrap();
    let fixture = fixture.restart().await;
    let same = fixture.declared("seeds", None, 3).await;
    assert_eq!((same.finished, same.rounds), (true, 1), "nothing is looked for twice");
    let under_way = fixture.claimed().await;
    let other = fixture.declared("more seeds", None, 4).await;
    assert_eq!((other.finished, other.due, other.rounds), (false, None, 1));
    assert!(fixture.page(under_way, &["x"], None, 5).await.is_err(), "it looked for what is no more wanted");
    let settled = fixture.page(fixture.claimed().await, &["a", "b", "c"], Some("3"), 6).await.unwrap();
    assert_eq!((settled.new, settled.known), (1, 2), "known items stay known");
    assert_eq!(fixture.declared("more seeds", None, 7).await.cursor.as_deref(), Some("3"), "a round goes on");
    assert_eq!(fixture.declared("seeds", None, 8).await.cursor, None, "and begins anew with another basis");
    fixture.sound().await;
}

#[tokio::test]
async fn another_interval_moves_the_next_round() {
    let fixture = Fixture::new().await;
    fixture.declared("seeds", Some(HOUR), 1).await;
    fixture.page(fixture.claimed().await, &["a"], None, 2).await.unwrap();
    let at = |hours: u32| Some(Timestamp(2).after(HOUR * hours));
    for (every, due) in [(1, at(1)), (6, at(6)), (2, at(2))] {
        let state = fixture.declared("seeds", Some(HOUR * every), 3).await;
        assert_eq!((state.due, state.finished, state.rounds), (due, false, 1));
    }
    let once = fixture.declared("seeds", None, 4).await;
    assert_eq!((once.due, once.finished), (None, true), "once: it has been");
    assert_eq!(fixture.declared("seeds", Some(HOUR), 5).await.due, at(1));
}
