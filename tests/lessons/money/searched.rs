//! M02: a search is the host's, one behaviour whichever model asks and whoever searches, with its queries kept and its
//! cost in the ledger; and traps 4, 6, 8 and 9 of it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{EACH, KEY, Shop, answers, asks, end, entries, is_the_bill, model};
use crate::{
    faulty::Faulty,
    world::{advance, detail, item, open_items, quiet, retrying, state, stop, wait},
};
use serde_json::{Value, json};
use tollgate::Host;
use tollgate_core::{
    item::{ItemStatus, NewItem},
    ledger::{Cost, Entry, How, PaidKind},
    money::NanoUsd,
    pause::PauseReason,
    service::SearchHit,
    task::{LaterKind, TaskState},
};
use tollgate_sim::sites::{
    bill::{self, Billed},
    models::{ModelFault, Part, Say, UsageLie},
    search::{Brave, Hit, Serper, hits},
};

const SEED: u64 = 7;
/// What one search of up to ten pages costs: a credit of the one, a query of the other.
const COST: NanoUsd = NanoUsd(2_000_000);
const SEARCHES: [&str; 2] = ["serper", "brave"];
const QUERIES: [&str; 2] = ["what anvils weigh", "price of an anvil"];

/// A shop with both services beside the models.
struct Library {
    shop: Shop,
    serper: Arc<Serper>,
    brave: Arc<Brave>,
}

impl Library {
    async fn new() -> Self {
        let (serper, brave) = (Serper::new(SEED, COST).keys([KEY]), Brave::new(SEED, COST).keys([KEY]));
        let (serper, brave) = (Arc::new(serper), Arc::new(brave));
        let sites = |builder: tollgate_sim::Builder| {
            builder.site(Serper::HOST, serper.clone()).site(Brave::HOST, brave.clone())
        };
        let shop = Shop::with(Vec::new(), sites).await;
        Self { shop, serper, brave }
    }

    /// A jobs.toml in which one of them searches, for a job of a handler that may ask `grants`.
    fn file(&self, search: &str, handler: &str, grants: &str, more: &str) -> PathBuf {
        self.shop.world.jobs(&format!(
            "{}[job.test]\nkind = \"backfill\"\nhandler = \"{handler}\"\ngrant = [{grants}]\n{more}\n",
            service(search, "price = \"0.002 USD\"")
        ))
    }

    /// What goes wrong with the next searches.
    fn next(&self, search: &str, faults: impl IntoIterator<Item = ModelFault>) {
        if search == "serper" { self.serper.desk.next(faults) } else { self.brave.desk.next(faults) }
    }

    /// How often a search was asked for anything.
    fn hits(&self, search: &str) -> u64 {
        self.shop.world.sim.counts().of_host(if search == "serper" { Serper::HOST } else { Brave::HOST })
    }

    /// What all services have billed.
    fn bill(&self) -> Vec<Billed> {
        [self.shop.models.bill(), self.serper.desk.bill(), self.brave.desk.bill()].concat()
    }

    /// All rows of the ledger, none an estimate, which come to what was billed.
    async fn is_the_bill(&self, store: &Faulty) -> Vec<Entry> {
        let rows = entries(store).await;
        is_the_bill(&rows, &self.bill());
        rows
    }
}

fn service(search: &str, more: &str) -> String {
    format!("[search.web]\nprovider = \"{search}\"\nkey = {{ file = \"key\" }}\n{more}\n")
}

/// An item of `searching`: these queries, each for three pages.
fn searches(key: &str, queries: &[&str]) -> NewItem {
    let queries: Vec<Value> = queries.iter().map(|query| json!({ "query": query, "limit": 3 })).collect();
    item(key, &json!({ "queries": queries }))
}

/// What a person is shown of a row's search: its query, and what was found.
async fn shown(host: &Host, row: &Entry) -> (String, Vec<SearchHit>) {
    let kept = host.operations().answer(row.id).await.unwrap().unwrap();
    (kept["query"].as_str().unwrap().to_owned(), serde_json::from_value(kept["hits"].clone()).unwrap())
}

fn found(query: &str, count: usize) -> Vec<SearchHit> {
    let hit = |Hit { title, url, snippet }: Hit| SearchHit { title, url, snippet };
    hits(SEED, query, count).into_iter().map(hit).collect()
}

#[tokio::test]
async fn m02_a_models_searches_are_the_same_whichever_model_asks_and_whoever_searches_and_each_is_kept_and_paid() {
    let mut wanted: Vec<String> = QUERIES.iter().flat_map(|query| found(query, 10)).map(|hit| hit.url).collect();
    wanted.sort();
    wanted.dedup();
    for (search, alias) in SEARCHES.into_iter().flat_map(|search| EACH.map(|alias| (search, alias))) {
        let about = format!("{alias} by {search}");
        let library = Library::new().await;
        let models = &library.shop.models;
        let queries = QUERIES.map(str::to_owned).to_vec();
        // Not every model takes a schema beside a tool: where one doesn't, it is told in words,
        // which the sim's don't read.
        let verdict = Say::Json(json!({ "genuine": true, "summary": "so the pages say" }));
        models.next([Say::Search(queries.clone()), Say::Usual, Say::Search(queries), verdict]);
        let file = library.file(search, "paid", "\"llm\", \"artifacts\", \"search\"", &model(alias, ""));
        let (host, store) = library.shop.start(&file).await;
        let mut progress = host.progress();
        let call = |extract: bool| json!({ "ask": "Is it so?", "web_search": true, "extract": extract });
        host.operations().add("test", vec![asks("one", &[call(false), call(true)])]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let one = detail(&host, "one").await;
        assert_eq!(one.item.status, ItemStatus::Done, "{about}: {one:#?}");

        let asked = models.asked();
        assert_eq!(asked.len(), 4, "{about}: each call is asked twice, before its searches and after");
        for pair in asked.chunks(2) {
            for asked in pair {
                let offered: Vec<_> = asked.tools.iter().map(|tool| tool.name.as_str()).collect();
                assert_eq!(offered, ["web_search"], "{about}: the host's, not the provider's own");
                let takes: Vec<_> = asked.tools[0].parameters["properties"].as_object().unwrap().keys().collect();
                assert_eq!(takes, ["query"], "{about}");
            }
            let told = pair[1].said_by(Part::ToolResult);
            let missing = wanted.iter().find(|url| !told.contains(url.as_str()));
            assert_eq!(missing, None, "{about}: the model is given every page: {told}");
        }
        for answer in answers(&one, "first") {
            assert_eq!(answer["sources"], json!(wanted), "{about}: the handler is told the pages");
        }

        let rows = library.is_the_bill(&store).await;
        let kinds: Vec<_> = rows.iter().map(|row| row.call.paid.kind).collect();
        let (of_model, of_search) = (PaidKind::Model, PaidKind::Search);
        // Who searches for the same again wants another answer.
        let once = [of_model, of_search, of_search, of_model];
        assert_eq!(kinds, [once, once].concat(), "{about}");
        for (row, query) in rows.iter().filter(|row| row.call.paid.kind == of_search).zip(QUERIES.iter().cycle()) {
            assert_eq!(shown(&host, row).await, ((*query).to_owned(), found(query, 10)), "{about}");
            assert_eq!((row.call.paid.alias.as_str(), end(row).2), ("web", Cost::Known(COST)), "{about}");
            assert_eq!(row.end.as_ref().unwrap().units.credits, 1, "{about}");
        }
        assert_eq!(library.hits(search), 4, "{about}");
        assert_eq!(library.shop.world.sim.counts().direct, 0);
        stop(host).await;
    }
}

#[tokio::test]
async fn m02_a_handlers_own_search_is_the_same_whoever_searches() {
    for search in SEARCHES {
        let library = Library::new().await;
        let job = "breaker = 10\n[job.test.stage.first]\nattempts = 1";
        let file = library.file(search, "searching", "\"search\"", job);
        let (host, store) = library.shop.start(&file).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![searches("one", &QUERIES)]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let one = detail(&host, "one").await;
        assert_eq!(one.item.status, ItemStatus::Done, "{search}: {one:#?}");
        let output = Value::Object(one.item.outputs.into_iter().next().unwrap().1);
        for (answer, query) in output["found"].as_array().unwrap().iter().zip(QUERIES) {
            let pages: Vec<SearchHit> = serde_json::from_value(answer["pages"].clone()).unwrap();
            assert_eq!((answer["query"].as_str(), pages), (Some(query), found(query, 3)), "{search}");
        }
        for (row, query) in library.is_the_bill(&store).await.iter().zip(QUERIES) {
            assert_eq!(shown(&host, row).await, (query.to_owned(), found(query, 3)), "{search}");
            assert_eq!(end(row), (How::Answered, false, Cost::Known(COST)));
        }
        // What no search could answer isn't sent.
        let nothing = json!({ "query": " ", "limit": 3 });
        host.operations().add("test", vec![item("nothing", &json!({ "queries": [nothing] }))]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        let why = state(&detail(&host, "nothing").await, "first").why();
        assert!(why.contains("a query has 1 to"), "{search}: {why}");
        assert_eq!(library.hits(search), 2, "{search}");
        stop(host).await;
    }
}

#[tokio::test]
async fn m02_a_search_that_is_not_granted_is_refused_before_anything_is_asked() {
    let library = Library::new().await;
    let file = library.file("serper", "paid", "\"llm\", \"artifacts\"", &model("gpt", ""));
    let (host, store) = library.shop.start(&file).await;
    let mut progress = host.progress();
    let call = json!({ "ask": "Is it so?", "web_search": true, "swallow": true });
    host.operations().add("test", vec![asks("one", &[call])]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let one = detail(&host, "one").await;
    let output = Value::Object(one.item.outputs.into_iter().next().unwrap().1);
    let said = output["swallowed"][0].as_str().unwrap();
    assert!(said.contains("add \"search\" to `grant` of [job.test]"), "{said}");
    assert_eq!((library.hits("serper"), entries(&store).await.len()), (0, 0));
    stop(host).await;
}

#[tokio::test]
async fn m02_a_model_whose_search_is_busy_waits_and_has_what_it_said_from_before() {
    for (search, alias) in SEARCHES.into_iter().flat_map(|search| EACH.map(|alias| (search, alias))) {
        let about = format!("{alias} by {search}");
        let library = Library::new().await;
        library.shop.models.next([Say::search(QUERIES[0])]);
        library.next(search, [ModelFault::busy_s(30)]);
        let file = library.file(search, "paid", "\"llm\", \"artifacts\", \"search\"", &model(alias, ""));
        let (host, store) = library.shop.start(&file).await;
        let mut progress = host.progress();
        let call = json!({ "ask": "Is it so?", "web_search": true });
        host.operations().add("test", vec![asks("one", &[call])]).await.unwrap();
        wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
        let one = detail(&host, "one").await;
        let TaskState::RetryLater { reason, .. } = state(&one, "first") else { panic!("{about}: {one:#?}") };
        assert_eq!((reason.kind, one.item.tasks[0].tally.counted), (LaterKind::RateLimited, 0), "{about}: {reason}");
        super::finish(&host, &library.shop.clock).await;
        assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Done, "{about}");
        assert_eq!(library.shop.models.asked().len(), 2, "{about}: what it asked for first is paid once");
        assert_eq!(library.is_the_bill(&store).await.len(), 4, "{about}: two of the model, a refusal, a search");
        stop(host).await;
    }
}

#[tokio::test]
async fn trap04_a_search_without_a_price_is_not_asked_under_a_budget_and_credits_that_are_not_told_are_an_estimate() {
    let library = Library::new().await;
    let unpriced = service("brave", "");
    let job = "[job.test]\nkind = \"backfill\"\nhandler = \"searching\"\ngrant = [\"search\"]\n";
    let file = library.shop.world.jobs(&format!("{unpriced}{job}budget = {{ day = \"1000 USD\" }}\n"));
    let (host, store) = library.shop.start(&file).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![searches("one", &QUERIES[..1])]).await.unwrap();
    wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
    let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
    assert_eq!(pause.reason, PauseReason::Budget);
    assert!(pause.evidence.contains("the call has no price"), "{pause:?}");
    assert_eq!((library.hits("brave"), entries(&store).await.len()), (0, 0));
    stop(host).await;
    drop(library);

    let library = Library::new().await;
    library.next("serper", [UsageLie::Missing, UsageLie::Null, UsageLie::Zero].map(ModelFault::Usage));
    let file = library.file("serper", "searching", "\"search\"", "");
    let (host, store) = library.shop.start(&file).await;
    let mut progress = host.progress();
    host.operations().add("test", vec![searches("one", &["a", "b", "c"])]).await.unwrap();
    wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
    let ends: Vec<_> = entries(&store).await.iter().map(end).collect();
    assert_eq!(ends, [(How::Answered, true, Cost::Known(COST)); 3], "marked, and never nothing");
    stop(host).await;
}

#[tokio::test]
async fn trap06_trap08_trap09_a_search_that_fails_is_refused_or_is_busy_is_one_request_and_holds_for_all() {
    for search in SEARCHES {
        let about = |library: &Library| (library.hits(search), bill::sum(&library.bill()));
        let job = "[job.test.stage.first]\nconcurrency = 17\nattempts = 3\nbackoff = \"0s\"\nretry-for = \"60d\"";
        let library = Library::new().await;
        library.next(search, vec![ModelFault::Broken; 9]);
        let (host, store) = library.shop.start(&library.file(search, "searching", "\"search\"", job)).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![searches("one", &QUERIES[..1])]).await.unwrap();
        wait(&mut progress, host.operations(), |job| open_items(job) == 0).await;
        assert_eq!(detail(&host, "one").await.item.status, ItemStatus::Failed);
        let ends: Vec<_> = entries(&store).await.iter().map(end).collect();
        assert_eq!(ends, [(How::Refused, false, Cost::Known(NanoUsd(0))); 3], "{search}: an attempt, a row");
        assert_eq!(about(&library), (3, NanoUsd(0)), "{search}");
        stop(host).await;
        drop(library);

        let library = Library::new().await;
        library.next(search, [ModelFault::Quota]);
        let (host, store) = library.shop.start(&library.file(search, "searching", "\"search\"", job)).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![searches("one", &QUERIES[..1])]).await.unwrap();
        wait(&mut progress, host.operations(), |job| job.job.pause.is_some()).await;
        let pause = host.operations().job("test").await.unwrap().job.pause.unwrap();
        assert!(pause.reason == PauseReason::Budget && pause.until.is_some(), "{search}: {pause:?}");
        assert_eq!((library.hits(search), entries(&store).await.len()), (1, 1), "{search}: it isn't asked again");
        stop(host).await;
        drop(library);

        let library = Library::new().await;
        library.next(search, [ModelFault::busy_s(5)]);
        let (host, store) = library.shop.start(&library.file(search, "searching", "\"search\"", job)).await;
        let mut progress = host.progress();
        host.operations().add("test", vec![searches("one", &QUERIES[..1])]).await.unwrap();
        wait(&mut progress, host.operations(), |job| retrying(job) == 1).await;
        let others = (0..16).map(|number| searches(&number.to_string(), &QUERIES[..1])).collect();
        host.operations().add("test", others).await.unwrap();
        // Those that begin after one of them was told to wait may stay where they are.
        wait(&mut progress, host.operations(), |job| retrying(job) > 1).await;
        quiet(&host).await;
        assert_eq!(library.hits(search), 1, "{search}: nobody else asked");
        advance(&host, &library.shop.clock, Duration::from_secs(4)).await;
        super::finish(&host, &library.shop.clock).await;
        let done = host.operations().job("test").await.unwrap();
        assert_eq!(done.job.items.get(&ItemStatus::Done).copied(), Some(17), "{search}");
        assert_eq!((done.job.pause, library.hits(search)), (None, 18), "{search}");
        library.is_the_bill(&store).await;
        stop(host).await;
    }
}
