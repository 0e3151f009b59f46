//! The small figures: what each task, page and start costs by itself (`cargo xtask bench small`).
#![expect(clippy::unwrap_used, reason = "a bench that can't go on says so by panicking")]

use std::{fmt::Write as _, hint::black_box, time::Duration};

use divan::{Bencher, counter::BytesCount};
use serde_json::{Map, Value, json};
use tollgate_core::{
    JsonObject, Timestamp,
    contract::Contract,
    outcome::{Outcome, StageOutput, decide},
    retry::RetryPolicy,
    spec,
    task::Tally,
};
use tollgate_sdk::{html::Html, links};

fn main() {
    divan::main();
}

fn output() -> Map<String, Value> {
    let list: Vec<String> = (0..20).map(|number| format!("https://shop.example/books/{number}")).collect();
    json!({"title": "A title", "text": "x".repeat(2_000), "words": 340, "links": list}).as_object().unwrap().clone()
}

/// What an output of 3 KB costs when it is held against its contract.
#[divan::bench]
fn contract_check(bencher: Bencher<'_, '_>) {
    let schema = json!({"type": "object", "required": ["title", "text"], "properties": {
        "title": {"type": "string"}, "text": {"type": "string"}, "words": {"type": "integer"},
        "links": {"type": "array", "items": {"type": "string"}},
    }});
    let (contract, output) = (Contract::new(schema).unwrap(), Value::Object(output()));
    bencher.bench(|| contract.check(black_box(&output)).unwrap());
}

/// What the same output costs as canonical text with its digest.
#[divan::bench]
fn canonical_text_and_digest(bencher: Bencher<'_, '_>) {
    let output = output();
    bencher.bench(|| JsonObject::of(black_box(&output)).digest());
}

/// What follows from an outcome.
#[divan::bench]
fn decide_what_follows(bencher: Bencher<'_, '_>) {
    let policy = RetryPolicy { attempts_max: 5, backoff: Duration::from_secs(10), retry_for: Duration::from_hours(24) };
    let outcome = || Outcome::Output(StageOutput { fields: Map::new(), found: Vec::new(), quality_flags: Vec::new() });
    bencher
        .with_inputs(outcome)
        .bench_values(|outcome| decide(outcome, None, Tally::default(), &policy, Timestamp(1_000), 0.5));
}

/// A jobs.toml of a hundred jobs.
#[divan::bench]
fn read_jobs_toml_of_100_jobs(bencher: Bencher<'_, '_>) {
    let mut text = String::new();
    for job in 0..100 {
        write!(
            text,
            "[job.books-{job}]\nkind = \"backfill\"\nhandler = \"pages\"\ngrant = [\"http\"]\n\
             params = {{ follow = true }}\n\
             [job.books-{job}.stage.extract]\nconcurrency = 4\nwhen = \"fetch.size > 10\"\n"
        )
        .unwrap();
    }
    bencher.bench(|| spec::parse(black_box(&text), "jobs.toml").unwrap());
}

/// A page of 100 KB, in native code: what a handler does with it takes about twice that in wasm.
fn page() -> String {
    let mut page = "<!doctype html><title>Books</title><body>".to_owned();
    for number in 0..700 {
        write!(
            page,
            "<article class=\"book\"><h2>Book {number}</h2><p>A text of some words &amp; more, on and on.</p>\
             <a href=\"/books/{number}?page=1#top\">read</a></article>"
        )
        .unwrap();
    }
    page
}

#[divan::bench]
fn parse_page_and_select(bencher: Bencher<'_, '_>) {
    let page = page();
    bencher.counter(BytesCount::of_str(&page)).bench(|| {
        let html = Html::parse(black_box(&page), None);
        html.select("article.book h2").unwrap().len()
    });
}

#[divan::bench]
fn find_links_of_page(bencher: Bencher<'_, '_>) {
    let page = page();
    bencher
        .counter(BytesCount::of_str(&page))
        .bench(|| links::of(black_box(page.as_bytes()), "https://shop.example/").unwrap());
}
