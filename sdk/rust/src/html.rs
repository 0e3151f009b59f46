//! Pages, taken apart by CSS selectors.

mod names;
mod parse;
mod reader;
mod run;

use std::cell::RefCell;

use foldhash::{HashMap, HashSet, HashSetExt as _};
use scraper::{ElementRef, Node, Selector};

use self::parse::Parsed;
use crate::{
    error::{Result, StageError},
    links::absolute,
};

/// A parsed page.
pub struct Html {
    page: scraper::Html,
    base: Option<url::Url>,
    /// Links made absolute so far, by what stands on the page: most pages name few addresses many times.
    absolute: RefCell<HashMap<String, Option<String>>>,
}

/// An element of a page.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    element: ElementRef<'a>,
    page: &'a Html,
}

/// Parses a CSS selector.
///
/// # Errors
/// It is none, says what is wrong with it. A failure, not the item's end: every item meets it, and the breaker pauses
/// the job.
pub fn selector(text: &str) -> Result<Selector> {
    Selector::parse(text).map_err(|error| StageError::Failed(format!("{text:?} is no CSS selector: {error}")))
}

impl Html {
    /// Parses a page. Relative links are resolved against its own `<base>`, else against `base`.
    #[must_use]
    pub fn parse(text: &str, base: Option<&str>) -> Self {
        let Parsed { page, has_base } = parse::parse(text);
        let address = base.and_then(|base| url::Url::parse(base).ok());
        let own = Selector::parse("base[href]").ok().filter(|_| has_base).and_then(|selector| {
            page.select(&selector).next().and_then(|element| element.value().attr("href").map(ToOwned::to_owned))
        });
        let base = match (address, own) {
            (Some(address), Some(own)) => address.join(&own).ok().or(Some(address)),
            (address, own) => address.or_else(|| own.and_then(|own| url::Url::parse(&own).ok())),
        };
        Self { page, base, absolute: RefCell::default() }
    }

    /// All elements that a selector matches, in the page's order.
    ///
    /// # Errors
    /// The selector is none.
    pub fn select(&self, text: &str) -> Result<Vec<Element<'_>>> {
        let selector = selector(text)?;
        Ok(self.page.select(&selector).map(|element| Element { element, page: self }).collect())
    }

    /// The first element that a selector matches.
    ///
    /// # Errors
    /// The selector is none.
    pub fn first(&self, text: &str) -> Result<Option<Element<'_>>> {
        let selector = selector(text)?;
        Ok(self.page.select(&selector).next().map(|element| Element { element, page: self }))
    }

    /// The text of the first element that a selector matches; absent if there is none, or no text in it.
    ///
    /// # Errors
    /// The selector is none.
    pub fn text_of(&self, text: &str) -> Result<Option<String>> {
        Ok(self.first(text)?.map(|element| element.text()).filter(|text| !text.is_empty()))
    }

    /// The page's title.
    #[must_use]
    pub fn title(&self) -> Option<String> {
        self.text_of("title").ok().flatten()
    }

    /// Absolute addresses of all links, in order, without fragments, each once.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        let mut seen = HashSet::new();
        for element in self.select("a[href], area[href]").unwrap_or_default() {
            if let Some(link) = element.link("href")
                && seen.insert(link.clone())
            {
                links.push(link);
            }
        }
        links
    }
}

impl<'a> Element<'a> {
    /// Its text, white space folded, scripts and styles left out.
    #[must_use]
    pub fn text(&self) -> String {
        let mut raw = String::new();
        collect_text(self.element, &mut raw);
        let mut text = String::with_capacity(raw.len());
        for word in raw.split_whitespace() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// An attribute.
    #[must_use]
    pub fn attr(&self, name: &str) -> Option<&'a str> {
        self.element.value().attr(name)
    }

    /// An attribute as an absolute http or https address without a fragment.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<String> {
        // A mere fragment is no link, and the most frequent of all.
        let link = self.attr(name).filter(|link| !link.starts_with('#'))?;
        let mut known = self.page.absolute.borrow_mut();
        if let Some(known) = known.get(link) {
            return known.clone();
        }
        let made = absolute(link, self.page.base.as_ref());
        known.insert(link.to_owned(), made.clone());
        made
    }

    /// Elements within it that a selector matches.
    ///
    /// # Errors
    /// The selector is none.
    pub fn select(&self, text: &str) -> Result<Vec<Element<'a>>> {
        let selector = selector(text)?;
        Ok(self.element.select(&selector).map(|element| Element { element, page: self.page }).collect())
    }

    /// A table's rows, each cell's text; a `colspan` repeats nothing.
    #[must_use]
    pub fn rows(&self) -> Vec<Vec<String>> {
        let rows = self.select("tr").unwrap_or_default();
        let cells = |row: &Element<'_>| -> Vec<String> {
            row.select("th, td").unwrap_or_default().iter().map(Element::text).collect()
        };
        rows.iter().map(cells).filter(|row| !row.is_empty()).collect()
    }
}

/// Elements that stand within a line: no space around their text. All others break it.
const INLINE: [&str; 15] =
    ["a", "abbr", "b", "code", "em", "i", "mark", "s", "small", "span", "strong", "sub", "sup", "u", "wbr"];
/// Elements whose text nobody reads.
const UNREAD: [&str; 4] = ["script", "style", "template", "noscript"];

/// Walks without recursion: a page may be nested deeper than a handler's stack.
fn collect_text(element: ElementRef<'_>, text: &mut String) {
    let mut next = element.first_child();
    while let Some(mut node) = next {
        next = match node.value() {
            Node::Text(part) => {
                text.push_str(part);
                None
            }
            Node::Element(child) if UNREAD.contains(&child.name()) => None,
            Node::Element(child) => {
                if !INLINE.contains(&child.name()) {
                    text.push(' ');
                }
                node.first_child()
            }
            _ => None,
        };
        while next.is_none() {
            next = node.next_sibling();
            if next.is_none() {
                match node.parent().filter(|parent| parent.id() != element.id()) {
                    Some(parent) => node = parent,
                    None => return,
                }
                if node.value().as_element().is_some_and(|element| !INLINE.contains(&element.name())) {
                    text.push(' ');
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_and_scripts_are_left_out() {
        let page = Html::parse(
            "<body><h1>Lamp <b>No</b>3</h1><p>a<br>b</p><script>x()</script><div>c<div><i>d</i></div></div>e",
            None,
        );
        assert_eq!(page.text_of("h1").unwrap().unwrap(), "Lamp No3");
        assert_eq!(page.text_of("body").unwrap().unwrap(), "Lamp No3 a b c d e");
        assert_eq!(page.text_of("script").unwrap(), Some("x()".into()), "asked for by name");
        assert_eq!(page.text_of("i").unwrap().unwrap(), "d");
        assert_eq!(page.text_of("br").unwrap(), None);
    }

    #[test]
    fn a_page_nested_deeply_is_read() {
        let page = Html::parse(&format!("{}x", "<div>".repeat(50_000)), None);
        assert_eq!(page.text_of("body").unwrap().unwrap(), "x");
    }

    #[test]
    fn links_follow_the_base() {
        let page =
            Html::parse("<base href=/b/><a href=x#1>1</a><a href=x>2</a><a href=#y>y</a>", Some("https://a.example/"));
        assert_eq!(page.links(), ["https://a.example/b/x"]);
    }

    #[test]
    fn tables_are_rows_of_cells() {
        let page = Html::parse("<table><tr><th>A<td>1<tr><td>B<td></table>", None);
        assert_eq!(page.first("table").unwrap().unwrap().rows(), [["A", "1"], ["B", ""]]);
    }

    #[test]
    fn a_bad_selector_is_a_failure_and_named() {
        assert!(
            matches!(Html::parse("", None).text_of("h1["), Err(StageError::Failed(reason)) if reason.contains("h1["))
        );
    }
}
