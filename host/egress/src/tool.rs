//! Tools: programs of jobs.toml, run for a handler by the policy of the site that they act for.
//!
//! A run is decided as a request is: the job's grants, the address, its site's cool-down and rate, its proxy. Then the
//! program runs by itself, which is why a handler may pass only such arguments as the entry accepts: one option too
//! many (`--proxy ""`, `--exec`) and nothing would be between the handler and the network or this machine.

mod for_site;
mod handover;
mod own;
mod process;
mod profiles;
mod refused;
pub(crate) mod scratch;
mod traffic;
mod verdict;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tollgate_core::{
    spec::{
        Deployment, ToolSpec,
        tools::{OutputKind, is_plain_name},
    },
    task::clean_message,
    tool::{ToolInput, ToolRequest},
};

pub(crate) use self::handover::Cookies;
pub use self::refused::ToolRefused;
use self::{
    handover::{Handover, Way},
    refused::{missing, not_accepted, without_site},
    scratch::Scratch,
};
use crate::{
    Caller, Gate, Hop, Told,
    address::{self, Address, Named},
    endpoint,
    meter::Passage,
    proxy::Proxy,
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

impl<'a> Run<'a> {
    fn new(
        tool: &'a ToolSpec,
        wanted: Vec<OutputKind>,
        request: ToolRequest,
        base: &Path,
    ) -> Result<Self, ToolRefused> {
        check_inputs(&request.files)?;
        Ok(Self {
            tool,
            program: process::find(&tool.command, base).ok_or_else(|| missing(tool))?,
            wanted,
            args: request.args,
            inputs: request.files.into(),
            stdin: request.stdin,
            time: request.timeout.map_or(tool.timeout, |shorter| shorter.min(tool.timeout)),
        })
    }
}

/// The site that a run acts for, by host name and port, and where what it transfers is counted.
#[derive(Clone, Copy)]
struct Acting<'a> {
    site: &'a str,
    passage: &'a Passage,
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
        let run = Run::new(tool, wanted, request, &self.options.base)?;
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
