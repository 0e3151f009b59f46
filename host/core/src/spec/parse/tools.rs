//! `[tool.NAME]` of a jobs.toml: its forms, profiles and rules, each fault with its own place.

use std::{collections::BTreeMap, ops::Range};

use serde_spanned::Spanned;

use super::{Reader, Zero};
use crate::{
    handler::Capability,
    ids::JobName,
    spec::{
        ToolSpec,
        diagnostic::did_you_mean,
        raw::{RawForm, RawJob, RawProfile, RawRule, RawTool},
        tools::{
            ArgForm, ArgPart, OutputKind, PROFILE_DEFAULT, Pattern, TOOL_OUTPUT_DEFAULT, TOOL_TIMEOUT_DEFAULT,
            ToolNetwork, ToolOutcome, ToolProfile, ToolRule,
        },
        values::parse_grant,
    },
};

/// Most that one run may give, in bytes: what is on stdout is held in memory.
const OUTPUT_MAX: u64 = 4 << 30;
/// Exit statuses that a program can end with.
const EXIT_MAX: i32 = 255;

impl Reader<'_> {
    /// Tools that a job's grants name are there.
    pub(super) fn granted_tools(&mut self, job: &RawJob, tools: &BTreeMap<String, Spanned<RawTool>>) {
        for grant in job.grant.iter().flat_map(|grants| grants.as_ref().iter()) {
            let Some(granted) = parse_grant(grant.as_ref()).ok().filter(|known| known.capability == Capability::Tools)
            else {
                continue;
            };
            for name in granted.names.iter().filter(|name| !tools.contains_key(*name)) {
                let known: Vec<&str> = tools.keys().map(String::as_str).collect();
                let add = format!("[tool.{name}] with its command");
                self.unknown(grant.span(), ("grant", "tool", "tools"), name, &known, &add);
            }
        }
    }

    pub(super) fn tool(&mut self, name: &str, raw: &Spanned<RawTool>) -> Option<ToolSpec> {
        let (at, span, tool) = (self.place(raw.span()), raw.span(), raw.as_ref());
        // A tool's name obeys the rules of all names: it stands in grants, tables and messages.
        self.or_say(span.clone(), &format!("tool {name:?}"), JobName::new(name))?;
        if tool.command.as_ref().trim().is_empty() {
            let help = "write a program's name, or a path; its arguments stand in `args`".to_owned();
            self.say(tool.command.span(), "command is empty", Some(help));
        }
        let output = self.word("output", &tool.output, &OutputKind::ALL)?;
        let accepts = tool.accepts.iter().filter_map(|form| self.form(form)).collect();
        let mut env = Vec::new();
        for (variable, value) in &tool.env {
            if variable.is_empty() || variable.contains(['=', '\0']) {
                self.say(value.span(), format!("env: {variable:?} can't name a variable"), None);
            }
            env.push((variable.clone(), self.secret(variable, value)));
        }
        let network = self.network(name, tool, span);
        for pattern in &tool.unfinished {
            let text = pattern.as_ref();
            if text.trim_matches('*').is_empty() {
                let help = "write a name, with * for anything, such as \"*.part\"".to_owned();
                self.say(pattern.span(), format!("unfinished: {text:?} is no pattern"), Some(help));
            }
        }
        let rules = tool.rules.iter().filter_map(|rule| self.rule(name, rule, network.is_some())).collect();
        let limit = (1..=OUTPUT_MAX, "1 B to 4 GiB");
        Some(ToolSpec {
            name: name.to_owned(),
            command: tool.command.as_ref().clone(),
            args: tool.args.clone(),
            accepts,
            env,
            network,
            output,
            strict_exit: tool.strict_exit.unwrap_or(false),
            unfinished: tool.unfinished.iter().map(|pattern| pattern.as_ref().clone()).collect(),
            profiles: self.profiles(&tool.profiles),
            try_next_on: self.try_next_on(tool),
            rules,
            timeout: self.duration("timeout", tool.timeout.as_ref(), Zero::Refused, TOOL_TIMEOUT_DEFAULT),
            output_max: self.bytes("output-max", tool.output_max.as_ref(), limit, TOOL_OUTPUT_DEFAULT),
            install: tool.install.clone(),
            at,
        })
    }

    /// One of some words; absent after saying which there are.
    pub(super) fn word<T: Copy>(&mut self, key: &str, value: &Spanned<String>, words: &[(&str, T)]) -> Option<T> {
        let found = words.iter().find(|(word, _)| word == value.as_ref()).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let help = did_you_mean(value.as_ref(), &known, "there are");
            self.say(value.span(), format!("{key} is {:?}", value.as_ref()), Some(help));
        }
        found
    }

    fn form(&mut self, raw: &Spanned<RawForm>) -> Option<ArgForm> {
        let (text, output) = match raw.as_ref() {
            RawForm::Args(text) => (text, None),
            RawForm::Making(form) => (&form.args, Some(self.word("output", &form.output, &OutputKind::ALL)?)),
        };
        let mut parts = Vec::new();
        for word in text.split_whitespace() {
            let placeholder = ArgPart::PLACEHOLDERS.iter().find(|(written, _)| *written == word);
            match placeholder {
                Some((_, part)) => parts.push(part.clone()),
                None if word.contains(['{', '}']) => {
                    let known = ArgPart::PLACEHOLDERS.map(|(written, _)| written);
                    let help = did_you_mean(word, &known, "each stands as an argument of its own; there are");
                    self.say(raw.span(), format!("accepts: {word:?} is no placeholder"), Some(help));
                    return None;
                }
                None => parts.push(ArgPart::Word(word.to_owned())),
            }
        }
        if parts.is_empty() {
            let help = "write what a handler may pass, such as \"--lang {text}\"".to_owned();
            self.say(raw.span(), "accepts: an empty text", Some(help));
            return None;
        }
        Some(ArgForm { parts, output })
    }

    /// Absent for `network = false`, or after saying what is wrong.
    fn network(&mut self, name: &str, tool: &RawTool, span: Range<usize>) -> Option<ToolNetwork> {
        let list = |value: &Option<Spanned<Vec<String>>>| value.as_ref().map_or_else(Vec::new, |v| v.as_ref().clone());
        if tool.network.as_ref().is_some_and(|network| !network.as_ref()) {
            for (key, value) in [
                ("proxy-env", &tool.proxy_env),
                ("proxy-args", &tool.proxy_args),
                ("ca-env", &tool.ca_env),
                ("url-args", &tool.url_args),
                ("cookies-args", &tool.cookies_args),
            ] {
                if let Some(value) = value {
                    let help = "remove it, or network = false".to_owned();
                    self.say(value.span(), format!("tool {name} reaches no network, and has {key}"), Some(help));
                }
            }
            return None;
        }
        for (key, value, placeholder) in
            [("proxy-args", &tool.proxy_args, "{proxy}"), ("url-args", &tool.url_args, "{url}")]
        {
            if let Some(value) = value.as_ref().filter(|value| !value.as_ref().iter().any(|v| v.contains(placeholder)))
            {
                let help = format!("write {placeholder} where it goes");
                self.say(value.span(), format!("{key} has no {placeholder}"), Some(help));
            }
        }
        // An empty list is a word of its own: without the session.
        let cookies_args = tool.cookies_args.as_ref().filter(|args| !args.as_ref().is_empty());
        if let Some(args) = cookies_args.filter(|args| !args.as_ref().iter().any(|arg| arg.contains("{cookies}"))) {
            let help = "write {cookies} where it goes; [] for a tool that runs without the site's session".to_owned();
            self.say(args.span(), "cookies-args has no {cookies}", Some(help));
        }
        let network = ToolNetwork {
            proxy_env: list(&tool.proxy_env),
            proxy_args: list(&tool.proxy_args),
            ca_env: list(&tool.ca_env),
            cookies_args: tool.cookies_args.as_ref().map(|args| args.as_ref().clone()),
            url_args: tool.url_args.as_ref().map_or_else(|| vec!["{url}".to_owned()], |args| args.as_ref().clone()),
        };
        if network.proxy_env.is_empty() && network.proxy_args.is_empty() {
            let help =
                "write proxy-env = [\"HTTP_PROXY\", \"HTTPS_PROXY\"], or proxy-args = [\"--proxy\", \"{proxy}\"]; \
                        network = false for one that obeys neither or needs none"
                    .to_owned();
            self.say(span, format!("tool {name} doesn't say how it takes a proxy"), Some(help));
            return None;
        }
        Some(network)
    }

    fn profiles(&mut self, raw: &[Spanned<RawProfile>]) -> Vec<ToolProfile> {
        let mut profiles: Vec<ToolProfile> = Vec::new();
        for profile in raw {
            let RawProfile { name, args } = profile.as_ref();
            if name.is_empty() || profiles.iter().any(|other| &other.name == name) {
                let help = "give each profile a name of its own: attempts record which served".to_owned();
                self.say(profile.span(), format!("profiles: the name {name:?} is empty, or there twice"), Some(help));
            }
            profiles.push(ToolProfile { name: name.clone(), args: args.clone() });
        }
        if profiles.is_empty() {
            profiles.push(ToolProfile { name: PROFILE_DEFAULT.to_owned(), args: Vec::new() });
        }
        profiles
    }

    fn try_next_on(&mut self, tool: &RawTool) -> Vec<ToolOutcome> {
        let words = tool.try_next_on.iter().flat_map(|words| words.as_ref().iter());
        let outcomes = words.filter_map(|word| {
            let outcome = self.word("try-next-on", word, &ToolOutcome::ALL)?;
            if outcome == ToolOutcome::Warning {
                self.say(word.span(), "try-next-on: a warning decides nothing", None);
            }
            Some(outcome)
        });
        let outcomes: Vec<ToolOutcome> = outcomes.collect();
        let span = tool.try_next_on.as_ref().map(Spanned::span);
        match span {
            Some(span) if !outcomes.is_empty() && tool.profiles.len() < 2 => {
                let help = "declare profiles = [{ name = …, args = […] }, …]".to_owned();
                self.say(span, "try-next-on: there is no next profile", Some(help));
            }
            None if tool.profiles.len() > 1 => {
                let help = "write try-next-on = [\"blocked\"]: the outcomes that send a run on to the next".to_owned();
                let first = tool.profiles.first().map_or(0..0, Spanned::span);
                self.say(first, "profiles: nothing says when the next is tried", Some(help));
            }
            _ => {}
        }
        outcomes
    }

    fn rule(&mut self, tool: &str, raw: &Spanned<RawRule>, has_network: bool) -> Option<ToolRule> {
        let rule = raw.as_ref();
        let outcome = self.word("outcome", &rule.outcome, &ToolOutcome::ALL)?;
        let mut patterns = |key: &str, list: &Option<Spanned<Vec<String>>>| {
            let Some(list) = list else { return Vec::new() };
            if list.as_ref().is_empty() || list.as_ref().iter().any(|text| text.trim().is_empty()) {
                let help = "write texts to look for".to_owned();
                self.say(list.span(), format!("{key} has an empty text, which is in everything"), Some(help));
            }
            list.as_ref().iter().map(|text| Pattern::new(text)).collect()
        };
        let (output, stderr) = (patterns("output", &rule.output), patterns("stderr", &rule.stderr));
        let exit = rule.exit.as_ref().map(|exit| self.count("exit", Some(exit), 0..=EXIT_MAX, 0));
        if output.is_empty() && stderr.is_empty() && exit.is_none() {
            let help = "write stderr = [\"a text\"], output = [\"a text\"] or exit = 1".to_owned();
            self.say(raw.span(), "a rule that looks at nothing", Some(help));
        }
        if outcome == ToolOutcome::Warning && (!output.is_empty() || stderr.is_empty() || exit.is_some()) {
            let help = "write { stderr = [\"WARNING:\"], outcome = \"warning\" }".to_owned();
            self.say(raw.span(), "warnings are lines of stderr, and nothing else", Some(help));
        }
        if outcome.is_about_a_site() && !has_network {
            let help = "write outcome = \"failed\" or \"permanent\"".to_owned();
            self.say(rule.outcome.span(), format!("tool {tool} reaches no site that could say so"), Some(help));
        }
        let wait = rule.r#for.as_ref();
        if let Some(wait) = wait.filter(|_| !outcome.has_wait()) {
            let help = "only blocked, rate-limited and later take a time".to_owned();
            self.say(wait.span(), format!("{} takes no `for`", rule.outcome.as_ref()), Some(help));
        }
        let wait = wait.and_then(|wait| self.time("for", wait, Zero::Refused));
        Some(ToolRule { output, stderr, exit, outcome, wait })
    }
}

#[cfg(test)]
mod tests;
