//! The walk over tags, held against html5gum.

use html5gum::{DefaultEmitter, Emitter, ForwardingEmitter, State};
use proptest::prelude::*;

use super::*;

/// What a page's tags say of links.
type Said = Vec<(Name, Option<Vec<u8>>, Option<Vec<u8>>)>;

fn walked(page: &[u8]) -> Said {
    let owned = |value: Option<Cow<'_, [u8]>>| value.map(Cow::into_owned);
    Tags::of(page).map(|tag| (tag.name, owned(tag.href()), owned(tag.rel()))).collect()
}

/// The same by all of html5gum's tokens.
fn tokenised(page: &[u8]) -> Said {
    let mut tokens = Tokenizer::new_with_emitter(page, Switching::default());
    let mut said = Vec::new();
    while let Some(Ok(token)) = tokens.next() {
        if let Token::StartTag(mut tag) = token
            && let Some(name) = linking(&tag.name)
        {
            let mut take = |name: &[u8]| tag.attributes.remove(name).map(|value| value.value.0);
            said.push((name, take(b"href"), take(b"rel")));
        }
    }
    said
}

/// html5gum's emitter, which switches states for each element that holds text alone: its own way forgets `noframes`.
#[derive(Default)]
struct Switching {
    inner: DefaultEmitter,
    name: Vec<u8>,
    is_start: bool,
    is_closed: bool,
    foreign: usize,
}

impl ForwardingEmitter for Switching {
    type Token = Token<()>;

    fn inner(&mut self) -> &mut impl Emitter<Token = Token<()>> {
        &mut self.inner
    }

    fn init_start_tag(&mut self) {
        (self.is_start, self.is_closed) = (true, false);
        self.name.clear();
        Emitter::init_start_tag(&mut self.inner);
    }

    fn init_end_tag(&mut self) {
        self.is_start = false;
        self.name.clear();
        Emitter::init_end_tag(&mut self.inner);
    }

    fn push_tag_name(&mut self, bytes: &[u8]) {
        self.name.extend_from_slice(bytes);
        Emitter::push_tag_name(&mut self.inner, bytes);
    }

    fn set_self_closing(&mut self) {
        self.is_closed = true;
        Emitter::set_self_closing(&mut self.inner);
    }

    fn emit_current_tag(&mut self) -> Option<State> {
        let is_foreign = matches!(self.name.as_slice(), b"svg" | b"math");
        if !self.is_start {
            self.foreign = self.foreign.saturating_sub(usize::from(is_foreign));
        } else if !self.is_closed {
            self.foreign += usize::from(is_foreign);
        }
        let is_empty = self.is_closed && self.foreign > 0;
        Emitter::emit_current_tag(&mut self.inner).or_else(|| match self.name.as_slice() {
            _ if !self.is_start || is_empty => None,
            b"title" | b"textarea" => Some(State::RcData),
            b"script" => Some(State::ScriptData),
            b"plaintext" => Some(State::PlainText),
            name if TEXT_ONLY.contains(&name) => Some(State::RawText),
            _ => None,
        })
    }
}

/// Pieces from which pages are made that no author would write, parted by `|`.
const PIECES: &str = "<a |<A|<area |<base |<ax |<b |<br/|</a|</b |</|<|>|/>|/| |\n|\r\n|\0|=|\"|'|href|HREF| href=|\
    | rel=|x|x&amp;y|&lt|&copy|\"y\"|'z'|é|#|<!--|<!-|<!|--|-->|--!>|->|-|!|<!doctype html>|<![CDATA[|]]>|<?|\
    <script|<script>|</script|</script>|<scripty>|</scripty>|<style>|</style>|</STYLE |<title>|</title>|</titles>|\
    <textarea/>|</textarea/x>|<noscript>|</noscript>|<noframes>|</noframes>|<plaintext>|<a href=/x>|<svg>|<svg/>|</svg>|\
    <math>|</math>|<title/>|<style/ >|<script/>";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]
    #[test]
    fn what_is_walked_over_is_what_html5gum_tokenises(
        pieces in prop::collection::vec(prop::sample::select(PIECES.split('|').collect::<Vec<_>>()), 0..40),
    ) {
        let page = pieces.concat();
        prop_assert_eq!(walked(page.as_bytes()), tokenised(page.as_bytes()), "{:?}", page);
    }
}
