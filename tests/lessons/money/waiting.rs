//! R07 of paid services: a call that waits is nobody's failure, and one that runs for too long is its service's.

use serde_json::json;
use tollgate_core::task::{ErrorKind, LaterKind, TaskState};
use tollgate_sim::{Release, sites::models::ModelFault};

use super::{HOSTS, Shop, asks, entries, model};
use crate::world::{detail, open_items, retrying, state, stop, wait};

#[tokio::test]
async fn r07_a_task_whose_time_ends_while_its_call_waits_uses_no_attempt_and_one_whose_call_runs_uses_one() {
    let shop = Shop::new().await;
    let release = Release::new();
    shop.models.next([ModelFault::Hold(release.clone())]);
    let (_, host) = HOSTS[0];
    let at = shop.world.sim.direct_addr(host).unwrap();
    let near = format!("[endpoint.near]\nurl = \"http://{at}\"\nconcurrency = 1\n");
    let models = near + &model("gpt", "url = \"endpoint://near/v1\"") + &model("claude", "requests = \"1/s\"");
    let job = "[job.test.stage.first]\nattempts = 1\ntimeout = \"3s\"";
    // The clock stands still: what is waited for by it doesn't come.
    let (host, store) = shop.start(&shop.file(&models, job)).await;
    let mut progress = host.progress();
    let call = |model: &str, what: &str| json!({ "ask": what, "model": model });
    host.operations().add("test", vec![asks("runs", &[call("gpt", "Is it one?")])]).await.unwrap();
    shop.world.sim.wait_for(|counts| counts.of_host(HOSTS[0].1) == 1).await;
    let twice = [call("claude", "Is it one?"), call("claude", "Is it another?")];
    let waiting = vec![asks("place", &[call("gpt", "Is it another?")]), asks("turn", &twice)];
    host.operations().add("test", waiting).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 2 && retrying(job) == 2).await;
    for (key, about) in [("place", "gpt"), ("turn", "claude")] {
        let one = detail(&host, key).await;
        let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{one:#?}") };
        assert_eq!(reason.kind, LaterKind::RateLimited, "{about}: {reason:?}");
        assert!(reason.message.contains("while it waited for its turn"), "{reason:?}");
        assert_eq!((one.item.tasks[0].tally.counted, one.item.tasks[0].tally.crashes), (0, 0), "{one:#?}");
    }
    let one = detail(&host, "runs").await;
    let TaskState::Failed { error } = state(&one, "first") else { panic!("{one:#?}") };
    assert_eq!(error.kind, ErrorKind::Transport);
    assert!(error.message.contains("while model gpt was asked"), "{error}");
    // Whom nobody waits for any more is settled all the same.
    release.release();
    store.calls_settled(3).await;
    assert_eq!(entries(&store).await.len(), 3);
    stop(host).await;
}
