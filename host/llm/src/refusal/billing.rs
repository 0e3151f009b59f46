//! Whether a refusal may be billed all the same. Decided here alone, and where nobody says that it is free, it isn't
//! taken to be: what is settled at an estimate is marked as one, and what is settled as nothing is gone from every sum.

use super::ProviderError;

/// How a litellm proxy begins to say that its connection to a provider has failed.
const LITELLM_LOST: &str = "litellm.APIConnectionError";

/// Whether what was refused may be billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billing {
    /// It was refused before anybody worked on it, or its provider says that such a one is free.
    Nothing,
    /// Somebody may have worked on it.
    Perhaps,
}

impl Billing {
    /// Of an answer of that status, which isn't 200, and of what it says.
    ///
    /// A 500 is free, with one exception. Gemini says that its tokens aren't charged (ai.google.dev, "Billing"), and
    /// `OpenRouter` answers with one only as long as no model has begun, and charges nothing for an error
    /// (openrouter.ai/docs, "Errors" and "Zero Completion Insurance"). No document of `OpenAI`'s or Anthropic's says
    /// either; they bill by the usage of an answer, which a failure has none of. Of a gateway that answers so after a
    /// model has worked, nothing tells in general: where it hands on its provider's own 500, that is as above. A
    /// litellm says it itself where its connection to the provider broke: it may have been sent by then
    /// (`APIConnectionError` of its `exceptions.py`, whose status is 500), and what was sent and failed may be billed
    /// (BerriAI/litellm#37365).
    #[must_use]
    pub fn of_answer(status: u16, error: &ProviderError) -> Self {
        match (status, error) {
            (500, ProviderError::Server(said)) if said.contains(LITELLM_LOST) => Self::Perhaps,
            (status, _) => Self::of_status(status),
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            // Refused as it came; of 500 see above. 503, and Anthropic's 529: there was no room for it. 521 to
            // 523, 525, 526, 530: Cloudflare reached nobody.
            300..=407 | 409..=498 | 500 | 501 | 503 | 521..=523 | 525 | 526 | 529 | 530 => Self::Nothing,
            // Whoever stands between gave up waiting, or lost the answer, and the model goes on meanwhile: a gateway
            // (502, 504), Cloudflare (520, 524), the provider's own front (408, and 499 where it passes on that
            // somebody hung up). 202 and its like: it was taken. Of any other failure nobody says that it is free.
            _ => Self::Perhaps,
        }
    }

    /// Of an error in an answer of status 200, of which nothing else had come. OpenRouter, whose errors come so,
    /// answers 200 once a model has been given the request, so one that failed may have made something first. What
    /// wants no model to work (a limit, a wrong request) is free wherever it stands.
    #[must_use]
    pub fn of_error(error: &ProviderError) -> Self {
        match error {
            ProviderError::Server(_) => Self::Perhaps,
            ProviderError::RateLimited { .. }
            | ProviderError::Overloaded { .. }
            | ProviderError::Terminal { .. }
            | ProviderError::Refused(_)
            | ProviderError::InvalidRequest(_)
            | ProviderError::Auth(_)
            | ProviderError::ModelUnknown(_)
            | ProviderError::TooLarge(_) => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tollgate_core::{Timestamp, model::Dialect};

    use super::*;
    use crate::refusal::read;

    #[test]
    fn trap04_a_refusal_is_free_where_its_provider_says_so_and_nowhere_else() {
        for free in [302, 400, 401, 402, 403, 404, 413, 422, 429, 498, 500, 501, 503, 521, 522, 529] {
            assert_eq!(Billing::of_status(free), Billing::Nothing, "{free}");
        }
        for unknown in [201, 202, 204, 408, 499, 502, 504, 505, 520, 524, 527, 599, 600] {
            assert_eq!(Billing::of_status(unknown), Billing::Perhaps, "{unknown}");
        }
    }

    #[test]
    fn trap04_a_500_is_free_unless_a_gateway_says_that_its_own_connection_broke() {
        let of = |status: u16, said: &str| {
            let body = json!({"error": {"message": said, "type": null, "param": null, "code": "500"}}).to_string();
            let error = read(Dialect::OpenAi, status, &[], body.as_bytes(), Timestamp(0));
            Billing::of_answer(status, &error)
        };
        let lost = "litellm.APIConnectionError: OpenAIException - Server disconnected. Received Model Group=gpt";
        assert_eq!(of(500, lost), Billing::Perhaps);
        let handed_on = "litellm.InternalServerError: AnthropicException - Internal server error";
        for free in ["The server had an error.", handed_on, "Internal Server Error"] {
            assert_eq!(of(500, free), Billing::Nothing, "{free}");
        }
        assert_eq!((of(400, lost), of(502, "Bad gateway")), (Billing::Nothing, Billing::Perhaps));
    }
}
