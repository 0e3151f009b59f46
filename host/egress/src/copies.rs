//! One page that several items were served (S11): how many may be, and what follows once there are more.

use std::time::Duration;

use tollgate_core::{
    Timestamp,
    outcome::{Refusal, RefusalKind},
    spec::GuardOutcome,
};

use crate::{
    Gate,
    error::refusal,
    gate::COOL_DOWN_MIN,
    guard::DUPLICATE,
    session::{Doubt, Doubter},
};

/// Longest wait of an item whose page is one that others were served.
const WAIT_MAX: Duration = Duration::from_hours(1);

impl Gate {
    /// How many items the site of an address may serve one and the same page; absent: nobody looks.
    #[must_use]
    pub fn duplicates_max(&self, url: &str) -> Option<u32> {
        self.address_of(url)?.site.duplicates
    }

    /// The site of `url` served more items one and the same page than it may. Its session, if it has one, is taken as
    /// expired and renewed; a person is asked for where that was done and didn't help. A site without a session is left
    /// alone, as over any page that is no content. `began`: when the attempt that met it began.
    /// Answers what that is judged by.
    pub async fn duplicated(&self, url: &str, what: &str, began: Timestamp) -> Refusal {
        self.guarding.count(DUPLICATE);
        let about = self.address_of(url).map_or_else(String::new, |address| address.authority);
        let says = |outcome: GuardOutcome| format!("{about}: guard `{DUPLICATE}` (built-in, text): {outcome}, {what}");
        // Where the page is what the site has for these items, each renewal is an exchange for
        // nothing: ever fewer of them.
        let later = |lately: u32| {
            let message = says(GuardOutcome::LoginRequired) + "; the site's session is renewed";
            let after = COOL_DOWN_MIN.saturating_mul(1 << lately.saturating_sub(1).min(31)).min(WAIT_MAX);
            refusal(RefusalKind::Later, &about, &message, Some(after))
        };
        match self.doubt_session(&about, began, Doubter::Attempt).await {
            Doubt::NoSession => {
                let message = says(GuardOutcome::Blocked);
                let after = self.block(url, &message).await;
                refusal(RefusalKind::Blocked, &about, &message, Some(after))
            }
            Doubt::Expired { lately } => later(lately),
            Doubt::Newer => later(1),
            Doubt::InVain(text) => {
                let message = format!("{}; {text}", says(GuardOutcome::LoginRequired));
                refusal(RefusalKind::LoginRequired, &about, &message, None)
            }
        }
    }
}
