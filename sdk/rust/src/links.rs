//! Links found in one streaming pass, for stages that fetch: no tree is built.

mod absolute;
mod finder;
mod tags;

pub use self::absolute::absolute;
use crate::error::{Result, StageError};

/// Most links taken of one page: more than any page made for people has.
pub const LINKS_MAX: usize = 20_000;

/// The links of a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    /// Absolute http and https addresses, in the page's order, without fragments, each once.
    pub urls: Vec<String>,
    /// How many more the page has than [`LINKS_MAX`].
    pub left_out: u64,
}

/// Finds the links of a page, whose address is `address`. Follows the page's `<base>`. The page is UTF-8, as
/// [`Response::text`](crate::http::Response::text) makes it; what is none is replaced.
///
/// # Errors
/// The page's address is none.
pub fn of(page: &[u8], address: &str) -> Result<Links> {
    find(page, address, false)
}

/// As [`of`], but for links that the site asks crawlers not to follow (`rel="nofollow"`).
///
/// # Errors
/// As [`of`].
pub fn followable(page: &[u8], address: &str) -> Result<Links> {
    find(page, address, true)
}

fn find(page: &[u8], address: &str, skip_nofollow: bool) -> Result<Links> {
    let base = url::Url::parse(address)
        .map_err(|error| StageError::Permanent(format!("{address:?} is no address: {error}")))?;
    Ok(finder::find(page, base, skip_nofollow))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(page: &str) -> Vec<String> {
        of(page.as_bytes(), "https://a.example/d/page").unwrap().urls
    }

    #[test]
    fn links_are_absolute_and_given_once() {
        let page = r##"<a href="/x#1">1</a> <a href="x">2</a> <a href='/x#2'>3</a> <map><area href="//B.example:443/"></map>
            <a href="mailto:a@b.example">m</a> <a href="javascript:void(0)">j</a> <a href="#top">t</a> <a name="n">n</a>"##;
        assert_eq!(urls(page), ["https://a.example/x", "https://a.example/d/x", "https://b.example/"]);
    }

    #[test]
    fn the_base_and_entities_count() {
        let page = r#"<base href="/b/"><base href="/c/"><a href="?a=1&amp;b=2&#38;c=3&x;">x</a>"#;
        assert_eq!(urls(page), ["https://a.example/b/?a=1&b=2&c=3&x;"]);
    }

    #[test]
    fn an_icon_hides_no_link_behind_it() {
        for icon in ["<svg><title/><path/></svg>", "<svg/>", "<svg><style>a{}</style></svg>", "<math><mi/></math>"] {
            assert_eq!(urls(&format!("{icon}<a href=x>x</a>")), ["https://a.example/d/x"], "{icon}");
        }
    }

    #[test]
    fn nofollow_is_left_out_where_asked() {
        let page = br#"<a rel="noopener NoFollow" href="/x">x</a><a href="/y">y</a>"#;
        assert_eq!(followable(page, "https://a.example/").unwrap().urls, ["https://a.example/y"]);
        assert_eq!(of(page, "https://a.example/").unwrap().urls.len(), 2);
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let page: String = (0..LINKS_MAX + 3).map(|n| format!("<a href=/{n}>n</a>")).collect();
        let links = of(page.as_bytes(), "https://a.example/").unwrap();
        assert_eq!((links.urls.len(), links.left_out), (LINKS_MAX, 3));
    }
}
