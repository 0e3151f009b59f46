//! What elements are: what each makes of what stands in it, which end a line, which have no end of their own.

/// What an element makes of what stands in it; its children inherit it.
pub(super) mod is {
    pub(in super::super) const CHROME: u16 = 1;
    pub(in super::super) const QUOTED: u16 = 1 << 1;
    pub(in super::super) const LINK: u16 = 1 << 2;
    pub(in super::super) const HIDDEN: u16 = 1 << 3;
    pub(in super::super) const HEADING: u16 = 1 << 4;
    pub(in super::super) const FALLBACK: u16 = 1 << 5;
    pub(in super::super) const UNREAD: u16 = 1 << 6;
    pub(in super::super) const TITLE: u16 = 1 << 7;
    /// Its content comes as raw text, tags included.
    pub(in super::super) const RAW: u16 = 1 << 8;
}

pub(super) fn flags(name: &[u8]) -> u16 {
    match name {
        b"nav" | b"header" | b"footer" | b"aside" => is::CHROME,
        b"pre" | b"code" | b"blockquote" | b"q" => is::QUOTED,
        b"a" | b"button" | b"label" | b"option" => is::LINK,
        b"h1" | b"h2" | b"h3" | b"h4" => is::HEADING,
        b"noframes" => is::FALLBACK,
        b"noscript" | b"iframe" => is::FALLBACK | is::RAW,
        b"script" | b"style" | b"template" | b"svg" | b"math" => is::UNREAD,
        b"title" => is::TITLE,
        _ => 0,
    }
}

/// Elements that stand within a line; all others end it.
pub(super) fn is_inline(name: &[u8]) -> bool {
    matches!(
        name,
        b"a" | b"abbr"
            | b"b"
            | b"bdi"
            | b"cite"
            | b"code"
            | b"em"
            | b"font"
            | b"i"
            | b"img"
            | b"input"
            | b"kbd"
            | b"mark"
            | b"q"
            | b"s"
            | b"script"
            | b"small"
            | b"span"
            | b"strong"
            | b"style"
            | b"sub"
            | b"sup"
            | b"svg"
            | b"time"
            | b"tt"
            | b"u"
            | b"var"
            | b"wbr"
    )
}

pub(super) fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"area"
            | b"base"
            | b"br"
            | b"col"
            | b"embed"
            | b"frame"
            | b"hr"
            | b"img"
            | b"input"
            | b"link"
            | b"meta"
            | b"source"
            | b"track"
            | b"wbr"
    )
}
