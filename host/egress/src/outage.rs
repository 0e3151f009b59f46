//! Whether what many requests need is up, a proxy or an endpoint: found down, it is left alone for a while,
//! then probed by one request.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tollgate_core::Timestamp;

use crate::Refused;

/// How long it is left alone after its first failure; doubled with each further one.
pub(crate) const DOWN_FIRST: Duration = Duration::from_secs(1);
/// Longest time that it is left alone: how late its return is noticed.
const DOWN_MAX: Duration = Duration::from_secs(30);

/// The outages of one proxy or endpoint.
pub(crate) struct Outages {
    /// As sentences have it: `proxy main`.
    title: String,
    /// As refusals have it.
    about: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    down: Option<Down>,
    /// How often it came back, or became another: what failed before then says nothing of it now.
    era: u64,
}

/// An outage that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Down {
    pub(crate) until: Timestamp,
    /// How often in a row it was found down.
    failures: u32,
    pub(crate) reason: String,
    /// One request is let through to see whether it is up again.
    probing: bool,
}

/// A request that it has been found fit for. Dropped while it is the probe, it leaves the place to the next.
pub(crate) struct Pass<'a> {
    of: &'a Outages,
    era: u64,
    is_probe: bool,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(down) = &mut self.of.state().down
        {
            down.probing = false;
        }
    }
}

impl Outages {
    pub(crate) fn new(title: String, about: String) -> Self {
        Self { title, about, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, down: &Down, now: Timestamp) -> Refused {
        let after = down.until.since(now).max(DOWN_FIRST);
        Refused::down(&self.about, format!("{} is down: {}", self.title, down.reason), after)
    }

    /// Whether a request has a chance; nothing is let through yet.
    ///
    /// # Errors
    /// It is down, and nothing may try it now.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Refused> {
        match &self.state().down {
            Some(down) if down.until > now || down.probing => Err(self.refused(down, now)),
            _ => Ok(()),
        }
    }

    /// Lets a request through.
    ///
    /// # Errors
    /// It is down; but for one at a time once its time is over.
    pub(crate) fn admit(&self, now: Timestamp) -> Result<Pass<'_>, Refused> {
        let mut state = self.state();
        let era = state.era;
        let is_probe = match &mut state.down {
            Some(down) if down.until > now || down.probing => return Err(self.refused(down, now)),
            Some(down) => {
                down.probing = true;
                true
            }
            None => false,
        };
        Ok(Pass { of: self, era, is_probe })
    }

    /// It is another now, of which nothing is known.
    pub(crate) fn replaced(&self) {
        let mut state = self.state();
        state.down = None;
        state.era += 1;
    }

    /// How often it came back or became another.
    #[cfg(test)]
    pub(crate) fn era(&self) -> u64 {
        self.state().era
    }

    /// The outage that goes on, if one does.
    pub(crate) fn now(&self) -> Option<Down> {
        self.state().down.clone()
    }
}

impl Pass<'_> {
    /// It did its part of this request. One that began before an outage says nothing of how it is now.
    pub(crate) fn up(&self) {
        let is_down = self.of.state().down.is_some();
        if self.is_probe || !is_down {
            self.is_up();
        }
    }

    /// It is up, whenever this request began.
    pub(crate) fn is_up(&self) {
        let mut state = self.of.state();
        if state.down.take().is_some() {
            state.era += 1;
            tracing::info!("{} is up again", self.of.title);
        }
    }

    /// It failed, and is left alone for `least` at the least: gives what the request is refused with. However many
    /// requests an outage meets, it counts once; one that began before it came back marks it no more.
    pub(crate) fn failed(&self, reason: &str, least: Duration, now: Timestamp) -> Refused {
        let Outages { title, about, .. } = self.of;
        let mut state = self.of.state();
        if state.era != self.era {
            return Refused::down(about, format!("{title} was down: {reason}"), DOWN_FIRST);
        }
        let failures = match &state.down {
            Some(down) if !self.is_probe => return self.of.refused(down, now),
            Some(down) => down.failures + 1,
            None => 1,
        };
        let wait = DOWN_FIRST.saturating_mul(1 << (failures - 1).min(6)).min(DOWN_MAX).max(least);
        tracing::warn!(reason, "{title} is down");
        let down = Down { until: now.after(wait), failures, reason: reason.to_owned(), probing: false };
        let refused = self.of.refused(&down, now);
        state.down = Some(down);
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outages() -> Outages {
        Outages::new("proxy main".to_owned(), "main".to_owned())
    }

    fn down(of: &Outages) -> Option<(Timestamp, u32)> {
        of.now().map(|down| (down.until, down.failures))
    }

    fn failed(request: &Pass<'_>, now: Timestamp) -> Refused {
        request.failed("refused", Duration::ZERO, now)
    }

    #[test]
    fn an_outage_counts_once_however_many_requests_meet_it() {
        let (proxy, now) = (outages(), Timestamp(1_000));
        let in_flight: Vec<_> = (0..5).map(|_| proxy.admit(now).ok().unwrap()).collect();
        for request in &in_flight {
            failed(request, now);
        }
        assert_eq!(down(&proxy), Some((now.after(DOWN_FIRST), 1)));
        let later = now.after(DOWN_FIRST);
        let probe = proxy.admit(later).ok().unwrap();
        assert!(proxy.admit(later).is_err(), "one probe at a time");
        failed(&probe, later);
        assert_eq!(down(&proxy), Some((later.after(DOWN_FIRST * 2), 2)));
    }

    #[test]
    fn a_late_success_does_not_end_an_outage_that_began_after_it() {
        let (proxy, now) = (outages(), Timestamp(1_000));
        let (early, late) = (proxy.admit(now).ok().unwrap(), proxy.admit(now).ok().unwrap());
        failed(&early, now);
        late.up();
        assert_eq!(down(&proxy), Some((now.after(DOWN_FIRST), 1)));
        proxy.admit(now.after(DOWN_FIRST)).ok().unwrap().up();
        assert_eq!(down(&proxy), None);
    }

    #[test]
    fn a_late_failure_does_not_mark_a_proxy_that_came_back() {
        let (proxy, now) = (outages(), Timestamp(1_000));
        let (early, late) = (proxy.admit(now).ok().unwrap(), proxy.admit(now).ok().unwrap());
        failed(&early, now);
        proxy.admit(now.after(DOWN_FIRST)).ok().unwrap().up();
        failed(&late, now.after(DOWN_FIRST));
        assert_eq!(down(&proxy), None);
    }

    #[test]
    fn a_probe_that_is_dropped_leaves_its_place_and_others_do_not() {
        let (proxy, now) = (outages(), Timestamp(1_000));
        let (early, late) = (proxy.admit(now).ok().unwrap(), proxy.admit(now).ok().unwrap());
        failed(&early, now);
        let later = now.after(DOWN_FIRST);
        let probe = proxy.admit(later).ok().unwrap();
        drop(late);
        assert!(proxy.admit(later).is_err());
        drop(probe);
        assert!(proxy.admit(later).is_ok());
    }
}
