//! Bytes of a page to text: by its mark, its header, or what the page itself names.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

/// Where a page names its charset, if it does, in bytes: HTML's own limit.
const META_WITHIN_BYTES: usize = 1024;

/// The page's text. Cut bodies may end within a character, which is replaced.
pub(super) fn decode<'a>(body: &'a [u8], content_type: &str) -> Cow<'a, str> {
    let marked = Encoding::for_bom(body).map(|(encoding, _)| encoding);
    let declared = marked.or_else(|| label(&content_type.to_ascii_lowercase(), "charset="));
    let encoding = match declared {
        Some(encoding) if encoding != UTF_8 => encoding,
        // A page that calls itself UTF-8 and isn't is read by what it says of itself.
        _ if is_utf8(body) => UTF_8,
        _ => named_within(body).unwrap_or(UTF_8),
    };
    encoding.decode(body).0
}

/// Whether these are bytes of UTF-8, cut or not.
fn is_utf8(body: &[u8]) -> bool {
    match str::from_utf8(body) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

fn named_within(body: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&body[..body.len().min(META_WITHIN_BYTES)]).to_ascii_lowercase();
    label(&head, "charset=").or_else(|| label(&head, "encoding="))
}

fn label(text: &str, key: &str) -> Option<&'static Encoding> {
    let value = text[text.find(key)? + key.len()..].trim_start_matches(['"', '\'', ' ']);
    let end = value.find(['"', '\'', ';', ' ', '>', '/', '?']).unwrap_or(value.len());
    Encoding::for_label(&value.as_bytes()[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap14_a_wall_is_read_in_the_charset_that_its_header_or_it_itself_names() {
        assert_eq!(decode(b"requ\xeates", "text/html; charset=ISO-8859-1"), "requ\u{ea}tes");
        let page = b"<meta charset=\"Shift_JIS\">\x83\x81";
        assert_eq!(decode(page, "text/html"), "<meta charset=\"Shift_JIS\">\u{30e1}");
        assert_eq!(decode(page, "text/html; charset=utf-8"), "<meta charset=\"Shift_JIS\">\u{30e1}");
        assert_eq!(decode(b"\xff\xfea\0", "text/html"), "a");
        assert_eq!(decode("caf\u{e9}".as_bytes(), "text/html"), "caf\u{e9}");
        assert_eq!(decode(&"caf\u{e9}".as_bytes()[..4], "text/html"), "caf\u{fffd}", "a cut body");
    }
}
