//! The store through its trait, over real files.

#![expect(clippy::unwrap_used, reason = "clippy knows `#[test]` functions, not the helpers beside them")]

#[path = "store/blobs.rs"]
mod blobs;
#[path = "store/claims.rs"]
mod claims;
#[path = "store/counters.rs"]
mod counters;
#[path = "store/declare.rs"]
mod declare;
#[path = "store/discovery.rs"]
mod discovery;
#[path = "store/disk.rs"]
mod disk;
#[path = "store/duplicates.rs"]
mod duplicates;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/ledger.rs"]
mod ledger;
#[path = "store/ledger_answers.rs"]
mod ledger_answers;
#[path = "store/ledger_spoilt.rs"]
mod ledger_spoilt;
#[path = "store/ledger_views.rs"]
mod ledger_views;
#[path = "store/ledger_wal.rs"]
mod ledger_wal;
#[path = "store/migrations.rs"]
mod migrations;
#[path = "store/model.rs"]
mod model;
#[path = "store/numbers.rs"]
mod numbers;
#[path = "store/passing.rs"]
mod passing;
#[path = "store/paying.rs"]
mod paying;
#[path = "store/refused.rs"]
mod refused;
#[path = "store/reopen.rs"]
mod reopen;
#[path = "store/restart.rs"]
mod restart;
#[path = "store/settle.rs"]
mod settle;
#[path = "store/state.rs"]
mod state;
#[path = "store/submit.rs"]
mod submit;
#[path = "store/sweep.rs"]
mod sweep;
#[path = "store/trouble.rs"]
mod trouble;
#[path = "store/verify.rs"]
mod verify;
