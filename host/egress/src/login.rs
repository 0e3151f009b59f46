//! A stage found that its site wants a login: the site's session is renewed first, and a person asked only then (R10).

use tollgate_core::{
    Timestamp,
    outcome::{Refusal, RefusalKind},
};

use crate::{
    Gate,
    error::refusal,
    gate::COOL_DOWN_MIN,
    session::{Doubt, Doubter},
};

impl Gate {
    /// A stage says that the site of `url`, its last request, wants a login. The site's session, if it has one, is
    /// taken as expired, and the next request renews it; a person is asked for where that was done and didn't help, and
    /// where the site has none. `began`: when the attempt that says so began. Answers what it is judged by.
    pub async fn login_required(&self, url: &str, what: &str, began: Timestamp) -> Refusal {
        self.login_for(url, what, began, Doubter::Attempt).await
    }

    /// The same, whoever says so.
    pub(crate) async fn login_for(&self, url: &str, what: &str, began: Timestamp, by: Doubter) -> Refusal {
        let about = self.address_of(url).map_or_else(String::new, |address| address.authority);
        match self.doubt_session_for(&about, url, began, by).await {
            Doubt::NoSession => refusal(RefusalKind::LoginRequired, &about, what, None),
            Doubt::Expired { .. } | Doubt::Newer => {
                let message = format!("{what}; the session of {about} is renewed");
                refusal(RefusalKind::Later, &about, &message, Some(COOL_DOWN_MIN))
            }
            Doubt::InVain(text) => refusal(RefusalKind::LoginRequired, &about, &format!("{what}; {text}"), None),
        }
    }
}
