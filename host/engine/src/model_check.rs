//! Checks by the models of jobs.toml: the question and the page go to one, which answers by a schema; it is in the
//! ledger under the check's own stage.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_core::outcome::{Outcome, Refusal, StageError};
use tollgate_llm::{Document, Prompt};

use crate::{
    CheckAnswer, CheckRequest,
    services::{Payer, Services},
};

/// What the document is called, in the prompt and in the instruction.
const PAGE: &str = "page";

/// What a model says of a page.
#[derive(Deserialize)]
struct Said {
    is_content: bool,
    reason: String,
}

/// Asks the model which the request names, at temperature 0. An error is what the check's attempt is judged by.
pub(crate) async fn judge(
    services: &Arc<Services>,
    payer: Payer,
    request: CheckRequest,
    timeout: Duration,
) -> Result<CheckAnswer, (Outcome, Option<Refusal>)> {
    let failed = |message: String| Outcome::Stage(StageError::Failed(message));
    let Some(alias) = &request.model else {
        return Err((failed("the check names no model".to_owned()), None));
    };
    let purse = services.purse(payer);
    let asked = services.models.complete(alias, prompt(&request), Some(timeout), purse, None).await;
    let completion = asked.map_err(|refused| (failed(refused.error.to_string()), refused.refusal))?;
    let said: Said = serde_json::from_str(&completion.text)
        .map_err(|error| (failed(format!("the model's answer can't be read: {error}")), None))?;
    Ok(CheckAnswer { is_content: said.is_content, reason: said.reason, cost: completion.cost })
}

fn prompt(request: &CheckRequest) -> Prompt {
    let document = &request.document;
    let cut = if document.is_cut { " Its end was cut off." } else { "" };
    let instruction = format!(
        "{}\n\nAnswer of the document \"{PAGE}\", a web page without its markup, in lower case, its title first.{cut} \
         `is_content` is true if the answer is yes, and false if it is no, or if the page is something else than what \
         the question asks about: an error, an offer, a wall. `reason` says why, in one sentence.",
        request.question
    );
    Prompt {
        documents: vec![Document::text(PAGE, &document.text, false)],
        instruction,
        schema: Some(schema()),
        ..Prompt::default()
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": { "is_content": { "type": "boolean" }, "reason": { "type": "string", "minLength": 1 } },
        "required": ["is_content", "reason"],
        "additionalProperties": false,
    })
}
