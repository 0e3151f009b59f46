//! Bytes to text, by the charset that a media type or the page itself names.

use encoding_rs::{Encoding, UTF_8};

/// Where a page names its charset, if it does: HTML asks for the first 1024 bytes.
const META_WITHIN_BYTES: usize = 1024;

/// Text of a body: the byte order mark decides, then `content_type`, then UTF-8 where it fits, then what the page's
/// `<meta>` or XML declaration names, then UTF-8 with the rest replaced.
pub(crate) fn decode(bytes: Vec<u8>, content_type: Option<&str>) -> String {
    let declared = content_type.and_then(of_content_type);
    let marked = Encoding::for_bom(&bytes).map(|(encoding, _)| encoding);
    let encoding = match marked.or(declared) {
        Some(encoding) if encoding != UTF_8 => encoding,
        Some(_) if marked.is_some() => UTF_8,
        _ => match String::from_utf8(bytes) {
            Ok(text) => return text,
            Err(error) => {
                let bytes = error.into_bytes();
                return decode_as(named_within(&bytes).unwrap_or(UTF_8), &bytes);
            }
        },
    };
    decode_as(encoding, &bytes)
}

fn decode_as(encoding: &'static Encoding, bytes: &[u8]) -> String {
    encoding.decode(bytes).0.into_owned()
}

/// `charset=…` of a media type.
fn of_content_type(content_type: &str) -> Option<&'static Encoding> {
    let lower = content_type.to_ascii_lowercase();
    label(&lower, "charset=")
}

/// What a page says of itself.
fn named_within(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(META_WITHIN_BYTES)]).to_ascii_lowercase();
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
    fn the_header_the_page_and_the_mark_name_the_charset() {
        assert_eq!(decode(b"caf\xe9".to_vec(), Some("text/html; charset=ISO-8859-1")), "café");
        assert_eq!(decode(b"<meta charset='windows-1251'>\xcf".to_vec(), None), "<meta charset='windows-1251'>П");
        assert_eq!(decode(b"\xff\xfea\0".to_vec(), Some("text/html; charset=utf-8")), "a");
        assert_eq!(decode(b"\xef\xbb\xbfa".to_vec(), None), "a");
    }

    #[test]
    fn utf8_is_the_default_and_what_fits_nothing_is_replaced() {
        assert_eq!(decode("é".into(), Some("text/html")), "é");
        assert_eq!(decode("é".into(), Some("text/html; charset=nonsense")), "é");
        assert_eq!(decode(b"a\xff".to_vec(), None), "a\u{fffd}");
    }
}
