//! Claims: order, exclusivity, tokens.

use std::collections::HashSet;

use tollgate_core::{Timestamp, item::NewItem, task::LaterKind};
use tollgate_store::{Store, StoreError};

use crate::fixture::{FETCH, Fixture, done, later, new_item, settlement};

#[tokio::test]
async fn work_is_claimed_by_priority_then_due_then_id_whether_new_or_due_again() {
    let fixture = Fixture::new().await;
    let item = |text: &str, priority| NewItem { priority, ..new_item(text) };
    let items = vec![item("low", -1), item("a", 0), item("b", 0), item("high", 9)];
    fixture.store.submit(fixture.job, items, Timestamp(5)).await.unwrap();
    let keys = |claims: &[tollgate_store::Claim]| -> Vec<String> {
        claims.iter().map(|claim| claim.key.to_string()).collect()
    };
    let claims = fixture.claim(FETCH, 10, 6).await;
    assert_eq!(keys(&claims), ["high", "a", "b", "low"]);
    // `high` and `b` come back: one due before the others became ready, one after.
    fixture.settle(settlement(&claims[0], later(20, LaterKind::Asked), 7)).await.unwrap();
    fixture.settle(settlement(&claims[2], later(3, LaterKind::Asked), 7)).await.unwrap();
    let rest = vec![(claims[1].task, claims[1].token), (claims[3].task, claims[3].token)];
    fixture.store.release(rest).await.unwrap();
    assert_eq!(keys(&fixture.claim(FETCH, 10, 19).await), ["b", "a", "low"]);
    assert_eq!(keys(&fixture.claim(FETCH, 10, 20).await), ["high"]);
}

#[tokio::test]
async fn trap25_an_old_claim_cannot_settle_over_a_newer_one() {
    let fixture = Fixture::new().await;
    fixture.submit(&["a"], 1).await;
    let old = fixture.claim_one(FETCH, 2).await;
    fixture.store.release(vec![(old.task, old.token)]).await.unwrap();
    let new = fixture.claim_one(FETCH, 3).await;
    assert!(new.token > old.token);
    let refused = fixture.settle(settlement(&old, done("old"), 4)).await;
    assert!(matches!(refused, Err(StoreError::StaleClaim(_))));
    fixture.settle(settlement(&new, done("new"), 5)).await.unwrap();
    let again = fixture.settle(settlement(&new, done("twice"), 6)).await;
    assert!(matches!(again, Err(StoreError::StaleClaim(_))));
    let fixture = fixture.restart().await;
    fixture.submit(&["b"], 7).await;
    assert!(fixture.claim_one(FETCH, 8).await.token > new.token, "tokens rise over restarts");
    fixture.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_claim_and_settle_at_once_never_share_a_task() {
    const ITEMS: usize = 400;
    let fixture = std::sync::Arc::new(Fixture::new().await);
    let keys: Vec<String> = (0..ITEMS).map(|number| format!("item {number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    fixture.submit(&keys, 1).await;
    let workers = (0..8).map(|_| {
        let fixture = fixture.clone();
        tokio::spawn(async move {
            let mut done_here = Vec::new();
            loop {
                let claims = fixture.claim(FETCH, 3, 2).await;
                if claims.is_empty() {
                    return done_here;
                }
                for claim in claims {
                    fixture.settle(settlement(&claim, done("x"), 3)).await.expect("nobody else has it");
                    done_here.push(claim.task.item);
                }
            }
        })
    });
    let done_by_all: Vec<_> = futures::future::join_all(workers.collect::<Vec<_>>()).await;
    let all: Vec<_> = done_by_all.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(all.len(), ITEMS);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), ITEMS);
    fixture.sound().await;
}
