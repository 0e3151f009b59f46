//! The same through the whole host: each asker is a task whose handler makes its calls.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::timeout;
use tollgate_core::{ItemKey, item::ItemStatus};

use super::{
    super::embedded::{Embedded, JOB, item},
    ASKERS, Asked, Load, MODEL, SENTENCE, SENTENCES, WARM, each, processor, question,
};
use crate::world::test_handlers;

/// Longest that all calls together may take.
const STUCK_TIME: Duration = Duration::from_secs(120);

/// Asks as often as the reference does. `key`: the file of the service's key.
pub(super) async fn ask(service: SocketAddr, load: Load, key: &Path) -> Result<Asked> {
    let jobs = format!(
        "[host]\nhandlers = {:?}\nlisten = \"127.0.0.1:0\"\n\
         [endpoint.model]\nurl = \"http://{service}\"\nconcurrency = {ASKERS}\n\
         [model.bench]\nprovider = \"openai\"\nname = \"{MODEL}\"\nurl = \"endpoint://model/v1\"\n\
         price = {{ input = \"0.10 USD\", output = \"0.40 USD\" }}\nbudget = {{ day = \"1000.00 USD\" }}\n\
         key = {{ file = {key:?} }}\n\
         [job.{JOB}]\nkind = \"backfill\"\nhandler = \"paid\"\ngrant = [\"llm\", \"artifacts\"]\n\
         stages = [\"first\"]\n[job.{JOB}.stage.first]\nconcurrency = {ASKERS}\n",
        test_handlers()?.display().to_string(),
        key = key.display().to_string(),
    );
    let embedded = Embedded::start(&jobs).await?;
    let run = async |name: &str, calls: usize, settled: u64| {
        let call = |asker, call| {
            let documents = json!([{"name": "page", "text": SENTENCE, "times": SENTENCES}]);
            json!({"ask": question(asker, call), "extract": true, "documents": documents})
        };
        let one = |asker: usize| {
            let script: Vec<Value> = (0..calls).map(|number| call(asker, number)).collect();
            item(&format!("{name}-{asker}"), &json!({"first": script}))
        };
        let items = (0..ASKERS).map(one).collect::<Result<Vec<_>>>()?;
        let before = processor()?;
        if load.apart.is_zero() {
            embedded.host.operations().add(JOB, items).await?;
        } else {
            for item in items {
                embedded.host.operations().add(JOB, vec![item]).await?;
                load.next_asker().await;
            }
        }
        let done = timeout(STUCK_TIME, embedded.settled(settled)).await;
        done.context("the calls don't come to an end: is something refused?")??;
        anyhow::Ok(processor()? - before)
    };
    let askers = ASKERS as u64;
    run("warm", WARM, askers).await?;
    let spent = run("item", load.calls, 2 * askers).await?;
    let (mut took, mut tokens) = (Vec::with_capacity(ASKERS * load.calls), 0);
    for asker in 0..ASKERS {
        let key = ItemKey::new(&format!("item-{asker}"))?;
        let item = embedded.host.operations().item(JOB, &key).await?.context("an item is gone")?.item;
        ensure!(item.status == ItemStatus::Done, "{item:?}");
        let output = item.outputs.values().next().context("no output")?;
        let answers = output.get("answered").and_then(Value::as_array).context("no answers")?;
        ensure!(answers.len() == load.calls, "{} answers", answers.len());
        for answer in answers {
            took.push(answer["took_us"].as_f64().context("no time")?);
            tokens = answer["input"].as_u64().context("no tokens")?;
        }
    }
    embedded.stop().await?;
    Ok(Asked { processor: each(spent, load), took, tokens })
}
