//! The store beside the model: steps by chance, and after each of them the two say the same.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, test_runner::TestCaseResult};
use tollgate_core::{
    Digest, JobId, Lane, StageIx, Timestamp,
    budget::{Budget, Limit},
    calendar::Zone,
    item::{ItemStatus, NewItem},
    ledger::{Budgets, Call, CallId, Caller, Reservation},
    money::NanoUsd,
    outcome::Verdict,
    pause::{Pause, PauseReason},
    task::{Answers, LaterKind, TaskKind, TaskState},
};
use tollgate_store::{
    AnswerKey, CallSettled, CostGroup, DeclaredStage, RedbStore, Reserved, Selection, Store, StoreError, StoreOptions,
};

use super::{ALL_MONTH, End, Given, JOB_DAY, KEYS, LATER_MS, LEDGER_DAY_MS, Model, NEEDS, STAGES, Stand};
use crate::{
    disk::{FlakyDisk, Trouble},
    fixture::{declaration, done, failed, key, later, new_item, settlement, stage},
    paying::{DAY, a_day, answered, by, known, paid},
};
/// What is done next. Places are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Submit {
        key: usize,
        priority: i32,
        revision: Option<u8>,
    },
    Claim {
        stage: usize,
        limit: usize,
    },
    Settle {
        claim: usize,
        end: End,
    },
    Release {
        claim: usize,
    },
    Exclude {
        key: usize,
    },
    ReopenItem {
        key: usize,
    },
    ReopenFailed,
    Pause,
    Resume,
    Reserve {
        claim: usize,
        amount: u64,
    },
    SettleCall {
        call: usize,
        cost: u64,
    },
    Pass {
        ms: u64,
    },
    Restart,
    /// Power is lost, and what was answered is there.
    Kill {
        seed: u64,
    },
    /// Into the ledger, whose tables take in what stands in its log alone. Nothing else looks there.
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        4 => Just(End::Done),
        1 => Just(End::Nothing),
        1 => Just(End::Reject),
        2 => Just(End::Failed),
        2 => Just(End::Later),
    ];
    let (key, stage, claim) = (0..KEYS.len(), 0..STAGES.len(), 0..16_usize);
    let revision = prop_oneof![2 => Just(None), 1 => (1..3_u8).prop_map(Some)];
    let step = prop_oneof![
        6 => (key.clone(), -1..2, revision)
            .prop_map(|(key, priority, revision)| Step::Submit { key, priority, revision }),
        8 => (stage, 1..4_usize).prop_map(|(stage, limit)| Step::Claim { stage, limit }),
        10 => (claim.clone(), end).prop_map(|(claim, end)| Step::Settle { claim, end }),
        1 => claim.prop_map(|claim| Step::Release { claim }),
        1 => key.clone().prop_map(|key| Step::Exclude { key }),
        2 => key.prop_map(|key| Step::ReopenItem { key }),
        1 => Just(Step::ReopenFailed),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
        6 => (0..16_usize, 0..12_u64).prop_map(|(claim, amount)| Step::Reserve { claim, amount }),
        5 => (0..16_usize, 0..15_u64).prop_map(|(call, cost)| Step::SettleCall { call, cost }),
        3 => (1..8_u64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Restart),
        1 => (0..4_u64).prop_map(|seed| Step::Kill { seed }),
        2 => Just(Step::Look),
    ];
    prop::collection::vec(step, 1..60)
}

/// Counters that count something.
fn counted<K: Ord + Copy>(counters: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    counters.iter().filter(|(_, count)| **count > 0).map(|(kind, count)| (*kind, *count)).collect()
}

/// The store beside the model.
struct Pair {
    disk: FlakyDisk,
    folder: tempfile::TempDir,
    store: Arc<RedbStore>,
    job: JobId,
    model: Model,
}

/// The answer of the model's call of that place.
fn answer_to(call: usize) -> String {
    format!("\"{call}\"")
}

fn stages() -> Vec<DeclaredStage> {
    let needs = |stage: usize| NEEDS[stage].iter().map(|need| STAGES[*need]).collect::<Vec<_>>();
    (0..STAGES.len()).map(|place| stage(STAGES[place], &needs(place))).collect()
}

impl Pair {
    async fn new() -> Self {
        let (disk, folder) = (FlakyDisk::new(Trouble::None), tempfile::tempdir().unwrap());
        let store = RedbStore::open_on(&disk, folder.path(), StoreOptions::default()).unwrap();
        let mut declared = declaration(stages());
        // The breaker has tests of its own.
        declared.breaker = 1_000_000;
        let job = store.declare(declared, Timestamp(0)).await.unwrap().id;
        Self { disk, folder, store, job, model: Model::default() }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.model.now)
    }

    async fn step(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Submit { key, priority, revision } => {
                let text = revision.map(|revision| revision.to_string());
                let item = NewItem { priority, revision: text, ..new_item(KEYS[key]) };
                self.store.submit(self.job, vec![item], self.now()).await.unwrap();
                self.model.submit(KEYS[key], priority, revision);
            }
            Step::Claim { stage, limit } => self.claim(stage, limit).await?,
            Step::Settle { claim, end } if !self.model.given.is_empty() => self.settle(claim, end).await?,
            Step::Release { claim } if !self.model.given.is_empty() => {
                let at = claim % self.model.given.len();
                let Given { claim, holds, .. } = &mut self.model.given[at];
                self.store.release(vec![(claim.task, claim.token)]).await.unwrap();
                *holds = false;
            }
            Step::Settle { .. } | Step::Release { .. } => {}
            Step::Exclude { key: place } => {
                let keys = vec![key(KEYS[place])];
                self.store.exclude(self.job, keys, "not wanted".to_owned(), self.now()).await.unwrap();
                if let Some(place) = self.model.place(KEYS[place]) {
                    self.model.exclude(place);
                }
            }
            Step::ReopenItem { key: place } => {
                let what = Selection::Items(vec![key(KEYS[place])]);
                self.store.reopen(self.job, what, Answers::Anew, self.now()).await.unwrap();
                self.model.is_paused = false;
                if let Some(place) = self.model.place(KEYS[place]) {
                    self.model.reopen_item(place);
                }
            }
            Step::ReopenFailed => {
                self.store.reopen(self.job, Selection::Failed, Answers::Anew, self.now()).await.unwrap();
                self.model.reopen_failed();
            }
            Step::Pause => {
                let (by, evidence) = ("me".to_owned(), "a look".to_owned());
                let pause = Pause { reason: PauseReason::Manual, by, at: self.now(), evidence, until: None };
                self.store.pause(self.job, pause).await.unwrap();
                self.model.is_paused = true;
            }
            Step::Resume => {
                self.store.resume(self.job).await.unwrap();
                self.model.is_paused = false;
            }
            Step::Reserve { claim, amount } if !self.model.given.is_empty() => self.reserve(claim, amount).await?,
            Step::SettleCall { call, cost } if !self.model.calls.is_empty() => {
                let at = call % self.model.calls.len();
                let end = answered(known(cost), self.model.now);
                let answer = Some(answer_to(at));
                let settled = self.store.settle_call(CallId(at as u64 + 1), end, answer).await.unwrap();
                let known = &mut self.model.calls[at];
                prop_assert_eq!(settled == CallSettled::Now, known.cost.is_none());
                if known.cost.is_none() {
                    (known.cost, known.is_answered) = (Some(cost), true);
                }
            }
            Step::Reserve { .. } | Step::SettleCall { .. } => {}
            Step::Pass { ms } => self.model.now += ms,
            Step::Restart => {
                self.store.close().await.unwrap();
                self.open().await;
            }
            Step::Kill { seed } => {
                self.disk = self.disk.after_power_is_lost(seed);
                drop(self.store.close().await);
                self.open().await;
            }
            Step::Look => self.same_ledger().await?,
        }
        self.same().await
    }

    /// Opens the store that is on the disk, as another process.
    async fn open(&mut self) {
        self.store = RedbStore::open_on(&self.disk, self.folder.path(), StoreOptions::default()).unwrap();
        self.model.given.iter_mut().for_each(|given| given.holds = false);
        self.store.expire_reservations(self.now()).await.unwrap();
        for call in &mut self.model.calls {
            call.cost.get_or_insert(call.amount);
        }
    }

    async fn claim(&mut self, stage: usize, limit: usize) -> TestCaseResult {
        let lane = Lane { job: self.job, stage: StageIx(stage as u16) };
        let claims = self.store.claim(lane, limit, self.now()).await.unwrap();
        let places = self.model.claim(stage, limit);
        let keys = |places: &[usize]| places.iter().map(|place| self.model.items[*place].key).collect::<Vec<_>>();
        prop_assert_eq!(claims.iter().map(|claim| claim.key.as_str()).collect::<Vec<_>>(), keys(&places));
        let given = claims.into_iter().zip(places).map(|(claim, item)| Given { claim, item, stage, holds: true });
        self.model.given.extend(given.collect::<Vec<_>>());
        Ok(())
    }

    async fn settle(&mut self, claim: usize, end: End) -> TestCaseResult {
        let at = claim % self.model.given.len();
        let verdict = match end {
            End::Done => done(&(self.model.outputs + 1).to_string()),
            End::Nothing => Verdict::Nothing("none".to_owned()),
            End::Reject => Verdict::Reject("not one of ours".to_owned()),
            End::Failed => failed("it broke"),
            End::Later => later(self.model.now + LATER_MS, LaterKind::Asked),
        };
        let Given { claim, holds, .. } = &self.model.given[at];
        let settled = self.store.settle(vec![settlement(claim, verdict, self.model.now)]).await.unwrap().remove(0);
        if *holds {
            prop_assert!(settled.is_ok(), "a claim that holds was refused: {settled:?}");
            self.model.settle(at, end);
        } else {
            prop_assert!(matches!(settled, Err(StoreError::StaleClaim(_))), "a stale claim settled: {settled:?}");
        }
        Ok(())
    }

    async fn reserve(&mut self, claim: usize, amount: u64) -> TestCaseResult {
        let place = claim % self.model.given.len();
        let Given { claim, holds, .. } = &self.model.given[place];
        let caller = Caller { job: self.job, task: Some((claim.task.item, claim.task.stage)), attempt: 1, number: 1 };
        let (request, at) = (Digest::of(b"q"), Timestamp(self.model.now * (DAY / LEDGER_DAY_MS)));
        let call = Call { caller, paid: paid("fast"), request, at, estimate: known(amount) };
        let month = Budget { day: None, month: Some(Limit::Money(NanoUsd(ALL_MONTH))) };
        let budgets = Budgets { everything: month, job: a_day(JOB_DAY), paid: Budget::default() };
        let reservation = Reservation { call, claim: claim.token, budgets, zone: Zone::default() };
        match self.store.reserve_call(reservation).await {
            Ok(reserved) => {
                prop_assert!(holds, "a stale claim was let through: {:?}", reserved);
                let number = CallId(self.model.calls.len() as u64 + 1);
                let made = matches!(&reserved, Reserved::Made { call, .. } if *call == number);
                let task = (self.model.given[place].item, self.model.given[place].stage);
                prop_assert_eq!(made, self.model.reserve(task, amount), "{:?}", reserved);
            }
            Err(error) => prop_assert!(!holds && matches!(error, StoreError::StaleClaim(_)), "{}", error),
        }
        Ok(())
    }

    /// Accounts and sums are what the calls come to.
    async fn same_ledger(&self) -> TestCaseResult {
        let Some(last) = self.model.calls.last() else {
            return Ok(());
        };
        for one in self.store.accounts().await.unwrap() {
            let account = one.account;
            let of = |charged: tollgate_core::ledger::Charged| (charged.settled.0, charged.reserved.0);
            prop_assert_eq!(of(account.day), self.model.charged(Some(last.day)), "{}", &one.scope);
            prop_assert_eq!(of(account.month), self.model.charged(None), "{}", &one.scope);
        }
        let sums = self.store.costs(by(CostGroup::Job)).await.unwrap().entries;
        let cost = sums.iter().map(|sum| sum.costs.cost.0).sum::<u64>();
        prop_assert_eq!(cost, self.model.charged(None).0);
        Ok(())
    }

    /// Each task finds the answer that is its newest.
    async fn same_answers(&self) -> TestCaseResult {
        for given in &self.model.given {
            let (task, stage) = (given.claim.task, StageIx(given.stage as u16));
            let key = AnswerKey { job: self.job, task: Some((task.item, stage)), request: Digest::of(b"q") };
            let found = self.store.kept_answer(key).await.unwrap().map(|kept| (kept.call, kept.json));
            let newest = self.model.answer((given.item, given.stage));
            prop_assert_eq!(found, newest.map(|at| (CallId(at as u64 + 1), answer_to(at))));
            let requests = self.store.kept_requests(self.job, (task.item, stage)).await.unwrap();
            prop_assert_eq!(requests.len(), usize::from(newest.is_some()));
        }
        Ok(())
    }

    /// The store says what the model says, of each item and in its counters.
    async fn same(&self) -> TestCaseResult {
        let mut items: BTreeMap<ItemStatus, u64> = BTreeMap::new();
        let mut tasks = [const { BTreeMap::<TaskKind, u64>::new() }; 4];
        for item in &self.model.items {
            let stored = self.store.item(self.job, key(item.key)).await.unwrap().unwrap().item;
            prop_assert_eq!(stored.status, item.status(), "{}", item.key);
            for (place, stand) in item.tasks.iter().enumerate() {
                let state = &stored.tasks.iter().find(|task| task.stage.as_str() == STAGES[place]).unwrap().state;
                prop_assert_eq!(state.kind(), stand.kind(), "{} of {}: {:?}", STAGES[place], item.key, state);
                match (state, stand) {
                    (TaskState::Ready { due }, Stand::Ready(ms))
                    | (TaskState::RetryLater { due, .. }, Stand::Later(ms)) => {
                        prop_assert_eq!(due.0, *ms, "{} of {}", STAGES[place], item.key);
                    }
                    (TaskState::Done, Stand::Done(number)) => {
                        let output =
                            stored.outputs.iter().find(|(stage, _)| stage.as_str() == STAGES[place]).unwrap().1;
                        let text = number.to_string();
                        prop_assert_eq!(output["text"].as_str(), Some(text.as_str()));
                    }
                    _ => {}
                }
                *tasks[place].entry(stand.kind()).or_default() += 1;
            }
            *items.entry(item.status()).or_default() += 1;
        }
        let job = self.store.jobs().await.unwrap().remove(0);
        prop_assert_eq!(counted(&job.items), items);
        for (stage, tasks) in job.stages.iter().zip(tasks) {
            prop_assert_eq!(counted(&stage.tasks), tasks, "{}", stage.name);
        }
        prop_assert_eq!(job.pause.is_some(), self.model.is_paused);
        self.same_answers().await
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn the_store_is_what_a_plain_model_is(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new().await;
            for step in steps {
                pair.step(step).await?;
            }
            pair.same_ledger().await?;
            let report = pair.store.verify().await.unwrap();
            prop_assert!(report.is_sound(), "{:#?}", report.problems);
            pair.store.close().await.unwrap();
            Ok(())
        })?;
    }
}
