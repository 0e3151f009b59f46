//! A model that searches: the host answers it, in so many rounds, and each search is a row.

use super::*;
use crate::Search;

fn searches(query: &str) -> Reply {
    let arguments = json!({ "query": query }).to_string();
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "web_search", "arguments": arguments}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    Reply::of(200, answer(&message, "tool_calls"))
}

#[tokio::test]
async fn a_models_searches_are_answered_by_the_host_and_each_is_a_row() {
    let found = json!({"searchParameters": {"q": "orders"}, "credits": 2,
        "organic": [{"title": "Orders", "link": "https://a.test/1", "snippet": "They grew.", "position": 1}]});
    let host = Host::answers([searches("orders"), Reply::of(200, found), said("They grew.")]);
    let search = "[search.web]\nprovider = \"serper\"\nurl = \"http://127.0.0.1:9/s\"\n";
    let models = models(&host, &(model("a", PRICED) + search), Vec::new());
    let spec = models.deployment.search("web").unwrap().clone();
    let search = Search::new(&spec, &Prices::pinned().unwrap(), models.calls());
    let prompt = Prompt { instruction: "Did orders grow?".to_owned(), can_search: true, ..Prompt::default() };
    let searching = search.of_models(host.purse());
    let completion = models.complete("a", prompt.clone(), None, host.purse(), Some(searching)).await.unwrap();
    assert_eq!((completion.text.as_str(), completion.sources), ("They grew.", vec!["https://a.test/1".to_owned()]));
    let rows = host.rows();
    let kinds: Vec<PaidKind> = rows.iter().map(|row| row.paid.kind).collect();
    assert_eq!(kinds, [PaidKind::Model, PaidKind::Search, PaidKind::Model]);
    assert_eq!(rows[1].told(), (How::Answered, usd("0.002 USD"), false), "two credits, by its own word");
    assert!(rows[1].answer.as_ref().unwrap().contains("\"query\":\"orders\""), "what was searched for is recorded");
    assert!(host.body(2).contains("https://a.test/1"), "the model is told what was found");
    let costs = rows.iter().filter(|row| row.paid.kind == PaidKind::Model).filter_map(|row| row.told().1.known());
    assert_eq!(completion.cost, Some(costs.sum()));
    // After a crash, none of the three is paid for again.
    let searching = search.of_models(host.purse());
    models.complete("a", prompt, None, host.purse(), Some(searching)).await.unwrap();
    assert_eq!(host.sent().len(), 3);
}

/// A host whose model searches in `rounds` turns and then answers, and what it may ask.
fn searching(rounds: usize) -> (Arc<Host>, Arc<Models>, Arc<dyn Searches>) {
    let found = json!({"searchParameters": {"q": "x"}, "credits": 1, "organic": []});
    let of_round = |round: usize| [searches(&format!("orders {round}")), Reply::of(200, &found)];
    let host = Host::answers((0..rounds).flat_map(of_round).chain([said("They grew.")]));
    let search = "[search.web]\nprovider = \"serper\"\nurl = \"http://127.0.0.1:9/s\"\n";
    let models = models(&host, &(model("a", PRICED) + search), Vec::new());
    let search = Search::new(models.deployment.search("web").unwrap(), &Prices::pinned().unwrap(), models.calls());
    let searches = search.of_models(host.purse());
    (host, models, searches)
}

#[tokio::test]
async fn m02_a_model_that_goes_on_searching_is_made_to_answer_in_its_last_round() {
    let (host, models, searches) = searching(ROUNDS_MAX - 1);
    let prompt = Prompt { can_search: true, ..Prompt::default() };
    let completion = models.complete("a", prompt, None, host.purse(), Some(searches)).await.unwrap();
    assert_eq!(completion.text, "They grew.");
    let bodies = (0..host.sent().len()).map(|at| host.body(at));
    let asked: Vec<String> = bodies.filter(|body| body.contains("\"messages\"")).collect();
    let has_to: Vec<bool> = asked.iter().map(|body| body.contains("\"tool_choice\":\"none\"")).collect();
    assert_eq!(has_to, (1..=ROUNDS_MAX).map(|round| round == ROUNDS_MAX).collect::<Vec<_>>());
}

#[tokio::test]
async fn m02_all_rounds_of_an_answer_and_its_searches_have_one_deadline() {
    let (host, models, searches) = searching(2);
    let prompt = Prompt { can_search: true, ..Prompt::default() };
    let time = Some(HOUR);
    models.complete("a", prompt.clone(), time, host.purse(), Some(searches)).await.unwrap();
    let of_model = host.sent().iter().step_by(2).map(|sent| sent.time).collect::<Vec<_>>();
    assert!(of_model.len() == 3 && of_model.is_sorted_by(|one, next| one > next), "what is left: {of_model:?}");

    let (host, models, searches) = searching(1);
    host.hold_reply(1);
    let time = Some(Duration::from_millis(50));
    let refused = models.complete("a", prompt, time, host.purse(), Some(searches)).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Timeout(_)), "{refused:?}");
    assert_eq!(kind(&refused), Some(RefusalKind::Transport));
    assert_eq!(host.sent().len(), 2, "the model is asked no more");
}

#[tokio::test]
async fn a_search_that_is_refused_ends_the_answer_and_no_other_model_begins_anew() {
    let broke = Reply::of(400, json!({"message": "Not enough credits", "statusCode": 400}));
    let host = Host::answers([searches("orders"), broke]);
    let search = "[search.web]\nprovider = \"serper\"\nurl = \"http://127.0.0.1:9/s\"\n";
    let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED) + search;
    let models = models(&host, &text, Vec::new());
    let search = Search::new(models.deployment.search("web").unwrap(), &Prices::pinned().unwrap(), models.calls());
    let prompt = Prompt { can_search: true, ..Prompt::default() };
    let searching = search.of_models(host.purse());
    let refused = models.complete("a", prompt, None, host.purse(), Some(searching)).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Budget(_)), "{refused:?}");
    assert_eq!(refused.refusal.unwrap().about, "search web");
    assert_eq!(told(&host.rows()), [(How::Answered, usual(), false), (How::Refused, NOTHING, false)]);
    assert!(search.left_alone().is_some_and(|cooling| cooling.is_terminal) && models.left_alone().is_empty());
}
