//! `tollgate session`: list, test, renew. No cookie's value is in any answer.

use tollgate_core::{Clock as _, Timestamp, time::Short};
use tollgate_engine::{SessionStatus, SessionTest, clock::SystemClock};

use crate::{
    CliError, Program,
    api::{Api, encode},
    args::Global,
    output,
};

pub(crate) async fn list(program: &dyn Program, global: &Global) -> Result<(), CliError> {
    let sessions: Vec<SessionStatus> = Api::find_or_make(program, global).await?.get("/sessions").await?;
    let now = SystemClock.now();
    output::list(global.output, &sessions, |sessions| {
        let rows = sessions.iter().map(|session| {
            let SessionStatus { name, source, sites, .. } = session;
            [name.clone(), source.as_str().to_owned(), since(session, now), expires(session, now), sites.join(", ")]
        });
        let mut text = output::table(["session", "from", "since", "expires", "sites"], rows);
        for error in sessions.iter().filter_map(|session| session.last_error.as_ref()) {
            text.push_str(&format!("! {error}\n"));
        }
        text
    })
}

/// Exit code 6 where the site doesn't take it; the answer is printed all the same.
pub(crate) async fn test(program: &dyn Program, global: &Global, name: &str) -> Result<(), CliError> {
    let path = format!("/sessions/{}/test", encode(name));
    let test: SessionTest = Api::find_or_make(program, global).await?.post(&path, &()).await?;
    output::one(global.output, &test, |test| {
        let is = if test.is_taken { "is taken" } else { "isn't taken" };
        format!("session {name} {is}: {} was asked, and {}\n", test.url, test.said)
    })?;
    if test.is_taken {
        return Ok(());
    }
    Err(CliError::no_session(format!(
        "the site doesn't take session {name}; `tollgate session renew {name}` makes a new one, or says what to do"
    )))
}

/// Exit code 6 where a person has to log in first.
pub(crate) async fn renew(program: &dyn Program, global: &Global, name: &str) -> Result<(), CliError> {
    let path = format!("/sessions/{}/renew", encode(name));
    let renewed: SessionStatus = Api::find_or_make(program, global).await?.post(&path, &()).await?;
    let now = SystemClock.now();
    output::one(global.output, &renewed, |session| {
        let expires = expires(session, now);
        let until = if expires.is_empty() { expires } else { format!(", and expires {expires}") };
        format!(
            "session {name} is new, from {}{until}; `tollgate job resume` goes on with a job that waited for it\n",
            session.source.as_str()
        )
    })
}

fn since(session: &SessionStatus, now: Timestamp) -> String {
    session.since.map_or_else(String::new, |since| format!("{} ago", Short(now.since(since))))
}

fn expires(session: &SessionStatus, now: Timestamp) -> String {
    session.expires.map_or_else(String::new, |expires| format!("in {}", Short(expires.since(now))))
}
