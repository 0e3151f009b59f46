//! The switches of the ideas site.

use serde::{Deserialize, Serialize};

/// What the site serves without a valid session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wall {
    /// The login page, with status 200, in the idea's place.
    #[default]
    LoginPage,
    /// 302 to `/login`.
    Redirect,
    /// 401 and a line of text.
    Unauthorized,
    /// 200 and the same thesis for every idea, with another token and date each time (S11).
    Teaser,
}

/// The wording of the page that says "not now". All have status 200.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// "… access limits … view count will reset in 24 hours" (R01).
    #[default]
    AccessLimits,
    /// "Please wait 24 hours …" (R02).
    PleaseWait,
    /// A wording that no list of words has: it is caught by what its page lacks, or by a rule that somebody adds.
    Unheard,
}

/// What `/session` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// Gives a session for the right persistent cookie, and sends others to `/login`.
    #[default]
    Gives,
    /// Gives a session that the site then doesn't take.
    GivesDead,
    /// Knows the cookie no more: 302 to `/login` for everybody.
    Forgets,
    /// 503.
    Down,
}

/// How the site behaves. Anything left out of its JSON is as in [`Settings::default`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Ideas that one session shows before it expires; 0: it doesn't.
    pub session_views: u64,
    /// What is served without a valid session.
    pub wall: Wall,
    /// Whether the listing, too, wants a session.
    pub listing_needs_session: bool,
    /// Whether each idea that is shown sets `ideas_session` anew, under which it goes on; the one before it dies.
    pub rotates: bool,
    /// Ideas shown, whatever the session, before the limit's page comes in place of each; absent: no limit.
    pub views_max: Option<u64>,
    /// The limit's wording.
    pub limit: Limit,
    /// What the exchange does.
    pub exchange: Exchange,
}
