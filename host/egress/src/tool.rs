//! Tools: programs of jobs.toml, run for a handler by the policy of the site that they act for.
//!
//! A run is decided as a request is: the job's grants, the address, its site's cool-down and rate, its proxy. Then the
//! program runs by itself, which is why a handler may pass only such arguments as the entry accepts: one option too
//! many (`--proxy ""`, `--exec`) and nothing would be between the handler and the network or this machine.

mod handover;
mod own;
mod process;
mod refused;
pub(crate) mod scratch;
mod traffic;
mod verdict;

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::time::Instant;
use tollgate_core::{
    circuit::CoolingKind,
    outcome::RefusalKind,
    spec::{
        Deployment, Route, ToolSpec,
        tools::{OutputKind, ToolOutcome, ToolProfile, is_plain_name},
    },
    task::clean_message,
    tool::{ToolError, ToolInput, ToolRequest},
};

pub(crate) use self::handover::Cookies;
pub use self::refused::ToolRefused;
use self::{
    handover::{Handover, Way},
    process::{Program, Ran, RunError},
    refused::{NoOutput, by_its_word, deadline_text, missing, not_accepted, without_site},
    scratch::{Left, Scratch},
    traffic::Traffic,
    verdict::{Said, Trouble, Verdict},
};
use crate::{
    Caller, Denial, Gate, Hop, Refused, Told,
    address::{self, Address, Named},
    endpoint,
    error::refusal,
    gate::COOL_DOWN_MIN,
    meter::Passage,
    proxy::{Admitted, Proxy},
    session::Lease,
    site::{Site, Trying},
    ways,
};

/// What a tool gave.
#[derive(Debug)]
pub struct ToolOutput {
    /// Its exit status; not zero where only warnings made it so.
    pub exit_code: i32,
    /// All of stdout, without the secrets that it was given.
    pub stdout: Vec<u8>,
    /// The end of stderr, without those too.
    pub stderr: String,
    /// What it complained of, though its output can be used.
    pub warnings: Vec<String>,
    /// The argument profile that served.
    pub profile: String,
    /// Files that it left, by name; there as long as this lives.
    pub files: Vec<ToolFile>,
    /// Host name and port of the site that it acted for.
    pub site: Option<String>,
    _scratch: Scratch,
}

/// A file that a tool left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolFile {
    /// Its name, fit for an artifact's.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// What all profiles of a run have in common.
struct Run<'a> {
    tool: &'a ToolSpec,
    program: PathBuf,
    wanted: Vec<OutputKind>,
    args: Vec<String>,
    inputs: Arc<[ToolInput]>,
    stdin: Option<Vec<u8>>,
    /// Time for all profiles together.
    time: Duration,
}

/// The site that a run acts for, by host name and port, and where what it transfers is counted.
#[derive(Clone, Copy)]
struct Acting<'a> {
    site: &'a str,
    passage: &'a Passage,
}

/// A way that lets a run through.
struct Open<'a> {
    /// Absent: it is direct.
    proxy: Option<&'a Proxy>,
    admitted: Option<Admitted<'a>>,
    passage: Passage,
}

impl Gate {
    /// Runs a tool for a job, through its site's proxy, within its site's limits.
    ///
    /// # Errors
    /// Policy, the site, the proxy, the tool's own word by the rules of its entry, or its deadline. Dropped before its
    /// end, the program and all that it started are killed.
    pub async fn run_tool(
        &self,
        caller: &Caller,
        request: ToolRequest,
        told: Told<'_>,
    ) -> Result<ToolOutput, ToolRefused> {
        let ended = self.run_granted(caller, request, told).await;
        ended.inspect_err(|refused| self.denials.count(refused.denial))
    }

    async fn run_granted(
        &self,
        caller: &Caller,
        request: ToolRequest,
        told: Told<'_>,
    ) -> Result<ToolOutput, ToolRefused> {
        let deployment = self.deployment();
        let tool = Self::granted_tool(&deployment, caller, &request.tool)?;
        let wanted = tool.accept(&request.args).map_err(|arg| not_accepted(tool, arg))?;
        let address = self.acts_for(caller, tool, request.url.as_deref())?;
        check_inputs(&request.files)?;
        let program = process::find(&tool.command, &self.options.base).ok_or_else(|| missing(tool))?;
        let run = Run {
            tool,
            program,
            wanted,
            args: request.args,
            inputs: request.files.into(),
            stdin: request.stdin,
            time: request.timeout.map_or(tool.timeout, |shorter| shorter.min(tool.timeout)),
        };
        match &address {
            Some(address) => self.run_in_session(&run, (caller, address), told).await,
            None => {
                told(Hop::Runs);
                let handover = self.hand_over(tool, None)?;
                let output = self.run_profiles(&run, &handover, None).await;
                output.map_err(|trouble| without_site(tool, run.time, trouble))
            }
        }
    }

    fn granted_tool<'a>(deployment: &'a Deployment, caller: &Caller, name: &str) -> Result<&'a ToolSpec, ToolRefused> {
        let granted = caller.tools.as_ref();
        if !granted.is_some_and(|names| names.is_empty() || names.iter().any(|granted| granted == name)) {
            return Err(ToolRefused::denied(format!(
                "job {} is not granted the tool {name}; add \"tools {name}\" to `grant` of [job.{}] in jobs.toml",
                caller.job, caller.job
            )));
        }
        let tool = deployment.tool(name);
        tool.ok_or_else(|| ToolRefused::denied(format!("no tool is named {name}; add [tool.{name}] to jobs.toml")))
    }

    /// The address that a run acts for. A tool that obeys no proxy is given none (trap 13), and one that reaches the
    /// network never runs without: nothing would say how it may.
    fn acts_for(&self, caller: &Caller, tool: &ToolSpec, url: Option<&str>) -> Result<Option<Address>, ToolRefused> {
        match (url, &tool.network) {
            (None, None) => Ok(None),
            (Some(url), Some(_)) => {
                let url = address::parse(url)?;
                if endpoint::is_named_by(&url) {
                    return Err(ToolRefused::denied(format!(
                        "tool {} can't reach an endpoint: it would pass its pacing by; fetch it, and pass the file",
                        tool.name
                    )));
                }
                Ok(Some(address::decide(&self.deployment(), caller, url, Named::Caller)?))
            }
            (Some(_), None) => Err(ToolRefused::denied(format!(
                "tool {} reaches no network (`network = false`), so it gets no address; fetch it, and pass the file",
                tool.name
            ))),
            (None, Some(_)) => Err(ToolRefused::denied(format!(
                "tool {} reaches the network: give it the address that it acts for, which decides how",
                tool.name
            ))),
        }
    }

    /// What a run is given; of the network, the address that it acts for and the proxy there, if it isn't direct.
    fn hand_over<'a>(
        &self,
        tool: &'a ToolSpec,
        way: Option<(&'a Address, Option<&Proxy>, Option<Cookies>)>,
    ) -> Result<Handover<'a>, ToolRefused> {
        let base = &self.options.base;
        let way = match (way, &tool.network) {
            (Some((address, proxy, cookies)), Some(network)) => {
                let (proxy, ca) = match proxy.map(|proxy| proxy.for_tool(base)).transpose()? {
                    Some((url, ca)) => (Some(url), ca),
                    None => (None, None),
                };
                // It runs in another folder, where a relative path leads nowhere.
                let ca = ca.map(std::path::absolute).transpose().map_err(|error| ToolRefused::scratch(&error))?;
                Some(Way { network, url: address.url.as_str(), proxy, ca, cookies })
            }
            _ => None,
        };
        let made = Handover::new(tool, way, base);
        made.map_err(|text| ToolRefused::failed(format!("[tool.{}] env: {text}", tool.name)))
    }

    /// The first way that lets a run through: its proxy is up, and no budget is spent. Else the refusal of the one that is
    /// open sooner.
    fn first_open<'a>(&self, ways: Vec<ways::Way<'a>>, address: &Address) -> Result<Open<'a>, Refused> {
        let pattern = address.site.pattern.to_string();
        let mut refused = Refused::denied(Denial::NoPolicy, format!("site {pattern} names no proxy"));
        for ways::Way { proxy, .. } in ways {
            let admitted = proxy.map(|proxy| proxy.admit(self.options.clock.now())).transpose();
            // What is counted is an estimate: nothing lies around it.
            let passage = self.meters.admit(&pattern, proxy.map(Proxy::name), (false, false));
            match admitted.and_then(|admitted| Ok((admitted, passage?))) {
                Ok((admitted, passage)) => return Ok(Open { proxy, admitted, passage }),
                Err(shut) => refused = refused.or_sooner(shut),
            }
        }
        Err(refused)
    }

    /// Runs with the cookies of the site's session, where it has one. A run that is told to sign in has met the end of it:
    /// it is renewed, and the tool run once more.
    async fn run_in_session(
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
                "{} has session {session}, and nothing says how tool {} takes its cookies: add cookies-args = [\"--cookies\", \
                 \"{{cookies}}\"] as the program has it, or cookies-args = [] to run it without, to [tool.{}] in jobs.toml",
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

    /// Tries the profiles in turn, each in a folder of its own: what a failed one left says nothing.
    async fn run_profiles(
        &self,
        run: &Run<'_>,
        handover: &Handover<'_>,
        acting: Option<Acting<'_>>,
    ) -> Result<ToolOutput, NoOutput> {
        let tool = run.tool;
        let deadline = Instant::now() + run.time;
        let mut tried: Vec<String> = Vec::new();
        for (place, profile) in tool.profiles.iter().enumerate() {
            if let Some(spent) = acting.filter(|_| place > 0).and_then(|acting| acting.passage.over()) {
                return Err(NoOutput::Budget(Box::new(spent)));
            }
            let trouble = match self.run_profile(run, profile, handover, acting, deadline).await? {
                Ok(output) => return Ok(output),
                Err(trouble) => trouble,
            };
            tracing::debug!(tool = tool.name, profile = profile.name, outcome = ?trouble.outcome, "no output");
            let is_last = place + 1 == tool.profiles.len() || !tool.try_next_on.contains(&trouble.outcome);
            tried.push(if tool.profiles.len() == 1 {
                format!("{}: {}", tool.name, trouble.text)
            } else {
                format!("{} ({}): {}", tool.name, profile.name, trouble.text)
            });
            if is_last {
                // The last word first: it decides.
                tried.reverse();
                return Err(NoOutput::Trouble(Trouble {
                    text: clean_message(&tried.join("; before that, ")),
                    ..trouble
                }));
            }
        }
        Err(NoOutput::Start("it has no profile".to_owned()))
    }

    async fn run_profile(
        &self,
        run: &Run<'_>,
        profile: &ToolProfile,
        handover: &Handover<'_>,
        acting: Option<Acting<'_>>,
        deadline: Instant,
    ) -> Result<Result<ToolOutput, Trouble>, NoOutput> {
        let (within, inputs) = (self.options.spool.clone(), run.inputs.clone());
        let cookies = handover.cookies().map(ToOwned::to_owned);
        let scratch = blocking(move || Scratch::new(&within, &inputs, cookies.as_deref()));
        let scratch = scratch.await.map_err(NoOutput::Scratch)?;
        let mut hidden = handover.hidden.clone();
        hidden.hide(scratch.path().display().to_string());
        let (folder, heard) = (scratch.files(), Arc::new(AtomicU64::new(0)));
        let count = |acting: Acting<'_>| {
            Traffic::new(acting.passage.clone(), folder.clone(), run.inputs.clone(), heard.clone())
        };
        let traffic = acting.map(count);
        let ran = process::run(Program {
            path: &run.program,
            args: handover.args(run.tool, profile, &run.args, &scratch),
            env: handover.env(&scratch),
            folder: &folder,
            stdin: run.stdin.as_deref(),
            output_max: run.tool.output_max,
            heard: &heard,
            deadline,
        });
        let failed = |text: String| Trouble { outcome: ToolOutcome::Failed, wait: None, text };
        let ran = ran.await;
        drop(traffic);
        let Ran { exit_code, stdout, stderr } = match ran {
            Ok(ran) => ran,
            Err(RunError::Deadline) => return Err(NoOutput::Deadline),
            Err(RunError::Start(error)) => return Err(NoOutput::Start(error.to_string())),
            Err(RunError::Pipe(error)) => return Ok(Err(failed(format!("its pipes broke: {error}")))),
            Err(RunError::TooMuch) => {
                let text = format!("it wrote more than {} bytes; that is its `output-max`", run.tool.output_max);
                return Ok(Err(failed(text)));
            }
        };
        // A program may write its cookies back: what stands there is as secret, and no longer needed.
        scratch.forget_cookies().map_err(NoOutput::Scratch)?;
        let (tool, names) = (run.tool.clone(), run.inputs.iter().map(|input| input.name.clone()).collect::<Vec<_>>());
        let left = blocking(move || scratch::collect(&folder, &tool, &names)).await.map_err(NoOutput::Scratch)?;
        let (stdout, stderr) = (hidden.bytes(stdout), hidden.text(&String::from_utf8_lossy(&stderr)));
        let said = Said { exit_code, stdout: &stdout, stderr: &stderr, left: &left };
        let warnings = match verdict::judge(run.tool, &run.wanted, &said) {
            Verdict::Usable { warnings } => warnings,
            Verdict::Not(trouble) => return Ok(Err(trouble)),
        };
        let Left { files, .. } = left;
        let (profile, site) = (profile.name.clone(), acting.map(|acting| acting.site.to_owned()));
        Ok(Ok(ToolOutput { exit_code, stdout, stderr, warnings, profile, files, site, _scratch: scratch }))
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

/// Names of files are ours to lay down: none may lead elsewhere, or be read as an option.
fn check_inputs(inputs: &[ToolInput]) -> Result<(), ToolRefused> {
    let mut names = BTreeSet::new();
    for input in inputs {
        if !is_plain_name(&input.name) {
            let name = clean_message(&input.name);
            return Err(ToolRefused::denied(format!("{name:?} can't name a file of a tool: it could be read as more")));
        }
        if !names.insert(&input.name) {
            return Err(ToolRefused::denied(format!("two files named {:?} for one run", input.name)));
        }
    }
    Ok(())
}

/// Work on the disk, beside the threads that wait for the network.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
