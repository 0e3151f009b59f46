//! Text as guards compare it: lower case, white space folded, typography and invisible characters taken out.

/// Longest text in quotation marks that counts as quoted, in characters: a sentence or two.
const QUOTED_CHARS_MAX: usize = 200;

/// Text on its way in, in pieces: white space is folded over their borders.
#[derive(Default)]
pub(super) struct Folded {
    text: String,
    space: bool,
}

impl Folded {
    pub(super) fn push(&mut self, piece: &str) {
        for char in piece.chars() {
            if char == ' ' {
                self.space = true;
                continue;
            }
            if std::mem::take(&mut self.space) && !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push(char);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn take(&mut self) -> String {
        self.space = false;
        std::mem::take(&mut self.text)
    }
}

/// Replaces `into` with what guards see of a piece of text. White space at its ends stays, as one space.
pub(super) fn normalise(piece: &str, into: &mut String) {
    into.clear();
    for char in piece.chars() {
        match char {
            'a'..='z' | '0'..='9' => into.push(char),
            'A'..='Z' => into.push(char.to_ascii_lowercase()),
            '\u{2018}' | '\u{2019}' | '\u{02bc}' => into.push('\''),
            // Soft hyphens, zero-width characters, and the dot that a Turkish capital leaves behind.
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{307}' => {}
            // Full-width forms.
            '\u{ff01}'..='\u{ff5e}' => {
                let plain = char::from_u32(u32::from(char) - 0xfee0).unwrap_or(char);
                into.push(plain.to_ascii_lowercase());
            }
            char if char.is_whitespace() => {
                if !into.ends_with(' ') {
                    into.push(' ');
                }
            }
            char if char.is_ascii() => into.push(char),
            char => into.extend(char.to_lowercase().filter(|char| *char != '\u{307}')),
        }
    }
}

/// What guards see of a whole text.
pub(super) fn normalised(text: &str) -> String {
    let mut piece = String::new();
    normalise(text, &mut piece);
    piece.trim().to_owned()
}

/// How much a text says, in halves of a Latin letter: a character of Chinese, Japanese or Korean says as much as two
/// letters and a half.
pub(super) fn weight(text: &str) -> usize {
    text.chars().map(|char| if is_wide(char) { 5 } else { 2 }).sum()
}

fn is_wide(char: char) -> bool {
    matches!(u32::from(char),
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0x20000..=0x3fffd)
}

/// Whether words aren't parted from each other in this character's script.
pub(super) fn is_unparted(char: char) -> bool {
    is_wide(char) || matches!(u32::from(char), 0x0e00..=0x0eff)
}

/// A line without what stands in quotation marks: a page that quotes a wall isn't one.
pub(super) fn unquoted(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['"', '\u{201c}', '\u{201e}', '\u{ab}', '\u{300c}', '\u{300e}']) {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let mut inside = from.chars();
        let closing: &[char] = match inside.next() {
            Some('\u{201e}') => &['\u{201c}', '\u{201d}'],
            Some('\u{201c}') => &['\u{201d}'],
            Some('\u{ab}') => &['\u{bb}'],
            Some('\u{300c}') => &['\u{300d}'],
            Some('\u{300e}') => &['\u{300f}'],
            _ => &['"'],
        };
        let inside = inside.as_str();
        let close = inside.char_indices().take(QUOTED_CHARS_MAX + 1).find(|(_, char)| closing.contains(char));
        match close {
            Some((end, char)) => {
                kept.push_str("\"\"");
                rest = &inside[end + char.len_utf8()..];
            }
            None => {
                kept.push('"');
                rest = inside;
            }
        }
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_different_is_the_same() {
        assert_eq!(normalised("  Ac\u{ad}cess\u{200b}  DE\u{2060}NIED\n"), "access denied");
        assert_eq!(normalised("you’re １０分 ＡＢＣ İzin"), "you're 10分 abc izin");
    }

    #[test]
    fn what_is_quoted_is_left_out() {
        assert_eq!(unquoted("it says “access denied”, and „zu viele“ too"), "it says \"\", and \"\" too");
        assert_eq!(unquoted("5\" pipe, one quote"), "5\" pipe, one quote");
    }
}
