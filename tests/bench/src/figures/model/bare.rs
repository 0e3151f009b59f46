//! The reference: requests of the same bodies by reqwest alone, and what the bodies are.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use reqwest::Client;
use serde_json::{Value, json};
use tollgate_core::model::Dialect;
use tollgate_llm::{Document, Prompt, WireModel, wire};

use super::{ASKERS, Asked, KEY, Load, MODEL, SENTENCE, SENTENCES, WARM, each, micros, processor, question};

/// Asks as often as the host does.
pub(super) async fn ask(service: SocketAddr, load: Load) -> Result<Asked> {
    let client = Client::builder().no_proxy().build()?;
    let url = format!("http://{service}/v1/chat/completions");
    ask_all(&client, &url, load, WARM).await?;
    let (spent, all) = ask_all(&client, &url, load, load.calls).await?;
    let tokens = all.first().and_then(|asked| tokens_of(&asked.last)).context("the model counts no tokens")?;
    let took = all.iter().flat_map(|asked| &asked.took).map(|took| micros(*took)).collect();
    Ok(Asked { processor: each(spent, load), took, tokens })
}

/// What came to one asker.
struct Answers {
    took: Vec<Duration>,
    last: Bytes,
}

/// So many calls of every asker, and the processor time in seconds that they took. Each asker is a task of its own, as
/// it is in the host, and the bodies are made before: only the host has to make them of something.
async fn ask_all(client: &Client, url: &str, load: Load, calls: usize) -> Result<(f64, Vec<Answers>)> {
    let of_asker = |asker| (0..calls).map(|call| body(&question(asker, call))).collect::<Result<Vec<_>>>();
    let bodies = (0..ASKERS).map(of_asker).collect::<Result<Vec<_>>>()?;
    let before = processor()?;
    let mut askers = Vec::with_capacity(ASKERS);
    for bodies in bodies {
        askers.push(tokio::spawn(ask_each(client.clone(), url.to_owned(), bodies)));
        load.next_asker().await;
    }
    let all = try_join_all(askers).await?.into_iter().collect::<Result<Vec<_>>>()?;
    Ok((processor()? - before, all))
}

/// The calls of one asker.
async fn ask_each(client: Client, url: String, bodies: Vec<String>) -> Result<Answers> {
    let (mut took, mut last) = (Vec::with_capacity(bodies.len()), Bytes::new());
    for body in bodies {
        let begun = Instant::now();
        let request = client
            .post(&url)
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json");
        last = request.body(body).send().await?.error_for_status()?.bytes().await?;
        took.push(begun.elapsed());
    }
    Ok(Answers { took, last })
}

/// What the host sends for such a call.
fn body(question: &str) -> Result<String> {
    let prompt = Prompt {
        documents: vec![Document::text("page", &SENTENCE.repeat(SENTENCES as usize), false)],
        instruction: question.to_owned(),
        schema: Some(schema()),
        ..Prompt::default()
    };
    Ok(wire::request(&WireModel::new(Dialect::OpenAi, MODEL), &prompt)?.body.as_str().to_owned())
}

/// Of what the handler `paid` extracts.
fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Verdict",
        "description": "What is extracted.",
        "type": "object",
        "properties": {
            "genuine": {"description": "Whether it is one.", "type": "boolean"},
            "summary": {"description": "Why.", "type": "string"},
        },
        "required": ["genuine", "summary"],
    })
}

/// Tokens that were sent, as an answer counts them.
fn tokens_of(answer: &Bytes) -> Option<u64> {
    let text = std::str::from_utf8(answer).ok()?;
    text.lines().rev().find_map(|line| {
        let event: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
        event.pointer("/usage/prompt_tokens")?.as_u64()
    })
}
