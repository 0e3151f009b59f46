//! `[job.NAME.check.CHECK]`: a question about a stored page, as it is written, to a check that can be asked.

use serde_spanned::Spanned;

use super::Reader;
use crate::{
    artifact::ARTIFACT_NAME_BYTES_MAX,
    graph::Need,
    ids::StageName,
    spec::{
        GuardOutcome, StageSpec,
        check::{CheckSpec, Question},
        raw::RawCheck,
    },
};

impl Reader<'_> {
    pub(super) fn check(&mut self, name: &str, raw: &Spanned<RawCheck>) -> Option<CheckSpec> {
        let at = self.place(raw.span());
        let check = raw.as_ref();
        let name = self.or_say(raw.span(), &format!("check {name:?}"), StageName::new(name));
        let page = self.page_of(&check.of);
        let ask = Question::parse(check.ask.as_ref());
        if let Err(wrong) = &ask {
            let help = "write a question about the page, with {name} for a field of the item's data".to_owned();
            self.say(check.ask.span(), format!("ask is {:?}: {wrong}", check.ask.as_ref()), Some(help));
        }
        let outcome = match &check.outcome {
            Some(word) => self.outcome(word),
            None => Some(GuardOutcome::NotContent),
        };
        let after = self.left_alone_for(outcome, check.r#for.as_ref());
        let usual = StageSpec::new(name.clone()?, at);
        let concurrency = self.concurrency(check.concurrency.as_ref());
        let retry = self.retry(check.attempts.as_ref(), check.backoff.as_ref(), check.retry_for.as_ref());
        let timeout = self.task_timeout(check.timeout.as_ref());
        let (of, artifact) = page?;
        let needs = Some(vec![Need { any_of: vec![of.clone()] }]);
        Some(CheckSpec {
            stage: StageSpec { concurrency, retry, timeout, needs, ..usual },
            of,
            artifact,
            of_at: self.place(check.of.span()),
            ask: ask.ok()?,
            // Which it is, is seen where the models are known.
            model: None,
            outcome: outcome?,
            after,
        })
    }

    /// `STAGE/ARTIFACT`.
    fn page_of(&mut self, of: &Spanned<String>) -> Option<(StageName, String)> {
        let parts = of.as_ref().split_once('/');
        let page = parts.and_then(|(stage, artifact)| Some((StageName::new(stage).ok()?, artifact)));
        let page = page.filter(|(_, artifact)| (1..=ARTIFACT_NAME_BYTES_MAX).contains(&artifact.len()));
        if page.is_none() {
            let help = "write a stage and an artifact of it, such as \"fetch/page.html\"".to_owned();
            self.say(of.span(), format!("of is {:?}", of.as_ref()), Some(help));
        }
        page.map(|(stage, artifact)| (stage, artifact.to_owned()))
    }
}
