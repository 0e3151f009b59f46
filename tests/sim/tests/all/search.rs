//! The two search services, held against what their documentation says.

use crate::service::{Asker, KEY, json_of};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tollgate_core::money::NanoUsd;
use tollgate_sim::sites::bill::Amount;
use tollgate_sim::sites::models::{ModelFault, UsageLie};
use tollgate_sim::sites::search::{Brave, Serper, hits};

const PRICE: NanoUsd = NanoUsd(1_000_000);

#[tokio::test]
async fn serper_finds_the_catalogues_items_and_bills_by_credits() {
    let serper = Arc::new(Serper::new(7, PRICE).keys([KEY]));
    let asker = Asker::new(vec![(Serper::HOST, serper.clone())]).await;
    let search = async |body: Value| asker.post(Serper::HOST, "/search", &[("X-API-KEY", KEY)], &body).await;
    let reply = json_of(&search(json!({"q": "Kettle No 44"})).await);
    let organic = reply["organic"].as_array().unwrap();
    assert_eq!((organic.len(), &organic[0]["title"], &organic[0]["position"]), (10, &json!("Kettle No 44"), &json!(1)));
    assert_eq!(organic[0]["link"], "https://catalogue.example/item/44");
    assert_eq!(json_of(&search(json!({"q": "Kettle No 44"})).await), reply, "the same each time");
    let more = json_of(&search(json!({"q": "kettle", "num": 20})).await);
    assert_eq!((more["organic"].as_array().unwrap().len(), &more["credits"]), (20, &json!(2)));
    let rows = serper.desk.bill();
    assert_eq!(rows.iter().map(|row| row.cost.0).collect::<Vec<_>>(), [1_000_000, 1_000_000, 2_000_000]);
    assert_eq!((rows[2].amount, rows[2].is_whole, serper.desk.sum().0), (Amount::Credits(2), true, 4_000_000));
}

#[tokio::test]
async fn what_serper_refuses_costs_nothing() {
    let serper = Arc::new(Serper::new(7, PRICE).keys([KEY]));
    let asker = Asker::new(vec![(Serper::HOST, serper.clone())]).await;
    let body = json!({"q": "x"});
    let wrong = asker.post(Serper::HOST, "/search", &[("X-API-KEY", "other")], &body).await;
    assert_eq!((wrong.status.as_u16(), json_of(&wrong)), (403, json!({"message": "Unauthorized.", "statusCode": 403})));
    let search = async |body: &Value| asker.post(Serper::HOST, "/search", &[("X-API-KEY", KEY)], body).await;
    assert_eq!(search(&json!({})).await.status, 400);
    serper.desk.next([
        ModelFault::busy_s(4),
        ModelFault::Credit,
        ModelFault::Broken,
        ModelFault::Usage(UsageLie::Missing),
    ]);
    let busy = search(&body).await;
    assert_eq!((busy.status.as_u16(), busy.header("retry-after")), (429, "4"));
    assert!(search(&body).await.text().contains("Not enough credits"));
    assert_eq!(search(&body).await.status, 500);
    assert!(serper.desk.bill().is_empty());
    assert!(json_of(&search(&body).await).get("credits").is_none());
    assert_eq!(serper.desk.bill().len(), 1);
}

#[tokio::test]
async fn brave_finds_the_same_in_its_own_form() {
    let brave = Arc::new(Brave::new(7, PRICE).keys([KEY]));
    let asker = Asker::new(vec![(Brave::HOST, brave.clone())]).await;
    let search = async |query: &str, key: &str| {
        let path = format!("/res/v1/web/search?{query}");
        asker.send(Method::GET, Brave::HOST, &path, &[("X-Subscription-Token", key)], "").await.unwrap()
    };
    let reply = json_of(&search("q=kettle%20No+44&count=3", KEY).await);
    let results = reply["web"]["results"].as_array().unwrap();
    let expected = hits(7, "kettle No 44", 3);
    assert_eq!(results.len(), 3);
    for (result, hit) in results.iter().zip(&expected) {
        assert_eq!((&result["url"], &result["description"]), (&json!(hit.url), &json!(hit.snippet)));
    }
    for (query, key, status, code) in [
        ("q=x", "other", 422, "SUBSCRIPTION_TOKEN_INVALID"),
        ("q=x&count=21", KEY, 422, "VALIDATION"),
        ("count=2", KEY, 422, "VALIDATION"),
    ] {
        let reply = search(query, key).await;
        assert_eq!((reply.status.as_u16(), &json_of(&reply)["error"]["code"]), (status, &json!(code)));
    }
    brave.desk.next([ModelFault::Busy(None), ModelFault::Quota]);
    assert_eq!(json_of(&search("q=x", KEY).await)["error"]["code"], "RATE_LIMITED");
    assert_eq!(search("q=x", KEY).await.status, 402);
    assert_eq!(brave.desk.sum(), PRICE);
}
