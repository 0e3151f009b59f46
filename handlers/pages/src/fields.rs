//! The stage that takes fields out of a kept page, by CSS selectors from params.

use std::collections::BTreeMap;

use tollgate_sdk::{
    html::{Element, Html},
    prelude::*,
    serde_json::{Map, Value, json},
};

use crate::crawl::Page;

/// What to take: `fields = { title = "h1", links = { select = "a", attr = "href", all = true } }`.
#[params]
pub struct Fields {
    /// Fields by name.
    #[serde(default)]
    pub fields: BTreeMap<String, Rule>,
    /// Fields without which a page is no item of this kind: it is rejected.
    #[serde(default)]
    pub required: Vec<String>,
}

/// How a field is taken: a selector alone takes the first element's text.
#[part]
#[serde(untagged)]
pub enum Rule {
    /// The text of the first element.
    Text(String),
    /// All the ways.
    Full(FullRule),
}

/// Every way of taking a field.
#[part]
#[serde(deny_unknown_fields)]
pub struct FullRule {
    /// A CSS selector.
    select: String,
    /// An attribute in place of the text; `href` and `src` are made absolute.
    #[serde(default)]
    attr: Option<String>,
    /// Every element, as a list, in place of the first.
    #[serde(default)]
    all: bool,
    /// What the text is.
    #[serde(default, rename = "as")]
    kind: Kind,
}

/// What a field's text is.
#[part]
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Kind {
    /// Text.
    #[default]
    Text,
    /// The first number in it.
    Number,
    /// A table: a list of rows, each a list of cells. With two columns: an object.
    Table,
}

/// The fields of a page. Which there are, the params say.
#[output]
#[derive(Debug, PartialEq)]
pub struct Taken {
    /// The page's address.
    pub url: String,
    /// Taken fields by name; a field that the page doesn't have is absent.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// Takes fields by CSS selectors from `params`.
#[stage(reads("fetch/page.html"))]
pub fn extract(page: Page, wanted: &Fields, raw: &Artifacts) -> Result<Taken> {
    let html = raw.html("fetch", "page.html", Some(&page.url))?;
    let mut fields = Map::new();
    for (name, rule) in &wanted.fields {
        if let Some(value) = take(&html, rule)? {
            fields.insert(name.clone(), value);
        }
    }
    if let Some(missing) = wanted.required.iter().find(|name| !fields.contains_key(*name)) {
        return Err(StageError::reject(format!("no {missing} on the page")));
    }
    Ok(Taken { url: page.url, fields })
}

fn take(html: &Html, rule: &Rule) -> Result<Option<Value>> {
    let rule = match rule {
        Rule::Text(select) => return Ok(html.text_of(select)?.map(Value::from)),
        Rule::Full(rule) => rule,
    };
    if !rule.all {
        return Ok(html.first(&rule.select)?.and_then(|element| value(&element, rule)));
    }
    let all: Vec<Value> = html.select(&rule.select)?.iter().filter_map(|element| value(element, rule)).collect();
    Ok(if all.is_empty() { None } else { Some(Value::Array(all)) })
}

fn value(element: &Element<'_>, rule: &FullRule) -> Option<Value> {
    if rule.kind == Kind::Table {
        return table(element);
    }
    let text = match rule.attr.as_deref() {
        Some(attr @ ("href" | "src")) => element.link(attr)?,
        Some(attr) => element.attr(attr)?.trim().to_owned(),
        None => element.text(),
    };
    match rule.kind {
        _ if text.is_empty() => None,
        Kind::Number => number(&text).map(|number| json!(number)),
        Kind::Text | Kind::Table => Some(Value::from(text)),
    }
}

/// A table of two columns becomes an object, others a list of rows. Cells may be empty; a table without any may not.
fn table(element: &Element<'_>) -> Option<Value> {
    let rows = element.rows();
    if rows.is_empty() {
        return None;
    }
    let pairs = rows.iter().all(|row| row.len() == 2 && row.iter().all(|cell| !cell.is_empty()));
    Some(if pairs {
        Value::Object(rows.into_iter().filter_map(|row| Some((row.first()?.clone(), row.get(1)?.clone().into()))).collect())
    } else {
        let cell = |cell: String| if cell.is_empty() { Value::Null } else { Value::from(cell) };
        rows.into_iter().map(|row| row.into_iter().map(cell).collect::<Value>()).collect()
    })
}

/// The first number of a text: `1,234.50 EUR` is 1234.5. A comma parts thousands, a point the fraction.
fn number(text: &str) -> Option<f64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let sign = if text[..start].ends_with(['-', '\u{2212}']) { -1.0 } else { 1.0 };
    let end = text[start..].find(|c: char| !(c.is_ascii_digit() || matches!(c, ',' | '.'))).map_or(text.len(), |at| start + at);
    let digits = text[start..end].trim_end_matches(['.', ',']).replace(',', "");
    digits.parse::<f64>().ok().map(|number| sign * number)
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::mock;

    use super::*;

    const PAGE: &str = r#"<title>T</title><h1>Lamp <b>No 3</b></h1><p class="price">EUR 1,234.50</p>
        <a href="/a">A</a><a href="/b">B</a>
        <table class="specs"><tr><th>Width</th><td>3 cm</td></tr><tr><th>Colour</th><td>red</td></tr></table>"#;

    fn run(params: Value) -> Result<Taken> {
        let fields: Fields = tollgate_sdk::stage::take_params(&params)?;
        let page = Page { url: "https://a.example/x".into(), size: 1, media_type: "text/html".into(), links: 0 };
        let host = mock::Host::new().artifact("fetch", "page.html", PAGE.as_bytes());
        host.run(|| extract(page, &fields, &Artifacts))
    }

    #[test]
    fn fields_are_taken_in_every_way() {
        let taken = run(json!({"fields": {
            "title": "h1",
            "price": {"select": ".price", "as": "number"},
            "links": {"select": "a", "attr": "href", "all": true},
            "specs": {"select": "table.specs", "as": "table"},
            "absent": ".nowhere",
        }}))
        .unwrap();
        assert_eq!(
            Value::Object(taken.fields),
            json!({
                "title": "Lamp No 3",
                "price": 1234.5,
                "links": ["https://a.example/a", "https://a.example/b"],
                "specs": {"Width": "3 cm", "Colour": "red"},
            })
        );
    }

    #[test]
    fn a_page_without_a_required_field_is_rejected() {
        let rejected = run(json!({"fields": {"sku": ".sku"}, "required": ["sku"]}));
        assert_eq!(rejected, Err(StageError::reject("no sku on the page")));
    }

    #[test]
    fn a_bad_selector_is_permanent_and_named() {
        let Err(StageError::Permanent(reason)) = run(json!({"fields": {"sku": "h1["}})) else {
            panic!("a bad selector passed");
        };
        assert!(reason.contains("h1["), "{reason}");
    }

    #[test]
    fn s06_a_missing_page_fails() {
        let fields = Fields { fields: BTreeMap::new(), required: Vec::new() };
        let page = Page { url: "https://a.example/x".into(), size: 1, media_type: "text/html".into(), links: 0 };
        let failed = mock::Host::new().run(|| extract(page, &fields, &Artifacts));
        assert!(matches!(failed, Err(StageError::Failed(_))));
    }
}
