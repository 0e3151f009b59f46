//! A stored page that a check refused (R01's third layer): what follows for its site.

use tollgate_core::{
    Timestamp,
    outcome::{Refusal, RefusalKind},
    spec::GuardOutcome,
};

use crate::{Gate, error::refusal, guard::Guarded, session::Doubter};

impl Gate {
    /// A check caught the stored page that came from `url`: its site is left alone as by any guard. Absent `url`:
    /// nobody knows whence it came, and no site answers for it. Answers what the attempt is judged
    /// by that brought the page.
    ///
    /// `login-required` has the site's session renewed, if it has one and it is the one that the page was fetched with;
    /// a person is asked for where that was done and didn't help. `began`: when the attempt
    /// that brought the page began.
    pub async fn checked(&self, url: Option<&str>, guarded: &Guarded, began: Timestamp) -> Refusal {
        self.guarding.count(&guarded.rule);
        let kind = match guarded.outcome {
            GuardOutcome::RateLimited => RefusalKind::RateLimited,
            GuardOutcome::LoginRequired => RefusalKind::LoginRequired,
            GuardOutcome::Blocked => RefusalKind::Blocked,
            GuardOutcome::NotContent => RefusalKind::Transport,
        };
        let Some((url, address)) = url.and_then(|url| Some((url, self.address_of(url)?))) else {
            return refusal(kind, "", &guarded.to_string(), None);
        };
        let (about, now) = (&address.authority, self.options.clock.now());
        let reason = format!("{about}: {guarded}");
        if guarded.outcome == GuardOutcome::LoginRequired {
            return self.login_for(url, &reason, began, Doubter::Check).await;
        }
        let site = self.sites.get(about, &address.site, now);
        let refused = self.caught(&address, &site, guarded, &reason, now).await;
        refused.refusal.map_or_else(|| refusal(kind, about, &reason, None), |refusal| *refusal)
    }
}
