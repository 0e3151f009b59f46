//! Where a chain takes cookies from: the file, what a former process kept, the browser.

use std::{path::Path, sync::Arc};

use super::NoSession;
use crate::{
    Gate, Refused,
    session::{
        Current, FileStand, Jar, Session, SessionSource,
        browser::{Browser, Stand},
        cookie::Cookie,
        kept, netscape, print,
    },
};

/// Largest cookie file that is read, in bytes: all cookies of a browser are less.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A cookie file as it was found.
pub(super) enum FileFound {
    /// It isn't there, or jobs.toml names none.
    None,
    /// Its cookies for the session's sites.
    Cookies(Jar),
    /// It is of no use; says why.
    Unfit(String),
}

impl Gate {
    /// What a former process kept, if this one has made nothing yet.
    pub(super) async fn held_or_kept(&self, session: &Arc<Session>) -> Result<Option<Current>, NoSession> {
        let is_read = {
            let state = session.state();
            state.is_kept_read || state.current.is_some()
        };
        if !is_read {
            let (folder, name) = (self.sessions.folder.clone(), session.spec.name.clone());
            let kept = blocking(move || kept::read(&folder, &name)).await?;
            let mut state = session.state();
            state.is_kept_read = true;
            state.current = kept.map(|kept| Current::of_kept(kept, session));
        }
        Ok(session.state().current.clone())
    }

    pub(super) async fn look_at_file(&self, session: &Arc<Session>) -> Result<(FileStand, FileFound), NoSession> {
        let (session, base) = (session.clone(), self.options.base.clone());
        let look = move || {
            // Before it is read: one that changes meanwhile is read again.
            let stand = session.file_stand(&base);
            let found = if stand.is_some() { session.read_file(&base) } else { FileFound::None };
            (stand, found)
        };
        Ok(blocking(look).await?)
    }

    pub(super) async fn look_at_browser(&self, session: &Arc<Session>) -> Result<(Jar, String), NoSession> {
        let name = &session.spec.name;
        let Some(browser) = &session.spec.browser else {
            let text = format!(
                "session {name}: {} isn't there; {}",
                session.shown_file(),
                session.what_to_do(&self.options.base)
            );
            return Err(NoSession::Person(text, None));
        };
        let (of, browser, base) = (session.clone(), browser.clone(), self.options.base.clone());
        let (scratch, now) = (self.options.spool.clone(), self.options.clock.now());
        let read =
            move || Browser::new(&browser, &base).read(&scratch, &|cookie| cookie.is_live(now) && of.is_its(cookie));
        let cookies = blocking(read).await?;
        let cookies = cookies.map_err(|reason| NoSession::Person(format!("session {name}: {reason}"), None))?;
        let print = print(&cookies);
        Ok((cookies, print))
    }

    pub(super) async fn browser_stand(&self, session: &Session) -> Option<Stand> {
        let (browser, base) = (session.spec.browser.clone()?, self.options.base.clone());
        blocking(move || Browser::new(&browser, &base).stand()).await.ok()
    }
}

impl Current {
    pub(in crate::session) fn of_kept(kept: kept::Kept, session: &Session) -> Self {
        Self {
            cookies: kept.cookies.of_sites(&session.sites),
            origin: kept.from,
            source: SessionSource::Cached,
            print: kept.print,
            since: kept.since,
            file: None,
            is_over: false,
            has_served: false,
        }
    }
}

impl Session {
    fn is_its(&self, cookie: &Cookie) -> bool {
        self.sites.iter().any(|pattern| cookie.is_for_site(pattern))
    }

    fn read_file(&self, base: &Path) -> FileFound {
        let Some(path) = self.file(base) else {
            return FileFound::None;
        };
        let shown = self.shown_file();
        let read = std::fs::metadata(&path).and_then(|found| {
            if found.len() > FILE_BYTES_MAX {
                return Err(std::io::Error::other("it is too large for a file of cookies"));
            }
            std::fs::read_to_string(&path)
        });
        let cookies = match read {
            Ok(text) => netscape::read(&text, |cookie| cookie.is_of(&self.sites)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return FileFound::None,
            Err(error) => Err(error.to_string()),
        };
        match cookies {
            Err(reason) => {
                FileFound::Unfit(format!("{shown}: {reason}; export it anew as a Netscape file, or remove it"))
            }
            Ok(cookies) if cookies.is_empty() => {
                FileFound::Unfit(format!("{shown} has no cookie of {}; {}", self.about(), self.what_to_do(base)))
            }
            Ok(cookies) => FileFound::Cookies(cookies),
        }
    }
}

/// Work on the disk, beside the threads that wait for the network.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refused::storage(&std::io::Error::other(error)))
}
