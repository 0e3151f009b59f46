//! How many tokens a prompt will be, before anybody has counted them. What a reservation is made of leans upwards, and
//! is no bound: settling goes by the provider's own count.

use crate::{
    prompt::{Content, Document, Media, Prompt},
    wire::Fitted,
};

/// The most tokens that a picture counts for with any model that the table of prices says nothing else of.
pub const IMAGE_TOKENS: u64 = 5_000;
/// Tokens of a PDF's page: up to 3,000 of text, and the page as a picture of the usual kind.
const PAGE_TOKENS: u64 = 5_000;
/// The fewest that a page is, of text alone.
const PAGE_TOKENS_MIN: u64 = 1_500;
/// Bytes of a PDF's page where none can be counted: a page of packed text is rarely smaller.
const PAGE_BYTES: u64 = 4_096;
/// Around each prompt: roles, the preamble, and what providers add on their own for tools and schemas.
const AROUND: u64 = 1_000;
/// Around each document and each turn: its tags and its name's quotes.
const AROUND_EACH: u64 = 20;

/// Tokens that a prompt will be, all of them read anew. `fitted`: of its schema; `image_tokens`: of one picture.
#[must_use]
pub(crate) fn input_tokens(prompt: &Prompt, fitted: &Fitted, image_tokens: u64) -> u64 {
    let documents = prompt.documents.iter().map(|document| of_document(document, image_tokens));
    let turns = prompt.turns.iter().map(|turn| {
        let results = turn.results.iter().map(|result| of_text(&result.text) + AROUND_EACH).sum::<u64>();
        of_text(&turn.said.raw.to_string()) + results + AROUND_EACH
    });
    let schema = prompt.schema.as_ref().and_then(|schema| fitted.given(schema));
    let schema = schema.map_or(0, |schema| of_text(schema.as_str()));
    AROUND + of_text(&prompt.instruction) + schema + documents.sum::<u64>() + turns.sum::<u64>()
}

/// Tokens that the documents are which more than one call reads, rather too few than too many: a token has about four
/// letters, and a picture counts for nearly nothing with some models.
#[must_use]
pub fn shared_tokens(prompt: &Prompt) -> u64 {
    let least = |document: &Document| match document.content() {
        Content::Text { text, .. } => text.len() as u64 / 4,
        Content::Blob { media: Media::Pdf, bytes } => PAGE_TOKENS_MIN.saturating_mul(pages(bytes)),
        Content::Blob { .. } => 0,
    };
    prompt.documents.iter().filter(|document| document.is_shared()).map(least).sum()
}

/// Tokens that so many bytes of an answer are, where it was cut off before it was counted.
#[must_use]
pub fn output_tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(3)
}

fn of_document(document: &Document, image_tokens: u64) -> u64 {
    let content = match document.content() {
        Content::Text { text, .. } => of_text(text),
        Content::Blob { media: Media::Pdf, bytes } => PAGE_TOKENS.saturating_mul(pages(bytes)),
        Content::Blob { .. } => image_tokens,
    };
    content.saturating_add(of_text(document.name())) + AROUND_EACH
}

/// Tokens of a text. Tokenizers make a token of about four letters of English and of fewer in code and in other
/// languages, so three are taken; some take digits one by one, and all some punctuation; what isn't ASCII is a token
/// for two of its bytes, which is what Chinese and Japanese come to at the most.
fn of_text(text: &str) -> u64 {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let (mut letters, mut wide) = (0, 0);
    // In a byte each, as far as one goes: so many bytes of the text are looked at in one step of the processor.
    for part in text.as_bytes().chunks(u8::MAX.into()) {
        letters += u64::from(part.iter().map(|byte| u8::from(is_letter(*byte))).sum::<u8>());
        wide += u64::from(part.iter().map(|byte| u8::from(!byte.is_ascii())).sum::<u8>());
    }
    let single = text.len() as u64 - letters - wide;
    letters.div_ceil(3) + single + wide.div_ceil(2)
}

/// Pages of a PDF: as many as name themselves one, and where objects are packed, so that none is seen, by its size.
fn pages(bytes: &[u8]) -> u64 {
    let name = b"/Type/Page";
    let spaced = b"/Type /Page";
    let is_page = |window: &[u8], name: &[u8]| window.starts_with(name) && window.get(name.len()) != Some(&b's');
    let windows = (0..bytes.len()).filter(|&at| bytes[at] == b'/');
    let named = windows.filter(|&at| is_page(&bytes[at..], name) || is_page(&bytes[at..], spaced)).count() as u64;
    if named > 0 { named } else { (bytes.len() as u64).div_ceil(PAGE_BYTES).max(1) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};
    use tollgate_core::model::Dialect;

    use super::*;
    use crate::prompt::{Said, Turn};

    fn of(text: &str) -> u64 {
        of_text(text)
    }

    #[test]
    fn a03_an_estimate_leans_upwards() {
        // Counted by OpenAI's o200k tokenizer, as its documentation shows, or as many as there are characters of it.
        assert!(of("The quick brown fox jumps over the lazy dog.") >= 10);
        assert!(of("2,103.55 1,998.02 77.1") >= 22 - 2, "a tokenizer that takes digits one by one");
        assert!(of("今日は良い天気です") >= 9, "Japanese: a token a character at the most");
        assert!(of("fn main() { println!(\"{}\", 1 + 1); }") >= 15);
        assert!(of(&"word ".repeat(1_000)) < 2_500, "and not too far");
        assert_eq!(of(""), 0);
        let each = 3_000;
        assert_eq!(of(&"\u{e4}".repeat(each)), each as u64, "however long it is");
        assert_eq!(of(&"1".repeat(each)), each as u64);
    }

    #[test]
    fn everything_that_is_sent_counts() {
        let text = "x".repeat(3_000);
        let empty = input_tokens(&Prompt::default(), &Fitted::default(), IMAGE_TOKENS);
        let with = |change: &dyn Fn(&mut Prompt)| {
            let mut prompt = Prompt::default();
            change(&mut prompt);
            input_tokens(&prompt, &Fitted::default(), IMAGE_TOKENS) - empty
        };
        let raw = Value::from(text.as_str());
        let said = Said { dialect: Dialect::OpenAi, raw: raw.clone() };
        assert_eq!(with(&|prompt| prompt.instruction.clone_from(&text)), 1_000);
        assert!(with(&|prompt| prompt.schema = Some(json!({"description": text}))) > 1_000);
        assert!(with(&|prompt| prompt.documents.push(Document::text("a", &text, true))) > 1_000);
        assert!(with(&|prompt| prompt.turns.push(Turn { said: said.clone(), results: Vec::new() })) > 1_000);
        let blob =
            |media: &str, bytes: &'static [u8]| Document::blob("b", media, Bytes::from_static(bytes), false).unwrap();
        assert!(with(&|prompt| prompt.documents.push(blob("image/png", b"x"))) >= IMAGE_TOKENS);
        let pdf = b"%PDF-1.4 <</Type/Pages/Count 2>> <</Type /Page>> <</Type/Page/Parent 1 0 R>>";
        let of_pdf = with(&|prompt| prompt.documents.push(blob("application/pdf", pdf)));
        assert!((2 * PAGE_TOKENS..3 * PAGE_TOKENS).contains(&of_pdf), "{of_pdf}");
        assert_eq!(pages(&[0; 9_000]), 3);
    }

    #[test]
    fn m06_what_is_shared_is_counted_alone_and_rather_too_low() {
        let text = "Margins rose again, and so did the dividend. ".repeat(100);
        let blob = |media: &str| Document::blob("b", media, Bytes::from_static(b"</Type/Page>"), true).unwrap();
        let of = |documents: Vec<Document>| shared_tokens(&Prompt { documents, ..Prompt::default() });
        let least = of(vec![Document::text("a", &text, true), Document::text("b", &text, false)]);
        assert_eq!(least, text.len() as u64 / 4);
        assert!(least < of_text(&text), "{least}");
        assert_eq!(of(vec![blob("image/png"), blob("application/pdf")]), PAGE_TOKENS_MIN);
    }
}
