//! A plain model of the store, in memory: what it holds, and what each operation makes of that. `pair` holds the store
//! against it.

use tollgate_core::{item::ItemStatus, task::TaskKind};
use tollgate_store::Claim;

#[path = "model/pair.rs"]
mod pair;

const STAGES: [&str; 4] = ["fetch", "extract", "images", "report"];
const NEEDS: [&[usize]; 4] = [&[], &[0], &[0], &[1, 2]];
const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// How long a task that has to wait waits.
const LATER_MS: u64 = 5;

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    Nothing,
    Reject,
    Failed,
    Later,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Waiting,
    Ready(u64),
    Later(u64),
    Done(u32),
    Nothing,
    Failed,
    Rejected,
    Excluded,
    Unreachable,
}

impl Stand {
    fn has_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Ready(_) | Self::Later(_))
    }

    fn kind(self) -> TaskKind {
        match self {
            Self::Waiting => TaskKind::Waiting,
            Self::Ready(_) => TaskKind::Ready,
            Self::Later(_) => TaskKind::RetryLater,
            Self::Done(_) => TaskKind::Done,
            Self::Nothing => TaskKind::Nothing,
            Self::Failed => TaskKind::Failed,
            Self::Rejected | Self::Excluded => TaskKind::Skipped,
            Self::Unreachable => TaskKind::Unreachable,
        }
    }
}

#[derive(Debug, Clone)]
struct Item {
    key: &'static str,
    priority: i32,
    revision: Option<u8>,
    tasks: [Stand; 4],
}

impl Item {
    /// Brings what waits into line with what it needs.
    fn resolve(&mut self, now: u64) {
        for (stage, needs) in NEEDS.into_iter().enumerate() {
            let needs = needs.iter().map(|need| self.tasks[*need]);
            let lacks = |stand: Stand| !matches!(stand, Stand::Done(_));
            let shut = if needs.clone().any(|need| lacks(need) && need.has_ended()) {
                Some(Stand::Unreachable)
            } else if needs.clone().any(lacks) {
                Some(Stand::Waiting)
            } else {
                None
            };
            let left_out = self.tasks.iter().copied().find(|task| matches!(task, Stand::Rejected | Stand::Excluded));
            match self.tasks[stage] {
                Stand::Waiting | Stand::Unreachable => {
                    self.tasks[stage] = left_out.or(shut).unwrap_or(Stand::Ready(now));
                }
                Stand::Ready(_) | Stand::Later(_) => self.tasks[stage] = shut.unwrap_or(self.tasks[stage]),
                _ => {}
            }
        }
    }

    fn status(&self) -> ItemStatus {
        let any = |is: fn(&Stand) -> bool| self.tasks.iter().any(is);
        if any(|task| matches!(task, Stand::Ready(_))) {
            ItemStatus::Queued
        } else if any(|task| matches!(task, Stand::Later(_))) {
            ItemStatus::Retrying
        } else if any(|task| matches!(task, Stand::Failed)) {
            ItemStatus::Failed
        } else if any(|task| matches!(task, Stand::Rejected | Stand::Excluded))
            || !any(|task| matches!(task, Stand::Done(_) | Stand::Nothing))
        {
            ItemStatus::Skipped
        } else {
            ItemStatus::Done
        }
    }
}

/// A claim that was given out once.
struct Given {
    claim: Claim,
    item: usize,
    stage: usize,
    /// It may settle.
    holds: bool,
}

/// What there is, in the order in which it came.
#[derive(Default)]
struct Model {
    items: Vec<Item>,
    given: Vec<Given>,
    is_paused: bool,
    now: u64,
    /// Numbers outputs, so that each is another.
    outputs: u32,
    /// Paid calls, by number from 1.
    calls: Vec<Paying>,
}

/// A paid call.
#[derive(Debug, Clone, Copy)]
struct Paying {
    /// The day that reserved it.
    day: u64,
    amount: u64,
    /// What it cost, once it is settled.
    cost: Option<u64>,
    /// The item and the stage that asked.
    task: (usize, usize),
    /// It was answered, and its answer kept.
    is_answered: bool,
}

/// How many of the model's milliseconds are a day of the ledger.
const LEDGER_DAY_MS: u64 = 16;
/// The budgets: of the job a day, of everything a month. No run of steps comes to the second month.
const JOB_DAY: u64 = 40;
const ALL_MONTH: u64 = 150;

impl Model {
    fn place(&self, key: &str) -> Option<usize> {
        self.items.iter().position(|item| item.key == key)
    }

    fn is_claimed(&self, item: usize, stage: usize) -> bool {
        self.given.iter().any(|given| given.holds && (given.item, given.stage) == (item, stage))
    }

    fn revoke(&mut self, item: usize, stage: usize) {
        self.given
            .iter_mut()
            .filter(|given| (given.item, given.stage) == (item, stage))
            .for_each(|given| given.holds = false);
    }

    fn submit(&mut self, key: &'static str, priority: i32, revision: Option<u8>) {
        let Some(place) = self.place(key) else {
            let mut item = Item { key, priority, revision, tasks: [Stand::Waiting; 4] };
            item.resolve(self.now);
            self.items.push(item);
            return;
        };
        let known = self.items[place].revision;
        if revision.is_none() || known == revision {
            return;
        }
        self.items[place].revision = revision;
        if known.is_some() {
            self.items[place].priority = priority;
            self.anew(place);
        }
    }

    /// All tasks begin anew; what a person left out stays left out.
    fn anew(&mut self, place: usize) {
        let is_excluded = self.items[place].tasks.contains(&Stand::Excluded);
        for stage in 0..STAGES.len() {
            if !self.items[place].tasks[stage].has_ended() {
                self.revoke(place, stage);
            }
        }
        self.items[place].tasks = [if is_excluded { Stand::Excluded } else { Stand::Waiting }; 4];
        self.items[place].resolve(self.now);
    }

    /// What a lane gives out: item's places, in order.
    fn claim(&self, stage: usize, limit: usize) -> Vec<usize> {
        let due = |place: &usize| match self.items[*place].tasks[stage] {
            Stand::Ready(due) => Some(due),
            Stand::Later(due) if due <= self.now => Some(due),
            _ => None,
        };
        let mut free: Vec<(i32, u64, usize)> = (0..self.items.len())
            .filter(|place| !self.is_paused && !self.is_claimed(*place, stage))
            .filter_map(|place| Some((-self.items[place].priority, due(&place)?, place)))
            .collect();
        free.sort_unstable();
        free.into_iter().take(limit).map(|(_, _, place)| place).collect()
    }

    fn settle(&mut self, given: usize, end: End) {
        let Given { item, stage, .. } = self.given[given];
        self.given[given].holds = false;
        self.outputs += 1;
        self.items[item].tasks[stage] = match end {
            End::Done => Stand::Done(self.outputs),
            End::Nothing => Stand::Nothing,
            End::Reject => Stand::Rejected,
            End::Failed => Stand::Failed,
            End::Later => Stand::Later(self.now + LATER_MS),
        };
        self.items[item].resolve(self.now);
    }

    /// What calls of a day, or of all days, have settled and reserved.
    fn charged(&self, day: Option<u64>) -> (u64, u64) {
        let calls = self.calls.iter().filter(|call| day.is_none_or(|day| call.day == day));
        calls.fold((0, 0), |(settled, reserved), call| match call.cost {
            Some(cost) => (settled + cost, reserved),
            None => (settled, reserved + call.amount),
        })
    }

    /// The call whose answer a task finds: the last that was made of those that are answered, in whatever order they
    /// were.
    fn answer(&self, task: (usize, usize)) -> Option<usize> {
        self.calls.iter().rposition(|call| call.is_answered && call.task == task)
    }

    /// Whether there was room for the call of a task.
    fn reserve(&mut self, task: (usize, usize), amount: u64) -> bool {
        let day = self.now / LEDGER_DAY_MS;
        let has_room = |most: u64, (settled, reserved): (u64, u64)| {
            let held = settled + reserved;
            held < most && held + amount <= most
        };
        let goes = has_room(JOB_DAY, self.charged(Some(day))) && has_room(ALL_MONTH, self.charged(None));
        if goes {
            self.calls.push(Paying { day, amount, cost: None, task, is_answered: false });
        }
        goes
    }

    fn exclude(&mut self, place: usize) {
        for stage in 0..STAGES.len() {
            if !self.items[place].tasks[stage].has_ended() {
                self.items[place].tasks[stage] = Stand::Excluded;
                self.revoke(place, stage);
            }
        }
        self.items[place].resolve(self.now);
    }

    /// Opens those tasks of an item that nobody has; says how many.
    fn open(&mut self, place: usize, is_meant: fn(Stand) -> bool) -> usize {
        let meant: Vec<usize> = (0..STAGES.len())
            .filter(|stage| is_meant(self.items[place].tasks[*stage]) && !self.is_claimed(place, *stage))
            .collect();
        for &stage in &meant {
            self.items[place].tasks[stage] = Stand::Ready(self.now);
        }
        if !meant.is_empty() {
            self.items[place].resolve(self.now);
        }
        meant.len()
    }

    fn reopen_item(&mut self, place: usize) {
        let stuck = |stand| matches!(stand, Stand::Failed | Stand::Later(_) | Stand::Excluded);
        let has_ended = |item: &Item| item.tasks.iter().all(|task| task.has_ended());
        if self.open(place, stuck) == 0 && has_ended(&self.items[place]) {
            self.anew(place);
        }
        self.is_paused = false;
    }

    fn reopen_failed(&mut self) {
        for place in 0..self.items.len() {
            self.open(place, |stand| stand == Stand::Failed);
        }
        self.is_paused = false;
    }
}
