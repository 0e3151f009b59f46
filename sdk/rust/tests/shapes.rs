//! What the macros make of types and functions: contracts, needs, reads, params and items.

use tollgate_sdk::{
    handler::{Discover, DiscoverDef, Handler, Stage, StageDef},
    json, mock,
    prelude::*,
    stage::{needs_of, schema_of},
};

#[data]
struct Book {
    #[key]
    isbn: u64,
}

#[output]
#[derive(Debug)]
struct Page {
    #[may_be_empty]
    note: Option<String>,
    #[may_be_empty]
    tags: Vec<String>,
    title: String,
}

#[output]
struct Text {
    words: u64,
}

#[output]
struct Sight {
    word: String,
}

#[params]
struct Settings {
    #[serde(default)]
    max_pages: u64,
}

#[params]
struct Wanted {
    word: String,
}

/// Finds one book.
///
/// More words.
#[discover]
fn list(_settings: &Settings) -> Result<Found> {
    Ok(Found::more([Book { isbn: 7 }], 2))
}

/// Fetches it.
///
/// More words.
#[stage]
fn fetch(_book: &Book) -> Result<Page> {
    Ok(Page { note: None, tags: Vec::new(), title: "Emma".into() })
}

#[stage]
fn read(#[reads("fetch/page.html")] raw: Artifact, settings: &Settings) -> Result<With<Text>> {
    let words = raw.text()?.split_whitespace().count() as u64;
    Ok(Text { words }.found([Book { isbn: settings.max_pages }]).flag("short"))
}

#[stage]
fn look(_book: &Book, wanted: &Wanted) -> Result<Sight> {
    Ok(Sight { word: wanted.word.clone() })
}

#[test]
fn s01_a_contract_says_what_may_be_empty() {
    let schema = schema_of::<Page>();
    assert_eq!(schema["properties"]["note"]["minLength"], 0);
    assert_eq!(schema["properties"]["tags"]["minItems"], 0);
    assert_eq!(schema["properties"]["title"].get("minLength"), None);
}

#[test]
fn a_stage_says_what_it_needs_and_reads() {
    assert_eq!((<fetch as Stage>::SUMMARY, <fetch as Stage>::needs()), ("Fetches it.", Vec::new()));
    assert_eq!(
        (<read as Stage>::READS, <read as Stage>::needs()),
        (["fetch/page.html"].as_slice(), vec!["fetch".into()])
    );
    assert_eq!(<read as Stage>::params()[0]["properties"]["max-pages"]["type"], "integer");
    assert_eq!(<list as Discover>::params().len(), 1);
    let either = needs_of("last", vec!["left|right".into()], &["left/a", "last/own"]);
    assert_eq!(either, ["left|right"], "an alternative covers it, and its own artifacts are no need");
}

#[test]
fn a_param_is_missed_by_the_stage_that_reads_it_alone() {
    let stages = vec![StageDef::of::<fetch>(""), StageDef::of::<look>("")];
    let discover = Some(DiscoverDef::of::<list>());
    let schema = Handler { name: "books", version: "1", summary: "", discover, stages }.params_schema();
    assert_eq!(schema.get("required"), None, "a stage's params may stand with the stage");
    assert_eq!(schema["$defs"]["stage.look"]["allOf"][0]["required"], json!(["word"]));
    assert_eq!(schema["$defs"]["discover"]["allOf"][0].get("required"), None);
    assert_eq!(schema["$defs"].get("stage.fetch"), None);
    let missing = <look as Stage>::run(&Task { data: json!({"isbn": 1}), params: json!({}), ..Task::default() });
    assert!(matches!(missing, Err(StageError::Failed(reason)) if reason.contains("word")), "every item meets it");
}

#[test]
fn a_key_makes_an_item() {
    let found = mock::Host::new().run(|| list(&Settings { max_pages: 1 })).unwrap();
    assert_eq!((found.items[0].key.as_str(), &found.items[0].data), ("7", &json!({"isbn": 7})));
    assert_eq!(found.cursor.as_deref(), Some("2"));
}

#[test]
fn a_stage_runs_as_a_function_and_as_a_task() {
    let host = mock::Host::new().artifact("fetch", "page.html", b"a b c");
    assert_eq!(host.run(|| fetch(&Book { isbn: 1 })).unwrap().title, "Emma");
    let task = Task { stage: "read".into(), params: json!({"max-pages": 4}), ..Task::default() };
    let made = host.run(|| <read as Stage>::run(&task)).unwrap();
    assert_eq!((made.fields, made.found[0].key.as_str()), (json!({"words": 3}), "4"));
    assert_eq!(made.flags, ["short"]);
}

#[test]
fn state_is_updated_beside_other_writers() {
    let host = mock::Host::new().state("seen", &json!(3)).conflicts(2);
    let add = || state::update("seen", |seen: Option<u64>| seen.unwrap_or(0) + 1);
    assert_eq!(host.run(add), Ok(4));
    assert_eq!(host.state_value("seen"), Some(json!(4)));
    let contended = mock::Host::new().conflicts(u32::MAX);
    assert!(matches!(contended.run(add), Err(StageError::RetryLater { .. })));
}
