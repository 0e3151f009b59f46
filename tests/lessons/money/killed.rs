//! Trap 2 by SIGKILL, a dozen times; `cargo xtask soak paid` goes on for hundreds.

use tollgate_kills::{Means, Plan, campaign};

use crate::world::{handlers, program};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap02_a_kill_at_each_step_of_a_call_leaves_a_ledger_that_is_the_bill() {
    let means = Means { program: program("tollgate"), handlers: handlers() };
    // Steps that nothing seen from outside begins and ends are tried, and not waited for.
    let report = campaign(means, Plan { kills: 12, seed: 1, least: 1, least_by_chance: 0 }).await;
    let report = report.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(report.hits.total() >= 12 && report.balance.estimated.0 >= 6, "{report}");
}
