//! One page that several items were served (S11): how many may be, and what follows once there are more.

use tollgate_core::{
    Timestamp,
    outcome::{Refusal, RefusalKind},
    spec::GuardOutcome,
};

use crate::{Gate, error::refusal, gate::COOL_DOWN_MIN, guard::DUPLICATE, session::Doubt};

impl Gate {
    /// How many items the site of an address may serve one and the same page; absent: nobody looks.
    #[must_use]
    pub fn duplicates_max(&self, url: &str) -> Option<u32> {
        self.address_of(url)?.site.duplicates
    }

    /// The site of `url` served more items one and the same page than it may. Its session, if it has one, is taken as expired
    /// and renewed; a person is asked for where that was done and didn't help. A site without a session is left alone, as over
    /// any page that is no content. `began`: when the attempt that met it began. Answers what that is judged by.
    pub async fn duplicated(&self, url: &str, what: &str, began: Timestamp) -> Refusal {
        self.guarding.count(DUPLICATE);
        let about = self.address_of(url).map_or_else(String::new, |address| address.authority);
        let says = |outcome: GuardOutcome| format!("{about}: guard `{DUPLICATE}` (built-in, text): {outcome}, {what}");
        match self.doubt_session(&about, began).await {
            Doubt::NoSession => {
                let message = says(GuardOutcome::Blocked);
                let after = self.block(url, &message).await;
                refusal(RefusalKind::Blocked, &about, &message, Some(after))
            }
            Doubt::Expired | Doubt::Newer => {
                let message = says(GuardOutcome::LoginRequired) + "; the site's session is renewed";
                refusal(RefusalKind::Later, &about, &message, Some(COOL_DOWN_MIN))
            }
            Doubt::InVain(text) => {
                let message = format!("{}; {text}", says(GuardOutcome::LoginRequired));
                refusal(RefusalKind::LoginRequired, &about, &message, None)
            }
        }
    }
}
