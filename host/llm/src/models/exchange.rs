//! One request to a model, and its answer read as it comes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tollgate_core::{
    Timestamp,
    ledger::{Cost, Units},
    model::Tokens,
    service::ServiceError,
};

use super::Model;
use crate::{
    Answer, Prompt, ProviderError, Reader, WireError,
    call::{self, Bill, Exchange, Request, unanswered::Unanswered},
    estimate,
    hosting::{Kept, Purse, Sending},
    read::ANSWER_BYTES_MAX,
    refusal,
    wire::{self, Fitted},
};

/// Bytes of what surrounds an answer's text on the wire, at the most so many times as much.
const WIRE_SHARE: u64 = 16;

/// The request of a prompt, as the model's provider takes it. `fitted`: what was fitted of the prompt's schema before.
pub(super) fn request(
    model: &Model,
    prompt: &Prompt,
    fitted: &Fitted,
    time: Duration,
    asker: &str,
) -> Result<Request, Unanswered> {
    let wire = wire::request_with(&model.wire, prompt, fitted);
    let wire = wire.map_err(|error| Unanswered::free(ServiceError::InvalidRequest(error.to_string()), None))?;
    let (tokens, estimate) = model.estimate(prompt, fitted, asker);
    let mut headers = wire.headers;
    headers.retain(|(name, _)| *name != "content-type");
    let digest = call::digest(&model.spec.service, &wire.path, wire.body.as_str());
    let sending = Sending {
        service: model.payee.service.clone(),
        headers,
        key: wire.key,
        body: Some((Bytes::from_owner(wire.body), "application/json".into())),
        path: wire.path,
        time,
        time_min: call::time_min(time),
        body_max: ANSWER_BYTES_MAX as u64 * WIRE_SHARE,
    };
    let tokens = tokens.sent().saturating_add(tokens.output);
    Ok(Request { sending, digest, estimate, tokens, kept: Kept::Safe })
}

/// Reads a model's answer.
pub(super) struct ModelExchange {
    model: Arc<Model>,
    reader: Reader,
    purse: Arc<dyn Purse>,
}

impl ModelExchange {
    pub(super) fn new(model: &Arc<Model>, purse: &Arc<dyn Purse>) -> Self {
        Self { model: model.clone(), reader: Reader::new(model.spec.dialect), purse: purse.clone() }
    }
}

impl Exchange for ModelExchange {
    type Answer = Answer;

    fn refusal(&self, status: u16, headers: &[(&str, &str)], said: &[u8], now: Timestamp) -> ProviderError {
        refusal::read(self.model.spec.dialect, status, headers, said, now)
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.reader.feed(bytes)
    }

    fn end(&mut self) -> Result<Answer, WireError> {
        let answer = self.reader.end()?;
        if !answer.usage.is_whole() {
            tracing::warn!(
                model = self.model.spec.alias, doubts = ?answer.usage.doubts,
                "the tokens of an answer can't be told"
            );
        }
        // What nobody has counted tells nothing of how long answers are.
        if let Some(tokens) = answer.usage.tokens.filter(|_| answer.usage.is_whole()) {
            self.model.made(self.purse.asker(), tokens.output);
        }
        Ok(answer)
    }

    fn has_begun(&self) -> bool {
        self.reader.has_begun()
    }

    /// By what its provider has counted so far, and by the bytes that came where those are more.
    fn cost_of_part(&self) -> Cost {
        let counted = self.reader.usage().tokens.unwrap_or_default();
        let output = counted.output.max(estimate::output_tokens(self.reader.output_bytes()));
        self.model.cost(&Tokens { output, ..counted })
    }

    /// By the provider's own count, or by what it was held to cost where that can't be told.
    fn bill(&self, answer: &Answer, estimate: Cost) -> Bill {
        let tokens = answer.usage.tokens.unwrap_or_default();
        let is_estimate = !answer.usage.is_whole();
        let counted = self.model.cost(&tokens);
        let cost = match (is_estimate, counted, estimate) {
            (true, Cost::Known(counted), Cost::Known(estimate)) => Cost::Known(counted.max(estimate)),
            _ => counted,
        };
        let provider_request = Some(answer.request_id.clone()).filter(|id| !id.is_empty());
        Bill { cost, is_estimate, tokens, units: Units::default(), provider_request }
    }
}
