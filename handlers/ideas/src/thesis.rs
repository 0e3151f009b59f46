//! The stages: the page as it came, and the thesis taken out of it.

use tollgate_sdk::prelude::*;

use crate::listing::Idea;

/// A page that is kept.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    /// Its address, after redirects.
    url: String,
    /// Bytes of raw HTML, kept as `page.html`.
    size: u64,
}

/// A thesis.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Thesis {
    pub(crate) title: String,
    /// The company as the page names it.
    pub(crate) company: Option<String>,
    author: Option<String>,
    pub(crate) text: String,
    /// Words of `text`.
    words: u64,
    #[may_be_empty]
    catalysts: Vec<String>,
}

/// By which selectors the parts of a thesis are found.
#[params]
pub(crate) struct Parts {
    /// All of it.
    #[serde(default = "thesis")]
    thesis: Selector,
    /// Within it: its title.
    #[serde(default = "title")]
    title: Selector,
    /// The company's name.
    #[serde(default = "company")]
    company: Selector,
    /// Who wrote it.
    #[serde(default = "author")]
    author: Selector,
    /// The paragraphs of its text.
    #[serde(default = "text")]
    text: Selector,
    /// What may make it come true, one by one.
    #[serde(default = "catalysts")]
    catalysts: Selector,
}

fn thesis() -> Selector {
    "article.thesis".into()
}

fn title() -> Selector {
    "h1".into()
}

fn company() -> Selector {
    ".company".into()
}

fn author() -> Selector {
    ".author".into()
}

fn text() -> Selector {
    ".text p".into()
}

fn catalysts() -> Selector {
    ".catalysts li".into()
}

/// Keeps the raw page; parses nothing.
#[stage]
pub(crate) fn fetch(idea: &Idea) -> Result<Page> {
    let page = http::get(&idea.url)?;
    let saved = page.save("page.html")?;
    Ok(Page { url: page.url(), size: saved.size })
}

/// Takes the thesis out of the page.
#[stage]
pub(crate) fn extract(page: Page, parts: &Parts, #[reads("fetch/page.html")] raw: Artifact) -> Result<Thesis> {
    let html = raw.html(&page.url)?;
    let thesis = html.first(&parts.thesis)?.or_reject("no thesis on the page")?;
    let texts = |selector: &str| -> Result<Vec<String>> {
        let texts = thesis.select(selector)?.into_iter().map(|element| element.text());
        Ok(texts.filter(|text| !text.is_empty()).collect())
    };
    let first = |selector: &str| texts(selector).map(|texts| texts.into_iter().next());
    let text = texts(&parts.text)?.join("\n\n");
    if text.is_empty() {
        return Err(StageError::reject("the thesis has no text"));
    }
    Ok(Thesis {
        title: first(&parts.title)?.or_reject("the thesis has no title")?,
        company: first(&parts.company)?,
        author: first(&parts.author)?,
        words: text.split_whitespace().count() as u64,
        text,
        catalysts: texts(&parts.catalysts)?,
    })
}

#[cfg(test)]
impl Thesis {
    /// One by hand.
    pub(crate) fn of_tests(title: &str, company: Option<&str>, text: &str) -> Self {
        let owned = ToOwned::to_owned;
        let (title, text, company) = (owned(title), owned(text), company.map(owned));
        Self { title, company, author: None, words: 5, text, catalysts: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::{json, mock, serde_json};

    use super::*;

    const IDEA: &str = "https://ideas.example/idea/1";

    fn extracted(page: &str) -> Result<Thesis> {
        let idea = Idea { url: IDEA.to_owned(), company: "Acme".to_owned() };
        let host = mock::Host::new().page(IDEA, page);
        host.run(|| {
            let page = fetch(&idea)?;
            let parts: Parts = serde_json::from_value(json!({}))?;
            extract(page, &parts, Artifact::of("fetch", "page.html"))
        })
    }

    #[test]
    fn a_thesis_is_taken_apart() {
        let thesis = extracted(
            "<nav><p>About us</nav><article class=thesis><h1>Cheap</h1><span class=company>Acme</span>\
             <div class=text><p>It is cheap.<p>And sound.</div><ul class=catalysts><li>A spin-off</ul></article>",
        )
        .unwrap();
        assert_eq!((thesis.title.as_str(), thesis.company.as_deref(), thesis.author), ("Cheap", Some("Acme"), None));
        assert_eq!((thesis.text.as_str(), thesis.words), ("It is cheap.\n\nAnd sound.", 5));
        assert_eq!(thesis.catalysts, ["A spin-off"]);
    }

    #[test]
    fn s18_a_page_without_a_thesis_or_with_an_empty_one_makes_no_output() {
        for page in ["<p>Welcome", "<article class=thesis><h1>Cheap</h1><div class=text><p> </div></article>"] {
            assert!(matches!(extracted(page), Err(StageError::Reject(_))), "{page}");
        }
    }
}
