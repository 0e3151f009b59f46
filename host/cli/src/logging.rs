//! Where events go: a terminal gets what matters, everything else gets JSON lines on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Events of a run. `TOLLGATE_LOG` names other levels, as `tracing`'s directives.
pub(crate) fn of_a_run() {
    let terminal = std::io::stderr().is_terminal();
    let level = if terminal { "warn" } else { "info" };
    let filter = EnvFilter::try_from_env("TOLLGATE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    let set = if terminal { subscriber.compact().try_init() } else { subscriber.json().flatten_event(true).try_init() };
    if let Err(error) = set {
        eprintln!("events are logged elsewhere: {error}");
    }
}

/// Commands that only ask say nothing but errors.
pub(crate) fn quiet() {
    let filter = EnvFilter::try_from_env("TOLLGATE_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    let terminal = std::io::stderr().is_terminal();
    let subscriber =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).with_ansi(terminal).compact();
    if let Err(error) = subscriber.try_init() {
        eprintln!("events are logged elsewhere: {error}");
    }
}
