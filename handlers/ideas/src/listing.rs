//! Discovery: the listing, from its newest page to its oldest.

use tollgate_sdk::prelude::*;

/// What the listing says of an idea.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Idea {
    /// Its page.
    #[key]
    pub(crate) url: String,
    /// The company that it is about; empty where the listing doesn't say.
    #[serde(default)]
    pub(crate) company: String,
}

/// Where the listing is, and how it is read.
#[params]
pub(crate) struct Listing {
    /// Its first page, which has the newest ideas.
    listing: Address,
    /// One idea in it.
    #[serde(default = "entry")]
    entry: Selector,
    /// The link to the idea's page, within an entry.
    #[serde(default = "link")]
    link: Selector,
    /// The company's name, within an entry.
    #[serde(default = "company")]
    company: Selector,
    /// The link to the next page of the listing.
    #[serde(default = "next")]
    next: Selector,
}

fn entry() -> Selector {
    "ul.ideas > li".into()
}

fn link() -> Selector {
    "a.idea".into()
}

fn company() -> Selector {
    ".company".into()
}

fn next() -> Selector {
    "a[rel=next]".into()
}

/// A page of the listing; the next one's address is the cursor.
#[discover]
pub(crate) fn list(round: &Round, site: &Listing) -> Result<Found> {
    let page = http::get(round.cursor().unwrap_or(&site.listing))?.html()?;
    let mut ideas = Vec::new();
    for entry in page.select(&site.entry)? {
        let text_of = |selector: &str| entry.select(selector).map(|found| found.first().map(|found| found.text()));
        let link = entry.select(&site.link)?.first().and_then(|link| link.link("href"));
        let url = link.or_fail("an entry of the listing has no link: is `link` of params its selector?")?;
        ideas.push(Idea { url, company: text_of(&site.company)?.unwrap_or_default() });
    }
    let next = page.first(&site.next)?.and_then(|link| link.link("href"));
    Ok(Found::page(ideas, next))
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::{json, mock};

    use super::*;

    const LISTING: &str = "https://ideas.example/ideas";

    fn round(cursor: Option<&str>) -> Round {
        Round { job: "ideas".to_owned(), params: json!({"listing": LISTING}), cursor: cursor.map(ToOwned::to_owned) }
    }

    fn found(page: &str) -> Result<Found> {
        let host = mock::Host::new().page(LISTING, page);
        host.run(|| {
            let site = tollgate_sdk::serde_json::from_value(round(None).params)?;
            list(&round(None), &site)
        })
    }

    #[test]
    fn a_page_gives_its_ideas_and_the_next_page() {
        let found = found(
            "<ul class=ideas><li><a class=idea href=/idea/2>Two</a> <span class=company>Acme</span>\
             <li><a class=idea href=/idea/1>One</a></ul><a rel=next href='?page=2'>Older</a>",
        )
        .unwrap();
        let keys: Vec<&str> = found.items.iter().map(|item| item.key.as_str()).collect();
        assert_eq!(keys, ["https://ideas.example/idea/2", "https://ideas.example/idea/1"]);
        assert_eq!(found.items[0].data["company"], "Acme");
        assert_eq!(found.cursor.as_deref(), Some("https://ideas.example/ideas?page=2"));
    }

    #[test]
    fn q07_an_entry_without_its_link_is_an_error_and_no_empty_page() {
        let error = found("<ul class=ideas><li>Two</ul>").unwrap_err();
        assert!(matches!(&error, StageError::Failed(text) if text.contains("`link` of params")), "{error}");
    }
}
