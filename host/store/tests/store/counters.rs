//! Random operations: whatever happens, the counters equal a recount, and nothing is lost.

use tollgate_core::{
    Timestamp,
    item::NewItem,
    outcome::Verdict,
    task::{Answers, LaterKind},
};
use tollgate_store::{ItemQuery, Selection, Store, StoreError};

use crate::fixture::{Fixture, declaration, done, failed, key, later, new_item, settlement, stage};

/// A small generator (xorshift), so that a run is named by its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[tokio::test]
async fn whatever_happens_counters_equal_a_recount() {
    for seed in [1, 7, 42, 1_234_567] {
        random_run(seed).await;
    }
}

async fn random_run(seed: u64) {
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let stages = || {
        vec![
            stage("captions", &[]),
            stage("whisper", &[]),
            stage("digest", &["captions|whisper"]),
            stage("score", &["digest"]),
        ]
    };
    let mut fixture = Fixture::with(stages()).await;
    let mut submitted = 0;
    for now in 1..200 {
        let at = Timestamp(now * 10);
        match chance.below(12) {
            0..=2 => {
                let items: Vec<NewItem> = (0..chance.below(6))
                    .map(|_| NewItem {
                        priority: chance.below(3) as i32 - 1,
                        revision: Some(chance.below(2).to_string()),
                        ..new_item(&format!("k{}", chance.below(40)))
                    })
                    .collect();
                submitted += fixture.store.submit(fixture.job, items, at).await.unwrap().new;
            }
            3..=8 => {
                let lane = tollgate_core::StageIx(chance.below(4) as u16);
                let claims = fixture.claim(lane, chance.below(5) as usize, now * 10).await;
                let mut settlements = Vec::new();
                for claim in &claims {
                    let verdict = match chance.below(8) {
                        0 => failed("x"),
                        1 => later(now * 10 + chance.below(200), LaterKind::Down),
                        2 => Verdict::Nothing("none".into()),
                        3 => Verdict::Reject("no".into()),
                        4 => continue,
                        _ => done("x"),
                    };
                    settlements.push(settlement(claim, verdict, now * 10));
                }
                for answer in fixture.store.settle(settlements).await.unwrap() {
                    assert!(matches!(answer, Ok(_) | Err(StoreError::StaleClaim(_))), "{answer:?}");
                }
                fixture.store.release(claims.iter().map(|claim| (claim.task, claim.token)).collect()).await.unwrap();
            }
            9 => {
                let what = if chance.below(2) == 0 {
                    Selection::Failed
                } else {
                    Selection::Items(vec![key(&format!("k{}", chance.below(40)))])
                };
                fixture.store.reopen(fixture.job, what, Answers::Anew, at).await.unwrap();
            }
            10 => {
                let keys = vec![key(&format!("k{}", chance.below(40)))];
                fixture.store.exclude(fixture.job, keys, "out".into(), at).await.unwrap();
            }
            _ => match chance.below(3) {
                0 => fixture = fixture.restart().await,
                1 => {
                    let mut fewer = stages();
                    fewer.truncate(3);
                    fixture.store.declare(declaration(fewer), at).await.unwrap();
                }
                _ => drop(fixture.store.declare(declaration(stages()), at).await.unwrap()),
            },
        }
        if now % 10 == 0 {
            fixture.sound().await;
        }
    }
    fixture.sound().await;
    let total: u64 = fixture.view().await.items.values().sum();
    assert_eq!(total, submitted, "no item is lost or made");
    for (status, count) in fixture.view().await.items {
        let query = ItemQuery { status: Some(status), limit: 1_000, ..ItemQuery::default() };
        let listed = fixture.store.items(fixture.job, query).await.unwrap().entries.len();
        assert_eq!(listed as u64, count, "{status:?}");
    }
}
