//! `tollgate cost` and `tollgate check` as people run them: of a stopped host and of a running one.

use serde_json::{Value, json};
use tollgate_core::{Clock as _, ledger::Costs};

use crate::{
    clock::TestClock,
    paying::{self, MODELS, fill},
    program::{json, ok, run},
    world::{World, outcomes, stop},
};

fn sum_of(costs: Costs) -> Value {
    serde_json::to_value(costs).unwrap()
}

/// What is asked of whichever host, whose ledger came to so much.
async fn commands_answer(world: &World, total: Costs, under_way: usize) {
    for by in ["day", "job", "stage", "model", "item"] {
        let report = json(world, &["cost", "--by", by]).await;
        assert_eq!((&report["by"], &report["total"]), (&json!(by), &sum_of(total)), "{report}");
        let costs: Vec<u64> =
            report["sums"].as_array().unwrap().iter().map(|sum| sum["costs"]["cost"].as_u64().unwrap()).collect();
        assert_eq!(costs.iter().sum::<u64>(), total.cost.0, "{by}");
        let lines = ok(world, &["cost", "--by", by, "-o", "jsonl"]).await;
        assert_eq!(lines.lines().count(), costs.len(), "{lines}");
        let table = ok(world, &["cost", "--by", by]).await;
        let last = table.lines().find(|line| line.contains(" sum ")).unwrap();
        assert!(last.contains(&format!("{} and {} unpriced", total.cost, total.unpriced)), "{table}");
    }
    let rows = json(world, &["cost", "--rows"]).await;
    let rows = rows.as_array().unwrap();
    let ends = || rows.iter().map(|row| &row["entry"]["end"]);
    let known: u64 = ends().filter_map(|end| end["cost"]["known"].as_u64()).sum();
    assert_eq!((rows.len() as u64, known), (total.calls + under_way as u64, total.cost.0));
    assert_eq!(ends().filter(|end| end["cost"] == "unpriced").count() as u64, total.unpriced);
    assert_eq!(ends().filter(|end| end.is_null()).count(), under_way);
    let of_stage = json(world, &["cost", "--rows", "--job", "test", "--stage", "second", "--limit", "3"]).await;
    assert!(of_stage.as_array().unwrap().iter().all(|row| row["stage"] == "second"), "{of_stage}");
    let items = run(world, &["cost", "--by", "item", "--limit", "1", "-o", "json"]).await;
    let one: Value = serde_json::from_slice(&items.stdout).unwrap();
    assert_eq!((one["sums"].as_array().unwrap().len(), &one["total"]), (1, &sum_of(total)));
    assert!(String::from_utf8(items.stderr).unwrap().contains("--limit shows them"));
    assert_eq!(run(world, &["cost", "--job", "nobody"]).await.status.code(), Some(4));
    let wrong = run(world, &["cost", "--from", "2026-02-02", "--to", "2026-02-01"]).await;
    assert_eq!(wrong.status.code(), Some(2), "{}", String::from_utf8_lossy(&wrong.stderr));
    assert_eq!(run(world, &["cost", "--from", "2026-2-2"]).await.status.code(), Some(2));
    assert_eq!(run(world, &["cost", "--stage", "second"]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a03_costs_are_shown_of_a_stopped_host_and_of_a_running_one() {
    let (world, clock) = (World::new(vec![]).await, TestClock::new());
    let file = world.jobs(&format!("{MODELS}{}budget = {{ day = \"0 USD\" }}\n", outcomes("")));
    let made = fill(&world.path("data"), clock.now()).await;
    let total = paying::sum(&made);
    commands_answer(&world, total, 2).await;
    let host = world.start_at(&file, clock).await;
    // What was under way when the one before ended is settled at its estimate, and says so.
    let lost = made.iter().filter(|call| call.end.is_none()).map(|call| call.estimate);
    let lost = lost.fold(total, |total, estimate| Costs {
        calls: total.calls + 1,
        cost: total.cost.saturating_add(estimate),
        estimated: total.estimated.saturating_add(estimate),
        estimates: total.estimates + 1,
        ..total
    });
    commands_answer(&world, lost, 0).await;
    let status = ok(&world, &["status"]).await;
    assert!(status.contains("! test: the budget of job test for this day is spent ("), "{status}");
    assert!(
        status.contains("job test: ") && status.contains(" of 0.00 USD this day, 100 %; begins anew in "),
        "{status}"
    );
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap04_check_says_what_models_cost_and_warns_of_one_without_a_price_under_a_budget() {
    let world = World::new(vec![]).await;
    let grant = "grant = [\"http\", \"artifacts\", \"state\"";
    let job = outcomes("budget = { day = \"0 USD\" }\n").replace(grant, &format!("{grant}, \"llm\""));
    world.jobs(&format!("{MODELS}{job}"));
    let checked = run(&world, &["check"]).await;
    let (out, said) = (String::from_utf8(checked.stdout).unwrap(), String::from_utf8(checked.stderr).unwrap());
    assert!(checked.status.success(), "{said}");
    assert!(out.contains("  model fast: fast-1, a million tokens cost 0.10 USD read, "), "{out}");
    assert!(out.contains(" 0.40 USD made\n") && out.contains("  model bare: bare-1, unpriced\n"), "{out}");
    assert!(out.contains("  budget: at most 0.00 USD a day\n"), "{out}");
    let line = std::fs::read_to_string(world.path("jobs.toml")).unwrap();
    let line = line.lines().position(|line| line == "[model.bare]").unwrap() + 1;
    assert!(
        said.contains(&format!("jobs.toml:{line}: model bare has no price, and the budget of [job.test] bounds it")),
        "{said}"
    );
    assert!(said.contains("price = { input = ") && !said.contains("model fast"), "{said}");
    let json = json(&world, &["check"]).await;
    assert_eq!(json[0]["models"][0]["nano_usd_a_million"], json!(null), "{json}");
    assert_eq!(json[0]["models"][0]["is_refused"], true);
    assert_eq!(json[0]["models"][1]["nano_usd_a_million"]["usual"]["output"], 400_000_000);
    assert_eq!(json[0]["budget"], json!({"nano_usd_day": 0, "nano_usd_month": null}));
    world.jobs(&format!("{MODELS}{}", job.replace("budget = { day = \"0 USD\" }\n", "")));
    let checked = run(&world, &["check"]).await;
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a03_check_warns_of_a_budget_that_no_call_of_a_model_ever_has_room_in() {
    let world = World::new(vec![]).await;
    let grant = "grant = [\"http\", \"artifacts\", \"state\"";
    let said = async |budget: &str, more: &str| {
        let job = outcomes(budget).replace(grant, &format!("{grant}, \"llm fast\""));
        let models = MODELS.replace("[model.bare]", &format!("{more}\n[model.bare]"));
        world.jobs(&format!("{models}{job}"));
        let checked = run(&world, &["check"]).await;
        let said = String::from_utf8(checked.stderr).unwrap();
        assert!(checked.status.success(), "{said}");
        let models = json(&world, &["check"]).await[0]["models"].clone();
        assert_eq!(models[0]["is_refused"], !said.is_empty(), "{models}");
        said
    };
    let small = "budget = { day = \"5 USD\", month = \"0.005 USD\" }\n";
    let warned = said(small, "").await;
    let line = std::fs::read_to_string(world.path("jobs.toml")).unwrap();
    let line = line.lines().position(|line| line == "[model.fast]").unwrap() + 1;
    let held = format!("jobs.toml:{line}: a call of model fast is held to cost 0.006");
    assert!(warned.contains(&held), "{warned}");
    for part in
        ["the budget of [job.test] is 0.005 USD a month", "raise `budget` of [job.test]", "16384 tokens are held"]
    {
        assert!(warned.contains(part), "{part}: {warned}");
    }
    assert_eq!(said(small, "output-max = 1000").await, "", "it has room for that");
    let own = said("", "budget = { day = \"0.001 USD\" }").await;
    assert!(
        own.contains("its own budget is 0.001 USD a day") && own.contains("raise `budget` of [model.fast]"),
        "{own}"
    );
    assert_eq!(said("budget = { day = \"0 USD\" }\n", "").await, "", "who writes 0 wants nothing to be asked");
}
