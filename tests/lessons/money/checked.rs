//! Q08 and R01's third layer by the models of jobs.toml: a check needs nobody else to answer it.

use std::{sync::Arc, time::Duration};

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tollgate_core::{
    item::ItemStatus,
    pause::PauseReason,
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::{
    models::{ModelFault, Part, Say},
    scripted::{Scripted, Step},
};
use tollgate_store::{LedgerQuery, Store};

use super::{Shop, end, model};
use crate::world::{SITE, advance, detail, item, open_items, outcomes, retrying, state, stop, wait};

const THESIS: &str = "<html><head><title>Ideas</title></head><body><article><h1>A thesis</h1><p>Acme makes anvils, and \
                      sells more of them each year, at prices that no other smith could ever ask for.</p></article>\
                      </body></html>";
const CHECK: &str = "[job.test.check.sane]\nof = \"first/page.html\"\nask = \"Is it a thesis about {company}?\"\n";

fn thesis() -> Arc<Scripted> {
    Arc::new(Scripted::new().path("/", [Step::ok(THESIS).header(CONTENT_TYPE, "text/html")]))
}

#[tokio::test]
async fn q08_the_question_goes_to_the_model_at_temperature_0_and_what_it_cost_is_the_checks_in_the_ledger() {
    let shop = Shop::with(Vec::new(), |builder| builder.site(SITE, thesis())).await;
    let says = |is_content: bool| Say::Json(json!({ "is_content": is_content, "reason": "so it reads" }));
    shop.models.next([says(true), says(false)]);
    let file = shop.world.jobs(&format!("{}{}", model("gpt", ""), outcomes(CHECK)));
    let (host, store) = shop.start(&file).await;
    let mut progress = host.progress();
    let script = json!({ "first": format!("save http://{SITE}/"), "company": "Acme" });
    host.operations().add("test", vec![item("one", &script)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    let asked = shop.models.asked().remove(0);
    assert_eq!((asked.temperature, asked.schema.is_some()), (Some(0.0), true));
    assert!(asked.said_by(Part::System).contains("acme makes anvils"), "{asked:?}");
    assert!(asked.said_by(Part::User).contains("Is it a thesis about Acme?"), "{asked:?}");
    let output = one.item.outputs.iter().find(|(stage, _)| stage.as_str() == "sane").unwrap().1;
    let wanted = json!({ "is_content": true, "reason": "so it reads", "cost": shop.models.sum() });
    assert_eq!(Value::Object(output.clone()), wanted);
    shop.is_the_bill(&store).await;
    let rows = store.ledger_entries(LedgerQuery { limit: 10, ..LedgerQuery::default() }).await.unwrap().entries;
    assert_eq!(rows[0].stage.as_ref().map(|stage| stage.as_str()), Some("sane"));
    assert_eq!(rows[0].key.as_ref().map(|key| key.as_str()), Some("one"));
    // What it refuses is no content.
    host.operations().add("test", vec![item("two", &script)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let two = detail(&host, "two").await;
    let TaskState::RetryLater { reason, .. } = state(&two, "first") else { panic!("{two:#?}") };
    assert!(reason.message.contains("check.sane") && reason.message.contains("so it reads"), "{reason}");
    shop.is_the_bill(&store).await;
    stop(host).await;
}

#[tokio::test]
async fn q08_a_check_whose_model_is_busy_waits_and_one_whose_budget_is_spent_pauses_the_job() {
    let shop = Shop::with(Vec::new(), |builder| builder.site(SITE, thesis())).await;
    shop.models.answer("thesis", Say::Json(json!({ "is_content": true, "reason": "so it reads" })));
    shop.models.next([ModelFault::busy_s(30), ModelFault::Quota]);
    let jobs = format!("{}{}", model("gpt", ""), outcomes(&format!("{CHECK}attempts = 1\n")));
    let (host, store) = shop.start(&shop.world.jobs(&jobs)).await;
    let mut progress = host.progress();
    let script = json!({ "first": format!("save http://{SITE}/"), "company": "Acme" });
    host.operations().add("test", vec![item("one", &script)]).await.unwrap();
    wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
    let one = detail(&host, "one").await;
    let TaskState::RetryLater { reason, .. } = state(&one, "sane") else { panic!("{one:#?}") };
    assert_eq!(reason.kind, LaterKind::RateLimited);
    advance(&host, &shop.clock, Duration::from_secs(60)).await;
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    assert_eq!(pause.reason, PauseReason::Budget, "{pause:?}");
    advance(&host, &shop.clock, Duration::from_hours(25)).await;
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Done);
    let rows = shop.is_the_bill(&store).await;
    assert_eq!(rows.iter().filter(|row| end(row).0 == tollgate_core::ledger::How::Answered).count(), 1);
    assert_eq!(shop.world.sim.counts().of_host(SITE), 1, "the page was fetched once");
    stop(host).await;
}
