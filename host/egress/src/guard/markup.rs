//! A page of HTML as its visitor sees it: one walk over its tags, no tree.

mod elements;

use html5gum::{
    Span, Tokenizer,
    emitters::callback::{CallbackEmitter, CallbackEvent},
};

use self::elements::{flags, is, is_inline, is_void};
use super::text::{Folded, normalise, normalised, weight};

/// Most prose that any rule asks for, in characters: a page that has more is content whatever it says.
pub(super) const PROSE_MAX: usize = 2_500;
/// Bytes of text looked at, in each of its kinds: lists of links have no prose.
pub(super) const TEXT_BYTES_MAX: usize = 32 << 10;
/// Elements within each other that are told apart; what is deeper counts as part of those.
const DEPTH_MAX: usize = 512;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Markup {
    pub(super) title: String,
    /// All that is shown, navigation included, as one text.
    pub(super) shown: String,
    /// What the page itself says, line by line: without navigation, headers, footers, code and quotations.
    pub(super) said: Vec<Line>,
    /// What stands in for content: `noscript`, `noframes`, `iframe`, `alt`.
    pub(super) fallback: Vec<Line>,
    /// Characters of prose: what is shown without navigation and links; at most about as many as the walk goes to.
    pub(super) prose: usize,
    /// Pictures, videos, canvases.
    pub(super) media: usize,
    /// Pages within it.
    pub(super) frames: usize,
    /// A password is asked for.
    pub(super) password: bool,
    /// Something longer is asked for, as a wall doesn't.
    pub(super) textarea: bool,
    /// Where it sends its visitor by itself, or by a form that nobody fills in.
    pub(super) sends_to: String,
}

/// A line of text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// It is a heading.
    pub(super) heading: bool,
}

/// Reads a page, until it has more than `prose_max` characters of prose. `page` is decoded, and may be cut.
pub(super) fn read(page: &str, prose_max: usize) -> Markup {
    walk(page, Walk { prose_max, ..Walk::default() })
}

/// All that a page shows, to its end.
pub(super) fn shown(page: &str) -> String {
    whole(page).shown
}

/// What a walk to a page's end finds.
pub(super) fn whole(page: &str) -> Markup {
    walk(page, Walk { to_the_end: true, ..Walk::default() })
}

fn walk(page: &str, mut walk: Walk) -> Markup {
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| walk.event(event));
    emitter.naively_switch_states(true);
    // A token says that there is enough of it.
    let Ok(_) = Tokenizer::new_with_emitter(page, emitter).next().transpose();
    walk.end()
}

#[derive(Default)]
struct Walk {
    found: Markup,
    /// Open elements with all that they and those around them are.
    open: Vec<(Vec<u8>, u16)>,
    tag: Tag,
    attribute: Attribute,
    title: String,
    has_title: bool,
    shown: Folded,
    line: Folded,
    line_is_heading: bool,
    said_bytes: usize,
    fallback: Folded,
    fallback_bytes: usize,
    /// In halves of a character.
    prose: usize,
    prose_max: usize,
    /// Nothing ends the walk before the page does.
    to_the_end: bool,
    piece: String,
}

#[derive(Default)]
struct Tag {
    name: Vec<u8>,
    hidden: bool,
    input_type: String,
    alt: String,
    refreshes: bool,
    content: String,
    field: String,
    action: String,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Attribute {
    #[default]
    Other,
    Style,
    Type,
    Alt,
    HttpEquiv,
    Content,
    Name,
    Action,
}

impl Walk {
    fn now(&self) -> u16 {
        self.open.last().map_or(0, |(_, flags)| *flags)
    }

    fn event(&mut self, event: CallbackEvent<'_>) -> Option<()> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag = Tag { name: name.to_vec(), ..Tag::default() };
                self.attribute = Attribute::Other;
            }
            CallbackEvent::AttributeName { name } => self.attribute_name(name),
            CallbackEvent::AttributeValue { value } => self.attribute_value(value),
            CallbackEvent::CloseStartTag { self_closing } => self.open_tag(self_closing),
            CallbackEvent::EndTag { name } => self.close_tag(name),
            CallbackEvent::String { value } => {
                self.text(&String::from_utf8_lossy(value));
                if self.to_the_end {
                    return None;
                }
                if self.shown.len() > TEXT_BYTES_MAX {
                    // Whatever it is that it shows so much of, it is no page with little on it.
                    self.prose = self.prose.max(2 * self.prose_max + 2);
                }
                return (self.prose > 2 * self.prose_max).then_some(());
            }
            CallbackEvent::Comment { .. } | CallbackEvent::Doctype { .. } | CallbackEvent::Error(_) => {}
        }
        None
    }

    fn attribute_name(&mut self, name: &[u8]) {
        self.attribute = match name {
            b"style" => Attribute::Style,
            b"type" => Attribute::Type,
            b"alt" => Attribute::Alt,
            b"http-equiv" => Attribute::HttpEquiv,
            b"content" => Attribute::Content,
            b"name" => Attribute::Name,
            b"action" => Attribute::Action,
            _ => Attribute::Other,
        };
        self.tag.hidden |= name == b"hidden";
    }

    fn attribute_value(&mut self, value: &[u8]) {
        if self.attribute == Attribute::Other {
            return;
        }
        let value = String::from_utf8_lossy(value).to_lowercase();
        match self.attribute {
            Attribute::Style => {
                let style: String = value.split_whitespace().collect();
                self.tag.hidden |= style.contains("display:none") || style.contains("visibility:hidden");
            }
            Attribute::Type => self.tag.input_type = value,
            Attribute::Alt => self.tag.alt = value,
            Attribute::HttpEquiv => self.tag.refreshes = value.trim() == "refresh",
            Attribute::Content => self.tag.content = value,
            Attribute::Name => self.tag.field = value,
            Attribute::Action => self.tag.action = value,
            Attribute::Other => {}
        }
    }

    fn open_tag(&mut self, self_closing: bool) {
        let tag = std::mem::take(&mut self.tag);
        if !is_inline(&tag.name) {
            self.end_line();
        }
        let closes_itself = matches!(&*tag.name, b"p" | b"li" | b"option" | b"tr" | b"td" | b"th" | b"dt" | b"dd");
        if closes_itself && self.open.last().is_some_and(|(name, _)| *name == tag.name) {
            self.open.pop();
        }
        let hidden = if tag.hidden { is::HIDDEN } else { 0 };
        let inside = self.now() | hidden | flags(&tag.name);
        self.element(&tag, inside);
        let is_empty = is_void(&tag.name) || (self_closing && inside & is::UNREAD != 0);
        if !is_empty && self.open.len() < DEPTH_MAX {
            self.open.push((tag.name, inside));
        }
    }

    /// What an element is by itself.
    fn element(&mut self, tag: &Tag, inside: u16) {
        match &*tag.name {
            b"meta" if tag.refreshes => self.sends_to(&tag.content),
            b"form" => self.sends_to(&tag.action),
            b"input" if tag.input_type == "hidden" => self.sends_to(&tag.field),
            _ => {}
        }
        if inside & (is::HIDDEN | is::UNREAD) != 0 {
            return;
        }
        match &*tag.name {
            b"input" if tag.input_type == "password" => self.found.password = true,
            b"textarea" => self.found.textarea = true,
            b"iframe" | b"frame" => self.found.frames += 1,
            b"img" | b"video" | b"audio" | b"canvas" | b"object" | b"embed" | b"picture" => {
                self.found.media += 1;
                if !tag.alt.is_empty() {
                    self.end_line();
                    self.fall_back(&tag.alt);
                    self.end_line();
                }
            }
            _ => {}
        }
    }

    fn sends_to(&mut self, target: &str) {
        if self.found.sends_to.len() + target.len() < TEXT_BYTES_MAX {
            self.found.sends_to.push_str(target);
            self.found.sends_to.push('\n');
        }
    }

    fn close_tag(&mut self, name: &[u8]) {
        if !is_inline(name) {
            self.end_line();
        }
        if let Some(at) = self.open.iter().rposition(|(open, _)| open == name) {
            if name == b"title" && self.open[at].1 & is::UNREAD == 0 {
                self.has_title = true;
            }
            self.open.truncate(at);
        }
    }

    fn text(&mut self, text: &str) {
        let now = self.now();
        if now & (is::UNREAD | is::HIDDEN) != 0 {
            return;
        }
        if now & is::TITLE != 0 {
            if !self.has_title {
                self.title.push_str(text);
            }
            return;
        }
        if now & is::FALLBACK != 0 {
            if now & is::RAW != 0 {
                self.fall_back(&without_tags(text))
            } else {
                self.fall_back(text)
            }
            return;
        }
        let mut piece = std::mem::take(&mut self.piece);
        normalise(text, &mut piece);
        self.shown.push(&piece);
        if now & (is::CHROME | is::QUOTED) == 0 && self.said_bytes < TEXT_BYTES_MAX {
            self.line_is_heading |= now & is::HEADING != 0;
            self.said_bytes += piece.len();
            self.line.push(&piece);
        }
        if now & (is::CHROME | is::LINK) == 0 && piece != " " {
            self.prose += weight(&piece);
        }
        self.piece = piece;
    }

    fn fall_back(&mut self, text: &str) {
        let text = normalised(text);
        if self.fallback_bytes < TEXT_BYTES_MAX {
            self.fallback_bytes += text.len();
            self.fallback.push(" ");
            self.fallback.push(&text);
        }
    }

    fn end_line(&mut self) {
        self.shown.push(" ");
        let heading = std::mem::take(&mut self.line_is_heading);
        for (line, into, heading) in
            [(&mut self.line, &mut self.found.said, heading), (&mut self.fallback, &mut self.found.fallback, false)]
        {
            let text = line.take();
            if !text.is_empty() {
                into.push(Line { text, heading });
            }
        }
    }

    fn end(mut self) -> Markup {
        self.end_line();
        self.found.title = normalised(&self.title);
        self.found.shown = self.shown.take();
        self.found.prose = self.prose / 2;
        self.found
    }
}

/// Text of markup that came as text.
fn without_tags(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text
}
