//! The rules that Tollgate brings along, as data: the first that holds decides.
//!
//! Each is a name, what it means, and conditions that must all hold. They speak of meanings (`meanings`), of where
//! those stand and of how little else the page has. Three things keep them off content: a bound of prose, that the page
//! speaks to its visitor, and that what is quoted, code, navigation or a widget counts for nothing.

use tollgate_core::spec::GuardOutcome as Outcome;

use super::meanings::Meaning as M;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The site, or one of its pages.
    Site,
    /// The proxy that the answer came through: it says nothing of the site.
    Proxy,
}

/// A condition.
#[derive(Debug, Clone, Copy)]
pub(super) enum Is {
    /// A header with that in its value; empty: any value.
    Header(&'static str, &'static str),
    /// The status is one of these.
    Status(&'static [u16]),
    /// Anything but a page that was served: 4xx and 5xx, without those that speak of one address (404, 410).
    Refused,
    /// 503 with a Retry-After.
    BusyFor,
    /// It says all of these, wherever.
    Says(&'static [M]),
    /// A line, the title included, says all of these.
    Line(&'static [M]),
    /// A line begins with the first, and says the others as well.
    LineFrom(M, &'static [M]),
    /// One of its first lines is that and nothing else: a refusal is what its page begins with.
    Just(M),
    /// The title, or a heading, says all of these.
    Heading(&'static [M]),
    /// The title begins with that.
    Title(M),
    /// A line has a word that a refusal is reported by, and a number.
    Number,
    /// A line names a time to wait, next to one of these.
    Wait(M),
    /// What stands in for content says one of these, and the page itself shows nothing.
    Fallback(&'static [M]),
    /// Characters of prose at most.
    Prose(usize),
    /// It asks for nothing longer than a wall does.
    NoForm,
    /// It asks for a password.
    Password,
    /// It sends its visitor on to such a place by itself.
    SendsTo(M),
    /// It shows nothing at all: no text, no picture, no frame.
    Empty,
    /// It shows that something is on its way, and nothing else.
    StillLoading,
    /// A JSON answer that only tells of an error, and says one of these.
    Error(&'static [M]),
    /// A JSON answer that says of itself that it was blocked.
    JsonBlocked,
    /// A JSON answer of the proxy's.
    JsonProxy,
    /// `null`.
    JsonNull,
    /// One line of plain text, or an error in XML, that begins with one of these.
    Plain(&'static [M]),
}

/// Most prose that any of the rules allows, in characters; a test holds it against them.
pub(super) const PROSE_MAX: usize = 1_500;

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    pub(super) about: About,
    pub(super) when: &'static [Is],
}

const fn rule(name: &'static str, outcome: Outcome, when: &'static [Is]) -> Rule {
    Rule { name, outcome, about: About::Site, when }
}

const fn proxy(name: &'static str, when: &'static [Is]) -> Rule {
    Rule { name, outcome: Outcome::Blocked, about: About::Proxy, when }
}

/// The one rule that is asked before a site's own: whatever the page says, it was put in the way.
pub(super) const FIRST: Rule = rule("header.challenge", Outcome::Blocked, &[Is::Header("cf-mitigated", "challenge")]);

/// All others.
pub(super) const RULES: &[Rule] = &[
    rule("header.waf-action", Outcome::Blocked, &[Is::Header("x-amzn-waf-action", "challenge")]),
    rule("header.waf-action", Outcome::Blocked, &[Is::Header("x-amzn-waf-action", "captcha")]),
    // The proxy's own pages: they say nothing of the site.
    proxy("proxy.header", &[Is::Header("x-proxy-error", "")]),
    proxy("proxy.header", &[Is::Header("x-squid-error", "")]),
    proxy("proxy.json", &[Is::JsonProxy]),
    proxy("proxy.wording", &[Is::Plain(&[M::ProxyTrouble])]),
    proxy("proxy.wording", &[Is::LineFrom(M::ProxyTrouble, &[]), Is::Prose(250)]),
    // To be left alone, by status.
    rule("rate.status", Outcome::RateLimited, &[Is::Status(&[429, 509])]),
    rule("rate.status", Outcome::RateLimited, &[Is::BusyFor]),
    // JSON.
    rule("rate.json", Outcome::RateLimited, &[Is::Error(&[M::Limit])]),
    rule("rate.json", Outcome::RateLimited, &[Is::Error(&[M::TooMany])]),
    rule("login.json", Outcome::LoginRequired, &[Is::Error(&[M::SessionOver, M::SignIn, M::SignInPlace])]),
    rule("wall.json", Outcome::Blocked, &[Is::Error(&[M::Suspect, M::Challenge])]),
    rule("wall.json", Outcome::Blocked, &[Is::Error(&[M::Denied]), Is::Number]),
    rule("wall.json", Outcome::Blocked, &[Is::JsonBlocked, Is::Says(&[M::Robot])]),
    rule("gone.json", Outcome::NotContent, &[Is::Error(&[M::Missing])]),
    rule("shell.null", Outcome::NotContent, &[Is::JsonNull]),
    // Plain text, and XML that is an error.
    rule("rate.plain", Outcome::RateLimited, &[Is::Plain(&[M::Limit, M::TooMany, M::Again])]),
    rule("wall.plain", Outcome::Blocked, &[Is::Plain(&[M::Refusing, M::Denied]), Is::Says(&[M::Suspect])]),
    // Checks of who we are. Before sign-ins: one that is asked for because of a suspected bot is a check.
    rule("wall.challenge", Outcome::Blocked, &[Is::Says(&[M::Challenge, M::You]), Is::NoForm, Is::Prose(300)]),
    rule("wall.challenge", Outcome::Blocked, &[Is::Line(&[M::Robot, M::Prove, M::You]), Is::NoForm, Is::Prose(300)]),
    rule("wall.challenge", Outcome::Blocked, &[Is::Says(&[M::Robot, M::Prove, M::You]), Is::NoForm, Is::Prose(200)]),
    rule("wall.challenge", Outcome::Blocked, &[Is::Says(&[M::Challenge]), Is::NoForm, Is::Prose(60)]),
    rule("wall.suspected", Outcome::Blocked, &[Is::Says(&[M::Suspect, M::You, M::Refusing]), Is::Prose(450)]),
    rule("wall.suspected", Outcome::Blocked, &[Is::Says(&[M::Suspect, M::You, M::Prove]), Is::Prose(450)]),
    rule("wall.suspected", Outcome::Blocked, &[Is::Heading(&[M::YourRequest, M::Suspect])]),
    rule("wall.denied", Outcome::Blocked, &[Is::Just(M::Denied), Is::Number, Is::Prose(600)]),
    rule("wall.denied", Outcome::Blocked, &[Is::Just(M::Denied), Is::Says(&[M::You]), Is::Prose(200)]),
    rule("wall.denied", Outcome::Blocked, &[Is::Title(M::Denied), Is::Prose(20)]),
    rule("wall.refused", Outcome::Blocked, &[Is::Refused, Is::Says(&[M::Robot]), Is::Prose(1_500)]),
    rule("wall.refused", Outcome::Blocked, &[Is::Refused, Is::Says(&[M::Suspect]), Is::Prose(1_500)]),
    rule("wall.switched-off", Outcome::Blocked, &[Is::Line(&[M::SwitchOn, M::BrowserPart, M::You]), Is::Prose(150)]),
    rule("wall.script", Outcome::Blocked, &[Is::Fallback(&[M::Robot, M::Suspect, M::Denied, M::Reference])]),
    rule("wall.country", Outcome::Blocked, &[Is::Line(&[M::Country, M::Available]), Is::Prose(300)]),
    rule("wall.country", Outcome::Blocked, &[Is::Line(&[M::Country, M::You, M::Shut]), Is::Prose(1_000)]),
    rule("wall.vpn", Outcome::Blocked, &[Is::Line(&[M::Vpn, M::You]), Is::Prose(250)]),
    // Limits, queues, work on the site: what goes away by waiting.
    rule(
        "rate.wording",
        Outcome::RateLimited,
        &[Is::Line(&[M::TooMany, M::Requests]), Is::Says(&[M::Again]), Is::Prose(250)],
    ),
    rule("rate.limit", Outcome::RateLimited, &[Is::Says(&[M::Limit, M::You, M::Again]), Is::Prose(200)]),
    rule("rate.wait", Outcome::RateLimited, &[Is::Wait(M::Again), Is::Says(&[M::You]), Is::Prose(125)]),
    rule("rate.wait", Outcome::RateLimited, &[Is::Wait(M::Again), Is::Says(&[M::Limit]), Is::Prose(125)]),
    rule("rate.your-rate", Outcome::RateLimited, &[Is::Heading(&[M::YourRequest, M::Limit])]),
    rule("rate.queue", Outcome::RateLimited, &[Is::Says(&[M::Queue, M::You]), Is::Prose(300)]),
    rule("rate.maintenance", Outcome::RateLimited, &[Is::Line(&[M::Maintenance, M::SiteItself]), Is::Prose(200)]),
    rule("rate.overload", Outcome::RateLimited, &[Is::Says(&[M::Overload, M::Again]), Is::Prose(150)]),
    rule("rate.sent-away", Outcome::RateLimited, &[Is::SendsTo(M::LimitPlace), Is::Prose(20)]),
    // Accounts and subscriptions.
    rule("login.form", Outcome::LoginRequired, &[Is::Password, Is::NoForm, Is::Prose(100)]),
    rule("login.sent-away", Outcome::LoginRequired, &[Is::SendsTo(M::SignInPlace), Is::Prose(60)]),
    rule("login.session", Outcome::LoginRequired, &[Is::Says(&[M::SessionOver, M::SignIn]), Is::Prose(200)]),
    rule("login.wording", Outcome::LoginRequired, &[Is::Line(&[M::SignIn, M::ToSee]), Is::NoForm, Is::Prose(150)]),
    rule("login.members", Outcome::LoginRequired, &[Is::LineFrom(M::ThisOne, &[M::MembersOnly]), Is::Prose(1_500)]),
    rule("login.members", Outcome::LoginRequired, &[Is::Says(&[M::FreePart, M::SignIn]), Is::Prose(1_500)]),
    // Not the page that was asked for.
    rule("gone.wording", Outcome::NotContent, &[Is::LineFrom(M::ThisOne, &[M::Thing, M::Missing]), Is::Prose(150)]),
    rule("gone.wording", Outcome::NotContent, &[Is::LineFrom(M::Thing, &[M::Missing]), Is::Prose(100)]),
    rule("gone.title", Outcome::NotContent, &[Is::Title(M::PageMissing), Is::Prose(200)]),
    rule("gone.parked", Outcome::NotContent, &[Is::LineFrom(M::Parked, &[]), Is::Prose(120)]),
    rule("gate.consent", Outcome::NotContent, &[Is::Title(M::BeforeYou), Is::Says(&[M::Consent])]),
    rule("gate.consent", Outcome::NotContent, &[Is::Says(&[M::PayOrAccept, M::Consent]), Is::Prose(400)]),
    rule("gate.age", Outcome::NotContent, &[Is::Line(&[M::Age, M::You]), Is::Prose(150)]),
    rule("gate.browser", Outcome::NotContent, &[Is::LineFrom(M::OldBrowser, &[]), Is::Prose(200)]),
    rule("shell.empty", Outcome::NotContent, &[Is::Empty]),
    rule("shell.loading", Outcome::NotContent, &[Is::StillLoading]),
];
