//! Paid services: what models, search and speech have in common, `[search.NAME]` and `[speech.ALIAS]`.

use std::time::Duration;

use url::Url;

use super::{Deployment, ENDPOINT_SCHEME, JobSpec, Place, Secret};
use crate::{budget::MoneyBudget, handler::Capability, money::NanoUsd};

/// Longest piece of audio in one request where jobs.toml names none.
pub const PART_DEFAULT: Duration = Duration::from_mins(10);

/// Where a paid service is, and how it may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its base address, without query: http, https, or an endpoint of jobs.toml.
    pub url: Url,
    /// Proves who asks; absent: nobody has to.
    pub key: Option<Secret>,
    /// Requests a time.
    pub requests: Option<Allowance>,
    /// From the start of a request to the end of its answer.
    pub timeout: Duration,
    /// The most that it may cost, whichever job asks.
    pub budget: MoneyBudget,
}

impl ServiceSpec {
    /// The address of something below its base, such as `chat/completions` or `models/g:streamGenerateContent?alt=sse`.
    #[must_use]
    pub fn address(&self, below: &str) -> Url {
        let (path, query) = below.split_once('?').map_or((below, None), |(path, query)| (path, Some(query)));
        let mut address = self.url.clone();
        let base = address.path().trim_end_matches('/').to_owned();
        address.set_path(&format!("{base}/{}", path.trim_start_matches('/')));
        address.set_query(query);
        address
    }

    /// The endpoint that it is, if it is one.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.url.host_str().filter(|_| self.url.scheme() == ENDPOINT_SCHEME)
    }
}

/// So many of something in so long, as providers limit them: `60/min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Allowance {
    /// How many; at least 1.
    pub count: u64,
    /// In which time: a second, a minute, an hour or a day.
    pub per: Duration,
}

/// Who answers calls that don't say which service they want, by their names in jobs.toml.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Services {
    /// The model; absent: a call has to say.
    pub model: Option<String>,
    /// The search; absent: there is none.
    pub search: Option<String>,
    /// The speech; absent: a call has to say.
    pub speech: Option<String>,
}

/// Who searches the web.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchProvider {
    /// Serper, or who speaks its format.
    Serper,
    /// Brave.
    Brave,
}

impl SearchProvider {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Serper, Self::Brave];

    /// As it stands in jobs.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serper => "serper",
            Self::Brave => "brave",
        }
    }
}

/// `[search.NAME]`, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchSpec {
    /// Its name.
    pub name: String,
    /// Who searches.
    pub provider: SearchProvider,
    /// Where and how it is asked.
    pub service: ServiceSpec,
    /// What a query costs, or each credit of one, where the provider says how many it took. Absent: what the table of
    /// prices says of the provider, and if that knows none, it is unpriced, which is not free.
    pub price: Option<NanoUsd>,
    /// Where it stands.
    pub at: Place,
}

/// Who turns speech into text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpeechProvider {
    /// Transcriptions, as OpenAI, Groq and local servers speak them.
    OpenAi,
}

impl SpeechProvider {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::OpenAi];

    /// As it stands in jobs.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
        }
    }
}

/// What audio costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AudioPrice {
    /// So much
    pub money: NanoUsd,
    /// for so many seconds of it: 1, 60 or 3,600.
    pub seconds: u64,
    /// Seconds that are billed at the least; jobs.toml has no word for them, as they are the provider's rule.
    pub seconds_min: u64,
}

impl AudioPrice {
    /// What so much audio costs, each second that has begun, rounded up to a billionth of a dollar.
    #[must_use]
    pub fn of(self, audio: Duration) -> NanoUsd {
        let begun = audio.as_secs().saturating_add(u64::from(audio.subsec_nanos() > 0));
        self.money.for_part(begun.max(self.seconds_min), self.seconds)
    }
}

/// `[speech.ALIAS]`, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeechSpec {
    /// Its name in jobs.toml and for handlers.
    pub alias: String,
    /// Who listens.
    pub provider: SpeechProvider,
    /// Its model's name for its provider.
    pub name: String,
    /// Where and how it is asked.
    pub service: ServiceSpec,
    /// What audio costs. Absent: as of a search, by the name.
    pub price: Option<AudioPrice>,
    /// Longest piece of audio in one request.
    pub part: Duration,
    /// Where it stands.
    pub at: Place,
}

impl Deployment {
    /// The search of that name.
    #[must_use]
    pub fn search(&self, name: &str) -> Option<&SearchSpec> {
        self.searches.iter().find(|search| search.name == name)
    }

    /// The speech of that alias.
    #[must_use]
    pub fn speech(&self, alias: &str) -> Option<&SpeechSpec> {
        self.speeches.iter().find(|speech| speech.alias == alias)
    }
}

impl JobSpec {
    /// Whether its grants let it use what is named so. A model's fall-backs are granted with it.
    #[must_use]
    pub fn is_granted(&self, capability: Capability, name: &str) -> bool {
        self.granted(capability).is_some_and(|names| names.is_empty() || names.iter().any(|known| known == name))
    }
}
