//! Whether a refusal may be billed all the same. Decided here alone, and where nobody says that it is free, it isn't taken to be:
//! what is settled at an estimate is marked as one, and what is settled as nothing is gone from every sum.

use super::ProviderError;

/// Whether what was refused may be billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billing {
    /// It was refused before anybody worked on it, or its provider says that such a one is free.
    Nothing,
    /// Somebody may have worked on it.
    Perhaps,
}

impl Billing {
    /// Of an answer of that status, which isn't 200.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            // Refused as it came. Of 400 and 500 Gemini says that their tokens aren't charged, and the others bill by the
            // usage of an answer, which a failure has none of. 503, and Anthropic's 529: there was no room for it. 521 to
            // 523, 525, 526, 530: Cloudflare reached nobody.
            300..=407 | 409..=498 | 500 | 501 | 503 | 521..=523 | 525 | 526 | 529 | 530 => Self::Nothing,
            // Whoever stands between gave up waiting, or lost the answer, and the model goes on meanwhile: a gateway (502, 504),
            // Cloudflare (520, 524), the provider's own front (408, and 499 where it passes on that somebody hung up). 202 and
            // its like: it was taken. Of any other failure nobody says that it is free.
            _ => Self::Perhaps,
        }
    }

    /// Of an error in an answer of status 200, of which nothing else had come. OpenRouter, whose errors come so, answers 200
    /// once a model has been given the request, so one that failed may have made something first. What wants no model to
    /// work (a limit, a wrong request) is free wherever it stands.
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
    use super::*;

    #[test]
    fn trap04_a_refusal_is_free_where_its_provider_says_so_and_nowhere_else() {
        for free in [302, 400, 401, 402, 403, 404, 413, 422, 429, 498, 500, 501, 503, 521, 522, 529] {
            assert_eq!(Billing::of_status(free), Billing::Nothing, "{free}");
        }
        for unknown in [201, 202, 204, 408, 499, 502, 504, 505, 520, 524, 527, 599, 600] {
            assert_eq!(Billing::of_status(unknown), Billing::Perhaps, "{unknown}");
        }
    }
}
