//! A run for a site: with its session and in its turn, over the first way that is open, and what
//! follows from its failure.

use tollgate_core::{
    circuit::CoolingKind,
    outcome::RefusalKind,
    spec::{Route, ToolSpec, tools::ToolOutcome},
    tool::ToolError,
};

use super::{
    Acting, Run, ToolOutput, ToolRefused,
    handover::Cookies,
    refused::{NoOutput, by_its_word, deadline_text, without_site},
    verdict::Trouble,
};
use crate::{
    Caller, Gate, Hop, Refused, Told,
    address::Address,
    error::refusal,
    gate::COOL_DOWN_MIN,
    meter::Passage,
    proxy::{Admitted, Proxy},
    session::Lease,
    site::{Site, Trying},
    ways,
};

/// A way that lets a run through.
struct Open<'a> {
    /// Absent: it is direct.
    proxy: Option<&'a Proxy>,
    admitted: Option<Admitted<'a>>,
    passage: Passage,
}

impl Gate {
    /// The first way that lets a run through: its proxy is up, and no budget is spent. Else the refusal of the
    /// one that is open sooner.
    fn first_open<'a>(&self, ways: Vec<ways::Way<'a>>, address: &Address) -> Result<Open<'a>, Refused> {
        let mut refused = ways::none(address);
        for way in ways {
            // What is counted is an estimate: nothing lies around it.
            match self.admit(&way, address, (false, false)) {
                Ok((admitted, passage)) => return Ok(Open { proxy: way.proxy, admitted, passage }),
                Err(shut) => refused = refused.or_sooner(shut),
            }
        }
        Err(refused)
    }

    /// Runs with the cookies of the site's session, where it has one. A run that is told to sign in has met the end of
    /// it: it is renewed, and the tool run once more.
    pub(super) async fn run_in_session(
        &self,
        run: &Run<'_>,
        (caller, address): (&Caller, &Address),
        told: Told<'_>,
    ) -> Result<ToolOutput, ToolRefused> {
        let Some(lease) = self.lease_for_tool(run.tool, (caller, address), told).await? else {
            return self.run_for_site(run, (caller, address), None, told).await;
        };
        let first = self.run_for_site(run, (caller, address), Some(self.cookies(&lease)), told).await;
        match first {
            Err(ToolRefused { error: ToolError::LoginRequired(_), .. }) => {}
            Ok(output) => {
                self.session_served(&lease);
                return Ok(output);
            }
            Err(refused) => return Err(refused),
        }
        self.renew(&lease, caller, told).await?;
        let Some(lease) = self.lease_for_tool(run.tool, (caller, address), told).await? else {
            return self.run_for_site(run, (caller, address), None, told).await;
        };
        match self.run_for_site(run, (caller, address), Some(self.cookies(&lease)), told).await {
            Err(ToolRefused { error: ToolError::LoginRequired(text), .. }) => {
                let refused = Refused::login_required(&address.authority, &text);
                Err(self.refused_again(&lease, refused).await.into())
            }
            Ok(output) => {
                self.session_served(&lease);
                Ok(output)
            }
            Err(refused) => Err(refused),
        }
    }

    /// The session that a tool is given; absent, if its site has none, or its entry says that it goes without.
    async fn lease_for_tool(
        &self,
        tool: &ToolSpec,
        (caller, address): (&Caller, &Address),
        told: Told<'_>,
    ) -> Result<Option<Lease>, ToolRefused> {
        let Some(session) = &address.site.session else {
            return Ok(None);
        };
        match tool.network.as_ref().and_then(|network| network.cookies_args.as_ref()) {
            // What it brings back without would be what the site shows to strangers.
            None => Err(ToolRefused::denied(format!(
                "{} has session {session}, and nothing says how tool {} takes its cookies: add \
                 cookies-args = [\"--cookies\", \"{{cookies}}\"] as the program has it, or cookies-args = [] to run it \
                 without, to [tool.{}] in jobs.toml",
                address.authority, tool.name, tool.name
            ))),
            Some(args) if args.is_empty() => Ok(None),
            Some(_) => Ok(self.lease(caller, address, told).await?),
        }
    }

    /// As a request does: the route first, where it is shut nothing waits; then a place and a turn at the site, one for
    /// all profiles, or a slow rate would never let the second run.
    async fn run_for_site(
        &self,
        run: &Run<'_>,
        (caller, address): (&Caller, &Address),
        cookies: Option<Cookies>,
        told: Told<'_>,
    ) -> Result<ToolOutput, ToolRefused> {
        if address.site.route == Route::Direct {
            let text = format!(
                "{} is reached directly, and nobody could decide where a program's redirects lead: give it a proxy in \
                 [site.\"{}\"]",
                address.authority, address.site.pattern
            );
            return Err(ToolRefused::denied(text));
        }
        told(Hop::Waits(address.url.as_str()));
        let clock = &*self.options.clock;
        let ways = self.ways(address)?;
        let site = self.sites.get(&address.authority, &address.site, clock.now());
        let mut slot = site.enter(&address.site, clock, caller.held.attempt()).await?;
        let Open { proxy, admitted, passage } = self.first_open(ways, address)?;
        let handover = self.hand_over(run.tool, Some((address, proxy, cookies)))?;
        slot.sent();
        told(Hop::Runs);
        let acting = Acting { site: &address.authority, passage: &passage };
        let output = self.run_profiles(run, &handover, Some(acting)).await;
        match output {
            Ok(output) => {
                slot.end().into_iter().for_each(Trying::answered);
                told(Hop::Answered(&address.authority));
                if let Some(admitted) = &admitted {
                    admitted.up();
                }
                Ok(output)
            }
            Err(no_output) => Err(self.judge_tool(run, address, &site, admitted.as_ref(), no_output).await),
        }
    }

    /// What follows from a run that gave nothing, for its site and its proxy, whichever job asks next (R03, R07).
    async fn judge_tool(
        &self,
        run: &Run<'_>,
        address: &Address,
        site: &Site,
        proxy: Option<&Admitted<'_>>,
        no_output: NoOutput,
    ) -> ToolRefused {
        let about = &address.authority;
        let (outcome, wait, text) = match no_output {
            NoOutput::Trouble(Trouble { outcome, wait, text }) => (outcome, wait, text),
            NoOutput::Deadline => {
                let text = deadline_text(run.tool, run.time);
                return match self.proxy_s_fault(proxy, &text).await {
                    Some(refused) => refused,
                    None => Refused::timeout(about, text).into(),
                };
            }
            other => return without_site(run.tool, run.time, other),
        };
        let now = self.options.clock.now();
        let after = wait.unwrap_or(address.site.cool_down).max(COOL_DOWN_MIN);
        // Whatever the site itself said came through the proxy.
        if let Some(proxy) = proxy.filter(|_| !matches!(outcome, ToolOutcome::Connection | ToolOutcome::Failed)) {
            proxy.up();
        }
        match outcome {
            ToolOutcome::Blocked => {
                let after = site.refused(CoolingKind::Blocked, &text, after, now, &*self.options.memory).await;
                Refused::blocked(about, &text, after).into()
            }
            ToolOutcome::RateLimited => {
                let after = site.refused(CoolingKind::RateLimited, &text, after, now, &*self.options.memory).await;
                Refused::rate_limited(about, &text, after).into()
            }
            ToolOutcome::Connection => match self.proxy_s_fault(proxy, &text).await {
                Some(refused) => refused,
                None => Refused::transport(about, text).into(),
            },
            ToolOutcome::LoginRequired => {
                let refusal = refusal(RefusalKind::LoginRequired, about, &text, None);
                ToolRefused::new(ToolError::LoginRequired(text), Some(refusal))
            }
            // No rule may know how it says that the proxy is gone.
            ToolOutcome::Failed => match self.proxy_s_fault(proxy, &text).await {
                Some(refused) => refused,
                None => ToolRefused::failed(text),
            },
            ToolOutcome::Later | ToolOutcome::Permanent | ToolOutcome::Warning => {
                by_its_word(outcome, wait, address.url.as_str(), text)
            }
        }
    }

    /// The proxy is asked whether a failure is its own.
    async fn proxy_s_fault(&self, proxy: Option<&Admitted<'_>>, text: &str) -> Option<ToolRefused> {
        self.down(proxy, text).await.map(ToolRefused::from)
    }
}
