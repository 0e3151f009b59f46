//! One call, as an item's data describes it.

use std::time::{Duration, Instant};

use tollgate_sdk::{ServiceError, prelude::*};

/// A document, or a part of the item that is one.
#[data]
pub(crate) struct Paper {
    name: String,
    /// Its text, `times` times over.
    #[serde(default)]
    text: String,
    /// Absent: once.
    #[serde(default)]
    times: Option<u32>,
    /// In place of a text: an artifact, as `STAGE/NAME`.
    #[serde(default)]
    artifact: Option<String>,
    #[serde(default)]
    shared: bool,
}

/// An artifact that is kept before the call is made.
#[data]
pub(crate) struct Kept {
    name: String,
    content_type: String,
    /// A byte a letter.
    content: String,
}

/// A call.
#[data]
pub(crate) struct Call {
    /// The instruction.
    ask: String,
    /// Whether a verdict is extracted; else it answers by text.
    #[serde(default)]
    extract: bool,
    /// Whether a headline is: a schema of its own.
    #[serde(default)]
    headline: bool,
    #[serde(default)]
    documents: Vec<Paper>,
    #[serde(default)]
    put: Option<Kept>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    web_search: bool,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    /// Whether an error is swallowed, and the next call made.
    #[serde(default)]
    swallow: bool,
}

/// An answer, with what it took.
#[output]
pub(crate) struct Answered {
    #[may_be_empty]
    text: String,
    model: String,
    input: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    /// Billionths of a dollar; absent: nobody knows.
    cost: Option<u64>,
    #[may_be_empty]
    cut: Vec<String>,
    #[may_be_empty]
    sources: Vec<String>,
    /// Microseconds from the call to its answer, as the handler saw it.
    took_us: u64,
}

/// What is extracted.
#[output]
pub(crate) struct Verdict {
    /// Whether it is one.
    genuine: bool,
    /// Why.
    summary: String,
}

/// What is extracted where a headline is asked for.
#[output]
pub(crate) struct Headline {
    /// In a few words.
    headline: String,
}

/// Makes all calls, each when the one before is answered.
pub(crate) fn ask_all(calls: &[Call]) -> Result<(Vec<Answered>, Vec<String>)> {
    let (mut answered, mut swallowed) = (Vec::new(), Vec::new());
    for call in calls {
        if let Some(kept) = &call.put {
            let bytes: Vec<u8> =
                kept.content.chars().filter_map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
            Artifacts.put(&kept.name, &kept.content_type, &bytes)?;
        }
        let begun = Instant::now();
        let came = if call.extract {
            of_call(llm::extract::<Verdict>(&call.ask), call)
                .map(|(verdict, completion)| (format!("{}: {}", verdict.genuine, verdict.summary), completion))
        } else if call.headline {
            of_call(llm::extract::<Headline>(&call.ask), call)
                .map(|(headline, completion)| (headline.headline, completion))
        } else {
            of_call(llm::ask(&call.ask), call)
        };
        match came {
            Ok((text, completion)) => answered.push(told(text, completion, begun.elapsed())),
            Err(error) if call.swallow => swallowed.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((answered, swallowed))
}

fn of_call<T>(mut asking: llm::Call<T>, call: &Call) -> Result<(T, llm::Completion), ServiceError> {
    for paper in &call.documents {
        let text = || paper.text.repeat(usize::try_from(paper.times.unwrap_or(1)).unwrap_or(1));
        asking = match paper.artifact.as_ref().and_then(|artifact| artifact.split_once('/')) {
            Some((stage, name)) => asking.artifact(&paper.name, &Artifact::of(stage, name)),
            None if paper.shared => asking.shared_document(&paper.name, text()),
            None => asking.document(&paper.name, text()),
        };
    }
    if let Some(model) = &call.model {
        asking = asking.model(model);
    }
    if call.web_search {
        asking = asking.web_search();
    }
    if let Some(temperature) = call.temperature {
        asking = asking.temperature(temperature);
    }
    if let Some(timeout) = call.timeout_ms {
        asking = asking.timeout(Duration::from_millis(timeout));
    }
    asking.call_in_full()
}

fn told(text: String, completion: llm::Completion, took: Duration) -> Answered {
    let usage = completion.usage;
    Answered {
        text,
        model: completion.model,
        input: usage.input_tokens,
        cache_read: usage.cache_read_tokens,
        cache_write: usage.cache_write_tokens,
        output: usage.output_tokens,
        cost: usage.cost_nano_usd,
        cut: completion.cut_documents,
        sources: completion.sources,
        took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    }
}
