//! Searches as Serper and Brave answer and refuse them, and what they come to.

use std::time::Duration;

use serde_json::json;
use tollgate_core::{
    ledger::{How, NoRoom},
    money::NanoUsd,
    outcome::RefusalKind,
};

use super::*;
use crate::{
    Models,
    testing::{Host, Reply, Row, deployment, lock, usd},
};

const SERPER: &str = "[search.web]\nprovider = \"serper\"\nkey = { env = \"K\" }\n";
const BRAVE: &str = "[search.web]\nprovider = \"brave\"\nkey = { env = \"K\" }\nprice = \"0.005 USD\"\n";

fn search(host: &Arc<Host>, text: &str) -> Arc<Search> {
    let (deployment, prices) = (deployment(text), Prices::pinned().unwrap());
    let models = Models::new(&deployment, &prices, host.clone(), host.clock.clone(), host.clone(), Vec::new());
    Search::new(deployment.search("web").unwrap(), &prices, models.calls())
}

async fn web(search: &Search, host: &Arc<Host>, limit: u32) -> Result<Vec<SearchHit>, Refused> {
    search.web(" ärzte & co ", limit, &host.purse()).await
}

fn serper(hits: usize, credits: &Value) -> Reply {
    let hit = |at: usize| json!({"title": format!("T{at}"), "link": format!("https://a.test/{at}"), "snippet": "S"});
    let organic: Value = (0..hits).map(hit).collect();
    Reply::of(200, json!({"searchParameters": {"q": "x"}, "organic": organic, "credits": credits}))
}

fn refused_with(refused: &Refused) -> (Option<RefusalKind>, Option<Duration>) {
    let refusal = refused.refusal.as_ref();
    (refusal.map(|refusal| refusal.kind), refusal.and_then(|refusal| refusal.after))
}

#[tokio::test]
async fn serper_is_sent_the_query_once_and_paid_by_the_credits_that_it_tells() {
    let host = Host::answers([serper(12, &json!(2))]);
    let search = search(&host, SERPER);
    let hits = web(&search, &host, 11).await.unwrap();
    assert_eq!((hits.len(), hits[0].url.as_str(), hits[0].title.as_str()), (11, "https://a.test/0", "T0"));
    let sent = &host.sent()[0];
    assert_eq!((&*sent.path, sent.key.name, sent.key.prefix), ("search", "x-api-key", ""));
    assert_eq!(host.body(0), "{\"num\":11,\"q\":\"ärzte & co\"}");
    let row = &host.rows()[0];
    assert_eq!((row.paid.provider.as_str(), row.paid.alias.as_str()), ("serper", "web"));
    assert_eq!((row.estimate, row.told()), (usd("0.002 USD"), (How::Answered, usd("0.002 USD"), false)));
    assert_eq!(row.end.as_ref().unwrap().units.credits, 2);
    assert_eq!(web(&search, &host, 11).await.unwrap(), hits);
    assert_eq!((host.sent().len(), host.rows().len()), (1, 1), "what was paid for isn't asked again");
}

#[tokio::test]
async fn trap04_credits_that_are_not_told_or_none_are_an_estimate_and_marked() {
    for credits in [Value::Null, json!(0), json!("1")] {
        let host = Host::answers([serper(1, &credits)]);
        web(&search(&host, SERPER), &host, 10).await.unwrap();
        assert_eq!(host.rows()[0].told(), (How::Answered, usd("0.001 USD"), true), "{credits}");
    }
}

#[tokio::test]
async fn nothing_found_is_an_empty_list_and_billed() {
    let empty = Reply::of(200, json!({"searchParameters": {"q": "x"}, "credits": 1}));
    for (text, reply, cost) in [
        (SERPER, serper(0, &json!(1)), usd("0.001 USD")),
        (SERPER, empty, usd("0.001 USD")),
        (BRAVE, Reply::of(200, json!({"type": "search", "query": {"original": "x"}})), usd("0.005 USD")),
    ] {
        let host = Host::answers([reply]);
        assert_eq!(web(&search(&host, text), &host, 10).await.unwrap(), []);
        assert_eq!(host.rows()[0].told(), (How::Answered, cost, false));
    }
}

#[tokio::test]
async fn brave_is_asked_by_its_address_and_paid_by_the_query() {
    let results = json!([{"title": "T", "url": "https://b.test/", "description": "D"}, {"title": "no page"}]);
    let host = Host::answers([Reply::of(200, json!({"type": "search", "web": {"results": results}}))]);
    let hits = web(&search(&host, BRAVE), &host, 20).await.unwrap();
    let hit = SearchHit { title: "T".to_owned(), url: "https://b.test/".to_owned(), snippet: "D".to_owned() };
    assert_eq!(hits, [hit]);
    let sent = &host.sent()[0];
    let asked = "web/search?q=%C3%A4rzte%20%26%20co&count=20&result_filter=web&text_decorations=false";
    assert_eq!((&*sent.path, sent.body.is_none(), sent.key.name), (asked, true, "x-subscription-token"));
    assert_eq!(sent.service.address(&sent.path).as_str(), format!("https://api.search.brave.com/res/v1/{asked}"));
    assert_eq!(host.rows()[0].told(), (How::Answered, usd("0.005 USD"), false));
}

#[tokio::test]
async fn trap04_a_search_without_a_price_is_unpriced_and_refused_where_there_is_a_budget() {
    let found = Reply::of(200, json!({"type": "search"}));
    let host = Host::answers([found]);
    let search = search(&host, &BRAVE.replace("price", "timeout").replace("0.005 USD", "5s"));
    web(&search, &host, 5).await.unwrap();
    assert_eq!(host.rows()[0].told(), (How::Answered, Cost::Unpriced, false));
    *lock(&host.no_room) = Some(NoRoom::Unpriced);
    let refused = web(&search, &host, 6).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::Budget(_)) && host.sent().len() == 1, "{refused:?}");
}

#[tokio::test]
async fn trap08_without_credits_or_with_a_wrong_key_nobody_asks_again_that_day() {
    let brave = |status: u16, code: &str, detail: &str, meta: &Value| {
        let error = json!({"id": "r", "status": status, "code": code, "detail": detail, "meta": meta});
        Reply::of(status, json!({"type": "ErrorResponse", "error": error, "time": 1_773_685_964}))
    };
    let (limited, meta) = ("Request rate limit exceeded for plan", json!({}));
    let used_up = json!({"plan": "Free", "rate_limit": 1, "rate_current": 1, "quota_limit": 2000, "quota_current": 2000,
        "component": "rate_limiter"});
    let of_month = brave(429, "RATE_LIMITED", limited, &meta)
        .header("X-RateLimit-Policy", "1;w=1, 2000;w=2592000")
        .header("X-RateLimit-Remaining", "0, 0")
        .header("X-RateLimit-Reset", "1, 7200");
    let day = Duration::from_hours(24);
    for (text, reply, after, is_denied) in [
        (SERPER, Reply::of(403, json!({"message": "Unauthorized.", "statusCode": 403})), day, true),
        (SERPER, Reply::of(400, json!({"message": "Not enough credits", "statusCode": 400})), day, false),
        (BRAVE, brave(422, "SUBSCRIPTION_TOKEN_INVALID", "The token is invalid.", &meta), day, true),
        (BRAVE, brave(402, "USAGE_LIMIT_EXCEEDED", "Usage limit exceeded", &meta), day, false),
        (BRAVE, brave(429, "RATE_LIMITED", limited, &used_up), day, false),
        (BRAVE, of_month, Duration::from_hours(2), false),
    ] {
        let host = Host::answers([reply]);
        let search = search(&host, text);
        let first = web(&search, &host, 10).await.unwrap_err();
        let is_as_meant = if is_denied {
            matches!(first.error, ServiceError::Denied(_))
        } else {
            matches!(first.error, ServiceError::Budget(_))
        };
        assert!(is_as_meant, "{first:?}");
        assert_eq!(refused_with(&first), (Some(RefusalKind::Budget), Some(after)), "{first:?}");
        assert_eq!(refused_with(&web(&search, &host, 10).await.unwrap_err()), refused_with(&first));
        let rows = host.rows();
        assert_eq!(rows.iter().map(Row::told).collect::<Vec<_>>(), [(How::Refused, Cost::Known(NanoUsd::ZERO), false)]);
    }
}

#[tokio::test]
async fn trap09_a_pace_that_is_used_up_cools_for_as_long_as_its_headers_say() {
    let meta = json!({"plan": "Free", "rate_limit": 1, "quota_limit": 2000, "quota_current": 15});
    let error = json!({"status": 429, "code": "RATE_LIMITED", "detail": "Request rate limit exceeded", "meta": meta});
    let brave = Reply::of(429, json!({"type": "ErrorResponse", "error": error}));
    let told = brave
        .clone()
        .header("X-RateLimit-Policy", "1;w=3, 2000;w=2592000")
        .header("X-RateLimit-Remaining", "0, 1985")
        .header("X-RateLimit-Reset", "3, 1209600");
    let serper = Reply::of(429, json!({"message": "Too many requests", "statusCode": 429})).header("retry-after", "9");
    for (text, reply, seconds) in [(BRAVE, told, 3), (BRAVE, brave, 30), (SERPER, serper, 9)] {
        let host = Host::answers([reply]);
        let search = search(&host, text);
        let after = Some(Duration::from_secs(seconds));
        assert_eq!(web(&search, &host, 10).await.unwrap_err().error, ServiceError::RateLimited { after });
        assert_eq!(web(&search, &host, 10).await.unwrap_err().error, ServiceError::RateLimited { after });
        assert_eq!(host.sent().len(), 1);
    }
}

#[tokio::test]
async fn trap06_a_failed_or_broken_search_is_one_request_and_one_row() {
    let zero = Cost::Known(NanoUsd::ZERO);
    let failed = Reply::of(500, json!({"message": "Internal Server Error", "statusCode": 500}));
    let estimate = usd("0.001 USD");
    for (reply, told) in [
        (failed, (How::Refused, zero, false)),
        (Reply::of(200, "<html>"), (How::Lost, estimate, true)),
        (Reply::of(200, json!({"hello": 1})), (How::Lost, estimate, true)),
        (serper(3, &json!(1)).cut(40, None), (How::Lost, estimate, true)),
    ] {
        let host = Host::answers([reply]);
        let refused = web(&search(&host, SERPER), &host, 10).await.unwrap_err();
        assert!(matches!(refused.error, ServiceError::Unavailable(_)), "{refused:?}");
        assert_eq!((host.sent().len(), host.rows()[0].told()), (1, told));
    }
}

#[tokio::test]
async fn what_cannot_be_searched_for_is_not_sent() {
    let host = Host::answers([]);
    let search = search(&host, SERPER);
    for (query, limit) in [("", 1), (" \n", 1), (&"x".repeat(QUERY_BYTES_MAX + 1), 1), ("x", 0), ("x", 21)] {
        let refused = search.web(query, limit, &host.purse()).await.unwrap_err();
        assert!(matches!(refused.error, ServiceError::InvalidRequest(_)), "{refused:?}");
    }
    assert_eq!(host.log(), [""; 0]);
}
