//! From the text of a jobs.toml to a checked [`Deployment`], or all that is wrong with it.

use std::{ops::Range, path::PathBuf, time::Duration};

use serde::Deserialize as _;
use serde_json::{Map, Value};
use serde_spanned::Spanned;
use toml::de::DeTable;

use super::{
    CONCURRENCY_DEFAULT, CONCURRENCY_MAX, Deployment, DiscoverSpec, HostSpec, JobKind, JobSpec, ProxySpec, Secret,
    Services, StageSpec, TASK_TIMEOUT_DEFAULT,
    diagnostic::{Diagnostic, Place, did_you_mean},
    places::Places,
    raw::{RawAmount, RawDiscover, RawFile, RawHost, RawJob, RawSecret, RawStage},
    values::parse_grant,
};
use crate::{
    breaker,
    condition::Condition,
    graph::Need,
    ids::{HandlerName, JobName, StageName},
    retry::RetryPolicy,
};

mod amounts;
mod budgets;
mod checks;
mod endpoints;
mod guards;
mod models;
mod served;
mod services;
mod sessions;
mod sites;
mod tools;

use amounts::Zero;
use served::Kinds;
use sites::Known;

/// Empty rounds in a row after which a discovery is suspicious, where jobs.toml names none.
const EMPTY_ROUNDS_DEFAULT: u32 = 3;

/// Reads a jobs.toml. `file` is its name in messages.
///
/// # Errors
/// Everything wrong with it, in the order of the file.
pub fn parse(text: &str, file: &str) -> Result<Deployment, Vec<Diagnostic>> {
    let mut reader = Reader { text, file, document: DeTable::default(), found: Vec::new() };
    let document = DeTable::parse(text).map_err(|error| vec![reader.of_toml(&error)])?;
    reader.document = document.get_ref().clone();
    let raw = RawFile::deserialize(toml::Deserializer::from(document));
    let raw = raw.map_err(|error| vec![reader.of_toml(&error)])?;
    let deployment = reader.deployment(raw);
    if reader.found.is_empty() {
        Ok(deployment)
    } else {
        reader.found.sort_by_key(|diagnostic| (diagnostic.at.line, diagnostic.at.column));
        // What `*` says of sites is looked at for each of them.
        reader.found.dedup();
        Err(reader.found)
    }
}

/// serde's message without the names of Rust's types.
fn in_the_files_words(message: &str) -> String {
    for (theirs, ours) in [
        ("expected a boolean", "expected true or false"),
        ("expected a sequence", "expected a list, such as [\"one\", \"two\"]"),
        ("expected a string", "expected a text in quotes"),
    ] {
        if let Some(before) = message.strip_suffix(theirs) {
            return format!("{before}{ours}");
        }
    }
    message.to_owned()
}

/// Collects what is wrong on the way.
struct Reader<'a> {
    text: &'a str,
    file: &'a str,
    /// The file before any rule is applied.
    document: DeTable<'a>,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        Place::of(self.text, span.start)
    }

    fn say(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        let at = self.place(span);
        self.found.push(Diagnostic { file: self.file.to_owned(), at, message: message.into(), help });
    }

    /// What the TOML parser or serde found, with the nearest known key for an unknown one.
    fn of_toml(&self, error: &toml::de::Error) -> Diagnostic {
        let at = error.span().map_or_else(Place::default, |span| self.place(span));
        let message = error.message().lines().next().unwrap_or_default().trim().to_owned();
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let (message, help) = match (message.starts_with("unknown field"), quoted.split_first()) {
            (true, Some((unknown, known))) => {
                (format!("unknown key `{unknown}`"), Some(did_you_mean(unknown, known, "known here:")))
            }
            _ => (in_the_files_words(&message), None),
        };
        let message = match self.key_before(error.span()) {
            Some(key) if message.starts_with("invalid ") => format!("{key}: {message}"),
            _ => message,
        };
        Diagnostic { file: self.file.to_owned(), at, message, help }
    }

    /// The key whose value stands there, if it is on the same line.
    fn key_before(&self, span: Option<Range<usize>>) -> Option<&str> {
        let before = self.text.get(..span?.start)?;
        let line = before.rsplit('\n').next()?;
        let (head, _) = line.rsplit_once('=')?;
        head.rsplit([',', '{']).next().map(str::trim).filter(|key| !key.is_empty())
    }

    /// The value of `parsed`, or the default after saying what is wrong.
    fn or_say<T, E: ToString>(&mut self, span: Range<usize>, what: &str, parsed: Result<T, E>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                self.say(span, format!("{what}: {}", error.to_string()), None);
                None
            }
        }
    }

    /// A name that nothing has: the nearest one that there is, or what to add.
    fn unknown(
        &mut self,
        span: Range<usize>,
        (key, kind, kinds): (&str, &str, &str),
        name: &str,
        known: &[&str],
        add: &str,
    ) {
        let help = if known.is_empty() {
            format!("add {add}")
        } else {
            did_you_mean(name, known, &format!("the {kinds} are"))
        };
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        self.say(span, format!("{key}no {kind} is named {name:?}"), Some(help));
    }

    /// Where the values of a table stand.
    fn places(&self, path: &[&str]) -> Places {
        Places::of(self.text, &self.document, path)
    }

    fn deployment(&mut self, raw: RawFile) -> Deployment {
        let host = self.host(&raw.host);
        let proxies: Vec<ProxySpec> = raw.proxy.iter().map(|(name, proxy)| self.proxy(name, proxy)).collect();
        let known = Known { proxies: &proxies, jobs: &raw.job, sessions: &raw.session };
        let sites = self.sites(&raw.site, known);
        let endpoints = self.endpoints(&raw.endpoint, known);
        let sessions = self.sessions(&raw.session, &sites);
        let tools = raw.tool.iter().filter_map(|(name, tool)| self.tool(name, tool)).collect();
        let models = self.models(&raw.model, &raw.endpoint);
        let searches = self.searches(&raw.search, &raw.endpoint);
        let speeches = self.speeches(&raw.speech, &raw.endpoint);
        let budget = self.money_budget(raw.budget.as_ref());
        let kinds = Kinds::of(&raw);
        let mut jobs: Vec<(usize, JobSpec)> = Vec::new();
        for (name, job) in &raw.job {
            self.granted_tools(job.as_ref(), &raw.tool);
            self.granted_endpoints(job.as_ref(), &raw.endpoint);
            if let Some(mut spec) = self.job(name, job) {
                self.served(job.as_ref(), &mut spec, &kinds);
                jobs.push((job.span().start, spec));
            }
        }
        jobs.sort_by_key(|(start, _)| *start);
        let jobs = jobs.into_iter().map(|(_, job)| job).collect();
        Deployment { host, proxies, sites, endpoints, sessions, tools, models, searches, speeches, budget, jobs }
    }

    fn host(&mut self, raw: &RawHost) -> HostSpec {
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 7070));
        let listen = raw
            .listen
            .as_ref()
            .and_then(|value| {
                let parsed: Option<std::net::SocketAddr> = value.as_ref().parse().ok();
                match parsed.filter(|address| address.ip().is_loopback()) {
                    Some(address) => Some(address),
                    None => {
                        let message = format!("listen is {:?}", value.as_ref());
                        let help = "write a loopback address and a port, such as \"127.0.0.1:7070\"".to_owned();
                        self.say(value.span(), message, Some(help));
                        None
                    }
                }
            })
            .unwrap_or(listen);
        HostSpec {
            data: PathBuf::from(raw.data.as_deref().unwrap_or("data")),
            handlers: PathBuf::from(raw.handlers.as_deref().unwrap_or("handlers")),
            listen,
            grace: self.duration("grace", raw.grace.as_ref(), Zero::Allowed, Duration::from_secs(10)),
            keep_attempts: self.count("keep-attempts", raw.keep_attempts.as_ref(), 1..=1_000, 20),
            guest_memory_max: self.bytes(
                "guest-memory",
                raw.guest_memory.as_ref(),
                (1 << 20..=2 << 30, "1 MiB to 2 GiB"),
                512 << 20,
            ),
            zone: self.zone(raw.time_zone.as_ref()),
        }
    }

    fn secret(&mut self, key: &str, value: &Spanned<RawSecret>) -> Secret {
        match value.as_ref() {
            RawSecret::Literal(text) => Secret::Literal(text.clone()),
            RawSecret::Elsewhere(elsewhere) => match (&elsewhere.env, &elsewhere.file) {
                (Some(name), None) => Secret::Env(name.clone()),
                (None, Some(file)) => Secret::File(PathBuf::from(file)),
                _ => {
                    let help = "write { env = \"NAME\" } or { file = \"PATH\" }".to_owned();
                    self.say(value.span(), format!("{key} names no place, or two"), Some(help));
                    Secret::Literal(String::new())
                }
            },
        }
    }

    fn job(&mut self, name: &str, raw: &Spanned<RawJob>) -> Option<JobSpec> {
        let at = self.place(raw.span());
        let job = raw.as_ref();
        let parsed_name = self.or_say(raw.span(), &format!("job {name:?}"), JobName::new(name));
        let handler = HandlerName::new(job.handler.as_ref());
        let handler = self.or_say(job.handler.span(), "handler", handler);
        let kind = match job.kind.as_ref().as_str() {
            "monitor" => JobKind::Monitor,
            "backfill" => JobKind::Backfill,
            other => {
                let help =
                    "write \"monitor\" (keeps finding new items) or \"backfill\" (a finite catalogue)".to_owned();
                self.say(job.kind.span(), format!("kind is {other:?}"), Some(help));
                return None;
            }
        };
        let discover = self.discover(job, kind);
        let grants = job.grant.iter().flat_map(|grants| grants.as_ref().iter());
        let grants =
            grants.filter_map(|grant| self.or_say(grant.span(), "grant", parse_grant(grant.as_ref()))).collect();
        let stages = job.stages.as_ref().map(|stages| {
            stages.iter().filter_map(|name| self.or_say(name.span(), "stages", StageName::new(name.as_ref()))).collect()
        });
        let tuned = job.stage.iter().filter_map(|(stage, raw)| self.stage(name, stage, raw)).collect();
        let checks = job.check.iter().filter_map(|(check, raw)| self.check(check, raw)).collect();
        Some(JobSpec {
            name: parsed_name?,
            kind,
            handler: handler?,
            grants,
            services: Services::default(),
            budget: self.money_budget(job.budget.as_ref()),
            params: self.object(&job.params, raw.span()),
            params_at: self.places(&["job", name, "params"]),
            discover,
            stages,
            tuned,
            checks,
            breaker: self.count("breaker", job.breaker.as_ref(), 1..=1_000, breaker::THRESHOLD_DEFAULT),
            reuse: self.count("reuse", job.reuse.as_ref(), 1..=100_000, 1),
            at,
            handler_at: self.place(job.handler.span()),
            grant_at: job.grant.as_ref().map_or(at, |grant| self.place(grant.span())),
        })
    }

    fn discover(&mut self, job: &RawJob, kind: JobKind) -> Option<DiscoverSpec> {
        let once = DiscoverSpec { every: None, empty_rounds_max: EMPTY_ROUNDS_DEFAULT };
        let discover = job.discover.as_ref()?;
        let spec = match discover.as_ref() {
            RawDiscover::Word(word) if word == "once" => once,
            RawDiscover::Word(word) => {
                let help = "write \"once\", or { every = \"6h\" }".to_owned();
                self.say(discover.span(), format!("discover is {word:?}"), Some(help));
                once
            }
            RawDiscover::Rounds(rounds) => {
                let empty_rounds = rounds.empty_rounds.as_ref();
                DiscoverSpec {
                    every: rounds.every.as_ref().and_then(|every| self.time("every", every, Zero::Refused)),
                    empty_rounds_max: self.count("empty-rounds", empty_rounds, 1..=1_000, EMPTY_ROUNDS_DEFAULT),
                }
            }
        };
        let says_every = matches!(discover.as_ref(), RawDiscover::Rounds(rounds) if rounds.every.is_some());
        if kind == JobKind::Monitor && !says_every {
            let help = "write discover = { every = \"6h\" }, or kind = \"backfill\"".to_owned();
            self.say(discover.span(), "a monitor discovers again and again", Some(help));
        }
        Some(spec)
    }

    fn stage(&mut self, job: &str, name: &str, raw: &Spanned<RawStage>) -> Option<StageSpec> {
        let at = self.place(raw.span());
        let stage = raw.as_ref();
        let params_at = self.places(&["job", job, "stage", name, "params"]);
        let name = self.or_say(raw.span(), &format!("stage {name:?}"), StageName::new(name))?;
        let when = stage.when.as_ref();
        let when = when.and_then(|when| self.or_say(when.span(), "when", Condition::parse(when.as_ref())));
        let needs = stage.needs.as_ref().map(|needs| {
            needs
                .as_ref()
                .iter()
                .filter_map(|need| self.or_say(need.span(), "needs", Need::parse(need.as_ref())))
                .collect()
        });
        let contract = stage.contract.as_ref().map(|contract| {
            let schema = Value::Object(self.object(contract.as_ref(), contract.span()));
            self.or_say(contract.span(), "contract", crate::contract::Contract::new(schema.clone()));
            schema
        });
        Some(StageSpec {
            name,
            concurrency: self.concurrency(stage.concurrency.as_ref()),
            when,
            when_at: stage.when.as_ref().map_or(at, |when| self.place(when.span())),
            needs,
            needs_at: stage.needs.as_ref().map_or(at, |needs| self.place(needs.span())),
            services: Services::default(),
            params: self.object(&stage.params, raw.span()),
            params_at,
            retry: self.retry(stage.attempts.as_ref(), stage.backoff.as_ref(), stage.retry_for.as_ref()),
            timeout: self.task_timeout(stage.timeout.as_ref()),
            raw: stage.raw.unwrap_or(true),
            keep: stage.keep.unwrap_or(false),
            contract,
            at,
        })
    }

    fn concurrency(&mut self, tasks: Option<&Spanned<RawAmount>>) -> usize {
        self.count("concurrency", tasks, 1..=CONCURRENCY_MAX, CONCURRENCY_DEFAULT)
    }

    fn retry(
        &mut self,
        attempts: Option<&Spanned<RawAmount>>,
        backoff: Option<&Spanned<RawAmount>>,
        retry_for: Option<&Spanned<RawAmount>>,
    ) -> RetryPolicy {
        let usual = RetryPolicy::default();
        RetryPolicy {
            attempts_max: self.count("attempts", attempts, 1..=1_000, usual.attempts_max),
            backoff: self.duration("backoff", backoff, Zero::Allowed, usual.backoff),
            retry_for: self.duration("retry-for", retry_for, Zero::Refused, usual.retry_for),
        }
    }

    fn task_timeout(&mut self, timeout: Option<&Spanned<RawAmount>>) -> Duration {
        self.duration("timeout", timeout, Zero::Refused, TASK_TIMEOUT_DEFAULT)
    }

    /// A TOML table as JSON. Dates become text.
    fn object(&mut self, table: &toml::Table, span: Range<usize>) -> Map<String, Value> {
        match serde_json::to_value(table) {
            Ok(Value::Object(object)) => object,
            Ok(_) => Map::new(),
            Err(error) => {
                self.say(span, format!("params can't be written as JSON: {error}"), None);
                Map::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
