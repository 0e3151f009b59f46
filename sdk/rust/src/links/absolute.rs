//! Links made absolute: by the `url` crate, or, where that comes to the same, by putting two pieces of text together. A
//! crawl resolves more links than anything else, and most are plain paths.

use url::{Position, Url};

/// A link made absolute and normal: http or https only, without its fragment. A mere fragment is none.
#[must_use]
pub fn absolute(link: &str, base: Option<&Url>) -> Option<String> {
    let link = link.trim();
    // A mere fragment leads to the page itself: most links of a reference page, known without joining.
    if link.starts_with('#') {
        return None;
    }
    base.and_then(|base| plain(link, base)).or_else(|| resolved(link, base))
}

fn resolved(link: &str, base: Option<&Url>) -> Option<String> {
    let mut url = match base {
        Some(base) => base.join(link).ok()?,
        None => Url::parse(link).ok()?,
    };
    if !is_web(&url) {
        return None;
    }
    if url.fragment().is_some() {
        url.set_fragment(None);
    }
    Some(url.into())
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// A path of which nothing has to be encoded or folded but `../` at its head; absent if the link isn't as plain as
/// that.
fn plain(link: &str, base: &Url) -> Option<String> {
    let path = link.split_once('#').map_or(link, |(path, _)| path);
    if path.is_empty() || !is_web(base) {
        return None;
    }
    let (origin, base_path) = (&base[..Position::BeforePath], &base[Position::BeforePath..Position::AfterPath]);
    let (mut folder, mut rest) = (&base_path[..=base_path.rfind('/')?], path);
    if let Some(from_root) = path.strip_prefix('/') {
        (folder, rest) = ("/", from_root);
    }
    while let Some(behind) = rest.strip_prefix("../") {
        rest = behind;
        // Above the root there is nothing: it stays there.
        let parent = folder[..folder.len() - 1].rfind('/').unwrap_or(0);
        folder = &folder[..=parent];
    }
    if !is_plain(rest) {
        return None;
    }
    let mut url = String::with_capacity(origin.len() + folder.len() + rest.len());
    url.push_str(origin);
    url.push_str(folder);
    url.push_str(rest);
    Some(url)
}

/// No segment begins with a dot or is empty, and no character means anything in an address but itself.
fn is_plain(path: &str) -> bool {
    let mut before = b'/';
    path.bytes().all(|byte| {
        let is_plain = match byte {
            b'.' | b'/' => before != b'/',
            _ => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'+' | b',' | b'!' | b'$' | b'='),
        };
        before = byte;
        is_plain
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIECES: &str = "..;.;/;../;./;//;a;B;x.html;..c;d.;#f;#;?q;:;http:;https://;%41;%2e;é; ;\t;\\;@;~;=;&;';\";|";
    const BASES: [&str; 7] = [
        "https://a.example/",
        "https://a.example/d/e/page.html?x=/y#z",
        "http://a.example:8080/d/",
        "http://u:p@a.example/d/e/f/g",
        "https://a.example",
        "file:///d/e",
        "data:text/html,x",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]
        #[test]
        fn a_plain_link_is_what_it_would_be_resolved_to(
            base in 0..BASES.len(),
            pieces in prop::collection::vec(prop::sample::select(PIECES.split(';').collect::<Vec<_>>()), 0..8),
        ) {
            let base = Url::parse(BASES[base]).unwrap();
            let link = pieces.concat();
            let link = link.trim();
            if let Some(plain) = plain(link, &base) {
                prop_assert_eq!(Some(plain), resolved(link, Some(&base)), "{} on {}", link, base);
            }
        }
    }

    #[test]
    fn links_of_all_kinds_are_resolved() {
        let base = Url::parse("https://a.example/d/e/page.html").unwrap();
        for (link, wanted) in [
            ("x.html#f", Some("https://a.example/d/e/x.html")),
            ("../../../x", Some("https://a.example/x")),
            ("../", Some("https://a.example/d/")),
            ("/x", Some("https://a.example/x")),
            ("//B.example/x", Some("https://b.example/x")),
            ("x/../y", Some("https://a.example/d/e/y")),
            ("?q", Some("https://a.example/d/e/page.html?q")),
            ("", Some("https://a.example/d/e/page.html")),
            ("#f", None),
            ("mailto:a@b.example", None),
        ] {
            assert_eq!(absolute(link, Some(&base)).as_deref(), wanted, "{link}");
        }
    }
}
