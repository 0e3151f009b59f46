//! Links found in one streaming pass, for stages that fetch: no tree is built.

use std::{cell::RefCell, collections::HashSet, rc::Rc};

use lol_html::{HtmlRewriter, Settings, element};

use crate::{
    error::{Result, StageError},
    html::absolute,
};

/// Most links taken of one page: more than any page made for people has.
pub const LINKS_MAX: usize = 20_000;

/// Absolute http and https addresses that a page links to, in order, without fragments, each once. Follows the page's
/// `<base>`.
///
/// # Errors
/// The page's address is none, or the page can't be read as HTML.
pub fn of(page: &[u8], address: &str) -> Result<Vec<String>> {
    let address = url::Url::parse(address)
        .map_err(|error| StageError::Permanent(format!("{address:?} is no address: {error}")))?;
    let base = Rc::new(RefCell::new(address));
    let links = Rc::new(RefCell::new((Vec::new(), HashSet::new())));
    let (base_of_page, of_page) = (base.clone(), links.clone());
    let settings = Settings::new()
        .append_element_content_handler(element!("base[href]", move |element| {
            if let Some(href) = element.get_attribute("href") {
                let joined = base.borrow().join(&href);
                if let Ok(joined) = joined {
                    *base.borrow_mut() = joined;
                }
            }
            Ok(())
        }))
        .append_element_content_handler(element!("a[href]", move |element| {
            let href = element.get_attribute("href").unwrap_or_default().replace("&amp;", "&");
            let (links, seen) = &mut *links.borrow_mut();
            if let Some(link) = absolute(&href, Some(&base_of_page.borrow()))
                && links.len() < LINKS_MAX
                && seen.insert(link.clone())
            {
                links.push(link);
            }
            Ok(())
        }));
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    let broken = |error: lol_html::errors::RewritingError| StageError::Failed(format!("links of the page: {error}"));
    rewriter.write(page).map_err(broken)?;
    rewriter.end().map_err(broken)?;
    let links = std::mem::take(&mut of_page.borrow_mut().0);
    Ok(links)
}

/// The `<loc>` addresses of a sitemap or a sitemap index, and whether it is an index.
#[must_use]
pub fn of_sitemap(text: &str) -> (Vec<String>, bool) {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("<loc>") {
        rest = &rest[start + "<loc>".len()..];
        let Some(end) = rest.find("</loc>") else {
            break;
        };
        let link = rest[..end].trim().replace("&amp;", "&");
        if let Some(link) = absolute(&link, None) {
            found.push(link);
        }
        rest = &rest[end..];
    }
    (found, text.contains("<sitemapindex"))
}
