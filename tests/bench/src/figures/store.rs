//! A store by itself, for the figures of the queue.

use std::path::Path;

use anyhow::Result;
use tollgate_core::{
    Digest, ItemKey, JobId, JobName, StageName, Timestamp,
    handler::HandlerDigests,
    item::NewItem,
    outcome::{BreakerEffect, StageOutput, Verdict},
    spec::JobKind,
};
use tollgate_store::{
    AttemptEnd, AttemptRecord, Claim, DeclaredStage, JobDeclaration, RedbStore, Settlement, Store as _, StoreOptions,
};

/// Opens a store in `folder`, with a job of one stage.
pub(crate) async fn open(folder: &Path) -> Result<(std::sync::Arc<RedbStore>, JobId)> {
    let store = RedbStore::open(folder, StoreOptions::default())?;
    let stages = vec![DeclaredStage { name: StageName::new("only")?, needs: Vec::new(), brings: Vec::new() }];
    let job = JobDeclaration {
        name: JobName::new("bench")?,
        kind: JobKind::Backfill,
        stages,
        keep_attempts: 5,
        breaker: 10,
        discovery: None,
    };
    let job = store.declare(job, Timestamp(1)).await?.id;
    Ok((store, job))
}

/// Keys in no order, as a catalogue's addresses are.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// The next item.
    pub(crate) fn item(&mut self) -> Result<NewItem> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let key = format!("https://catalogue.example/{:016x}", self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let data = [("url".to_owned(), key.as_str().into())].into_iter().collect();
        Ok(NewItem { key: ItemKey::new(&key)?, data, priority: 0, revision: None })
    }
}

/// What a task that was done is settled with.
pub(crate) fn settlement(claim: &Claim) -> Settlement {
    let digest = Digest::of(b"handler");
    let mut tally = claim.tally;
    tally.attempts += 1;
    let fields = [("text".to_owned(), "x".repeat(100).into())].into_iter().collect();
    let attempt = AttemptRecord {
        number: tally.attempts,
        started_at: Timestamp(4),
        ended_at: Timestamp(5),
        handler: HandlerDigests { artifact: digest, code: digest },
        ended: AttemptEnd::Done,
        error: None,
        reason: None,
        guest_us: 10,
        requests: 1,
        bytes_received: 500,
        tools: Vec::new(),
    };
    Settlement {
        task: claim.task,
        token: claim.token,
        verdict: Verdict::Done(StageOutput { fields, found: Vec::new(), quality_flags: Vec::new() }),
        tally,
        breaker: BreakerEffect::Success,
        attempt: Some(attempt),
        fingerprint: None,
        artifacts: Vec::new(),
        pages: Vec::new(),
        take_back: None,
        refused: None,
        passing: [].into(),
        pause: None,
        now: Timestamp(5),
    }
}
