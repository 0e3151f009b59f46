//! Guests that bring their own client, through the real host: the same gate, the same refusals.

mod bodies;
mod denied;
mod refused;

use serde_json::json;
use tollgate::Host;
use tollgate_core::item::NewItem;
use tollgate_store::ItemDetail;

use crate::world::{detail, item, run_items, state};

/// A job of the handler `own-client`, with more lines.
fn own_client(more: &str) -> String {
    format!("[job.test]\nkind = \"backfill\"\nhandler = \"own-client\"\ngrant = [\"http\"]\nbreaker = 100\n{more}")
}

/// One attempt, and no more.
const ONCE: &str = "[job.test.stage.ask]\nattempts = 1\n";

/// An item whose stage does so.
fn asking(key: &str, action: &str) -> NewItem {
    item(key, &json!({ "ask": action }))
}

/// Runs an item whose stage does so, to its end.
async fn run(host: &Host, key: &str, action: &str) -> ItemDetail {
    run_items(host, vec![asking(key, action)]).await;
    detail(host, key).await
}

/// Runs an item whose stage does so, and gives what it says.
async fn said(host: &Host, key: &str, action: &str) -> String {
    let one = run(host, key, action).await;
    let output = one.item.outputs.values().next();
    output.unwrap_or_else(|| panic!("{action}: {}", state(&one, "ask").why()))["text"].as_str().unwrap().to_owned()
}
