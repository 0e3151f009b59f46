//! A page's text as a model is given it: without what only costs, and cut at a bound, which is said (Q09).

/// Most characters of a document: what a model is asked about a page shows in them.
pub const DOCUMENT_CHARS_MAX: usize = 50_000;
/// Longest head of a data URI that is looked at, in bytes: a media type with its parameters.
const HEAD_BYTES_MAX: usize = 200;
/// How a data URI begins.
const SCHEME: &str = "data:";

/// A text for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// At most [`DOCUMENT_CHARS_MAX`] characters, without data URIs.
    pub text: String,
    /// There is more of it than that.
    pub is_cut: bool,
}

impl Document {
    /// Cleans and cuts a text; `is_cut`: it is a part already.
    #[must_use]
    pub fn of(text: &str, is_cut: bool) -> Self {
        let mut text = without_data(text);
        let end = text.char_indices().nth(DOCUMENT_CHARS_MAX).map(|(end, _)| end);
        if let Some(end) = end {
            text.truncate(end);
        }
        Self { text, is_cut: is_cut || end.is_some() }
    }
}

/// The text without data URIs: pictures and fonts, written out.
fn without_data(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(4 * DOCUMENT_CHARS_MAX));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(SCHEME) {
        kept.push_str(before);
        match data_end(after) {
            Some(end) => rest = &after[end..],
            None => {
                kept.push_str(SCHEME);
                rest = after;
            }
        }
    }
    kept.push_str(rest);
    kept
}

/// Where a data URI ends whose scheme stands before; absent: it is none.
fn data_end(after: &str) -> Option<usize> {
    let comma = after.bytes().take(HEAD_BYTES_MAX).position(|byte| byte == b',')?;
    let (head, body) = (&after[..comma], &after[comma + 1..]);
    let is_head = |byte: u8| byte.is_ascii_alphanumeric() || b"/;=+.-_".contains(&byte);
    if !head.bytes().all(is_head) || !(head.contains('/') || head.ends_with(";base64")) {
        return None;
    }
    let ends =
        |char: char| char.is_whitespace() || matches!(char, '"' | '\'' | '`' | '<' | '>' | ')' | ']' | '}' | '\\');
    Some(comma + 1 + body.find(ends).unwrap_or(body.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q09_data_uris_are_taken_out_and_a_cut_is_said() {
        let page = "A chart (data:image/png;base64,iVBORw0KGgo=) of data: image, and more; data:,x";
        let whole = Document::of(page, false);
        assert_eq!(whole.text, "A chart () of data: image, and more; data:,x");
        assert!(!whole.is_cut && Document::of(page, true).is_cut);
        let long = Document::of(&"ä".repeat(DOCUMENT_CHARS_MAX + 1), false);
        assert!(long.is_cut && long.text.chars().count() == DOCUMENT_CHARS_MAX);
        let picture = format!("a data:image/gif;base64,{} b", "R0lG".repeat(DOCUMENT_CHARS_MAX));
        assert_eq!(Document::of(&picture, false), Document { text: "a  b".to_owned(), is_cut: false });
    }
}
