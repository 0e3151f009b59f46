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

use super::{names::Names, reader::Bytes, run::Run};

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
    // html5ever's own tokenizer drops it; as text it would stand before the doctype.
    let page = StrTendril::from_slice(text.strip_prefix('\u{feff}').unwrap_or(text));
    let feed = Feed::new(&page, &builder, &has_base);
    let Ok(()) = Tokenizer::new_with_emitter(Bytes::new(page.as_bytes()), feed).finish();
    Parsed { page: builder.sink.finish(), has_base: has_base.get() }
}

/// Gives html5gum's tokens to a tree builder.
struct Feed<'a, S> {
    page: &'a StrTendril,
    builder: &'a S,
    has_base: &'a Cell<bool>,
    names: Names,
    text: Run,
    tag: PendingTag,
    last_start_tag: LocalName,
    comment: Run,
    doctype: PendingDoctype,
}

/// A tag on its way in.
#[derive(Default)]
struct PendingTag {
    is_end: bool,
    is_self_closing: bool,
    /// html5gum gives names in lower case, from a buffer of its own.
    name: Vec<u8>,
    attrs: Vec<Attribute>,
    has_duplicates: bool,
    /// The attribute on its way in, if its name isn't empty.
    attr_name: Vec<u8>,
    attr_value: Run,
}

/// A doctype on its way in; what is absent isn't the same as what is empty.
#[derive(Default)]
struct PendingDoctype {
    name: Option<Run>,
    public_id: Option<Run>,
    system_id: Option<Run>,
    force_quirks: bool,
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
}

impl<'a, S: TokenSink> Feed<'a, S> {
    fn new(page: &'a StrTendril, builder: &'a S, has_base: &'a Cell<bool>) -> Self {
        Self {
            page,
            builder,
            has_base,
            names: Names::default(),
            text: Run::default(),
            tag: PendingTag::default(),
            last_start_tag: local_name!(""),
            comment: Run::default(),
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
            let text = self.text.take(self.page);
            // Text changes no state.
            self.give(Token::CharacterTokens(text));
        }
    }

    /// Takes the attribute that has come to its end; of two with one name the first counts.
    fn end_attribute(&mut self) {
        if self.tag.attr_name.is_empty() {
            return;
        }
        let name = self.names.of(&self.tag.attr_name);
        self.tag.attr_name.clear();
        let value = self.tag.attr_value.take(self.page);
        if self.tag.attrs.iter().any(|known| known.name.local == name) {
            self.tag.has_duplicates = true;
        } else {
            self.tag.attrs.push(Attribute { name: QualName::new(None, ns!(), name), value });
        }
    }

    fn take_tag(&mut self) -> Tag {
        self.end_attribute();
        Tag {
            kind: if self.tag.is_end { TagKind::EndTag } else { TagKind::StartTag },
            name: self.names.of(&self.tag.name),
            self_closing: self.tag.is_self_closing,
            attrs: std::mem::take(&mut self.tag.attrs),
            had_duplicate_attributes: self.tag.has_duplicates,
        }
    }
}

impl<S: TokenSink> Emitter for Feed<'_, S> {
    type Token = Infallible;

    fn set_last_start_tag(&mut self, name: Option<&[u8]>) {
        self.last_start_tag = self.names.of(name.unwrap_or_default());
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
            self.text.push(self.page, bytes);
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
        let tag = self.take_tag();
        if tag.kind == TagKind::StartTag {
            self.last_start_tag = tag.name.clone();
        }
        if tag.name == local_name!("base") {
            self.has_base.set(true);
        }
        self.give(Token::TagToken(tag))
    }

    fn emit_current_comment(&mut self) {
        self.flush();
        let comment = self.comment.take(self.page);
        self.give(Token::CommentToken(comment));
    }

    fn emit_current_doctype(&mut self) {
        self.flush();
        let PendingDoctype { name, public_id, system_id, force_quirks } = std::mem::take(&mut self.doctype);
        let text = |part: Option<Run>| part.map(|mut part| part.take(self.page));
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
        self.comment.push(self.page, bytes);
    }

    fn push_doctype_name(&mut self, bytes: &[u8]) {
        self.doctype.name.get_or_insert_default().push(self.page, bytes);
    }

    fn init_doctype(&mut self) {
        self.doctype = PendingDoctype::default();
    }

    fn init_attribute(&mut self) {
        self.end_attribute();
    }

    fn push_attribute_name(&mut self, bytes: &[u8]) {
        self.tag.attr_name.extend_from_slice(bytes);
    }

    fn push_attribute_value(&mut self, bytes: &[u8]) {
        self.tag.attr_value.push(self.page, bytes);
    }

    fn set_doctype_public_identifier(&mut self, bytes: &[u8]) {
        self.doctype.public_id = Some(Run::of(self.page, bytes));
    }

    fn set_doctype_system_identifier(&mut self, bytes: &[u8]) {
        self.doctype.system_id = Some(Run::of(self.page, bytes));
    }

    fn push_doctype_public_identifier(&mut self, bytes: &[u8]) {
        self.doctype.public_id.get_or_insert_default().push(self.page, bytes);
    }

    fn push_doctype_system_identifier(&mut self, bytes: &[u8]) {
        self.doctype.system_id.get_or_insert_default().push(self.page, bytes);
    }

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.tag.is_end && !self.tag.name.is_empty() && self.tag.name == self.last_start_tag.as_bytes()
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
