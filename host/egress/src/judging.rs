//! What an answer, or that none came, means for its site, its proxy and its caller.

use std::time::Duration;

use tollgate_core::{Timestamp, circuit::CoolingKind, http::HttpError, spec::GuardOutcome};

use crate::{
    Gate, Refused,
    address::Address,
    exchange::{self, ExchangeError, Incoming, Probed, Via},
    gate::COOL_DOWN_MIN,
    guard::Guarded,
    guarding,
    own_word::{self, OwnWord},
    proxy::{Admitted, UNSET_WAIT},
    retry_after,
    site::Site,
};

impl Gate {
    /// What an exchange came to, for its site, its proxy and its caller.
    pub(crate) async fn answered(
        &self,
        address: &Address,
        site: &Site,
        via: Via,
        admitted: Option<Admitted<'_>>,
        answer: Result<Incoming, (ExchangeError, u64)>,
    ) -> Result<Incoming, Refused> {
        match answer {
            Ok(incoming) => {
                site.received(incoming.received);
                if let Some(admitted) = &admitted {
                    if via == Via::Http && !address.is_secure() {
                        admitted.heard(&incoming.headers);
                    }
                    let judged = self.judge_proxy(address, via, admitted, &incoming).await;
                    judged.map_err(|refused| refused.after(incoming.received))?;
                    admitted.up();
                }
                self.judge(address, site, admitted.as_ref(), incoming).await
            }
            Err((error, received)) => {
                site.received(received);
                Err(self.refuse(address, admitted.as_ref(), error).await.after(received))
            }
        }
    }

    /// A page that came in place of the site's may be the proxy's own. A 407 to a plain request is, unless the site
    /// makes it up: ask the proxy. Of a site that it could not reach it says so, as it does by a
    /// tunnel that it doesn't make.
    async fn judge_proxy(
        &self,
        address: &Address,
        via: Via,
        admitted: &Admitted<'_>,
        incoming: &Incoming,
    ) -> Result<(), Refused> {
        let may_be_its_own = incoming.status == 407 && via == Via::Http && !address.is_secure();
        let may_answer = admitted.may_answer(address.is_secure());
        let word = own_word::read(incoming.status, &incoming.headers).filter(|_| may_answer);
        let asks_credentials = may_be_its_own || word == Some(OwnWord::Unauthorized);
        if asks_credentials && admitted.answers().await != Probed::Up {
            return Err(admitted.failed(exchange::UNAUTHORIZED, self.options.clock.now()));
        }
        let (about, name) = (&address.authority, admitted.name());
        match word {
            None | Some(OwnWord::Unauthorized) => Ok(()),
            Some(OwnWord::Unreachable(said)) => {
                admitted.up();
                Err(Refused::transport(about, format!("{about}: proxy {name} got no answer of it: {said}")))
            }
            Some(OwnWord::Trouble(said)) => {
                admitted.up();
                Err(Refused::down(name, format!("proxy {name} doesn't serve {about}: {said}"), wait(None, address)))
            }
        }
    }

    /// Looks at an answer before anyone else does: guards first, then what its status says by itself.
    async fn judge(
        &self,
        address: &Address,
        site: &Site,
        proxy: Option<&Admitted<'_>>,
        incoming: Incoming,
    ) -> Result<Incoming, Refused> {
        let now = self.options.clock.now();
        let (about, status) = (&address.authority, incoming.status);
        let looked = self.guarding.look(address, &incoming, now).await;
        if let Some(guarded) = looked.map_err(|refused| refused.after(incoming.received))? {
            let refused = self.guarded(address, site, proxy, (&guarded, status), now).await;
            let refused = refused.after(incoming.received);
            return Err(match guarding::page(guarded, address, incoming) {
                Some(page) => refused.with_page(page),
                None => refused,
            });
        }
        let asked = retry_after::read(&incoming.headers, now);
        if status != 429 && !(status == 503 && asked.is_some()) {
            return Ok(incoming);
        }
        let after = wait(asked, address);
        let reason = format!("{about} answered {status}");
        let after = site.refused(CoolingKind::RateLimited, &reason, after, now, &*self.options.memory).await;
        Err(Refused::rate_limited(about, &reason, after).after(incoming.received))
    }

    /// What follows from a guarded page.
    async fn guarded(
        &self,
        address: &Address,
        site: &Site,
        proxy: Option<&Admitted<'_>>,
        (guarded, status): (&Guarded, u16),
        now: Timestamp,
    ) -> Refused {
        let reason = format!("{} answered {status}: {guarded}", address.authority);
        // The proxy's own page: uncounted, and the site isn't left alone for it.
        let is_secure = address.is_secure();
        if let Some(proxy) = proxy.filter(|proxy| guarded.is_proxys && proxy.may_answer(is_secure)) {
            return Refused::down(proxy.name(), format!("proxy {}: {reason}", proxy.name()), wait(None, address));
        }
        self.caught(address, site, guarded, &reason, now).await
    }

    /// What follows from a guarded page that isn't the proxy's.
    pub(crate) async fn caught(
        &self,
        address: &Address,
        site: &Site,
        guarded: &Guarded,
        reason: &str,
        now: Timestamp,
    ) -> Refused {
        let (about, memory) = (&address.authority, &*self.options.memory);
        match guarded.outcome {
            GuardOutcome::RateLimited => {
                let after = wait(guarded.after, address);
                let after = site.refused(CoolingKind::RateLimited, reason, after, now, memory).await;
                Refused::rate_limited(about, reason, after)
            }
            GuardOutcome::Blocked => {
                let after = site.refused(CoolingKind::Blocked, reason, wait(None, address), now, memory).await;
                Refused::blocked(about, reason, after)
            }
            GuardOutcome::LoginRequired => Refused::login_required(about, reason),
            GuardOutcome::NotContent => Refused::not_content(about, reason),
        }
    }

    async fn refuse(&self, address: &Address, proxy: Option<&Admitted<'_>>, error: ExchangeError) -> Refused {
        let about = &address.authority;
        let has_answered =
            !matches!(error, ExchangeError::Proxy(_) | ExchangeError::Transport(_) | ExchangeError::NoAnswer(_));
        if let Some(proxy) = proxy.filter(|_| has_answered) {
            proxy.up();
        }
        match (error, proxy) {
            (ExchangeError::Proxy(reason), Some(proxy)) => proxy.failed(&reason, self.options.clock.now()),
            (ExchangeError::Proxy(reason), None) => Refused::transport(about, reason),
            (ExchangeError::Transport(text) | ExchangeError::Unreached(text), _) => {
                self.down(proxy, &text).await.unwrap_or_else(|| Refused::transport(about, text))
            }
            (ExchangeError::NoAnswer(text), _) => {
                self.down(proxy, &text).await.unwrap_or_else(|| Refused::timeout(about, text))
            }
            (ExchangeError::Timeout(text), _) => Refused::timeout(about, text),
            (ExchangeError::TooLarge, _) => Refused::too_large(address.site.body_max),
            (ExchangeError::HeldTooLarge(left), _) => {
                tracing::warn!(site = about, left, "an attempt holds as many bytes of responses as it may");
                Refused::too_large(left)
            }
            (ExchangeError::Refused(refused), _) => *refused,
            (ExchangeError::Spool(error), _) => Refused::storage(&error),
            (ExchangeError::Unfit(text), _) => Refused::unfit(HttpError::Other(text)),
        }
    }

    /// A site's failure looks like the proxy's own when that went away in the middle, or hangs: ask it.
    pub(crate) async fn down(&self, proxy: Option<&Admitted<'_>>, text: &str) -> Option<Refused> {
        let proxy = proxy?;
        let reason = match proxy.answers().await {
            Probed::Up => return None,
            Probed::Unauthorized => exchange::UNAUTHORIZED,
            Probed::Silent => text,
        };
        Some(proxy.failed(reason, self.options.clock.now()))
    }

    /// A stage found that the site of `url` blocks us: it is left alone for its cool-down, whichever job asks.
    pub async fn block(&self, url: &str, reason: &str) -> Duration {
        let Some(address) = self.address_of(url) else {
            return UNSET_WAIT;
        };
        let now = self.options.clock.now();
        let site = self.sites.get(&address.authority, &address.site, now);
        let after = address.site.cool_down.max(COOL_DOWN_MIN);
        site.refused(CoolingKind::Blocked, reason, after, now, &*self.options.memory).await
    }
}

/// How long a site is left alone: no time at all, or one that is over, is no time.
fn wait(asked: Option<Duration>, address: &Address) -> Duration {
    asked.filter(|asked| !asked.is_zero()).unwrap_or(address.site.cool_down).max(COOL_DOWN_MIN)
}
