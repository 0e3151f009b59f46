//! Rules of params: what to take of a page, and how.

use tollgate_sdk::{
    Map, Value,
    html::{Element, Html},
    json,
    prelude::*,
};

/// How a field is taken. A selector alone takes the first element's text.
#[part]
#[serde(untagged)]
pub(crate) enum Rule {
    /// `"h1"`: the text of the first element.
    First(Selector),
    /// `{ text = "article" }`: the text of all elements, in one.
    Text(TextRule),
    /// `{ table = "table.specs" }`: the first table.
    Table(TableRule),
    /// `{ select = ".price", parse = "number" }`: all the ways.
    Select(SelectRule),
}

/// The text of all elements, in one.
#[part]
#[serde(deny_unknown_fields)]
pub(crate) struct TextRule {
    /// A CSS selector.
    text: Selector,
}

/// A table: with two columns an object, else a list of rows, each a list of cells.
#[part]
#[serde(deny_unknown_fields)]
pub(crate) struct TableRule {
    /// A CSS selector.
    table: Selector,
}

/// Every way of taking elements.
#[part]
#[serde(deny_unknown_fields)]
pub(crate) struct SelectRule {
    /// A CSS selector.
    select: Selector,
    /// An attribute in place of the text; `href` and `src` are made absolute.
    #[serde(default)]
    attr: Option<String>,
    /// Every element, as a list, in place of the first.
    #[serde(default)]
    all: bool,
    /// What the text is.
    #[serde(default)]
    parse: Parse,
}

/// What a text is.
#[part]
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Parse {
    /// Text.
    #[default]
    Text,
    /// The first number in it.
    Number,
}

impl Rule {
    /// Takes a field; absent, if the page doesn't have it.
    pub(crate) fn take(&self, html: &Html) -> Result<Option<Value>> {
        match self {
            Self::First(select) => Ok(html.text_of(select)?.map(Value::from)),
            Self::Text(TextRule { text }) => {
                let texts: Vec<String> = html.select(text)?.iter().map(Element::text).collect();
                let text = texts.join("\n");
                Ok(Some(text).filter(|text| !text.trim().is_empty()).map(Value::from))
            }
            Self::Table(TableRule { table: select }) => Ok(html.first(select)?.and_then(|element| table(&element))),
            Self::Select(rule) if rule.all => {
                let values: Vec<Value> =
                    html.select(&rule.select)?.iter().filter_map(|element| rule.value(element)).collect();
                Ok(Some(values).filter(|values| !values.is_empty()).map(Value::Array))
            }
            Self::Select(rule) => Ok(html.first(&rule.select)?.and_then(|element| rule.value(&element))),
        }
    }
}

impl SelectRule {
    fn value(&self, element: &Element<'_>) -> Option<Value> {
        let text = match self.attr.as_deref() {
            Some(attr @ ("href" | "src")) => element.link(attr)?,
            Some(attr) => element.attr(attr)?.trim().to_owned(),
            None => element.text(),
        };
        match self.parse {
            _ if text.is_empty() => None,
            Parse::Number => text::number(&text).map(|number| json!(number)),
            Parse::Text => Some(Value::from(text)),
        }
    }
}

/// A table of two columns becomes an object, others a list of rows. An empty cell is null; a table of none is absent.
fn table(element: &Element<'_>) -> Option<Value> {
    let rows = element.rows();
    if rows.iter().flatten().all(String::is_empty) {
        return None;
    }
    let cell = |cell: String| if cell.is_empty() { Value::Null } else { Value::from(cell) };
    let are_pairs = rows.iter().all(|row| matches!(row.as_slice(), [name, _] if !name.is_empty()));
    let mut names: Vec<&String> = rows.iter().filter_map(|row| row.first()).collect();
    names.sort_unstable();
    let are_unique = names.windows(2).all(|pair| pair[0] != pair[1]);
    if !are_pairs || !are_unique {
        return Some(rows.into_iter().map(|row| row.into_iter().map(cell).collect::<Value>()).collect());
    }
    let pair = |row: Vec<String>| {
        let mut cells = row.into_iter();
        Some((cells.next()?, cell(cells.next()?)))
    };
    Some(Value::Object(rows.into_iter().filter_map(pair).collect::<Map<String, Value>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_become_objects_where_their_names_are_unique() {
        let of = |page: &str| table(&Html::parse(page, None).first("table").unwrap().unwrap());
        assert_eq!(of("<table><tr><th>A<td>1<tr><th>B<td></table>"), Some(json!({"A": "1", "B": null})));
        assert_eq!(of("<table><tr><td>A<td>1<tr><td>A<td>2</table>"), Some(json!([["A", "1"], ["A", "2"]])));
        assert_eq!(of("<table><tr><td>A<td>1<td>2</table>"), Some(json!([["A", "1", "2"]])));
        assert_eq!(of("<table><tr><td></table>"), None);
    }
}
