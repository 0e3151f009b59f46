//! Names of members: UTF-8, or the code page of 1981 that the format began with.

use std::borrow::Cow;

/// The upper half of code page 437, appendix D of the format's description. The lower half is ASCII.
const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ\
    áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
    αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A name as text. Whatever is UTF-8 is taken as that, whether or not bit 11 says so (4.4.4):
/// many writers leave it out.
pub(super) fn decode(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(name) => Cow::Borrowed(name),
        Err(_) => Cow::Owned(name.iter().map(|byte| of_code_page(*byte)).collect()),
    }
}

/// Whether a name is that text.
pub(super) fn is(name: &[u8], text: &str) -> bool {
    name == text.as_bytes() || (!name.is_ascii() && decode(name) == text)
}

fn of_code_page(byte: u8) -> char {
    let upper = byte.checked_sub(128).and_then(|upper| UPPER.chars().nth(upper.into()));
    upper.unwrap_or(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_utf8_or_of_the_code_page() {
        assert_eq!(UPPER.chars().count(), 128);
        assert_eq!(decode("Größe.txt".as_bytes()), "Größe.txt");
        assert_eq!(decode(b"Gr\x94\xe1e.txt"), "Größe.txt");
        assert_eq!(decode(b"\xff\x80"), "\u{a0}Ç");
        assert!(is(b"Gr\x94\xe1e.txt", "Größe.txt") && is(b"a", "a") && !is(b"a", "b"));
    }
}
