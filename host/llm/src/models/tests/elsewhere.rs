//! Where another model is asked: only where it is certain that nothing was paid; else the call
//! is lost, at its estimate.

use tollgate_core::calendar::PeriodKind;

use super::*;
use crate::hosting::SendError;

#[tokio::test]
async fn an_answer_cut_in_transit_costs_what_it_was_held_to_and_says_so() {
    let (lost, late) = (SendError::Lost("reset".to_owned()), SendError::Late("no more time".to_owned()));
    for (error, is_timeout) in [(None, false), (Some(lost), false), (Some(late), true)] {
        let host = Host::answers([said("3").cut(60, error)]);
        let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED);
        let refused = ask(&models(&host, &text, Vec::new()), &host).await.unwrap_err();
        assert_eq!(matches!(refused.error, ServiceError::Timeout(_)), is_timeout, "{refused:?}");
        assert_eq!(kind(&refused), Some(RefusalKind::Transport));
        let row = &host.rows()[0];
        assert_eq!((row.told(), row.answer.as_ref()), ((How::Lost, row.estimate, true), None));
        assert_eq!(host.sent().len(), 1, "no other model is asked for what may be paid");
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_answer_may_be_billed_and_one_at_its_begin_is_not() {
    let chunk = json!({"id": "r", "choices": [{"index": 0, "delta": {"content": "3"}, "finish_reason": null}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 1}});
    let error = json!({"error": {"message": "Overloaded.", "code": 503}});
    for (body, how, is_estimate) in [
        (format!("data: {chunk}\n\ndata: {error}\n\n"), How::Lost, true),
        (format!("data: {error}\n\n"), How::Refused, false),
    ] {
        let host = Host::answers([Reply::of(200, body)]);
        let refused = ask(&models(&host, &model("a", PRICED), Vec::new()), &host).await.unwrap_err();
        assert_eq!(kind(&refused), Some(RefusalKind::Down));
        let row = &host.rows()[0];
        let cost = if is_estimate { row.estimate } else { NOTHING };
        assert_eq!(row.told(), (how, cost, is_estimate));
    }
}

#[tokio::test]
async fn trap07_what_may_have_been_worked_on_is_settled_at_a_marked_estimate_and_no_other_model_is_asked() {
    let inside = |code: u16| Reply::of(200, json!({"error": {"message": "Provider returned error", "code": code}}));
    let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED);
    for reply in [Reply::of(504, "<html>"), Reply::of(524, ""), Reply::of(408, ""), Reply::of(202, ""), inside(502)] {
        let host = Host::answers([reply]);
        let refused = ask(&models(&host, &text, Vec::new()), &host).await.unwrap_err();
        let row = &host.rows()[0];
        assert_eq!((row.told(), host.sent().len()), ((How::Lost, row.estimate, true), 1), "{refused:?}");
    }
    for reply in [inside(429), inside(400), Reply::of(529, ""), Reply::of(503, "")] {
        let host = Host::answers([reply, said("4")]);
        ask(&models(&host, &text, Vec::new()), &host).await.unwrap();
        assert_eq!(host.rows()[0].told(), (How::Refused, NOTHING, false));
    }
}

#[tokio::test]
async fn another_model_is_asked_only_where_it_is_certain_that_nothing_was_paid() {
    let unsent = SendError::NotSent { message: "no route".to_owned(), refusal: None };
    let lost = SendError::Lost("reset".to_owned());
    for (reply, asked) in [
        (Ok(failed()), vec!["a", "b"]),
        (Ok(quota()), vec!["a", "b"]),
        (Err(unsent), vec!["a", "b"]),
        (Err(lost), vec!["a"]),
        (Ok(said("")), vec!["a"]),
    ] {
        let host = Host::new([reply, Ok(said("4"))]);
        let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED);
        let result = ask(&models(&host, &text, Vec::new()), &host).await;
        let rows = host.rows();
        assert_eq!(rows.iter().map(|row| row.paid.alias.as_str()).collect::<Vec<_>>(), asked);
        assert_eq!(result.is_ok(), asked.len() == 2, "{result:?}");
        assert!(rows[1..].iter().all(|row| row.told() == (How::Answered, usual(), false)));
        assert!(asked.len() < 2 || rows[0].told() == (How::Refused, NOTHING, false));
    }
    let host = Host::answers([]);
    let reached = NoRoom::Bytes(tollgate_core::budget::Limit::Bytes(1));
    *lock(&host.no_room) = Some(reached);
    let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED);
    assert!(ask(&models(&host, &text, Vec::new()), &host).await.is_err());
    assert_eq!(host.log(), ["reserve"], "a budget is no reason to look for another model");
}

#[tokio::test]
async fn a03_a_call_too_dear_for_a_whole_budget_is_refused_for_good_and_asked_nowhere_else() {
    let host = Host::answers([]);
    let (most, asked) = (NanoUsd(1), NanoUsd(2));
    *lock(&host.no_room) = Some(NoRoom::TooDear { kind: PeriodKind::Day, most, asked });
    let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED);
    let refused = ask(&models(&host, &text, Vec::new()), &host).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Budget(_)), "{refused:?}");
    let refusal = refused.refusal.unwrap();
    assert_eq!((refusal.kind, refusal.after, host.log()), (RefusalKind::TooDear, None, vec!["reserve"]));
}
