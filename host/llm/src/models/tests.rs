//! What a call comes to, whatever becomes of it: over a way out that answers as it is told, and a purse in memory.

mod elsewhere;
mod searching;
mod unsent;

use serde_json::{Value, json};
use tollgate_core::{
    calendar::PeriodKind,
    ledger::{How, NoRoom},
    outcome::RefusalKind,
};

use super::{lengths::LENGTHS_KEPT, *};
use crate::testing::{Host, NOW, Reply, Reserving, Row, deployment, lock, usd};

/// A dollar a million read, two made, and at most 1,000 made: an answer is held to cost 0.002 USD and what is sent.
const PRICED: &str = "price = { input = \"1 USD\", output = \"2 USD\" }\noutput-max = 1000\n";
const HOUR: Duration = Duration::from_hours(1);

fn model(alias: &str, more: &str) -> String {
    let url = format!("http://127.0.0.1:9/{alias}");
    format!("[model.{alias}]\nprovider = \"openai\"\nname = \"{alias}\"\nurl = \"{url}\"\n{more}")
}

fn models(host: &Arc<Host>, text: &str, remembered: Vec<(Account, Cooling)>) -> Arc<Models> {
    let prices = Prices::pinned().unwrap();
    Models::new(&deployment(text), &prices, host.clone(), host.clock.clone(), host.clone(), remembered)
}

async fn ask(models: &Arc<Models>, host: &Arc<Host>) -> Result<Completion, Refused> {
    let prompt = Prompt { instruction: "Count.".to_owned(), ..Prompt::default() };
    models.complete("a", prompt, None, host.purse(), None).await
}

fn answer(message: &Value, finish: &str) -> Value {
    json!({"id": "req-1", "model": "a-2026", "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
}

fn said(text: &str) -> Reply {
    Reply::of(200, answer(&json!({"role": "assistant", "content": text}), "stop"))
}

fn quota() -> Reply {
    let error = json!({"message": "You exceeded your current quota.", "type": "insufficient_quota", "param": null,
        "code": "insufficient_quota"});
    Reply::of(429, json!({ "error": error }))
}

fn failed() -> Reply {
    Reply::of(500, json!({"error": {"message": "The server had an error.", "type": "server_error"}}))
}

/// What 100 tokens read and 10 made cost.
fn usual() -> Cost {
    usd("0.00012 USD")
}

const NOTHING: Cost = Cost::Known(NanoUsd::ZERO);

fn told(rows: &[Row]) -> Vec<(How, Cost, bool)> {
    rows.iter().map(Row::told).collect()
}

fn kind(refused: &Refused) -> Option<RefusalKind> {
    refused.refusal.as_ref().map(|refusal| refusal.kind)
}

#[tokio::test]
async fn a_call_is_reserved_before_it_is_sent_and_settled_by_what_its_provider_counted() {
    let host = Host::answers([said("3")]);
    let completion = ask(&models(&host, &model("a", PRICED), Vec::new()), &host).await.unwrap();
    assert_eq!((completion.text.as_str(), completion.model.as_str()), ("3", "a-2026"));
    assert_eq!(completion.cost.map(Cost::Known), Some(usual()));
    assert_eq!(host.log(), ["reserve", "send", "settle"]);
    let row = &host.rows()[0];
    assert_eq!((row.paid.alias.as_str(), row.told()), ("a", (How::Answered, usual(), false)));
    assert!(row.estimate.known() > usual().known(), "held to be dearer than it was: {:?}", row.estimate);
    assert_eq!(row.end.as_ref().unwrap().provider_request.as_deref(), Some("req-1"));
}

#[tokio::test]
async fn trap06_a_failure_of_the_provider_is_one_request_and_one_row() {
    let host = Host::answers([failed()]);
    let refused = ask(&models(&host, &model("a", PRICED), Vec::new()), &host).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Unavailable(_)), "{refused:?}");
    assert_eq!(kind(&refused), Some(RefusalKind::Transport));
    assert_eq!((host.sent().len(), told(&host.rows())), (1, vec![(How::Refused, NOTHING, false)]));
}

#[tokio::test]
async fn trap03_nothing_is_sent_where_the_ledger_cannot_be_written() {
    let host = Host::answers([]);
    *lock(&host.is_blind) = (true, false);
    let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED);
    let refused = ask(&models(&host, &text, Vec::new()), &host).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Storage(_)), "{refused:?}");
    assert_eq!((host.sent().len(), host.rows().len()), (0, 0));
}

#[tokio::test]
async fn trap03_an_answer_that_cannot_be_kept_is_not_given_out_nor_asked_for_elsewhere() {
    let host = Host::answers([said("3")]);
    *lock(&host.is_blind) = (false, true);
    let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED);
    let refused = ask(&models(&host, &text, Vec::new()), &host).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Storage(_)), "{refused:?}");
    assert_eq!(host.sent().len(), 1);
}

#[tokio::test]
async fn trap04_what_has_no_price_is_unpriced_and_refused_where_there_is_a_budget() {
    let host = Host::answers([said("3")]);
    let models = models(&host, &model("a", ""), Vec::new());
    assert_eq!(ask(&models, &host).await.unwrap().cost, None);
    let row = &host.rows()[0];
    assert_eq!((row.estimate, row.told()), (Cost::Unpriced, (How::Answered, Cost::Unpriced, false)));
    *lock(&host.no_room) = Some(NoRoom::Unpriced);
    let prompt = Prompt { instruction: "Count on.".to_owned(), ..Prompt::default() };
    let refused = models.complete("a", prompt, None, host.purse(), None).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Budget(_)), "{refused:?}");
    assert_eq!((kind(&refused), host.sent().len()), (Some(RefusalKind::Budget), 1));
}

#[tokio::test]
async fn trap04_an_answer_without_usage_costs_what_it_was_held_to_and_says_so() {
    let mut bare = answer(&json!({"role": "assistant", "content": "3"}), "stop");
    bare["usage"] = Value::Null;
    let host = Host::answers([Reply::of(200, bare)]);
    ask(&models(&host, &model("a", PRICED), Vec::new()), &host).await.unwrap();
    let row = &host.rows()[0];
    assert_eq!(row.told(), (How::Answered, row.estimate, true));
    assert!(row.estimate.known() > Some(NanoUsd::ZERO));
}

#[tokio::test]
async fn trap08_a_spent_quota_is_asked_once_until_it_may_have_ended() {
    let host = Host::answers([quota(), said("3")]);
    let text = model("a", PRICED);
    let first = models(&host, &text, Vec::new());
    for _ in 0..3 {
        let refused = ask(&first, &host).await.unwrap_err();
        assert!(matches!(refused.error, ServiceError::Budget(_)), "{refused:?}");
        let refusal = refused.refusal.unwrap();
        assert_eq!((refusal.kind, refusal.after), (RefusalKind::Budget, Some(24 * HOUR)));
    }
    assert_eq!((host.sent().len(), told(&host.rows())), (1, vec![(How::Refused, NOTHING, false)]));
    // What was kept of it holds after a restart.
    let kept = lock(&host.cooled).clone();
    assert!(kept.len() == 1 && kept[0].1.is_terminal && kept[0].1.until == NOW.after(24 * HOUR), "{kept:?}");
    let again = models(&host, &text, kept);
    host.clock.move_by(23 * HOUR);
    assert_eq!(kind(&ask(&again, &host).await.unwrap_err()), Some(RefusalKind::Budget));
    assert_eq!((host.sent().len(), again.left_alone().len()), (1, 1));
    host.clock.move_by(HOUR);
    assert_eq!(ask(&again, &host).await.unwrap().text, "3");
}

#[tokio::test]
async fn trap09_one_429_cools_every_alias_of_the_account() {
    let busy = Reply::of(429, json!({"error": {"message": "Too many.", "code": "rate_limit_exceeded"}}));
    let host = Host::answers([busy.header("Retry-After", "7")]);
    let b = "[model.b]\nprovider = \"openai\"\nname = \"a\"\nurl = \"http://127.0.0.1:9/a\"\n";
    let models = models(&host, &(model("a", PRICED) + b), Vec::new());
    let wait = Some(Duration::from_secs(7));
    let refused = ask(&models, &host).await.unwrap_err();
    assert_eq!(refused.error, ServiceError::RateLimited { after: wait });
    let refused = models.complete("b", Prompt::default(), None, host.purse(), None).await.unwrap_err();
    assert_eq!(refused.refusal.map(|refusal| (refusal.kind, refusal.after)), Some((RefusalKind::RateLimited, wait)));
    assert_eq!(host.sent().len(), 1);
}

#[tokio::test]
async fn trap09_who_waits_for_the_ledger_while_another_is_refused_sends_nothing_and_pays_nothing() {
    let busy = Reply::of(429, json!({"error": {"message": "Too many.", "code": "rate_limit_exceeded"}}));
    let host = Host::answers([busy]);
    let reserving = Reserving::new();
    *lock(&host.reserving) = Some(reserving.clone());
    let models = models(&host, &model("a", PRICED), Vec::new());
    let asking = [(), ()].map(|()| {
        let (models, host) = (models.clone(), host.clone());
        tokio::spawn(async move { ask(&models, &host).await })
    });
    reserving.begun.acquire_many(2).await.unwrap().forget();
    reserving.goes_on.add_permits(1);
    host.settled.acquire().await.unwrap().forget();
    reserving.goes_on.add_permits(1);
    for asked in asking {
        let refused = asked.await.unwrap().unwrap_err();
        assert!(matches!(refused.error, ServiceError::RateLimited { .. }), "{refused:?}");
    }
    assert_eq!(host.log(), ["reserve", "reserve", "send", "settle", "settle"]);
    assert_eq!(told(&host.rows()), [(How::Refused, NOTHING, false); 2]);
}

#[tokio::test]
async fn what_a_call_waits_is_a_part_of_its_time_and_who_has_none_left_sends_nothing_and_pays_nothing() {
    let host = Host::answers([said("3")]);
    let text = model("a", &format!("{PRICED}requests = \"1/d\"\ntimeout = \"30s\"\n"));
    let models = models(&host, &text, Vec::new());
    // With less than a quarter of its time it would be paid for, and cut off.
    for (waited, is_asked) in [(30, false), (31, false), (23, false), (22, true)] {
        let reserving = Reserving::new();
        *lock(&host.reserving) = Some(reserving.clone());
        let asking = tokio::spawn({
            let (models, host) = (models.clone(), host.clone());
            async move { ask(&models, &host).await }
        });
        reserving.begun.acquire().await.unwrap().forget();
        host.clock.move_by(Duration::from_secs(waited));
        reserving.goes_on.add_permits(1);
        let asked = asking.await.unwrap();
        assert_eq!(
            (asked.is_ok(), host.sent().len()),
            (is_asked, usize::from(is_asked)),
            "after {waited} s: {asked:?}"
        );
        if let Err(refused) = asked {
            assert!(matches!(refused.error, ServiceError::RateLimited { after: Some(_) }), "{refused:?}");
            assert_eq!(kind(&refused), Some(RefusalKind::RateLimited), "no attempt is used: {refused:?}");
            assert_eq!(host.rows().last().unwrap().told(), (How::Refused, NOTHING, false));
        }
    }
    let left = host.sent()[0].time;
    assert!(left <= Duration::from_secs(8), "{left:?} of 30 s are left after 22");
}

#[tokio::test]
async fn r07_a_turn_that_comes_too_late_for_a_call_is_refused_without_a_wait_and_costs_nothing() {
    let host = Host::answers([said("3"), said("4")]);
    let text = model("a", &format!("{PRICED}requests = \"1/s\"\ntimeout = \"1s\"\nfall-back = [\"b\"]\n"));
    let models = models(&host, &(text + &model("b", PRICED)), Vec::new());
    ask(&models, &host).await.unwrap();
    // The clock stands still, so a wait would have no end.
    let second = Prompt { instruction: "Count on.".to_owned(), ..Prompt::default() };
    assert_eq!(models.complete("a", second, None, host.purse(), None).await.unwrap().text, "4");
    let asked: Vec<_> = host.rows().iter().map(|row| row.paid.alias.clone()).collect();
    assert_eq!(asked, ["a", "b"], "the one in its place is asked");
}

#[tokio::test]
async fn r07_a_call_that_finds_no_room_or_is_held_up_by_a_refusal_gives_its_turn_back() {
    let host = Host::answers([said("3")]);
    let models = models(&host, &model("a", &format!("{PRICED}requests = \"1/d\"\n")), Vec::new());
    let (most, asked) = (NanoUsd(1), NanoUsd(2));
    for why in [NoRoom::TooDear { kind: PeriodKind::Day, most, asked }; 2] {
        *lock(&host.no_room) = Some(why);
        let refused = ask(&models, &host).await.unwrap_err();
        assert_eq!(kind(&refused), Some(RefusalKind::TooDear), "{refused:?}");
    }
    *lock(&host.no_room) = None;
    let reserving = Reserving::new();
    *lock(&host.reserving) = Some(reserving.clone());
    let asking = tokio::spawn({
        let (models, host) = (models.clone(), host.clone());
        async move { ask(&models, &host).await }
    });
    reserving.begun.acquire().await.unwrap().forget();
    let a_while = Duration::from_secs(2);
    let until = host.clock.now().after(a_while);
    let account = &models.models["a"].payee.account;
    models.calls.paces.cool(account, Cooling { until, reason: "slow down".to_owned(), is_terminal: false });
    reserving.goes_on.add_permits(1);
    let refused = asking.await.unwrap().unwrap_err();
    assert!(matches!(refused.error, ServiceError::RateLimited { .. }), "{refused:?}");
    *lock(&host.reserving) = None;
    host.clock.move_by(a_while);
    assert_eq!(ask(&models, &host).await.unwrap().text, "3", "its request of the day is still there");
    let other = Prompt { instruction: "Count on.".to_owned(), ..Prompt::default() };
    let refused = models.complete("a", other, None, host.purse(), None).await.unwrap_err();
    assert_eq!((kind(&refused), host.sent().len()), (Some(RefusalKind::RateLimited), 1), "and used up now");
}

#[tokio::test]
async fn trap10_what_was_cut_at_the_models_limit_is_paid_and_neither_parsed_nor_sent_back() {
    let cut = answer(&json!({"role": "assistant", "content": "{\"tags\": []}"}), "length");
    let host = Host::answers([Reply::of(200, cut)]);
    let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED);
    let schema = json!({"type": "object", "properties": {"tags": {"type": "array"}}});
    let prompt = Prompt { schema: Some(schema), ..Prompt::default() };
    let models = models(&host, &text, Vec::new());
    let refused = models.complete("a", prompt.clone(), None, host.purse(), None).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Truncated(_)), "{refused:?}");
    assert_eq!((host.sent().len(), told(&host.rows())), (1, vec![(How::Answered, usual(), false)]));
    let refused = models.complete("a", prompt, None, host.purse(), None).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Truncated(_)) && host.sent().len() == 1, "the same once more");
}

#[tokio::test]
async fn an_answer_that_was_paid_for_is_not_asked_for_again() {
    let host = Host::answers([said("3")]);
    let models = models(&host, &model("a", PRICED), Vec::new());
    let (first, second) = (ask(&models, &host).await.unwrap(), ask(&models, &host).await.unwrap());
    assert_eq!((first, host.sent().len(), host.rows().len()), (second, 1, 1));
}

#[tokio::test]
async fn who_asks_the_same_again_or_in_another_attempt_gets_another_answer() {
    let host = Host::answers(["1", "2", "3"].map(said));
    let models = models(&host, &model("a", PRICED), Vec::new());
    let ask = async |purse: &Arc<dyn Purse>| {
        models.complete("a", Prompt::default(), None, purse.clone(), None).await.unwrap().text
    };
    let (first, again, next) = (host.purse(), host.purse(), host.purse_of(2));
    assert_eq!([ask(&first).await, ask(&first).await], ["1", "2"]);
    assert_eq!([ask(&again).await, ask(&again).await], ["1", "2"], "after a crash each is found in its turn");
    assert_eq!(
        (ask(&next).await.as_str(), host.sent().len()),
        ("3", 3),
        "what was answered before may have been of no use"
    );
}

#[tokio::test]
async fn trap07_a_call_whose_caller_is_gone_is_settled_and_its_answer_kept() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let host = Host::answers([Reply { gate: Some(gate.clone()), ..said("3") }]);
    let models = models(&host, &model("a", PRICED), Vec::new());
    let asking = tokio::spawn({
        let (models, host) = (models.clone(), host.clone());
        async move { ask(&models, &host).await.map(drop) }
    });
    host.reached.acquire().await.unwrap().forget();
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    assert_eq!(host.rows()[0].end, None);
    gate.add_permits(1);
    host.settled.acquire().await.unwrap().forget();
    assert_eq!(told(&host.rows()), [(How::Answered, usual(), false)]);
    assert_eq!(ask(&models, &host).await.unwrap().text, "3");
    assert_eq!(host.sent().len(), 1, "what it paid for is there for the next one");
}

#[tokio::test]
async fn r07_a_small_limit_of_tokens_serves_more_than_one_call_and_is_given_back_by_what_is_refused() {
    let host = Host::answers([said("3"), failed(), said("4"), said("5")]);
    // Each is held to take some 2,000 tokens, and takes 110.
    let models = models(&host, &model("a", &format!("{PRICED}tokens = \"3000/min\"\n")), Vec::new());
    for (number, is_answered) in [(1, true), (2, false), (3, true), (4, true)] {
        let prompt = Prompt { instruction: format!("Count to {number}."), ..Prompt::default() };
        let result = models.complete("a", prompt, None, host.purse(), None).await;
        assert_eq!(result.is_ok(), is_answered, "{number}: {result:?}");
        assert_eq!(host.sent().len(), number, "{result:?}");
    }
}

#[tokio::test]
async fn trap02_a_call_whose_reading_panics_is_settled_at_its_estimate() {
    let host = Host::answers([Reply { panics: true, ..said("3") }]);
    let models = models(&host, &model("a", PRICED), Vec::new());
    let asking = tokio::spawn({
        let (models, host) = (models.clone(), host.clone());
        async move { ask(&models, &host).await.map(drop) }
    });
    assert!(asking.await.unwrap_err().is_panic(), "who asked is told");
    let row = &host.rows()[0];
    assert_eq!(row.told(), (How::Lost, row.estimate, true));
    assert_eq!(models.calls().under_way(), 0);
}

#[test]
fn a03_the_length_of_an_answer_is_told_from_those_of_the_stage_that_asks() {
    let deployment = deployment(&model("a", PRICED));
    let model = Model::new(&deployment.models[0], &Prices::pinned().unwrap());
    let output = |asker: &str| model.estimate(&Prompt::default(), &Fitted::default(), asker).0.output;
    assert_eq!((output("score"), output("digest")), (1_000, 1_000), "the most that it can make");
    for _ in 0..LENGTHS_NEEDED {
        model.made("score", 20);
    }
    assert_eq!((output("score"), output("digest")), (20, 1_000), "a digest is no score");
    (0..LENGTHS_KEPT).for_each(|_| model.made("score", 4_000));
    assert_eq!(output("score"), 1_000, "no more than it can make");
}

#[test]
fn a03_answers_of_an_earlier_process_tell_how_long_the_next_ones_are() {
    let host = Host::answers([]);
    let models = models(&host, &model("a", PRICED), Vec::new());
    let known = models.models["a"].clone();
    let other = Paid { model: "b".to_owned(), ..known.payee.paid.clone() };
    for _ in 0..LENGTHS_NEEDED {
        models.remember("score", &known.payee.paid, 20);
        models.remember("digest", &other, 20);
    }
    let output = |asker: &str| known.estimate(&Prompt::default(), &Fitted::default(), asker).0.output;
    assert_eq!((output("score"), output("digest")), (20, 1_000), "what another model made says nothing");
}
