//! Whether a session is over though no answer says so: its site served several items one and the same page (S11).

use std::sync::Arc;

use tollgate_core::Timestamp;

use super::Session;
use crate::Gate;

/// What a page that several items were served says of the session of its site.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The site has none.
    NoSession,
    /// It is taken as expired, and the next request renews it; or another one than the page was fetched with is there
    /// already.
    Renewed,
    /// It was renewed for such a page, and nothing has ended well since: a person has to look. Says what to do.
    InVain(String),
}

impl Gate {
    /// A site, by host name and port, served several items one and the same page. `began`: when the request for it was yet
    /// to be sent. A session that is not older may be a newer one than the page was fetched with.
    pub(crate) async fn doubt_session(&self, site: &str, began: Timestamp) -> Doubt {
        let Some(session) = self.session_of(site) else {
            return Doubt::NoSession;
        };
        {
            let mut state = session.state();
            let is_doubted = state.is_doubted;
            let Some(current) = state.current.as_mut().filter(|current| current.since < began && !current.is_over)
            else {
                return Doubt::Renewed;
            };
            if is_doubted {
                let name = &session.spec.name;
                let text = session.what_to_do(&self.options.base);
                return Doubt::InVain(format!("session {name} was renewed for it, and it came again; {text}"));
            }
            current.is_over = true;
            state.is_doubted = true;
        }
        tracing::info!(session = session.spec.name, site, "a session is taken as expired");
        session.keep(&self.sessions.folder).await;
        Doubt::Renewed
    }

    /// What came of a site has served its purpose: its session is what it should be.
    pub(crate) fn trust_session(&self, site: &str) {
        if let Some(session) = self.session_of(site) {
            session.state().is_doubted = false;
        }
    }

    fn session_of(&self, site: &str) -> Option<&Arc<Session>> {
        let with_port = site.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = with_port?;
        self.sessions.of_site(self.deployment.site(host, port)?)
    }
}
