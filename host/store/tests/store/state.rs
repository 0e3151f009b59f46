//! A job's state: versions, expectations, pages of keys.

use tollgate_store::{STATE_VALUE_BYTES_MAX, StateChange, Store, StoreError};

use crate::fixture::Fixture;

fn change(key: &str, value: Option<&str>, expect: Option<u64>) -> StateChange {
    StateChange { key: key.into(), value: value.map(|value| value.as_bytes().to_vec()), expect }
}

#[tokio::test]
async fn changes_are_applied_all_or_none() {
    let fixture = Fixture::new().await;
    let apply = |changes| fixture.store.state_apply(fixture.job, changes);
    apply(vec![change("a", Some("1"), Some(0)), change("b", Some("1"), None)]).await.unwrap();
    let refused = apply(vec![change("b", Some("2"), None), change("a", Some("2"), Some(0))]).await;
    assert!(matches!(refused, Err(StoreError::Conflict(key)) if key == "a"));
    let get = |key: &str| fixture.store.state_get(fixture.job, key.into());
    assert_eq!(get("b").await.unwrap().unwrap().value, b"1");
    let version = get("a").await.unwrap().unwrap().version;
    apply(vec![change("a", None, Some(version))]).await.unwrap();
    assert!(get("a").await.unwrap().is_none());
    apply(vec![change("a", Some("3"), Some(0))]).await.unwrap();
    assert!(get("a").await.unwrap().unwrap().version > version, "an entry that came back has another version");
    let large = StateChange { key: "large".into(), value: Some(vec![0; STATE_VALUE_BYTES_MAX + 1]), expect: None };
    assert!(matches!(apply(vec![large]).await, Err(StoreError::TooLarge { .. })));
}

#[tokio::test]
async fn keys_come_in_pages() {
    let fixture = Fixture::new().await;
    let keys: Vec<String> = (0..7).map(|number| format!("k/{number}")).collect();
    let changes = keys.iter().map(|key| change(key, Some("v"), None)).chain([change("x", Some("v"), None)]).collect();
    fixture.store.state_apply(fixture.job, changes).await.unwrap();
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let page = fixture.store.state_keys(fixture.job, "k/".into(), cursor, 3).await.unwrap();
        listed.extend(page.entries);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, keys);
}
