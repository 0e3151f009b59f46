//! Pages to trees: html5gum's tokens, html5ever's tree construction, scraper's tree.
//!
//! html5ever's own tokenizer goes character by character; html5gum takes whole runs, which halves the time of a parse
//! in wasm. The trees are the same: a test holds one against the other.

use std::{cell::Cell, convert::Infallible};

use html5ever::{
    Attribute, LocalName, QualName, local_name, ns,
    tendril::StrTendril,
    tokenizer::{Doctype, Tag, TagKind, Token, TokenSink, TokenSinkResult, states::RawKind},
    tree_builder::{TreeBuilder, TreeBuilderOpts, TreeSink},
};
use html5gum::{Emitter, Error, State, Tokenizer};
use scraper::{Html, HtmlTreeSink};

use super::reader::Bytes;

/// A page as a tree.
pub(super) struct Parsed {
    pub(super) page: Html,
    /// Whether there is a `<base>`: few pages have one, and it is looked for by a walk over the whole tree.
    pub(super) has_base: bool,
}

/// Parses a page as browsers do, scripts left aside.
pub(super) fn parse(text: &str) -> Parsed {
    let builder = TreeBuilder::new(HtmlTreeSink::new(Html::new_document()), TreeBuilderOpts::default());
    let has_base = Cell::new(false);
    let feed = Feed::new(&builder, &has_base);
    // html5ever's own tokenizer drops it; as text it would stand before the doctype.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Ok(()) = Tokenizer::new_with_emitter(Bytes::new(text.as_bytes()), feed).finish();
    Parsed { page: builder.sink.finish(), has_base: has_base.get() }
}

/// Gives html5gum's tokens to a tree builder.
struct Feed<'a, S> {
    builder: &'a S,
    has_base: &'a Cell<bool>,
    text: Vec<u8>,
    tag: PendingTag,
    last_start_tag: Vec<u8>,
    comment: Vec<u8>,
    doctype: PendingDoctype,
}

/// A tag on its way in.
#[derive(Default)]
struct PendingTag {
    is_end: bool,
    is_self_closing: bool,
    name: Vec<u8>,
    attrs: Vec<Attribute>,
    has_duplicates: bool,
    /// The attribute on its way in, if its name isn't empty.
    attr_name: Vec<u8>,
    attr_value: Vec<u8>,
}

/// A doctype on its way in; what is absent isn't the same as what is empty.
#[derive(Default)]
struct PendingDoctype {
    name: Option<Vec<u8>>,
    public_id: Option<Vec<u8>>,
    system_id: Option<Vec<u8>>,
    force_quirks: bool,
}

/// Text of a run that has come to its end: html5gum gives it in pieces that may part a character.
fn tendril(bytes: &[u8]) -> StrTendril {
    match str::from_utf8(bytes) {
        Ok(text) => StrTendril::from_slice(text),
        Err(_) => StrTendril::from_slice(&String::from_utf8_lossy(bytes)),
    }
}

fn local_name(bytes: &[u8]) -> LocalName {
    str::from_utf8(bytes).map_or_else(|_| LocalName::from(String::from_utf8_lossy(bytes)), LocalName::from)
}

impl PendingTag {
    fn begin(&mut self, is_end: bool) {
        self.is_end = is_end;
        self.is_self_closing = false;
        self.has_duplicates = false;
        self.name.clear();
        self.attrs.clear();
        self.attr_name.clear();
        self.attr_value.clear();
    }

    /// Takes the attribute that has come to its end; of two with one name the first counts.
    fn end_attribute(&mut self) {
        if self.attr_name.is_empty() {
            return;
        }
        let (name, value) = (local_name(&self.attr_name), tendril(&self.attr_value));
        self.attr_name.clear();
        self.attr_value.clear();
        if self.attrs.iter().any(|known| known.name.local == name) {
            self.has_duplicates = true;
        } else {
            self.attrs.push(Attribute { name: QualName::new(None, ns!(), name), value });
        }
    }

    fn take(&mut self) -> Tag {
        self.end_attribute();
        Tag {
            kind: if self.is_end { TagKind::EndTag } else { TagKind::StartTag },
            name: local_name(&self.name),
            self_closing: self.is_self_closing,
            attrs: std::mem::take(&mut self.attrs),
            had_duplicate_attributes: self.has_duplicates,
        }
    }
}

impl<'a, S: TokenSink> Feed<'a, S> {
    fn new(builder: &'a S, has_base: &'a Cell<bool>) -> Self {
        Self {
            builder,
            has_base,
            text: Vec::new(),
            tag: PendingTag::default(),
            last_start_tag: Vec::new(),
            comment: Vec::new(),
            doctype: PendingDoctype::default(),
        }
    }

    /// Gives a token; answers the state in which what follows is to be read.
    fn give(&mut self, token: Token) -> Option<State> {
        // Lines are for messages that nobody reads here.
        match self.builder.process_token(token, 1) {
            TokenSinkResult::Continue | TokenSinkResult::Script(_) | TokenSinkResult::EncodingIndicator(_) => None,
            TokenSinkResult::Plaintext => Some(State::PlainText),
            TokenSinkResult::RawData(RawKind::Rcdata) => Some(State::RcData),
            TokenSinkResult::RawData(RawKind::Rawtext) => Some(State::RawText),
            TokenSinkResult::RawData(RawKind::ScriptData | RawKind::ScriptDataEscaped(_)) => Some(State::ScriptData),
        }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            let text = tendril(&self.text);
            self.text.clear();
            // Text changes no state.
            self.give(Token::CharacterTokens(text));
        }
    }
}

impl<S: TokenSink> Emitter for Feed<'_, S> {
    type Token = Infallible;

    fn set_last_start_tag(&mut self, name: Option<&[u8]>) {
        self.last_start_tag = name.unwrap_or_default().to_vec();
    }

    fn emit_eof(&mut self) {
        self.flush();
        self.give(Token::EOFToken);
        self.builder.end();
    }

    fn emit_error(&mut self, _error: Error) {}

    #[inline]
    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn pop_token(&mut self) -> Option<Infallible> {
        None
    }

    fn emit_string(&mut self, bytes: &[u8]) {
        if matches!(bytes, [0]) {
            self.flush();
            self.give(Token::NullCharacterToken);
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    fn init_start_tag(&mut self) {
        self.tag.begin(false);
    }

    fn init_end_tag(&mut self) {
        self.tag.begin(true);
    }

    fn init_comment(&mut self) {
        self.comment.clear();
    }

    fn emit_current_tag(&mut self) -> Option<State> {
        self.flush();
        if !self.tag.is_end {
            self.last_start_tag.clone_from(&self.tag.name);
        }
        let tag = self.tag.take();
        if tag.name == local_name!("base") {
            self.has_base.set(true);
        }
        self.give(Token::TagToken(tag))
    }

    fn emit_current_comment(&mut self) {
        self.flush();
        let comment = tendril(&self.comment);
        self.give(Token::CommentToken(comment));
    }

    fn emit_current_doctype(&mut self) {
        self.flush();
        let PendingDoctype { name, public_id, system_id, force_quirks } = std::mem::take(&mut self.doctype);
        let text = |part: Option<Vec<u8>>| part.map(|part| tendril(&part));
        let doctype =
            Doctype { name: text(name), public_id: text(public_id), system_id: text(system_id), force_quirks };
        self.give(Token::DoctypeToken(doctype));
    }

    fn set_self_closing(&mut self) {
        self.tag.is_self_closing = true;
    }

    fn set_force_quirks(&mut self) {
        self.doctype.force_quirks = true;
    }

    fn push_tag_name(&mut self, bytes: &[u8]) {
        self.tag.name.extend_from_slice(bytes);
    }

    fn push_comment(&mut self, bytes: &[u8]) {
        self.comment.extend_from_slice(bytes);
    }

    fn push_doctype_name(&mut self, bytes: &[u8]) {
        self.doctype.name.get_or_insert_default().extend_from_slice(bytes);
    }

    fn init_doctype(&mut self) {
        self.doctype = PendingDoctype::default();
    }

    fn init_attribute(&mut self) {
        self.tag.end_attribute();
    }

    fn push_attribute_name(&mut self, bytes: &[u8]) {
        self.tag.attr_name.extend_from_slice(bytes);
    }

    fn push_attribute_value(&mut self, bytes: &[u8]) {
        self.tag.attr_value.extend_from_slice(bytes);
    }

    fn set_doctype_public_identifier(&mut self, bytes: &[u8]) {
        self.doctype.public_id = Some(bytes.to_vec());
    }

    fn set_doctype_system_identifier(&mut self, bytes: &[u8]) {
        self.doctype.system_id = Some(bytes.to_vec());
    }

    fn push_doctype_public_identifier(&mut self, bytes: &[u8]) {
        self.doctype.public_id.get_or_insert_default().extend_from_slice(bytes);
    }

    fn push_doctype_system_identifier(&mut self, bytes: &[u8]) {
        self.doctype.system_id.get_or_insert_default().extend_from_slice(bytes);
    }

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.tag.is_end && !self.tag.name.is_empty() && self.tag.name == self.last_start_tag
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&mut self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces from which pages are made that no author would write.
    const PIECES: [&str; 46] = [
        "<p>",
        "</p>",
        "<a href=/x>",
        "</a>",
        "<b class='u v'>",
        "</b>",
        "<i>",
        "</i>",
        "<table>",
        "<tr>",
        "<td a=1 a=2>",
        "</table>",
        "<select>",
        "<option>",
        "</select>",
        "<ul>",
        "<li>",
        "</ul>",
        "<script>",
        "</script>",
        "<style>",
        "</style>",
        "<title>",
        "</title>",
        "<textarea>",
        "</textarea>",
        "<svg>",
        "<![CDATA[x]]>",
        "</svg>",
        "<template>",
        "</template>",
        "<h1 ID=Y>",
        "</h1>",
        "<br/>",
        "<!--c-->",
        "<!doctype html>",
        "&lt;’é&amp;&notit;&#x41;",
        "\0",
        "\r\n",
        " text ",
        "<div title=\"&eacute;’\">",
        "</div>",
        "<frameset>",
        "<noscript>",
        "</noscript>",
        "<",
    ];

    proptest! {
        #[test]
        fn trees_are_those_of_html5ever_s_own_tokenizer(pieces in prop::collection::vec(0..PIECES.len(), 0..40)) {
            let page: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
            prop_assert!(parse(&page).page == Html::parse_document(&page), "{page}");
        }
    }

    #[test]
    fn doctypes_decide_the_mode() {
        for page in [
            "",
            "<!DOCTYPE html><p>",
            "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\" \"http://www.w3.org/TR/html4/loose.dtd\"><p><table>",
            "<!DOCTYPE html SYSTEM ''>",
            "<!DOCTYPE>",
            "\u{feff}<!doctype html><title>x</title>",
            "<p><table>",
        ] {
            assert_eq!(parse(page).page, Html::parse_document(page), "{page}");
        }
    }
}
