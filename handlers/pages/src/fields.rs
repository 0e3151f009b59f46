//! The stage that takes fields out of a kept page, by CSS selectors from params.

use std::collections::BTreeMap;

use tollgate_sdk::{Map, Value, json, prelude::*};

use crate::{crawl::Page, rule::Rule};

/// What to take: `fields = { title = "h1", links = { select = "a", attr = "href", all = true } }`.
#[params]
pub(crate) struct Fields {
    /// Fields by name; `url` is the page's own address, and can't be one.
    #[serde(default)]
    #[schemars(extend("propertyNames" = json!({"not": {"const": URL}})))]
    fields: BTreeMap<String, Rule>,
    /// Fields without which a page is no item of this kind: it is rejected.
    #[serde(default)]
    required: Vec<String>,
}

/// The output's own field, beside those that params name.
const URL: &str = "url";

/// The fields of a page. Which there are, the params say.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Taken {
    /// The page's address.
    url: String,
    /// Taken fields by name; a field that the page doesn't have is absent.
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Takes fields by CSS selectors from `params`.
#[stage]
pub(crate) fn extract(page: Page, wanted: &Fields, #[reads("fetch/page.html")] raw: Artifact) -> Result<Taken> {
    if !page.is_html() {
        return Err(StageError::nothing_here(format!("{} is no page", page.media_type.unwrap_or_default())));
    }
    if let Some(unknown) = wanted.required.iter().find(|name| !wanted.fields.contains_key(*name)) {
        return Err(StageError::failed(format!("params: `required` names {unknown}, which `fields` doesn't have")));
    }
    if wanted.fields.contains_key(URL) {
        return Err(StageError::failed(format!("params: `fields` names {URL}, which is the page's own address")));
    }
    let html = raw.html(&page.url)?;
    let mut fields = Map::new();
    for (name, rule) in &wanted.fields {
        let value = rule.take(&html).map_err(|error| bad_params(name, error))?;
        match value {
            Some(value) => drop(fields.insert(name.clone(), value)),
            None if wanted.required.contains(name) => {
                return Err(StageError::reject(format!("no {name} on the page")));
            }
            None => {}
        }
    }
    Ok(Taken { url: page.url, fields })
}

/// A rule that can't be used meets every page: as failures, not as the end of each, they open the breaker, and the job
/// pauses with these words.
fn bad_params(name: &str, error: StageError) -> StageError {
    match error {
        StageError::Permanent(reason) | StageError::Failed(reason) => {
            StageError::failed(format!("params: fields.{name}: {reason}"))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::{mock, stage::take_params};

    use super::*;

    const PAGE: &str = r#"<title>T</title><h1>Lamp <b>No 3</b></h1><p class="price">EUR 1,234.50</p><p>More.</p>
        <a href="/a">A</a><a href="/b">B</a>
        <table class="specs"><tr><th>Width</th><td>3 cm</td></tr><tr><th>Colour</th><td>red</td></tr></table>"#;

    fn page(media_type: &str) -> Page {
        Page { url: "https://a.example/x".into(), size: 1, media_type: Some(media_type.into()), links: 0 }
    }

    fn run(params: Value) -> Result<Taken> {
        let fields: Fields = take_params(&params)?;
        let host = mock::Host::new().artifact("fetch", "page.html", PAGE.as_bytes());
        host.run(|| extract(page("text/html"), &fields, Artifact::of("fetch", "page.html")))
    }

    #[test]
    fn fields_are_taken_in_every_way() {
        let taken = run(json!({"fields": {
            "title": "h1",
            "price": {"select": ".price", "parse": "number"},
            "links": {"select": "a", "attr": "href", "all": true},
            "specs": {"table": "table.specs"},
            "text": {"text": "p"},
            "absent": ".nowhere",
        }}));
        assert_eq!(
            Value::Object(taken.unwrap().fields),
            json!({
                "title": "Lamp No 3",
                "price": 1234.5,
                "links": ["https://a.example/a", "https://a.example/b"],
                "specs": {"Width": "3 cm", "Colour": "red"},
                "text": "EUR 1,234.50\nMore.",
            })
        );
    }

    #[test]
    fn a_page_without_a_required_field_is_rejected() {
        let rejected = run(json!({"fields": {"sku": ".sku"}, "required": ["sku"]}));
        assert_eq!(rejected, Err(StageError::reject("no sku on the page")));
    }

    #[test]
    fn bad_params_are_failures_and_name_the_field() {
        for (params, said) in [
            (json!({"fields": {"sku": "h1["}}), "params: fields.sku: \"h1[\""),
            (json!({"fields": {"a": "h1"}, "required": ["sku"]}), "`required` names sku"),
            (json!({"fields": {"url": "h1"}}), "`fields` names url"),
        ] {
            let Err(StageError::Failed(reason)) = run(params) else { panic!("bad params passed") };
            assert!(reason.contains(said), "{reason}");
        }
        assert!(matches!(run(json!({"fields": {"a": {"selct": "h1"}}})), Err(StageError::Failed(_))));
    }

    #[test]
    fn what_is_no_page_has_nothing_to_extract() {
        let fields = Fields { fields: BTreeMap::new(), required: Vec::new() };
        let raw = Artifact::of("fetch", "page.html");
        let nothing = mock::Host::new().run(|| extract(page("application/pdf"), &fields, raw));
        assert_eq!(nothing, Err(StageError::nothing_here("application/pdf is no page")));
    }

    #[test]
    fn s06_a_missing_page_fails() {
        let fields = Fields { fields: BTreeMap::new(), required: Vec::new() };
        let raw = Artifact::of("fetch", "page.html");
        let failed = mock::Host::new().run(|| extract(page("text/html"), &fields, raw));
        assert!(matches!(failed, Err(StageError::Failed(_))));
    }
}
